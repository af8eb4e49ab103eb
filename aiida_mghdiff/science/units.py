"""Conversions between the units of this package; all factors are here.

Numerics use Å, ps, eV, K and Å²/ps. Factors are named FROM_IN_TO: multiply a number in FROM to get it in TO. Constants
are the exact ones of the SI of 2019 (CODATA 2018), but for the few that ASE and CHGNet fix (CODATA 2014).
"""

from __future__ import annotations

from math import pi, sqrt

BOLTZMANN_EV_PER_K = 1.380649e-23 / 1.602176634e-19
PLANCK_EV_PS = 6.62607015e-34 / 1.602176634e-19 * 1e12

ANGSTROM2_PER_PS_IN_M2_PER_S = 1e-8
EV_PER_ANGSTROM3_IN_GPA = 160.2176634
GPA_IN_KBAR = 10.0
KBAR_IN_EV_PER_ANGSTROM3 = 0.1 / EV_PER_ANGSTROM3_IN_GPA
BAR_IN_GPA = 1e-4
GPA_IN_BAR = 1e4
EV_IN_MEV = 1e3
HARTREE_IN_EV = 27.211386245988
RYDBERG_IN_EV = HARTREE_IN_EV / 2
BOHR_IN_ANGSTROM = 0.529177210903
KJ_PER_MOL_IN_EV = 1e3 / (1.602176634e-19 * 6.02214076e23)
KCAL_PER_MOL_IN_EV = 4.184 * KJ_PER_MOL_IN_EV
NS_IN_PS = 1e3
PS_IN_FS = 1e3
FS_IN_PS = 1e-3
#: Mass whose kinetic energy is 1 eV at a speed of sqrt(2) Å/fs.
EV_FS2_PER_ANGSTROM2_IN_AMU = 1.602176634e-19 * 1e-10 / 1.66053906660e-27

_PLANCK_2014, _CHARGE_2014, _AMU_2014 = 6.626070040e-34, 1.6021766208e-19, 1.660539040e-27
#: Energy quantum in meV and frequency in THz of a vibration with omega = 1 in ASE's units (sqrt(eV/Å²/u)).
ASE_OMEGA_IN_MEV = 1e3 * (_PLANCK_2014 / 2 / pi) * 1e10 / sqrt(_CHARGE_2014 * _AMU_2014)
ASE_OMEGA_IN_THZ = ASE_OMEGA_IN_MEV * 1e-3 * _CHARGE_2014 / (2 * pi * (_PLANCK_2014 / 2 / pi)) * 1e-12
#: The factor of stresses in CHGNet's own code.
CHGNET_EV_PER_ANGSTROM3_IN_GPA = 160.21766208
