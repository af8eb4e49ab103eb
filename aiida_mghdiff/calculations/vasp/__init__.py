"""Calculation jobs of VASP."""
