"""Programs that work on files of VASP."""
