"""Calculation jobs of mace."""
