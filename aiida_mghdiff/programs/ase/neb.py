"""Climbing-image nudged elastic band in ASE, at a fixed cell.

Both end points are relaxed. The final end point is mapped onto the initial one, atom by atom with the minimum image
convention, and shifted to the same centre. The images between them are interpolated by image-dependent pair potentials
(Smidstrup et al., J. Chem. Phys. 140, 214106 (2014), doi:10.1063/1.4878664) and relaxed as an elastic band. Then the
highest image climbs (Henkelman et al., J. Chem. Phys. 113, 9901 (2000), doi:10.1063/1.1329672).

Forces vanish on a symmetric site even if it is not a minimum. So the atoms that move along the path are displaced
slightly, off all symmetry axes, before the relaxation of an end point.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import BFGS, FIRE, LBFGS, MDMin

from aiida_mghdiff.formats.job_files import PATH_FILE
from aiida_mghdiff.programs import job
from aiida_mghdiff.programs.calculators.base import AllAtOnce
from aiida_mghdiff.programs.calculators.loading import chosen_head, make_atoms, open_calculator
from aiida_mghdiff.science.bands import OFF_AXIS, band_results, path_coordinate

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase.optimize.optimize import Optimizer

    from aiida_mghdiff.formats.results import NebResults, PathResults

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {'bfgs': BFGS, 'fire': FIRE, 'lbfgs': LBFGS, 'mdmin': MDMin}
#: Atoms whose positions differ by more than this between the end points move along the path.
_MOVES_ANGSTROM = 0.5
_PROGRESS_SECONDS = 5.0


class FixCentre:
    """ASE constraint that keeps the mean of all positions, so that no image of a band drifts as a whole.

    Nudged forces do not sum to zero, and nothing else holds a crystal in place.
    """

    def adjust_positions(self, atoms: Atoms, positions: np.ndarray) -> None:
        """Remove the mean shift from new positions, in place."""
        positions -= (positions - atoms.positions).mean(axis=0)

    def adjust_forces(self, atoms: Atoms, forces: np.ndarray) -> None:
        """Remove the mean from forces, in place."""
        forces -= forces.mean(axis=0)

    def get_removed_dof(self, atoms: Atoms) -> int:
        """Return the number of removed degrees of freedom."""
        return 3

    def copy(self) -> FixCentre:
        """Return a copy of the constraint, for a copy of the atoms."""
        return FixCentre()


def main() -> None:
    """Run the program in the working directory."""
    inputs = job.read_input()
    clock = job.WallClock(inputs['max_wallclock_seconds'])
    parameters = inputs['parameters']
    initial, final = (make_atoms(inputs[name]) for name in ('initial', 'final'))
    calculator, versions = open_calculator(inputs['potential'], initial.numbers, parameters['dtype'])
    path = PathSearch(initial, final, calculator, parameters, clock)
    try:
        path.run(inputs.get('restart'))
    except job.ProgramError as error:
        if error.name in ('NEB_NOT_CONVERGED', 'OUT_OF_WALLTIME'):
            path.write(versions)
        raise
    path.write(versions)


class ImageCalculator(AllAtOnce):
    """Energy and forces of one image from the shared calculator, kept until the image moves.

    ASE's optimisers ask for the forces of a band three times per step.
    """

    implemented_properties = ['energy', 'forces']

    def __init__(self, shared: Calculator) -> None:
        """:param shared: calculator of all images."""
        super().__init__()
        self.shared = shared

    def compute(self, atoms: Atoms) -> dict[str, Any]:
        """Return energy (eV) and forces (eV/Å).

        :raises ProgramError: NON_FINITE.
        """
        self.shared.calculate(atoms, ['energy', 'forces'], all_changes)
        results = {name: self.shared.results[name] for name in ('energy', 'forces')}
        if not all(np.isfinite(value).all() for value in results.values()):
            raise job.ProgramError('NON_FINITE', 'an image of the path; check the end points and the model.')
        return results


class PathSearch:
    """The search for the minimum-energy path between two structures."""

    def __init__(
        self,
        initial: Atoms,
        final: Atoms,
        calculator: Calculator,
        parameters: dict[str, Any],
        clock: job.WallClock | None = None,
    ) -> None:
        """:param initial, final: the same atoms in the same order and cell, as the job has checked."""
        self.parameters, self.calculator = parameters, calculator
        self.clock = clock or job.WallClock(None)
        self.displacements = [0.0, 0.0]
        self.n_steps, self.max_force, self.converged = 0, np.inf, False
        self._shown = time.monotonic()
        self.images = [initial.copy(), final.copy()]
        self._attach()

    def run(self, restart: list[list[list[float]]] | None = None) -> None:
        """Find the path.

        :param restart: positions [n_images+2,n,3] in Å of an earlier search, with the end points.
        :raises ProgramError: ENDPOINT_NOT_CONVERGED, ENDPOINT_COLLAPSED, NEB_NOT_CONVERGED, OUT_OF_WALLTIME or
            NON_FINITE.
        """
        if restart is not None:
            self._set_path(restart)
        if self.parameters['relax_endpoints']:
            self._relax_ends(displace=restart is None)
        self._check_collapse()
        if restart is None:
            self._interpolate()
        self._relax_band()

    @property
    def ends(self) -> tuple[Atoms, Atoms]:
        """Return the first and the last image."""
        return self.images[0], self.images[-1]

    def _attach(self) -> None:
        for image in self.images:
            image.calc = ImageCalculator(self.calculator)
            image.set_constraint(FixCentre())

    def _set_path(self, positions: list[list[list[float]]]) -> None:
        template = self.images[0]
        self.images = [Atoms(template.numbers, image, cell=template.cell, pbc=True) for image in positions]
        self._attach()

    def _relax_ends(self, displace: bool) -> None:
        moving = np.linalg.norm(_shortest(*self.ends), axis=1) > _MOVES_ANGSTROM
        for index, (name, atoms) in enumerate(zip(('initial', 'final'), self.ends, strict=True)):
            before = atoms.positions.copy()
            if displace:
                atoms.positions[moving] += self.parameters['endpoint_displacement_angstrom'] * OFF_AXIS
            self._relax(name, atoms)
            moved = np.linalg.norm(atoms.positions - before, axis=1)
            self.displacements[index] = float(moved[moving].max(initial=0.0))

    def _relax(self, name: str, atoms: Atoms) -> None:
        tolerance = self.parameters['endpoint_tolerance_ev_per_angstrom']
        steps = self.parameters['endpoint_max_steps']
        optimizer = BFGS(atoms, logfile=None)
        for _ in optimizer.irun(fmax=tolerance, steps=steps):
            self._check_clock(f'while the {name} end point was being relaxed.')
        if _largest(atoms.get_forces()) > tolerance:
            raise job.ProgramError(
                'ENDPOINT_NOT_CONVERGED',
                f'the {name} end point has forces of {_largest(atoms.get_forces()):.3f} eV/Å after {steps} steps; '
                f'endpoint_tolerance_ev_per_angstrom = {tolerance:g}.',
            )

    def _check_collapse(self) -> None:
        initial, final = self.ends
        steps = _shortest(initial, final)
        steps -= steps.mean(axis=0)
        distance = np.linalg.norm(steps, axis=1).max()
        final.positions = initial.positions + steps
        if distance < self.parameters['minimum_endpoint_distance_angstrom']:
            raise job.ProgramError(
                'ENDPOINT_COLLAPSED',
                f'no atom differs by more than {distance:.3f} Å between them, so this potential has one minimum there: '
                f'the atoms left their sites by {self.displacements[0]:.2f} and {self.displacements[1]:.2f} Å.',
            )

    def _interpolate(self) -> None:
        initial, final = self.ends
        self.images = [initial, *(initial.copy() for _ in range(self.parameters['n_images'])), final]
        self._band(climb=False).interpolate(method=self.parameters['interpolation'], mic=True)
        for image in self.images[1:-1]:
            image.calc = ImageCalculator(self.calculator)

    def _band(self, climb: bool) -> NEB:
        spring = self.parameters['spring_constant_ev_per_angstrom2']
        return NEB(self.images, k=spring, climb=climb, method=self.parameters['neb_method'])

    def _relax_band(self) -> None:
        tolerance = self.parameters['force_tolerance_ev_per_angstrom']
        if self.parameters['climb']:
            self._optimize(climb=False, tolerance=max(tolerance, self.parameters['climb_below_ev_per_angstrom']))
        self.converged = self._optimize(climb=self.parameters['climb'], tolerance=tolerance)
        if not self.converged:
            raise job.ProgramError(
                'NEB_NOT_CONVERGED',
                f'forces of {self.max_force:.3f} eV/Å after {self.n_steps} steps; force_tolerance_ev_per_angstrom = '
                f'{tolerance:g}. Continue with restart, or raise max_steps.',
            )

    def _optimize(self, climb: bool, tolerance: float) -> bool:
        """Relax the band; return whether it converged within the remaining steps."""
        band = self._band(climb)
        optimizer = OPTIMIZERS[self.parameters['optimizer']](band, logfile=None)
        before = self.n_steps
        for converged in optimizer.irun(fmax=tolerance, steps=self.parameters['max_steps'] - before):
            self.n_steps = before + optimizer.nsteps
            self.max_force = _largest(band.get_forces())
            self._report()
            if not converged:
                self._check_clock(f'at forces of {self.max_force:.3f} eV/Å after {self.n_steps} steps.')
        return bool(converged)

    def _check_clock(self, where: str) -> None:
        if self.clock.is_over():
            raise job.ProgramError('OUT_OF_WALLTIME', where)

    def _report(self) -> None:
        if time.monotonic() - self._shown > _PROGRESS_SECONDS:
            self._shown = time.monotonic()
            height = self.energies().max() - self.energies()[0]
            job.report_progress(
                self.n_steps, self.parameters['max_steps'], fmax=self.max_force, height=f'{height:.4f}eV'
            )

    def energies(self) -> np.ndarray:
        """Return the energies of all images in eV."""
        return np.array([image.get_potential_energy() for image in self.images])

    def results(self) -> PathResults:
        """Return the results: energies in eV, lengths in Å in the space of all coordinates."""
        coordinate = path_coordinate([image.positions for image in self.images])
        return {
            **band_results(self.energies()),
            'converged': self.converged,
            'reaction_coordinate_angstrom': coordinate.tolist(),
            'path_length_angstrom': float(coordinate[-1]),
            'max_force_ev_per_angstrom': self.max_force,
            'n_steps': self.n_steps,
            'initial_displacement_angstrom': self.displacements[0],
            'final_displacement_angstrom': self.displacements[1],
            'dtype': self.parameters['dtype'],
        }

    def write(self, versions: dict[str, str]) -> None:
        """Write path and results; a search that ended before the band writes the interpolated path."""
        if len(self.images) == 2:
            self._check_collapse()
            self._interpolate()
        job.write_arrays(
            PATH_FILE,
            numbers=self.images[0].numbers,
            cell=self.images[0].cell.array,
            positions=np.stack([image.positions for image in self.images]),
            forces=np.stack([image.get_forces() for image in self.images]),
        )
        results: NebResults = {**self.results(), 'head': chosen_head(self.calculator), 'versions': versions}
        job.write_results(results)


def _shortest(initial: Atoms, final: Atoms) -> np.ndarray:
    """Return the displacements [n,3] in Å from the initial to the final atoms, by the minimum image convention."""
    return find_mic(final.positions - initial.positions, initial.cell, pbc=True)[0]


def _largest(forces: np.ndarray) -> float:
    return float(np.linalg.norm(forces, axis=1).max())
