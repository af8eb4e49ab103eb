"""Programs that run inside jobs; nothing here imports aiida."""
