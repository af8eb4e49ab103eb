"""The VASP stand-in: VASP's file interface, labels from elsewhere, a force field that learns on the fly."""
