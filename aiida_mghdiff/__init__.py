"""AiiDA plugin for tracer diffusion in metals with machine-learning potentials."""

__version__ = '0.1.0'
