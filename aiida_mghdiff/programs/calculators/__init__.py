"""ASE calculators of potentials, one module for each architecture, named like it.

Each has ``DISTRIBUTIONS``, whose versions decide the numbers, ``load``, which returns the calculator of a model file,
and ``describe``, which says what a model file is.
"""
