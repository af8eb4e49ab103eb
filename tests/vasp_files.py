"""Texts of small files as VASP writes them, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

RULER = f' {"-" * 83}'
WIDE_RULER = '-' * 104


def outcar_head(
    symbols: Sequence[str], counts: Sequence[int], version: str = 'vasp.6.4.2 20Jul23 (build) complex', extra: str = ''
) -> str:
    """Return what stands above the first step; ``extra`` are lines behind the version."""
    species = ''.join(f'   VRHFIN ={symbol}: s1\n   TITEL  = PAW_PBE {symbol} 01Jan2000\n' for symbol in symbols)
    return (
        f' {version}\n{extra} executed on             LinuxIFC date 2023.08.01  14:11:53\n\n INCAR:\n   NSW = 2\n'
        f'{species} exchange correlation table for  LEXCH =        8\n'
        f'   ions per type =            {"".join(f"{count:4d}" for count in counts)}\n{lattice(np.eye(3))}'
    )


def lattice(cell: np.ndarray) -> str:
    """Return the lattice vectors and, in their columns, the reciprocal ones."""
    rows = np.hstack([cell, np.linalg.inv(cell).T])
    lines = ['   ' + ''.join(f'{value:13.9f}' for value in row[:3]) + '   ' + _columns(row[3:], 13, 9) for row in rows]
    title = '      direct lattice vectors                 reciprocal lattice vectors\n'
    return f'  volume of cell : {abs(np.linalg.det(cell)):11.2f}\n{title}' + '\n'.join(lines) + '\n\n'


def dft_step(index: int, step: dict[str, Any], converged: bool = True) -> str:
    """Return a step of DFT: ``cell``, ``positions``, ``forces``, ``stress`` (kbar, VASP's), ``energy``, ``sigma0``."""
    loop = ''.join(
        f'{"-" * 39} Iteration {index:6d}({cycle:4d})  {"-" * 39}\n\n'
        f'  free energy    TOTEN  =  {step["energy"] + 1 / cycle:18.8f} eV\n'
        f'  energy without entropy = {1.0:18.8f}  energy(sigma->0) = {2.0:18.8f}\n'
        for cycle in (1, 2)
    )
    reached = 'is reached' if converged else 'was not reached (unconverged)'
    loop += f'------------------------ aborting loop because EDIFF {reached} {"-" * 40}\n\n'
    return loop + _step(step, ml=False)


def ml_step(step: dict[str, Any]) -> str:
    """Return a step of the force field, with the same keys."""
    return _step(step, ml=True)


def outcar_end(memory_kib: int = 470384) -> str:
    """Return what stands below the last step of a run that came to its end."""
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
