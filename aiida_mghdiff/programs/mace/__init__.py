"""Programs that run MACE."""
