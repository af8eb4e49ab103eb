"""Frames to label from first principles, and the labelled datasets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from aiida_mghdiff.calculations.exit_codes import FramesError, MismatchError, refusing
from aiida_mghdiff.data.arrays import set_array
from aiida_mghdiff.data.dataset import NAMED, ORIGIN, DatasetData
from aiida_mghdiff.data.stored_keys import stored_value
from aiida_mghdiff.formats.frames import concatenate_frames, select_frames
from aiida_mghdiff.formats.isolated_atoms import contradictions

FRAME_KEY = 'frame_'
_CELL_TOLERANCE_ANGSTROM = 1e-6
#: Nuclei are never closer than this: the bond of a hydrogen molecule is 0.74 Å long.
_CLOSEST_ANGSTROM = 0.4


@refusing(FramesError)
@calcfunction
def gather_frames(**structures: orm.StructureData | orm.TrajectoryData) -> orm.ArrayData:
    """Return the frames of structures and trajectories in the order of the keys; each node is a group.

    :param structures: by any keys; positions of a trajectory are Cartesian (aiida-vasp's own are not).
    :returns: ``natoms``, ``numbers``, ``cells``, ``positions`` and ``groups``, flat as in a dataset; attribute
        ``group_names``, the keys.
    """
    names = sorted(structures)
    pairs = [(group, atoms) for group, name in enumerate(names) for atoms in frames_of(structures[name], name)]
    groups, frames = zip(*pairs, strict=True)
    node = orm.ArrayData()
    set_array(node, 'natoms', [len(atoms) for atoms in frames], 'i8', (None,))
    set_array(node, 'numbers', np.concatenate([atoms.numbers for atoms in frames]), 'i8', (None,))
    set_array(node, 'cells', [atoms.cell.array for atoms in frames], 'f8', (None, 3, 3))
    set_array(node, 'positions', np.concatenate([atoms.positions for atoms in frames]), 'f8', (None, 3))
    set_array(node, 'groups', groups, 'i8', (None,))
    node.base.attributes.set('group_names', names)
    return node


@refusing()
@calcfunction
def frame_structure(**frames: orm.ArrayData) -> orm.StructureData:
    """Return one frame as a structure, its atoms grouped by element as in VASP's files (:func:`grouped_order`).

    :param frames: one node by ``frame_<index>``, which names the frame: a dataset, or the result of ``gather_frames``.
    """
    ((key, node),) = frames.items()
    numbers, cell, positions = frame_arrays(node, frame_index(key))
    order = grouped_order(numbers)
    return orm.StructureData(ase=Atoms(numbers=numbers[order], positions=positions[order], cell=cell, pbc=True))


@refusing(MismatchError)
@calcfunction
def collect_labels(frames: orm.ArrayData, **labelled: DatasetData) -> dict[str, orm.Data]:
    """Return ``dataset`` with the labelled frames, and ``summary``, which names the frames without labels.

    Frames and atoms keep their order and, to the last digit, their positions; groups and origin are copied. Isolated
    atoms among other frames become the attribute ``isolated_atoms``. If two of one element differ in energy, the later
    one is left out: it is in ``failed_frames``, and ``left_out`` says why. Without a labelled frame there is no
    ``dataset``.

    :param frames: a dataset, whose own labels are dropped, or the result of ``gather_frames``.
    :param labelled: by ``frame_<index>`` the labelled configuration of a single point, grouped by element.
    """
    parts = {frame_index(key): node for key, node in sorted(labelled.items())}
    count = len(frames.get_array('natoms'))
    outputs: dict[str, orm.Data] = {}
    left_out: dict[int, str] = {}
    if parts:
        arrays = concatenate_frames([labelled_frame(frames, index, node) for index, node in parts.items()])
        indices = list(parts)
        left_out = {indices[row]: message for row, message in contradictions(arrays).items()}
        names = {name: frames.base.attributes.get(name, None) for name in NAMED.values()}
        names |= {name: shared_attribute(parts, name) for name in ('energy_kind', 'labelled_by')}
        kept = [row for row, index in enumerate(indices) if index not in left_out]
        outputs['dataset'] = DatasetData.from_arrays(select_frames(arrays, kept), **names)
    summary = {
        'n_frames': count,
        'n_labelled': len(parts) - len(left_out),
        'failed_frames': sorted(set(range(count)) - set(parts) | set(left_out)),
        'left_out': {str(index): message for index, message in left_out.items()},
        'labelled_by': outputs['dataset'].labelled_by if parts else None,
    }
    return outputs | {'summary': orm.Dict(summary)}


def frames_of(node: orm.StructureData | orm.TrajectoryData, name: str) -> list[Atoms]:
    """Return a structure, or all steps of a trajectory.

    :raises FramesError: for positions that are not finite, or atoms on top of each other.
    """
    if isinstance(node, orm.StructureData):
        frames = [node.get_ase()]
    else:
        numbers = [atomic_numbers[symbol] for symbol in node.symbols]
        pairs = zip(node.get_array('cells'), node.get_positions(), strict=True)
        frames = [Atoms(numbers=numbers, positions=positions, cell=cell, pbc=True) for cell, positions in pairs]
    for index, atoms in enumerate(frames):
        if not np.isfinite(atoms.positions).all():
            raise FramesError(f'{name}, frame {index}: positions are not finite.')
        if len(neighbor_list('i', atoms, _CLOSEST_ANGSTROM)):
            raise FramesError(
                f'{name}, frame {index}: atoms are less than {_CLOSEST_ANGSTROM} Å apart; positions must be Cartesian, '
                'but trajectories of aiida-vasp have fractional ones.'
            )
    return frames


def frame_arrays(frames: orm.ArrayData, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return numbers [n], cell [3,3] and positions [n,3] of one frame."""
    end = int(np.sum(frames.get_array('natoms')[: index + 1]))
    atoms = slice(end - int(frames.get_array('natoms')[index]), end)
    return frames.get_array('numbers')[atoms], frames.get_array('cells')[index], frames.get_array('positions')[atoms]


def grouped_order(numbers: np.ndarray) -> np.ndarray:
    """Return the order [n] that groups atoms by element: elements in the order of their first atom, atoms in order."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(first[inverse], kind='stable')


def frame_key(index: int) -> str:
    """Return the key of a frame; keys sort as their indices."""
    return f'{FRAME_KEY}{index:06d}'


def frame_index(key: str) -> int:
    """Return the index of a key."""
    return int(key.removeprefix(FRAME_KEY))


def labelled_frame(frames: orm.ArrayData, index: int, node: DatasetData) -> dict[str, np.ndarray]:
    """Return the arrays of one frame in its own order of atoms, with the labels of a single point.

    :raises MismatchError: if the single point has another structure.
    """
    numbers, cell, positions = frame_arrays(frames, index)
    order, found = grouped_order(numbers), node.get_arrays()
    same = found['numbers'].tolist() == numbers[order].tolist()
    if not same or not np.allclose(found['cells'], cell, rtol=0, atol=_CELL_TOLERANCE_ANGSTROM):
        raise MismatchError(f'the single point of frame {index} has another structure.')
    forces = np.empty_like(found['forces'])
    forces[order] = found['forces']
    own = {'numbers': numbers, 'cells': cell[None], 'positions': positions, 'forces': forces}
    kept = ({'groups', *ORIGIN} - {'converged'}) & set(frames.get_arraynames())  # former labels are dropped
    return found | own | {name: frames.get_array(name)[index : index + 1] for name in kept}


def shared_attribute(parts: Mapping[int, DatasetData], name: str) -> str:
    """Return the common value of an attribute of all parts.

    :raises MismatchError: for several values.
    """
    values = {stored_value(node, name) for node in parts.values()}
    if len(values) > 1:
        raise MismatchError(f'single points differ in {name}: {", ".join(sorted(values))}; label with one program.')
    return values.pop()
