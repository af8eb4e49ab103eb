"""Programs that run ASE."""
