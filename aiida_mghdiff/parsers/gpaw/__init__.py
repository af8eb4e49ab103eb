"""Parsers of GPAW jobs."""
