"""Calculation jobs of ase."""
