"""Calcfunctions, one subject a file."""
