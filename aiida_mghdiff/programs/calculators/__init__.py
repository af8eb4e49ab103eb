"""ASE calculators of potentials."""
