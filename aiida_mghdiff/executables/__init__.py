"""Programs that are called in the place of somebody else's."""
