"""The state of a molecular-dynamics run, which continues the run."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.orm.pydantic import OrmMetadataField
from ase import Atoms, units

from aiida_mghdiff.data.arrays import require_finite, set_array

RESTART_FILE = 'restart.bin'


class MdStateData(orm.ArrayData):
    """Cell, unwrapped positions and velocities of all atoms at one step, and the engine's own restart file.

    Arrays: ``numbers`` [n], ``cell`` [3,3] in Å, ``positions`` [n,3] in Å, ``velocities`` [n,3] in Å/fs. An engine's
    own restart file, if any, is ``restart.bin`` in the repository; only that engine reads it.
    """

    class AttributesModel(orm.ArrayData.AttributesModel):
        """Attributes of a state that queries can use."""

        step: int = OrmMetadataField(description='step of the run')
        engine: str | None = OrmMetadataField(None, description='engine whose restart file the node holds')
        ensemble: str | None = OrmMetadataField(None, description='ensemble that the restart file belongs to')
        integrator: str | None = OrmMetadataField(
            None, description='equations of motion of the restart file, if the engine has several for an ensemble'
        )

    @classmethod
    def from_arrays(
        cls,
        numbers: np.ndarray,
        cell: np.ndarray,
        positions: np.ndarray,
        velocities: np.ndarray,
        step: int,
        *,
        restart: bytes | None = None,
        engine: str | None = None,
        ensemble: str | None = None,
        integrator: str | None = None,
    ) -> MdStateData:
        """Return an unstored state; units as in the class.

        :param restart: content of the engine's own restart file; ``engine``, ``ensemble`` and ``integrator``
            identify which engine, ensemble and integrator wrote it.
        :raises ValueError: for wrong shapes, numbers that are not finite, or a negative step.
        """
        n = len(numbers)
        require_finite(cell=np.asarray(cell), positions=np.asarray(positions), velocities=np.asarray(velocities))
        if step < 0:
            raise ValueError(f'step of a state is {step}: it must not be negative.')
        node = cls()
        set_array(node, 'numbers', numbers, 'i8', (n,))
        set_array(node, 'cell', cell, 'f8', (3, 3))
        set_array(node, 'positions', positions, 'f8', (n, 3))
        set_array(node, 'velocities', velocities, 'f8', (n, 3))
        owner = {'engine': engine, 'ensemble': ensemble, 'integrator': integrator}
        node.base.attributes.set_many({'step': int(step)} | owner)
        if restart is not None:
            node.base.repository.put_object_from_bytes(restart, RESTART_FILE)
        return node

    @property
    def step(self) -> int:
        """Return the step of the run."""
        return self.base.attributes.get('step')

    @property
    def has_restart_file(self) -> bool:
        """Return whether the node holds an engine's own restart file."""
        return RESTART_FILE in self.base.repository.list_object_names()

    def has_restart_of(self, engine: str, ensemble: str, integrator: str | None = None) -> bool:
        """Return whether the restart file belongs to this engine, ensemble and these equations of motion."""
        owner = [self.base.attributes.get(name, None) for name in ('engine', 'ensemble', 'integrator')]
        return self.has_restart_file and owner == [engine, ensemble, integrator]

    def get_atoms(self) -> Atoms:
        """Return the state as periodic ASE atoms, with velocities in ASE units."""
        atoms = Atoms(self.get_array('numbers'), self.get_array('positions'), cell=self.get_array('cell'), pbc=True)
        atoms.set_velocities(self.get_array('velocities') / units.fs)
        return atoms

    def get_content(self) -> dict[str, Any]:
        """Return the arrays as JSON, for the input of a program; numbers keep their full precision."""
        names = ('numbers', 'cell', 'positions', 'velocities')
        return {**{name: self.get_array(name).tolist() for name in names}, 'step': self.step}
