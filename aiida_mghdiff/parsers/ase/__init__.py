"""Parsers of ase jobs."""
