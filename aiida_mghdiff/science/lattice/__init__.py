"""Crystals, their interstitial sites, and jumps between sites."""
