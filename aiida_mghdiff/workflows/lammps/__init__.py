"""WorkChains around LAMMPS."""
