"""Programs that run CHGNet."""
