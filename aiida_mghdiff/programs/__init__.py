"""What runs inside a job; nothing here imports aiida."""
