"""Labelled frames as flat arrays, and back.

A list of ``ase.Atoms`` with labels becomes a few arrays over all n frames and all N atoms:

============  ===========  =======  ==========================================================
``natoms``    ``[n]``      int64    atoms of each frame, N in all
``numbers``   ``[N]``      int64    atomic numbers
``cells``     ``[n,3,3]``  float64  Å, rows are the lattice vectors
``positions`` ``[N,3]``    float64  Å
``energies``  ``[n]``      float64  eV, of the whole cell
``forces``    ``[N,3]``    float64  eV/Å
``stresses``  ``[n,6]``    float64  eV/Å³, ASE's sign and order (xx yy zz yz xz xy), NaN where absent
``groups``    ``[n]``      int64    optional: frames of one group (one trajectory) are correlated
============  ===========  =======  ==========================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

ENERGY_KEYS = {'free': ('free_energy', 'energy'), 'sigma0': ('energy',)}
#: No solid is denser than two atoms in 1 Å³ (diamond: one in 5.7), and no cell is thinner than 0.5 Å.
SMALLEST_VOLUME_PER_ATOM = 0.5
SMALLEST_HEIGHT_ANGSTROM = 0.5


def arrays_from_frames(
    frames: Sequence[Atoms],
    energy_kind: str = 'free',
    groups: Sequence[int] | None = None,
    numbers: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """Return the flat arrays of labelled, periodic frames.

    :param frames: each has a calculator with energy and forces, and stress if known.
    :param energy_kind: ``free`` (the free energy, force consistent; the energy if there is no free energy) or
        ``sigma0`` (the energy extrapolated to zero smearing).
    :param groups: the group of each frame, see :func:`index_groups`.
    :param numbers: numbers of the frames for messages; by default counted from 0.
    :raises ValueError: for a label that is missing, not finite or of a wrong shape, or a frame that is not periodic in
        three dimensions; the message names the frame.
    """
    if not frames:
        raise ValueError('no frames: a dataset needs at least one labelled configuration')
    keys = ENERGY_KEYS[energy_kind]
    for number, atoms in zip(numbers or range(len(frames)), frames, strict=True):
        if problem := frame_problem(atoms, keys):
            raise ValueError(f'frame {number}: {problem}')
    results = [atoms.calc.results for atoms in frames]
    stresses = [np.full(6, np.nan) if labels.get('stress') is None else labels['stress'] for labels in results]
    arrays = {
        'natoms': np.array([len(atoms) for atoms in frames], dtype=np.int64),
        'numbers': np.concatenate([atoms.numbers for atoms in frames]).astype(np.int64),
        'cells': np.array([atoms.cell.array for atoms in frames], dtype=np.float64),
        'positions': np.concatenate([atoms.positions for atoms in frames]).astype(np.float64),
        'energies': np.array([energy_of(labels, keys) for labels in results], dtype=np.float64),
        'forces': np.concatenate([labels['forces'] for labels in results]).astype(np.float64),
        'stresses': np.array(stresses, dtype=np.float64),
    }
    return arrays if groups is None else arrays | {'groups': np.array(groups, dtype=np.int64)}


def frames_from_arrays(arrays: Mapping[str, np.ndarray]) -> list[Atoms]:
    """Return the labelled frames of flat arrays.

    Both ``energy`` and ``free_energy`` of each calculator are the dataset's energy, so that every trainer gets the
    label. A stress of NaN is left out. The group, if any, is ``atoms.info['group']``.
    """
    ends = np.cumsum(arrays['natoms'])
    starts = ends - arrays['natoms']
    return [_frame(arrays, index, slice(*span)) for index, span in enumerate(zip(starts, ends, strict=True))]


def select_frames(arrays: Mapping[str, np.ndarray], indices: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the flat arrays of some frames, in the order of ``indices``."""
    ends = np.cumsum(arrays['natoms'])
    atoms = np.concatenate([np.arange(ends[index] - arrays['natoms'][index], ends[index]) for index in indices])
    rows = np.asarray(indices, dtype=np.int64)
    per_atom = {'numbers', 'positions', 'forces'}
    return {name: np.asarray(array)[atoms if name in per_atom else rows] for name, array in arrays.items()}


def concatenate_frames(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the flat arrays of all parts, one after the other; only arrays that every part has."""
    names = set.intersection(*(set(part) for part in parts))
    return {name: np.concatenate([part[name] for part in parts]) for name in sorted(names)}


def index_groups(labels: Iterable[object]) -> tuple[np.ndarray, list[str]]:
    """Return the group index of each frame ``[n]`` and the names of the groups, in the order of first appearance."""
    names: dict[str, int] = {}
    indices = [names.setdefault(str(label), len(names)) for label in labels]
    return np.array(indices, dtype=np.int64), list(names)


def frame_problem(atoms: Atoms, energy_keys: Sequence[str] = ENERGY_KEYS['free']) -> str | None:
    """Return in words why a frame is no labelled, periodic configuration, or None."""
    if len(atoms) == 0 or not atoms.pbc.all() or atoms.cell.rank < 3:
        return 'not a cell with atoms that is periodic in three dimensions; put a molecule into a large periodic box'
    if problem := _cell_problem(atoms):
        return problem
    results = atoms.calc.results if atoms.calc is not None else {}
    energy, forces, stress = energy_of(results, energy_keys), results.get('forces'), results.get('stress')
    if energy is None or forces is None:
        return f'no {"energy" if energy is None else "forces"}'
    if np.size(energy) != 1:
        return f'energy has the shape {np.shape(energy)}: it must be one number'
    if np.shape(forces) != (len(atoms), 3):
        return f'forces have the shape {np.shape(forces)}, not {(len(atoms), 3)}'
    if stress is not None and np.shape(stress) != (6,):
        return f'stress has the shape {np.shape(stress)}, not (6,)'
    values = {'positions': atoms.positions, 'energy': energy, 'forces': forces, 'stress': stress}
    if wrong := [name for name, value in values.items() if not is_numeric(value)]:
        return f'{wrong[0]} is not made of numbers: the first is {np.ravel(values[wrong[0]])[0]!r}'
    broken = [name for name, value in values.items() if not _is_finite(value)]
    return f'{broken[0]} is not finite: compute the frame again, or leave it out' if broken else None


def _cell_problem(atoms: Atoms) -> str | None:
    if not _is_finite(atoms.cell.array):
        return 'cell is not finite: compute the frame again, or leave it out'
    volume, height = atoms.get_volume() / len(atoms), 1 / atoms.cell.reciprocal().lengths().max()
    if volume > SMALLEST_VOLUME_PER_ATOM and height > SMALLEST_HEIGHT_ANGSTROM:
        return None
    return (
        f'the cell has {volume:.3g} Å³ an atom, and its opposite faces are {height:.3g} Å apart: no crystal is so '
        'small; give the lattice vectors in Å'
    )


def is_numeric(value: object) -> bool:
    """Return whether a label consists of real numbers, or is None; truth values and texts are no numbers."""
    return value is None or np.asarray(value).dtype.kind in 'iuf'


def _is_finite(value: npt.ArrayLike | None) -> bool:
    return value is None or bool(np.isfinite(value).all())


def energy_of(results: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Return the energy of labels under the first key that they have, or None."""
    return next((results[key] for key in keys if results.get(key) is not None), None)


def _frame(arrays: Mapping[str, np.ndarray], index: int, atoms: slice) -> Atoms:
    frame = Atoms(
        numbers=arrays['numbers'][atoms], positions=arrays['positions'][atoms], cell=arrays['cells'][index], pbc=True
    )
    energy, stress = float(arrays['energies'][index]), arrays['stresses'][index]
    results = {'energy': energy, 'free_energy': energy, 'forces': arrays['forces'][atoms].copy()}
    if not np.isnan(stress).any():
        results['stress'] = stress.copy()
    frame.calc = SinglePointCalculator(frame, **results)
    if 'groups' in arrays:
        frame.info['group'] = int(arrays['groups'][index])
    return frame
