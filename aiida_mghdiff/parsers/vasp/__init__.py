"""Parsers of VASP jobs."""
