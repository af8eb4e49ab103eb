"""Calculation jobs of GPAW."""
