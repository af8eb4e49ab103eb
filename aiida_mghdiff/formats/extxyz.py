"""Reader of labelled configurations in the extended XYZ format, as ASE writes it.

The user chooses the keys of the labels: energy of the cell (eV) and stress (eV/Å³, ASE's sign; six values xx yy zz yz
xz xy, or nine) in the comment line, forces (eV/Å) as columns. ASE does not change keys ``REF_...``, but moves
``energy``, ``forces`` and ``stress`` to the results of a calculator, where this reader also finds them. A virial in
MACE's convention (eV, minus stress times volume), recognised by its key, becomes a stress.

Frames of one isolated atom are not configurations; their energies are returned by element. Implausible labels are
refused, see :mod:`aiida_mghdiff.formats.plausibility`.

A file is either read completely or refused with frame (counted from 0), line and reason.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from ase.stress import full_3x3_to_voigt_6_stress

from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.frames import frame_problem, is_numeric
from aiida_mghdiff.formats.isolated_atoms import finite_energy, is_isolated_atom, isolated_atom_energies
from aiida_mghdiff.formats.plausibility import ImplausibleWarning, implausible
from aiida_mghdiff.formats.text import read_text, split_lines

#: Keys of a virial; used in a frame without a stress.
VIRIAL_KEYS = ('REF_virials', 'REF_virial', 'virials', 'virial')


@dataclass(frozen=True)
class ExtXyz:
    """Labelled frames, the name of each frame's group if requested, and the energies (eV) of isolated atoms."""

    frames: list[Atoms]
    groups: list[str] | None
    isolated_atoms: dict[str, float] = field(default_factory=dict)


def read_extxyz(
    path: str | Path,
    energy_key: str = 'REF_energy',
    forces_key: str = 'REF_forces',
    stress_key: str | None = 'REF_stress',
    group_key: str | None = None,
    allow_implausible: bool = False,
) -> ExtXyz:
    """Read labelled frames.

    :param stress_key: optional in a frame; None reads no stress. If the key's name means a virial but not a stress, its
        values are virials. A frame without the key may have a virial under one of :data:`VIRIAL_KEYS`.
    :param group_key: key of the comment line that is equal in correlated frames, for example of one trajectory.
    :param allow_implausible: accept implausible labels unchanged.
    :raises FormatError: for a frame that is damaged, not periodic, lacks energy, forces or group, or has implausible
        labels.
    """
    frames, groups, places, numbers, isolated = [], [], [], [], []
    other_stresses: set[str] = set()
    for index, (line, text) in enumerate(_split_frames(path)):
        place = f'frame {index} (line {line})'
        atoms = _parse(path, place, text)
        if is_isolated_atom(atoms):
            isolated.append((place, atoms, _isolated_energy(path, place, atoms, energy_key)))
            continue
        places.append(place)
        numbers.append(index)
        frames.append(_label(path, place, atoms, (energy_key, forces_key, stress_key)))
        if group_key is not None:
            groups.append(_group(path, place, atoms, group_key))
        other_stresses |= _other_stresses(atoms, stress_key)
    if not frames:
        reason = 'only isolated atoms: there is no configuration to learn from' if isolated else 'no frames'
        raise FormatError(path, '', f'{reason} in this file')
    if not allow_implausible and (finding := implausible(frames, numbers)) is not None:
        raise FormatError(path, places[finding.index], finding.reason)
    if other_stresses and stress_key and all(atoms.calc.results.get('stress') is None for atoms in frames):
        words = f'no frame of {Path(path).name} has {stress_key!r}: stresses are not read. Name one of the keys that'
        keys = ', '.join(sorted(other_stresses))
        warnings.warn(f'{words} they have as stress_key: {keys}.', ImplausibleWarning, stacklevel=2)
    return ExtXyz(frames, groups if group_key is not None else None, _isolated_atoms(path, isolated))


def _split_frames(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the line, from 1, and the text of each frame. (ASE itself stops at the first blank line.)"""
    lines = split_lines(read_text(path))
    start, index = 0, 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        place = f'frame {index} (line {start + 1})'
        count = lines[start].strip()
        if not (count.isascii() and count.isdecimal()):
            raise FormatError(path, place, f'a number of atoms should stand here, not {count[:40]!r}')
        end = start + int(count) + 2
        if end > len(lines):
            raise FormatError(path, place, f'the file ends within this frame of {int(count)} atoms')
        yield start + 1, '\n'.join(lines[start:end]) + '\n'
        start, index = end, index + 1


def _parse(path: str | Path, place: str, text: str) -> Atoms:
    try:
        return read(io.StringIO(text), index=0, format='extxyz')  # type: ignore[return-value]  # one index, one frame
    except (ValueError, KeyError, IndexError, OSError, AssertionError, AttributeError, TypeError) as error:
        if error.args in (('D',), ('T',)):
            raise FormatError(path, place, f'{error.args[0]} is an isotope of H: write H for its atoms') from error
        raise FormatError(path, place, f'not extended XYZ ({error})') from error


def _label(path: str | Path, place: str, atoms: Atoms, keys: Sequence[str | None]) -> Atoms:
    energy, forces = (_find(atoms, key) for key in keys[:2])
    for name, key, value in (('energy', keys[0], energy), ('forces', keys[1], forces)):
        if value is None:
            present = ', '.join(sorted(set().union(*_sources(atoms)) - {'numbers', 'positions'})) or 'none'
            reason = f'no {name}: no key {key!r} (keys of this frame: {present}); name its key, or label the frame'
            raise FormatError(path, place, reason)
    frame = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    frame.info = {key: value for key, value in atoms.info.items() if key not in (*keys, *VIRIAL_KEYS)}
    try:
        stress = None if keys[2] is None else _stress(atoms, keys[2])
        results = {'energy': energy, 'free_energy': energy, 'forces': forces}
        labels = {name: _floats(value) for name, value in results.items()}
        frame.calc = SinglePointCalculator(frame, **labels, stress=stress)
    except (TypeError, ValueError) as error:
        raise FormatError(path, place, f'a label is not made of numbers ({error})') from error
    if problem := frame_problem(frame):
        raise FormatError(path, place, problem)
    return frame


def _find(atoms: Atoms, key: str | None) -> Any:
    return next((source[key] for source in _sources(atoms) if key in source), None)


def _sources(atoms: Atoms) -> tuple[dict[str, Any], ...]:
    """Return the dictionaries with the values of a frame: ASE moves its own names, such as ``energy``, to results."""
    return atoms.info, atoms.arrays, atoms.calc.results if atoms.calc is not None else {}


def _stress(atoms: Atoms, key: str) -> np.ndarray | None:
    """Return the stress in eV/Å³, six values, from a stress or a virial."""
    found = next((name for name in (key, *VIRIAL_KEYS) if _find(atoms, name) is not None), None)
    if found is None:
        return None
    values = _voigt(np.asarray(_floats(_find(atoms, found))))
    if 'virial' not in found.lower() or 'stress' in found.lower():
        return values
    return -values / atoms.get_volume() if atoms.cell.rank == 3 else None


def _other_stresses(atoms: Atoms, key: str | None) -> set[str]:
    """Return the keys of a frame whose names look like a stress, except keys that are read."""
    keys = {name for source in _sources(atoms) for name in source if name not in (key, *VIRIAL_KEYS)}
    return {name for name in keys if 'stress' in name.lower() or 'virial' in name.lower()}


def _voigt(stress: np.ndarray) -> np.ndarray:
    return full_3x3_to_voigt_6_stress(stress.reshape(3, 3)) if np.size(stress) == 9 else stress


def _floats(value: Any) -> float | np.ndarray | None:
    if value is None:
        return None
    if not is_numeric(value):
        raise TypeError(f"the first is '{np.ravel(value)[0]}'")
    array = np.asarray(value, dtype=float)
    return array if array.ndim else float(array)


def _isolated_energy(path: str | Path, place: str, atoms: Atoms, key: str) -> float:
    energy = _find(atoms, key)
    if (value := finite_energy(energy)) is not None:
        return value
    raise FormatError(path, place, f'an isolated atom without an energy: {key} = {energy} is no finite number')


def _isolated_atoms(path: str | Path, isolated: Sequence[tuple[str, Atoms, float]]) -> dict[str, float]:
    try:
        return isolated_atom_energies(isolated)
    except ValueError as error:
        raise FormatError(path, '', str(error)) from error


def _group(path: str | Path, place: str, atoms: Atoms, key: str) -> str:
    if key not in atoms.info:
        raise FormatError(path, place, f'no group: no key {key!r} in the comment line')
    return str(atoms.info[key])
