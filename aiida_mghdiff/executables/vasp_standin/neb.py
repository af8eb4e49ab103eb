"""Elastic bands in VASP's folders 00, 01, ..., N+1 (IMAGES = N): with LCLIMB the highest image climbs.

The band is ASE's, with the improved tangent (Henkelman and Jónsson, J. Chem. Phys. 113, 9978 (2000),
doi:10.1063/1.1323224) and springs of |SPRING| in eV/Å². All images move together by BFGS, or by FIRE if IOPT asks for
damped dynamics (IOPT = 3 or 7). The end points do not move. Their energies are computed but, as in VASP, not written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.mep import NEB
from ase.optimize import BFGS, FIRE

from aiida_mghdiff.executables.vasp_standin import outcar, stopping
from aiida_mghdiff.executables.vasp_standin.folder import Inputs, read_structure
from aiida_mghdiff.executables.vasp_standin.outputs import Outputs
from aiida_mghdiff.executables.vasp_standin.potentials import Potential
from aiida_mghdiff.executables.vasp_standin.relax import RecordedCalculator
from aiida_mghdiff.programs.job import ProgramError

_DAMPED = (3, 7)


class Band:
    """A search for a path."""

    def __init__(
        self, inputs: Inputs, outputs: list[Outputs], potentials: list[Potential], images: list[Atoms]
    ) -> None:
        """Prepare a search.

        :param outputs: outputs of the images between the end points.
        :param potentials: potentials of the images between the end points.
        :param images: all images, with the end points.
        """
        self.settings, self.outputs, self.images = inputs.settings, outputs, images
        for image in (images[0], images[-1]):
            labels = potentials[0].look_ahead(image)
            image.calc = SinglePointCalculator(image, energy=labels.energy, forces=labels.forces, stress=labels.stress)
        for image, potential, output in zip(images[1:-1], potentials, outputs, strict=True):
            image.calc = RecordedCalculator(potential, output)
        self.potentials = potentials
        self.neb = NEB(images, k=abs(self.settings.spring), climb=self.settings.climb, method='improvedtangent')

    def run(self) -> None:
        """Move the images until the largest force of the band is below -EDIFFG, or until NSW or STOPCAR."""
        # ASE's optimizers accept a band
        kind: Callable[..., Any] = FIRE if self.settings.optimizer in _DAMPED else BFGS
        optimizer, step = kind(self.neb, logfile=None, maxstep=0.1), 0
        while True:
            forces, step = self.neb.get_forces(), step + 1
            largest = float(np.linalg.norm(forces, axis=1).max())
            converged = largest < abs(self.settings.ediffg)
            self._write(forces.reshape(len(self.outputs), -1, 3), converged)
            if converged or step >= max(self.settings.nsw, 1) or stopping.is_asked():
                break
            optimizer.step(forces)
        for potential, output in zip(self.potentials, self.outputs, strict=True):
            potential.finish()
            output.finish(converged)

    def _write(self, forces: np.ndarray, converged: bool) -> None:
        """Write the forces of the band on each image."""
        energies = [image.get_potential_energy() for image in self.images]
        for index, (output, band_forces) in enumerate(zip(self.outputs, forces, strict=True), 1):
            neighbours = self.images[index - 1 : index + 2]
            output.write('OUTCAR', outcar.band(neighbours, energies[index - 1 : index + 2], band_forces, converged))


def read_images(inputs: Inputs) -> list[Atoms]:
    """Return the images of all folders, with the end points.

    :raises ProgramError: INPUT_REFUSED for a missing folder, and for images with other atoms or another cell.
    """
    folders = [Path(f'{index:02d}') for index in range(inputs.settings.images + 2)]
    images = []
    for folder in folders:
        poscar = read_structure(folder / 'POSCAR')
        if (poscar.symbols, poscar.counts) != (inputs.poscar.symbols, inputs.poscar.counts):
            raise ProgramError(
                'INPUT_REFUSED',
                f'{folder}/POSCAR has other atoms than 00/POSCAR: give all images the same atoms in the same order.',
            )
        if not np.allclose(poscar.cell, inputs.poscar.cell, atol=1e-6):
            raise ProgramError(
                'INPUT_REFUSED', f'{folder}/POSCAR has another cell than 00/POSCAR: give all images the same cell.'
            )
        image = inputs.atoms(poscar)
        image.set_momenta(None)
        images.append(image)
    return images
