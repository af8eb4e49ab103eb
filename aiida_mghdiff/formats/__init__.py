"""Readers and writers of the files that simulation programs exchange."""
