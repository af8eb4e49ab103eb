"""Conversions against the constants of scipy and ASE."""

import pytest
from ase import units as ase_units
from scipy import constants

from aiida_mghdiff.science import units


def test_boltzmann_constant():
    assert units.BOLTZMANN_EV_PER_K == pytest.approx(constants.k / constants.e, rel=1e-12)


def test_pressure_factors_match_ase():
    assert units.EV_PER_ANGSTROM3_IN_GPA == pytest.approx(1 / ase_units.GPa, rel=1e-6)
    assert units.KBAR_IN_EV_PER_ANGSTROM3 == pytest.approx(0.1 * ase_units.GPa, rel=1e-6)
    assert units.BAR_IN_GPA == pytest.approx(constants.bar / constants.giga)


def test_diffusion_factor():
    assert units.ANGSTROM2_PER_PS_IN_M2_PER_S == pytest.approx(constants.angstrom**2 / constants.pico)
