"""Parsers of mace jobs."""
