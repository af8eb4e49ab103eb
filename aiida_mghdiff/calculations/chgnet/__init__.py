"""Calculation jobs of chgnet."""
