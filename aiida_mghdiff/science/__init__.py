"""Numerics of diffusion: arrays in, arrays out."""
