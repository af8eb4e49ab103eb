"""Parsers of lammps jobs."""
