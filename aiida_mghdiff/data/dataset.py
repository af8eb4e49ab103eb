"""A set of labelled configurations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral

import numpy as np
from aiida import orm
from aiida.orm.pydantic import OrmMetadataField
from ase import Atoms
from ase.data import chemical_symbols
from ase.formula import Formula

from aiida_mghdiff.data.arrays import require_finite, set_array
from aiida_mghdiff.data.stored_keys import stored_value
from aiida_mghdiff.formats.frames import (
    ENERGY_KEYS,
    arrays_from_frames,
    energy_of,
    frames_from_arrays,
    select_frames,
)
from aiida_mghdiff.formats.isolated_atoms import (
    finite_energy,
    is_isolated_atom,
    isolated_atom_energies,
    isolated_indices,
    join_energies,
    take_isolated_atoms,
)
from aiida_mghdiff.formats.plausibility import implausible

ENERGY_KINDS = ('free', 'sigma0')
#: Arrays that every dataset has.
PARTS = ('natoms', 'numbers', 'cells', 'positions', 'energies', 'forces', 'stresses')

#: Optional arrays [n] with the origin of a configuration: the stage of the run (index into the attribute
#: ``stage_names``), its step (-1 if unknown), its temperature in K (NaN if unknown), whether an on-the-fly force field
#: has learned it (1) or only the dataset has it (0), and whether its SCF converged (1, 0; -1 if unknown).
ORIGIN = {'stages': 'i8', 'steps': 'i8', 'temperatures_k': 'f8', 'learned': 'i8', 'converged': 'i8'}
#: Arrays [n] of indices into a list of names, and the attribute with this list.
NAMED = {'groups': 'group_names', 'stages': 'stage_names'}


class DatasetData(orm.ArrayData):
    """Configurations with energies, forces and, if known, stresses, as the flat arrays of ``formats.frames``.

    Units and signs are ASE's: Å, eV, eV/Å, eV/Å³; stresses are NaN if absent. A dataset of molecular dynamics may
    contain the origin of each configuration, in :data:`ORIGIN` arrays.
    """

    class AttributesModel(orm.ArrayData.AttributesModel):
        """Attributes of a dataset that queries can use."""

        n_configurations: int = OrmMetadataField(description='number of configurations')
        elements: list[str] = OrmMetadataField(description='symbols of all elements')
        formulas: dict[str, int] = OrmMetadataField(description='number of configurations of each formula')
        energy_kind: str = OrmMetadataField(description='free (force consistent) or sigma0 (zero smearing)')
        labelled_by: str = OrmMetadataField(description='origin of the labels: vasp, gpaw, standin:<labeller>, ...')
        has_stress: bool = OrmMetadataField(description='whether every configuration has a stress')
        group_names: list[str] | None = OrmMetadataField(None, description='names of the groups of correlated frames')
        stage_names: list[str] | None = OrmMetadataField(None, description='names of the stages of their run')
        isolated_atoms: dict[str, float] | None = OrmMetadataField(None, description='eV of an isolated atom by symbol')

    @classmethod
    def from_frames(
        cls,
        frames: Iterable[Atoms],
        *,
        energy_kind: str = 'free',
        labelled_by: str = 'vasp',
        groups: Sequence[int] | None = None,
        group_names: Sequence[str] | None = None,
        isolated_atoms: Mapping[str, float] | None = None,
        allow_implausible: bool = False,
    ) -> DatasetData:
        """Return an unstored dataset of labelled, periodic frames.

        Frames of isolated atoms (``formats.isolated_atoms``) are not configurations: their energies join
        ``isolated_atoms``.

        :param labelled_by: origin of the labels: ``vasp``, ``gpaw``, ...
        :param groups: for each frame the index of its group (for example its trajectory) into ``group_names``.
        :param isolated_atoms: energies in eV of isolated atoms by symbol, with the labels' zero of energy.
        :param allow_implausible: accept implausible labels (``formats.plausibility``) unchanged.
        :raises ValueError: for a missing, infinite or implausible label, naming the frame; for frames that are all
            isolated atoms; for two energies of one element.
        """
        _check_energy_kind(energy_kind)
        frames = _checked_frames(frames, groups)
        found = {index: atoms for index, atoms in enumerate(frames) if is_isolated_atom(atoms)}
        kept = [index for index in range(len(frames)) if index not in found]
        if found and not kept:
            raise ValueError('all frames are isolated atoms: there is no configuration to learn from')
        chosen = [frames[index] for index in kept]
        of_chosen = None if groups is None else [groups[index] for index in kept]
        arrays = arrays_from_frames(chosen, energy_kind, of_chosen, kept)
        if not allow_implausible and (finding := implausible(chosen, kept)) is not None:
            raise ValueError(f'frame {kept[finding.index]}: {finding.reason}.')
        energies = isolated_atom_energies(
            (f'frame {index}', atoms, _isolated_energy(index, atoms, energy_kind)) for index, atoms in found.items()
        )
        return cls.from_arrays(
            arrays,
            energy_kind=energy_kind,
            labelled_by=labelled_by,
            group_names=group_names,
            isolated_atoms=join_energies([('isolated_atoms', isolated_atoms or {}), ('frames', energies)]),
        )

    @classmethod
    def from_arrays(
        cls,
        arrays: dict[str, np.ndarray],
        *,
        energy_kind: str,
        labelled_by: str,
        group_names: Sequence[str] | None = None,
        stage_names: Sequence[str] | None = None,
        isolated_atoms: Mapping[str, float] | None = None,
    ) -> DatasetData:
        """Return an unstored dataset of flat arrays (names, shapes and units: ``formats.frames`` and ``ORIGIN``).

        Isolated atoms among other configurations join ``isolated_atoms``.

        :raises ValueError: for missing or unknown arrays, wrong shapes, unknown elements, numbers that are not finite,
            unnamed groups or stages, labels without an origin, or two energies of one isolated atom.
        """
        names = {'groups': group_names, 'stages': stage_names}
        _check_energy_kind(energy_kind)
        _check_labelled_by(labelled_by)
        _check_arrays(arrays)
        for array, known in names.items():
            _check_names(arrays, array, known)
        arrays, energies = take_isolated_atoms(arrays)
        isolated = join_energies([('isolated_atoms', isolated_atoms or {}), ('arrays', energies)])
        return cls._from_configurations(arrays, isolated, energy_kind, labelled_by, names)

    @classmethod
    def _from_configurations(
        cls,
        arrays: dict[str, np.ndarray],
        isolated: Mapping[str, float],
        energy_kind: str,
        labelled_by: str,
        names: Mapping[str, Sequence[str] | None],
    ) -> DatasetData:
        """Return an unstored dataset of correct arrays, each frame a configuration; ``names`` by array."""
        node = cls()
        n, atoms = len(arrays['natoms']), int(np.sum(arrays['natoms']))
        set_array(node, 'natoms', arrays['natoms'], 'i8', (n,))
        set_array(node, 'numbers', arrays['numbers'], 'i8', (atoms,))
        set_array(node, 'cells', arrays['cells'], 'f8', (n, 3, 3))
        set_array(node, 'positions', arrays['positions'], 'f8', (atoms, 3))
        set_array(node, 'energies', arrays['energies'], 'f8', (n,))
        set_array(node, 'forces', arrays['forces'], 'f8', (atoms, 3))
        set_array(node, 'stresses', arrays['stresses'], 'f8', (n, 6))
        if 'groups' in arrays:
            set_array(node, 'groups', arrays['groups'], 'i8', (n,))
        for name in ORIGIN.keys() & arrays.keys():
            set_array(node, name, arrays[name], ORIGIN[name], (n,))
        node.base.attributes.set_many(
            {
                'n_configurations': n,
                'elements': [chemical_symbols[number] for number in np.unique(arrays['numbers'])],
                'formulas': dict(sorted(Counter(formulas_of(arrays)).items())),
                'energy_kind': energy_kind,
                'labelled_by': labelled_by,
                'has_stress': not bool(np.isnan(arrays['stresses']).any()),
                **{NAMED[array]: None if known is None else list(known) for array, known in names.items()},
            }
        )
        if isolated:
            node.base.attributes.set('isolated_atoms', dict(sorted(isolated.items())))
        return node

    @property
    def elements(self) -> list[str]:
        """Return the symbols of all elements."""
        return self.base.attributes.get('elements')

    @property
    def labelled_by(self) -> str:
        """Return the origin of the labels: ``vasp``, ``gpaw``, ``standin:<labeller>``, ..."""
        return stored_value(self, 'labelled_by')

    @property
    def isolated_atoms(self) -> dict[str, float]:
        """Return the energies in eV of isolated atoms by symbol; empty if the dataset has none."""
        return self.base.attributes.get('isolated_atoms', None) or {}

    def get_arrays(self) -> dict[str, np.ndarray]:
        """Return the flat arrays by name."""
        return {name: self.get_array(name) for name in sorted(self.get_arraynames())}

    def get_formulas(self) -> list[str]:
        """Return the formula of each configuration, written as in the attribute ``formulas``."""
        return formulas_of({name: self.get_array(name) for name in ('numbers', 'natoms')})

    def get_frames(self) -> list[Atoms]:
        """Return the configurations as labelled ASE atoms."""
        return frames_from_arrays(self.get_arrays())

    def select(self, indices: Sequence[int]) -> DatasetData:
        """Return an unstored dataset of some configurations, in the order of the indices; all names are kept.

        Isolated atoms that an earlier version stored as configurations stay configurations.

        :raises ValueError: for no index, or an index out of range.
        """
        count = self.base.attributes.get('n_configurations')
        if not len(indices) or min(indices) < 0 or max(indices) >= count:
            raise ValueError(f'give at least one index to select, between 0 and {count - 1}.')
        attributes = self.base.attributes
        return self._from_configurations(
            select_frames(self.get_arrays(), indices),
            self.isolated_atoms,
            attributes.get('energy_kind'),
            self.labelled_by,
            {array: self.names[attribute] for array, attribute in NAMED.items()},
        )

    @property
    def groups(self) -> np.ndarray:
        """Return the group of each configuration [n]; without groups each configuration is its own."""
        if 'groups' in self.get_arraynames():
            return self.get_array('groups')
        return np.arange(self.base.attributes.get('n_configurations'))

    @property
    def has_only_isolated_atoms(self) -> bool:
        """Return whether no configuration is more than an isolated atom, as the result of a single point may be."""
        natoms = self.get_array('natoms')
        return bool(natoms.max() == 1) and len(isolated_indices(self.get_arrays())) == len(natoms)

    @property
    def are_converged(self) -> np.ndarray:
        """Return for each configuration [n] whether its SCF is known to have converged.

        See ``ORIGIN``. A dataset without this array, such as a user's file, counts as converged.
        """
        if 'converged' in self.get_arraynames():
            return self.get_array('converged') == 1
        return np.full(self.base.attributes.get('n_configurations'), True)

    @property
    def names(self) -> dict[str, list[str] | None]:
        """Return the names of groups and stages by attribute, or None."""
        return {attribute: self.base.attributes.get(attribute, None) for attribute in NAMED.values()}


def converged_message(dataset: DatasetData | None, _: object = None) -> str | None:
    """Return why a dataset cannot be used for learning or comparison, or None: unknown convergence of the SCF.

    This validates each port that takes a dataset for its labels; an optional port may be given None.
    """
    if dataset is not None and (count := int((~dataset.are_converged).sum())):
        return (
            f'the SCF of {count} of its {len(dataset.are_converged)} configurations is not known to have converged: '
            'leave these out with `merge_datasets(all=dataset)`.'
        )
    return None


def _isolated_energy(index: int, atoms: Atoms, energy_kind: str) -> float:
    """Return the energy in eV of an isolated atom."""
    energy = energy_of({} if atoms.calc is None else atoms.calc.results, ENERGY_KEYS[energy_kind])
    if (value := finite_energy(energy)) is None:
        raise ValueError(f'frame {index}: an isolated atom without an energy: {energy!r} is no finite number')
    return value


def _checked_frames(frames: Iterable[Atoms], groups: Sequence[int] | None) -> list[Atoms]:
    """Return the frames as a list: a generator gives them only once."""
    listed = [frames] if isinstance(frames, Atoms) else list(frames)
    wrong = next((index for index, atoms in enumerate(listed) if not isinstance(atoms, Atoms)), None)
    if wrong is not None or isinstance(frames, Atoms):
        kind = type(frames if wrong is None else listed[wrong]).__name__
        raise ValueError(f'frames of a dataset must be a list of ase.Atoms, not {kind}')
    if groups is not None and (len(groups) != len(listed) or not all(isinstance(each, Integral) for each in groups)):
        raise ValueError(f'groups of a dataset must be {len(listed)} whole numbers, one for each frame.')
    return listed


def _check_labelled_by(labelled_by: object) -> None:
    if not isinstance(labelled_by, str) or not labelled_by.strip():
        raise ValueError(f'labelled_by of a dataset is {labelled_by!r}: name the origin of the labels, such as vasp.')


def _check_energy_kind(energy_kind: str) -> None:
    if energy_kind not in ENERGY_KINDS:
        raise ValueError(f'energy_kind of a dataset is {energy_kind!r}: it must be one of {", ".join(ENERGY_KINDS)}.')


def _check_arrays(arrays: dict[str, np.ndarray]) -> None:
    known = {*PARTS, 'groups', *ORIGIN}
    if missing := sorted(set(PARTS) - set(arrays)):
        raise ValueError(f'arrays of a dataset lack {", ".join(missing)}.')
    if unknown := sorted(set(arrays) - known):
        raise ValueError(f'arrays of a dataset have {", ".join(unknown)}: known are {", ".join(sorted(known))}.')
    natoms, numbers = np.asarray(arrays['natoms']), np.asarray(arrays['numbers'])
    if not natoms.size:
        raise ValueError('a dataset needs at least one configuration.')
    if natoms.min() < 1 or natoms.sum() != numbers.size:
        raise ValueError(f'natoms of a dataset must be positive, and sum to the length of numbers, {numbers.size}.')
    if numbers.min() < 1 or numbers.max() >= len(chemical_symbols):
        raise ValueError('numbers of a dataset must be atomic numbers of known elements.')
    require_finite(**{name: arrays[name] for name in ('cells', 'positions', 'energies', 'forces')})
    partly = np.isnan(arrays['stresses']).any(axis=-1) & ~np.isnan(arrays['stresses']).all(axis=-1)
    if partly.any() or np.isinf(arrays['stresses']).any():
        raise ValueError('each stress of a dataset must be six finite numbers, or six NaN if absent.')


def _check_names(arrays: dict[str, np.ndarray], array: str, names: Sequence[str] | None) -> None:
    if (array in arrays) != (names is not None):
        raise ValueError(f'{array} and {NAMED[array]} of a dataset go together: give both or neither.')
    if names is not None and not set(np.unique(arrays[array])) <= set(range(len(names))):
        raise ValueError(f'{array} of a dataset must be indices into {NAMED[array]}.')


def formulas_of(arrays: dict[str, np.ndarray]) -> list[str]:
    """Return the formula of each configuration of flat arrays, in Hill's order."""
    frames = np.split(arrays['numbers'], np.cumsum(arrays['natoms'])[:-1])
    known: dict[bytes, str] = {}  # many configurations have few formulas
    for frame in frames:
        if (key := frame.tobytes()) not in known:
            known[key] = Formula.from_list([chemical_symbols[number] for number in frame]).format('hill')
    return [known[frame.tobytes()] for frame in frames]
