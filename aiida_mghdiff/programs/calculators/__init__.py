"""ASE calculators of potentials, one module for each architecture, with the name of the architecture.

Each module has ``DISTRIBUTIONS``, the packages whose versions decide the numbers, ``load``, which returns the
calculator of a model file, and ``model_properties``, which returns the dtype and the elements of a model file.
"""
