"""Protocols: named sets of settings."""
