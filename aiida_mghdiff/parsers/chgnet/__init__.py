"""Parsers of chgnet jobs."""
