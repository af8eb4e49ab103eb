"""Small files in VASP's formats, for tests of their readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

RULER = f' {"-" * 83}'
WIDE_RULER = '-' * 104


def outcar_head(
    symbols: Sequence[str],
    counts: Sequence[int],
    version: str = 'vasp.6.4.2 20Jul23 (build) complex',
    extra: str = '',
    settings: str = '',
) -> str:
    """Return the text above the first step; ``extra`` follows the version, ``settings`` belongs to the table."""
    species = ''.join(f'   VRHFIN ={symbol}: s1\n   TITEL  = PAW_PBE {symbol} 01Jan2000\n' for symbol in symbols)
    return (
        f' {version}\n{extra} executed on             LinuxIFC date 2023.08.01  14:11:53\n\n INCAR:\n   NSW = 2\n'
        f'{species} exchange correlation table for  LEXCH =        8\n'
        f'   ions per type =            {"".join(f"{count:4d}" for count in counts)}\n{settings}{lattice(np.eye(3))}'
    )


def scf_settings(nelm: int, ediff: str = '0.1E-05', nwrite: int = 2) -> str:
    """Return the settings in OUTCAR's table that decide the end of an electronic loop."""
    return (
        f'   NWRITE = {nwrite:6d}    write-flag & timer\n'
        f'   NELM   = {nelm:6d};   NELMIN=  2; NELMDL= -5     # of ELM steps \n'
        f'   EDIFF  = {ediff}   stopping-criterion for ELM\n   EDIFFG = 0.1E-04   stopping-criterion for IOM\n'
    )


def lattice(cell: np.ndarray) -> str:
    """Return the lattice vectors, with the reciprocal vectors in their columns."""
    rows = np.hstack([cell, np.linalg.inv(cell).T])
    lines = ['   ' + ''.join(f'{value:13.9f}' for value in row[:3]) + '   ' + _columns(row[3:], 13, 9) for row in rows]
    title = '      direct lattice vectors                 reciprocal lattice vectors\n'
    return f'  volume of cell : {abs(np.linalg.det(cell)):11.2f}\n{title}' + '\n'.join(lines) + '\n\n'


#: dE and d eps in eV of two iterations, one far from EDIFF = 1e-6 and one within EDIFF.
FAR, NEAR = (4.8e-3, -1.5e-3), (-4e-7, -9e-7)
#: VASP's lines at the end of an electronic loop. VASP 5 writes the first line after every loop.
REACHED = f'{"-" * 24} aborting loop because EDIFF is reached {"-" * 40}\n'
NOT_REACHED = f'{"-" * 24} aborting loop EDIFF was not reached (unconverged)  {"-" * 28}\n'
STOPPED = f'{"-" * 24} aborting loop because hard stop was set {"-" * 39}\n'


def dft_step(index: int, step: dict[str, Any], converged: bool = True) -> str:
    """Return a DFT step: ``cell``, ``positions``, ``forces``, ``stress`` (kbar, as in VASP), ``energy``, ``sigma0``."""
    return loop_step(index, step, [FAR, NEAR if converged else FAR], REACHED if converged else NOT_REACHED)


def loop_step(index: int, step: dict[str, Any], changes: Sequence[tuple[float, float] | str], end: str) -> str:
    """Return a DFT step with its electronic loop.

    :param changes: dE and d eps of each iteration in eV, or the text after the colon.
    :param end: VASP's line at the end of the loop, such as ``REACHED``.
    """
    loop = ''
    for cycle, change in enumerate(changes, start=1):
        text = change if isinstance(change, str) else f'{fortran(change[0])}  ({fortran(change[1])})'
        loop += f'{_iteration(index, cycle)} eigenvalue-minimisations  :    96\n'
        loop += f' total energy-change (2. order) :{text}\n' if text else ''
        loop += f'  free energy    TOTEN  =  {step["energy"] + 1 / cycle:18.8f} eV\n'
        loop += f'  energy without entropy = {1.0:18.8f}  energy(sigma->0) = {2.0:18.8f}\n'
    return loop + f'\n{end}\n' + _step(step, ml=False)


def _iteration(index: int, cycle: int) -> str:
    digits = [f'{index:6d}', f'{cycle:4d}']
    stars = [number if len(number) <= width else '*' * width for number, width in zip(digits, (6, 4), strict=True)]
    return f'{"-" * 39} Iteration {stars[0]}({stars[1]})  {"-" * 39}\n\n'


def fortran(value: float) -> str:
    """Return a number in Fortran's E14.7."""
    digits, exponent = f'{abs(value):.6e}'.split('e')
    power = int(exponent) + 1 if value else 0
    return f'{"-" if value < 0 else " "}0.{digits.replace(".", "")}E{power:+03d}'


def ml_step(step: dict[str, Any]) -> str:
    """Return a force-field step, with the same keys."""
    return _step(step, ml=True)


def outcar_end(memory_kib: int = 470384) -> str:
    """Return the text below the last step of a complete run."""
    return (
        ' General timing and accounting informations for this job:\n'
        f' {"=" * 56}\n\n                   Maximum memory used (kb): {memory_kib:12d}.\n'
        '                   Average memory used (kb):          N/A\n'
    )


def _step(step: dict[str, Any], ml: bool) -> str:
    tag, suffix = (' ML', ' (ML)') if ml else ('', '')
    table = ''.join(
        _columns(position, 13, 5) + '   ' + _columns(force, 14, 6) + '\n'
        for position, force in zip(step['positions'], step['forces'], strict=True)
    )
    stress = f'  in kB  {_columns(step["stress"], 12, 5)}\n  external pressure = 1.00 kB  Pullay stress = 0.00 kB\n'
    energy, sigma0 = f'{step["energy"]:18.8f}', f'{step["sigma0"]:18.8f}'
    title = f' {"ML " * ml}FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)'
    return (
        f' {tag} FORCE on cell =-STRESS in cart. coord. units (eV/cell)\n'
        '  Direction    XX          YY          ZZ          XY          YZ          ZX\n'
        f'{stress}\n{lattice(step["cell"])}'
        f' POSITION                                       TOTAL-FORCE (eV/Angst){suffix}\n{RULER}\n{table}{RULER}\n'
        f'    total drift:                                0.001368     -0.000338      0.000047\n\n{WIDE_RULER}\n\n'
        f' {title}\n  {"-" * 51}\n  free  energy{tag or "  "} TOTEN  ={energy} eV\n\n'
        f'{tag or " "} energy  without entropy={sigma0} {tag} energy(sigma->0) ={sigma0}\n'
        f'% ion-electron   TOTEN  ={energy}  see above\n\n'
    )


def _columns(values: Sequence[float], width: int, decimals: int) -> str:
    return ''.join(f'{value:{width}.{decimals}f}' for value in values)
