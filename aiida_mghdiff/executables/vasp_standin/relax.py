"""Single points (NSW = 0) and relaxations (IBRION = 1, 2, 3; ISIF = 2, 3) at the pressure PSTRESS.

ASE's BFGS, on the atoms or on atoms and cell, replaces all minimisers of VASP. The relaxation ends when forces (and
stress times volume per atom) are below -EDIFFG or, if EDIFFG is positive, when the energy changes by less than EDIFFG.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from aiida_mghdiff.executables.vasp_standin import stopping
from aiida_mghdiff.executables.vasp_standin.folder import Inputs
from aiida_mghdiff.executables.vasp_standin.outputs import Outputs
from aiida_mghdiff.executables.vasp_standin.potentials import OnTheFly, Potential
from aiida_mghdiff.executables.vasp_standin.step import Step
from aiida_mghdiff.programs.calculators.base import AllAtOnce
from aiida_mghdiff.science.units import KBAR_IN_EV_PER_ANGSTROM3


class RecordedCalculator(AllAtOnce):
    """Evaluates each new geometry and writes it as a step."""

    implemented_properties = ['energy', 'free_energy', 'forces', 'stress']

    def __init__(self, potential: Potential, outputs: Outputs) -> None:
        """:param potential: source of energies and forces."""
        super().__init__()
        self.potential, self.outputs, self.n_steps = potential, outputs, 0

    def compute(self, atoms: Atoms) -> dict[str, Any]:
        """Compute and write energy (eV), forces (eV/Å) and stress (eV/Å³)."""
        self.n_steps += 1
        geometry = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        learned, first = self.potential.evaluate(self.n_steps, geometry, True)
        self.outputs.write_contcar(geometry)
        step = Step(self.n_steps, geometry, learned, first)
        self.outputs.write_step(step)
        if isinstance(self.potential, OnTheFly):
            self.potential.after_step()
        energy, forces, stress = step.labels.energy, step.labels.forces.copy(), step.labels.stress.copy()
        return {'energy': energy, 'free_energy': energy, 'forces': forces, 'stress': stress}


def run(inputs: Inputs, outputs: Outputs, potential: Potential) -> None:
    """Compute the structure of POSCAR, or relax it if NSW > 0."""
    settings, atoms = inputs.settings, inputs.atoms()
    atoms.set_momenta(None)
    atoms.calc = RecordedCalculator(potential, outputs)
    atoms.get_potential_energy()
    converged = settings.is_relaxation and _relax(inputs, atoms)
    potential.finish()
    outputs.finish(converged)


def _relax(inputs: Inputs, atoms: Atoms) -> bool:
    """Minimise; return whether the minimum was reached within NSW steps."""
    settings, calculator = inputs.settings, atoms.calc
    pressure = settings.pressure * KBAR_IN_EV_PER_ANGSTROM3
    movable: Any = FrechetCellFilter(atoms, scalar_pressure=pressure) if settings.isif == 3 else atoms
    optimizer = BFGS(movable, logfile=None, maxstep=0.1)
    energy = np.inf
    while True:
        forces = movable.get_forces()
        before, energy = energy, atoms.get_potential_energy()
        # forces on the atoms; the rows after the atoms are forces on the cell
        largest = float(np.linalg.norm([*atoms.get_forces(), *forces[len(atoms) :]], axis=1).max())
        reached = largest < -settings.ediffg if settings.ediffg < 0 else abs(energy - before) < settings.ediffg
        if reached or calculator.n_steps >= settings.nsw or stopping.is_asked():
            return bool(reached)
        optimizer.step(forces)
        movable.get_forces()
