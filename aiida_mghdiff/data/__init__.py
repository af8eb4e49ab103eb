"""Node classes."""
