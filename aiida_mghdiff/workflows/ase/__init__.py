"""WorkChains around ASE."""
