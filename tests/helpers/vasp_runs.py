"""Shared helpers of the tests of relaxations and elastic bands in VASP."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from aiida import orm
from ase import Atoms
from ase.build import bulk
from vasp_files import FAR, REACHED, dft_step, loop_step, ml_step, outcar_end, outcar_head, scf_settings

from aiida_mghdiff.calculations.functions.paths import make_trajectory
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.executables.vasp_standin.force_field import Labels
from aiida_mghdiff.executables.vasp_standin.learner import Learner, wrapped
from aiida_mghdiff.executables.vasp_standin.potentials import ML_FF_VERSION
from aiida_mghdiff.formats.ml_ff import MlFfHeader, write_ml_ff
from aiida_mghdiff.science.lattice.geometry import hcp_paths
from aiida_mghdiff.workflows.neb import vasp_inputs_of_protocol
from aiida_mghdiff.workflows.protocol import protocol_inputs


def hydride(path: str = 'O-T') -> list[Atoms]:
    """Return Mg16H with H at either end of a path."""
    host = bulk('Mg', 'hcp', a=3.20, c=5.19).repeat(2)
    return [host + Atoms('H', [site]) for site in hcp_paths(host.cell.array, host.positions)[path]]


def straight_path(ends: list[Atoms], n_images: int) -> orm.TrajectoryData:
    """Return images on the straight line between two ends, ends included."""
    shares = np.linspace(0.0, 1.0, n_images + 2)[:, None, None]
    return make_trajectory(ends[0], ends[0].positions + shares * (ends[1].positions - ends[0].positions))


def vasp_inputs(
    protocol: str = 'smoke', potential: PotentialData | None = None, **changes: dict
) -> dict[str, orm.Data]:
    """Return a protocol's inputs for a search in VASP."""
    return vasp_inputs_of_protocol(protocol_inputs('neb', protocol, changes), potential)


def end_results(energy: float = -26.0, **changes: object) -> orm.Dict:
    """Return the results of a relaxation."""
    results = {
        'converged': True,
        'free_energy_ev': energy,
        'max_force_ev_per_angstrom': 0.004,
        'n_steps': 7,
        'largest_displacement_angstrom': 0.05,
        'evaluator': 'dft',
        'labelled_by': 'vasp',
        'versions': {'vasp': 'vasp.6.4.3'},
    }
    return orm.Dict(results | changes)


def make_force_field(folder: Path, elements: tuple[str, ...] = ('H', 'Mg'), fast: bool = True) -> PotentialData:
    """Return a force field with a real head but made-up data."""
    path = folder / 'ML_FF'
    basis = dict.fromkeys(elements, 10)
    write_ml_ff(path, MlFfHeader('0.2.1', list(elements), fast, 8, basis, standin='chgnet-r2scan'), b'no model')
    options = {'architecture': 'vasp-mlff', 'origin': 'on-the-fly', 'dtype': 'float64'}
    return PotentialData.from_file(path, elements=elements, **options)


def standin_code(computer: orm.Computer, model: Path) -> orm.InstalledCode:
    """Return a code of the stand-in with labels of a MACE model."""
    return orm.InstalledCode(
        label='standin',
        computer=computer,
        filepath_executable=str(Path(sys.executable).with_name('mghdiff-vasp-standin')),
        prepend_text=f'export MGHDIFF_STANDIN_LABELS=mace:{model}',
        with_mpi=False,
    )


def learn_path(folder: Path, model: Path, n_frames: int = 40) -> PotentialData:
    """Return the stand-in's force field, learned from distorted frames along O-T with MACE's labels."""
    from mace.calculators import MACECalculator

    ends, rng = hydride(), np.random.default_rng(1)
    calculator = MACECalculator(model_paths=str(model), device='cpu', default_dtype='float64')
    configurations = []
    for share in np.linspace(-0.1, 1.1, n_frames):
        frame = ends[0].copy()
        frame.positions += share * (ends[1].positions - ends[0].positions)
        frame.positions += 0.08 * rng.normal(size=frame.positions.shape)
        frame.calc = calculator
        energy = frame.get_potential_energy()
        labels = Labels(energy, energy, frame.get_forces(), frame.get_stress())
        configurations.append(wrapped(frame, labels, 0.01))
    learner = Learner([12, 1], 1000)
    learner.add(configurations)
    header = MlFfHeader(ML_FF_VERSION, ['Mg', 'H'], True, n_frames, standin='mace:tiny')
    write_ml_ff(folder / 'ML_FF', header, learner.force_field.to_bytes())
    options = {'architecture': 'vasp-mlff', 'origin': 'on-the-fly', 'dtype': 'float64'}
    return PotentialData.from_file(folder / 'ML_FF', elements=['Mg', 'H'], **options)


def outcar_text(
    atoms: Atoms,
    steps: list[tuple[np.ndarray, float, np.ndarray]],
    *,
    band_force: float | None = 0.01,
    converged: bool = True,
    finished: bool = True,
    is_dft: bool = True,
    scf_converged: bool = True,
    at_nelm: Sequence[int] = (),
) -> str:
    """Return an OUTCAR with the lines that VASP 6 writes for a relaxation, or for an image of a band with VTST.

    :param at_nelm: steps whose loop ended at NELM above EDIFF; like VASP 5 they say that EDIFF is reached.
    :param steps: positions [n,3] in Å, free energy in eV and forces [n,3] in eV/Å of each step.
    :param band_force: largest force of the band; None for a VASP without VTST.
    """
    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    counts = [atoms.get_chemical_symbols().count(symbol) for symbol in symbols]
    extra = '' if band_force is None else ' VTST: version 4.2, (2024-01-01)\n'
    text = outcar_head(symbols, counts, extra=extra, settings=scf_settings(4))
    for number, (positions, energy, forces) in enumerate(steps, start=1):
        step = {'cell': atoms.cell.array, 'positions': positions, 'forces': forces, 'stress': np.zeros(6)}
        step |= {'energy': energy, 'sigma0': energy}
        if number in at_nelm:
            text += loop_step(number, step, 4 * [FAR], REACHED)
        else:
            text += dft_step(number, step, scf_converged) if is_dft else ml_step(step)
        text += '' if band_force is None else f'  FORCES: max atom, RMS {band_force:12.6f} {band_force / 2:11.6f}\n'
    text += ' reached required accuracy - stopping structural energy minimisation\n' if converged else ''
    return text + (outcar_end() if finished else '')
