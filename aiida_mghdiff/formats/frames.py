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

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

ENERGY_KEYS = {'free': ('free_energy', 'energy'), 'sigma0': ('energy',)}


def arrays_from_frames(
    frames: Sequence[Atoms], energy_kind: str = 'free', groups: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """Return the flat arrays of labelled, periodic frames.

    :param frames: each with a calculator that holds energy and forces, and stress where known.
    :param energy_kind: ``free`` (the free energy, force consistent; the energy where there is no other) or
        ``sigma0`` (the energy extrapolated to zero smearing).
    :param groups: the group of each frame, see :func:`index_groups`.
    :raises ValueError: naming the frame (counted from 0), if a label is missing, not finite or of a wrong shape, or
        the frame is not periodic in three dimensions.
    """
    if not frames:
        raise ValueError('no frames: a dataset needs at least one labelled configuration')
    labels = [_labels(index, atoms, ENERGY_KEYS[energy_kind]) for index, atoms in enumerate(frames)]
    energies, forces, stresses = zip(*labels, strict=True)
    arrays = {
        'natoms': np.array([len(atoms) for atoms in frames], dtype=np.int64),
        'numbers': np.concatenate([atoms.numbers for atoms in frames]).astype(np.int64),
        'cells': np.array([atoms.cell.array for atoms in frames], dtype=np.float64),
        'positions': np.concatenate([atoms.positions for atoms in frames]).astype(np.float64),
        'energies': np.array(energies, dtype=np.float64),
        'forces': np.concatenate(forces).astype(np.float64),
        'stresses': np.array(stresses, dtype=np.float64),
    }
    return arrays if groups is None else arrays | {'groups': np.array(groups, dtype=np.int64)}


def frames_from_arrays(arrays: Mapping[str, np.ndarray]) -> list[Atoms]:
    """Return the labelled frames of flat arrays.

    Both ``energy`` and ``free_energy`` of each calculator are the dataset's energy, so that whatever a trainer asks for
    it gets the label. ``stress`` is left out where it is NaN. The group, if any, is ``atoms.info['group']``.
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
    return {name: array[atoms if name in per_atom else rows] for name, array in arrays.items()}


def index_groups(labels: Iterable[object]) -> tuple[np.ndarray, list[str]]:
    """Return the group index of each frame ``[n]`` and the names of the groups, in the order they appear."""
    names: dict[str, int] = {}
    indices = [names.setdefault(str(label), len(names)) for label in labels]
    return np.array(indices, dtype=np.int64), list(names)


def _labels(index: int, atoms: Atoms, energy_keys: Sequence[str]) -> tuple[float, np.ndarray, np.ndarray]:
    if len(atoms) == 0 or not atoms.pbc.all() or atoms.cell.rank < 3:
        raise ValueError(f'frame {index}: not a periodic cell with atoms in it')
    results = atoms.calc.results if atoms.calc is not None else {}
    energy = next((results[key] for key in energy_keys if results.get(key) is not None), None)
    forces = results.get('forces')
    if energy is None or forces is None:
        raise ValueError(f'frame {index}: no {"energy" if energy is None else "forces"}')
    stress = np.full(6, np.nan) if results.get('stress') is None else np.asarray(results['stress'], dtype=float)
    _check(index, atoms, energy, np.asarray(forces), stress)
    return float(energy), np.asarray(forces), stress


def _check(index: int, atoms: Atoms, energy: float, forces: np.ndarray, stress: np.ndarray) -> None:
    if forces.shape != (len(atoms), 3) or stress.shape != (6,):
        raise ValueError(f'frame {index}: forces {forces.shape} or stress {stress.shape} of a wrong shape')
    values = {'cell': atoms.cell.array, 'positions': atoms.positions, 'energy': energy, 'forces': forces}
    if not np.isnan(stress).all():
        values['stress'] = stress
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise ValueError(f'frame {index}: {name} not finite')


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
