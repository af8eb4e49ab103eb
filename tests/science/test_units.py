"""Conversions against the constants of scipy and ASE."""

import math

import pytest
from ase import units as ase_units
from scipy import constants

from aiida_mghdiff.science import units


def test_boltzmann_constant():
    assert pytest.approx(constants.k / constants.e, rel=1e-12) == units.BOLTZMANN_EV_PER_K


def test_pressure_factors_match_ase():
    assert pytest.approx(1 / ase_units.GPa, rel=1e-6) == units.EV_PER_ANGSTROM3_IN_GPA
    assert pytest.approx(0.1 * ase_units.GPa, rel=1e-6) == units.KBAR_IN_EV_PER_ANGSTROM3
    assert pytest.approx(constants.bar / constants.giga) == units.BAR_IN_GPA


def test_diffusion_factor():
    assert pytest.approx(constants.angstrom**2 / constants.pico) == units.ANGSTROM2_PER_PS_IN_M2_PER_S


def test_mass_factor():
    action = constants.e * constants.femto**2 / constants.angstrom**2
    assert pytest.approx(action / constants.atomic_mass, rel=1e-8) == units.EV_FS2_PER_ANGSTROM2_IN_AMU


def test_factors_of_ase_and_chgnet_are_their_own():
    """To the last digit, since the results of these programs keep them."""
    omega = ase_units._hbar * 1e10 / (ase_units._e * ase_units._amu) ** 0.5
    assert 1e3 * ase_units._hbar * 1e10 / math.sqrt(ase_units._e * ase_units._amu) == units.ASE_OMEGA_IN_MEV
    assert pytest.approx(omega * ase_units._e / ase_units._hplanck * 1e-12, rel=1e-14) == units.ASE_OMEGA_IN_THZ
    assert ase_units.GPa == 1 / units.CHGNET_EV_PER_ANGSTROM3_IN_GPA
