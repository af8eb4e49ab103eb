"""Calculation jobs of lammps."""
