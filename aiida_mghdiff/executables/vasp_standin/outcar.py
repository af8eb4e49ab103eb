"""Text of OUTCAR: the head, which names the source of the labels, and the blocks of each step.

Force-field and first-principles steps have VASP's own blocks, in VASP's order: for the same geometry, the force field's
block comes first. A first-principles step shows one electronic iteration with an energy change of zero, because labels
of the stand-in have no SCF iterations of VASP.
"""

from __future__ import annotations

import resource
import time
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from aiida_mghdiff.executables.vasp_standin.folder import Inputs
from aiida_mghdiff.executables.vasp_standin.force_field import Labels
from aiida_mghdiff.executables.vasp_standin.incar_tags import Settings
from aiida_mghdiff.executables.vasp_standin.step import Dynamics, Step, scaled_positions, stress_kbar
from aiida_mghdiff.formats.outcar import standin_mark
from aiida_mghdiff.science.units import KBAR_IN_EV_PER_ANGSTROM3

_RULE = '-' * 104
_LINE = ' ' + '-' * 83


def mark(banner: str, labelled_by: str) -> str:
    """Return the first lines, which say that this is not VASP."""
    date = time.strftime('date %Y.%m.%d  %H:%M:%S')
    return f' {banner}\n {standin_mark(labelled_by)}\n {date}\n\n{_RULE}\n\n'


def head(banner: str, labelled_by: str, inputs: Inputs, is_band: bool) -> str:
    """Return the text before the settings.

    :param banner: the version line.
    """
    lines = [' INCAR:', *(f'   {tag} = {value}' for tag, value in inputs.raw.items()), '']
    # twice, as in VASP: readers rely on this
    lines += [f' POTCAR:   {title}' for title in inputs.titles] * 2
    for symbol, title in zip(inputs.poscar.symbols, inputs.titles, strict=True):
        lines += [f'   VRHFIN ={symbol}: title of a potential, which labels from elsewhere do not use']
        lines += [f'   TITEL  = {title}']
    if is_band:
        lines += ['', ' VTST: version stand-in (no VTST, bands of ASE)', '', ' CHAIN: Running the NEB']
    return mark(banner, labelled_by) + '\n'.join(lines) + '\n\n'


def refusal(sentence: str) -> str:
    """Return an error in a box."""
    words, rows = f'ERROR: {sentence}'.split(), ['']
    for word in words:
        if len(rows[-1]) + len(word) > 72:
            rows.append('')
        rows[-1] += f'{word} '
    bar = ' ' + '-' * 77
    return '\n'.join([bar, *(f'|  {row:74} |' for row in rows), bar]) + '\n'


def parameters(inputs: Inputs, atoms: Atoms) -> str:
    """Return the table of settings, and the tags without effect."""
    settings = inputs.settings
    lines = [
        ' Dimension of arrays:',
        '   k-points           NKPTS =      0   k-points in BZ     NKDIM =      0   number of bands    NBANDS=      0',
        f'   number of dos      NEDOS =    301   number of ions     NIONS = {len(atoms):6d}',
        '   total plane-waves  NPLWV =      0',
        f'   ions per type =         {"".join(f"{count:6d}" for count in inputs.poscar.counts)}',
        '',
        f' SYSTEM =  {settings.system[:40]:40}',
        '',
        ' k-points in reciprocal lattice and weights: none, there are no electrons',
        '',
        '   ISPIN  =      1    spin polarized calculation?',
        ' Electronic Relaxation 1',
        f'   NELM   = {settings.nelm:6d};   NELMIN=  1; NELMDL=  0     # of ELM steps',
        f'   EDIFF  = {settings.electronic["energy_per_electron_ev"]:.1E}   stopping-criterion for ELM',
        ' Ionic relaxation',
        f'   EDIFFG = {settings.ediffg:.1E}   stopping-criterion for IOM',
        f'   NSW    = {settings.nsw:6d}    number of steps for IOM',
        f'   NBLOCK = {settings.block:6d};   KBLOCK = {settings.nsw:6d}    inner block; outer block',
        f'   IBRION = {settings.ibrion:6d}    ionic relax: 0-MD 1-quasi-New 2-CG',
        f'   ISIF   = {settings.isif:6d}    stress and relaxation',
        f'   POTIM  ={settings.potim:7.4f}    time-step for ionic-motion',
        f'   TEBEG  ={settings.tebeg:7.1f};   TEEND  ={settings.teend:7.1f} temperature during run',
        f'   SMASS  = {settings.smass:6.2f}    Nose mass-parameter (am)',
        f'   PSTRESS= {settings.pressure:7.1f} pullay stress',
        '',
        '  Mass of Ions in am',
        f'   POMASS = {"".join(f"{mass:7.2f}" for mass in inputs.masses)}',
        '',
    ]
    if settings.without_effect:
        lines.append(' Tags of INCAR without effect: the labels are not from VASP, and their settings are fixed')
        lines += [f'   {tag} = {inputs.raw[tag]}' for tag in settings.without_effect] + ['']
    return '\n'.join([*lines, _cell(atoms), *_positions(atoms), '', _RULE]) + '\n\n'


def _cell(atoms: Atoms) -> str:
    rows = np.hstack([atoms.cell.array, atoms.cell.reciprocal().array])
    lengths = np.r_[atoms.cell.lengths(), np.linalg.norm(atoms.cell.reciprocal().array, axis=1)]
    lines = [f'  volume of cell : {atoms.get_volume():10.2f}']
    lines.append('      direct lattice vectors                 reciprocal lattice vectors')
    lines += ['   ' + ''.join(f'{value:13.9f}' for value in row) for row in rows]
    return '\n'.join([*lines, '', '  length of vectors', '   ' + ''.join(f'{value:13.9f}' for value in lengths), ''])


def _positions(atoms: Atoms) -> list[str]:
    lines = [' position of ions in fractional coordinates (direct lattice)']
    lines += [''.join(f'{value:13.8f}' for value in row) for row in scaled_positions(atoms)]
    lines += ['', ' position of ions in cartesian coordinates  (Angst):']
    return lines + [''.join(f'{value:13.8f}' for value in row) for row in atoms.positions]


def step(step: Step, settings: Settings) -> str:
    """Return the text of a step."""
    parts = []
    if step.learned is not None:
        parts.append(_learned(step.atoms, step.learned, settings))
    if step.first_principles is not None:
        parts.append(_first_principles(step, step.first_principles, settings))
    if step.dynamics is not None:
        parts.append(_dynamics(step, step.dynamics))
    return '\n'.join(parts)


def _stress(atoms: Atoms, labels: Labels, settings: Settings, title: str) -> list[str]:
    kbar = stress_kbar(labels.stress)
    total = kbar * KBAR_IN_EV_PER_ANGSTROM3 * atoms.get_volume()
    return [
        title,
        '  Direction    XX          YY          ZZ          XY          YZ          ZX',
        '  ' + '-' * 86,
        '  Total ' + ''.join(f'{value:12.5f}' for value in total),
        '  in kB ' + ''.join(f'{value:12.5f}' for value in kbar),
        f'  external pressure = {kbar[:3].mean() - settings.pressure:11.2f} kB'
        f'  Pullay stress = {settings.pressure:11.2f} kB',
        '',
    ]


def _forces(atoms: Atoms, labels: Labels, title: str) -> list[str]:
    rows = np.hstack([atoms.positions, labels.forces])
    return [
        title,
        _LINE,
        *(
            ''.join(f'{value:13.5f}' for value in row[:3]) + ' ' + ''.join(f'{value:14.6f}' for value in row[3:])
            for row in rows
        ),
        _LINE,
        '    total drift:                           '
        + ''.join(f'{value:14.6f}' for value in labels.forces.sum(axis=0)),
        '',
        _RULE,
        '',
    ]


def _learned(atoms: Atoms, labels: Labels, settings: Settings) -> str:
    energy = f'{labels.energy:18.8f}'
    work = settings.pressure * KBAR_IN_EV_PER_ANGSTROM3 * atoms.get_volume()
    lines = _stress(atoms, labels, settings, '  ML FORCE on cell =-STRESS in cart. coord. units (eV/cell)')
    lines += [_cell(atoms), '']
    lines += _forces(atoms, labels, '  POSITION                                       TOTAL-FORCE (eV/Angst) (ML)')
    lines += ['', '  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)', '  ' + '-' * 51]
    lines += [f'  free  energy ML TOTEN  = {energy} eV', '']
    lines += [f'  ML energy  without entropy={energy}  ML energy(sigma->0) ={energy}', '']
    if settings.pressure:
        lines += [f'  enthalpy is ML TOTEN    = {labels.energy + work:18.8f} eV   P V= {work:18.8f}', '']
    return '\n'.join(lines) + '\n'


def _first_principles(step: Step, labels: Labels, settings: Settings) -> str:
    atoms = step.atoms
    free, sigma0 = labels.energy, labels.energy_sigma0
    lines = ['', f'{"-" * 39} Iteration {step.number:6d}(   1)  {"-" * 39}', '', '']
    lines += [' total energy-change (2. order) : 0.0000000E+00  ( 0.0000000E+00)', '']
    lines += [' Free energy of the ion-electron system (eV)', '  ' + '-' * 51]
    lines += [f'  free energy    TOTEN  = {free:18.8f} eV', '']
    lines += [f'  energy without entropy = {2 * sigma0 - free:18.8f}  energy(sigma->0) = {sigma0:18.8f}', '', _RULE, '']
    lines += [f'{"-" * 24} aborting loop because EDIFF is reached {"-" * 40}', '', '']
    lines += _stress(atoms, labels, settings, '  FORCE on cell =-STRESS in cart. coord.  units (eV):')
    lines += [' VOLUME and BASIS-vectors are now :', ' ' + '-' * 77, _cell(atoms), '']
    lines += _forces(atoms, labels, ' POSITION                                       TOTAL-FORCE (eV/Angst)')
    lines += ['', '  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)', '  ' + '-' * 51]
    lines += [f'  free  energy   TOTEN  = {free:18.8f} eV', '']
    lines += [f'  energy  without entropy={2 * sigma0 - free:18.8f}  energy(sigma->0) ={sigma0:18.8f}', '']
    if settings.pressure:
        work = settings.pressure * KBAR_IN_EV_PER_ANGSTROM3 * atoms.get_volume()
        lines += [f'  enthalpy is  TOTEN    = {free + work:18.8f} eV   P V= {work:18.8f}', '']
    return '\n'.join([*lines, _RULE]) + '\n'


def _dynamics(step: Step, state: Dynamics) -> str:
    lines = ['           RANDOM_SEED = ' + ''.join(f'{number:18d}' for number in state.seed), '']
    lines += ['  ENERGY OF THE ELECTRON-ION-THERMOSTAT SYSTEM (eV)', '  ' + '-' * 51]
    lines += [
        f'% ion-electron   TOTEN  = {step.labels.energy:16.6f}  see above',
        f'  kinetic energy EKIN   = {state.kinetic:16.6f}',
        f'  kin. lattice  EKIN_LAT= {state.lattice_kinetic:16.6f}  (temperature {state.temperature:7.2f} K)',
        f'  nose potential ES     = {state.thermostat_potential:16.6f}',
        f'  nose kinetic   EPS    = {state.thermostat_kinetic:16.6f}',
        '  ' + '-' * 51,
        f'  total energy   ETOTAL = {step.total_energy:16.6f} eV',
        '',
    ]
    return '\n'.join(lines) + '\n'


def end(started: float, converged: bool) -> str:
    """Return the last lines of a completed run; ``started``: start on the monotonic clock in s."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    lines = ['', ' reached required accuracy - stopping structural energy minimisation', ''] if converged else ['']
    lines += [' General timing and accounting informations for this job:', ' ' + '=' * 56, '  ']
    values = {
        'Total CPU time used (sec)': usage.ru_utime + usage.ru_stime,
        'User time (sec)': usage.ru_utime,
        'System time (sec)': usage.ru_stime,
        'Elapsed time (sec)': time.monotonic() - started,
    }
    lines += [f'{name:>43}: {value:12.3f}' for name, value in values.items()]
    lines += ['  ', f'{"Maximum memory used (kb)":>43}: {usage.ru_maxrss:11d}.']
    lines += [f'{"Average memory used (kb)":>43}:          N/A', '  ']
    lines += [f'{"Minor page faults":>43}: {usage.ru_minflt:12d}', f'{"Major page faults":>43}: {usage.ru_majflt:12d}']
    return '\n'.join([*lines, f'{"Voluntary context switches":>43}: {usage.ru_nvcsw:12d}']) + '\n'


def band(images: list[Atoms], energies: list[float], forces: np.ndarray, converged: bool) -> str:
    """Return the lines that VTST adds to a step of an image.

    :param images: the previous, the present and the next image; ``energies`` are their energies in eV.
    :param forces: forces of the band [n,3] in eV/Å.
    """
    shifts = [find_mic(b.positions - a.positions, images[1].cell, pbc=True)[0] for a, b in pairwise(images)]
    before, after = (float(np.linalg.norm(shift)) for shift in shifts)
    tangent = _tangent(shifts[0], shifts[1], energies)
    real = images[1].get_forces()
    along = float((real * tangent).sum())
    across = float(np.linalg.norm(real - along * tangent))
    spring = float((forces * tangent).sum())
    higher = ['T' if energy > energies[1] else 'F' for energy in (energies[0], energies[2])]
    lengths = np.linalg.norm(forces, axis=1)
    lines = [f' NEB: the previous image is higher in energy: {higher[0]}']
    lines += [f' NEB: the next image is higher in energy    : {higher[1]}', '', ' NEB: Tangent', ' ' + '-' * 46]
    lines += [''.join(f'{value:13.5f}' for value in row) for row in tangent]
    lines += ['', f' NEB: forces: par spring, perp REAL, dneb {spring:12.6f}{across:12.6f}{0.0:12.6f}']
    lines += [f' NEB: distance to prev, next image, angle between {before:12.6f}{after:12.6f}{0.0:12.6f}']
    lines += [f' NEB: projections on to tangent (spring, REAL) {spring:12.6f}{along:12.6f}', '']
    lines += [f'  FORCES: max atom, RMS {lengths.max():12.6f}{np.sqrt((lengths**2).mean()):12.6f}']
    lines += [f'  FORCE total and by dimension {np.linalg.norm(forces):12.6f}{np.abs(forces).max():12.6f}']
    lines += [' OPT: skip step - force has converged'] if converged else []
    return '\n'.join([*lines, '', _RULE]) + '\n\n'


def _tangent(before: np.ndarray, after: np.ndarray, energies: list[float]) -> np.ndarray:
    """Return the unit vector along the band: towards the higher neighbour on a slope, mixed from both at a maximum."""
    if energies[0] < energies[1] < energies[2]:
        direction = after
    elif energies[0] > energies[1] > energies[2]:
        direction = before
    else:
        direction = before + after
    return direction / max(np.linalg.norm(direction), 1e-12)
