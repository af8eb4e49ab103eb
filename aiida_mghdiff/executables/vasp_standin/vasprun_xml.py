"""Text of vasprun.xml. First-principles steps are in ``calculation`` elements, force-field steps are not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from ase import Atoms

from aiida_mghdiff.executables.vasp_standin.incar_tags import Settings
from aiida_mghdiff.executables.vasp_standin.step import Step, scaled_positions, stress_kbar
from aiida_mghdiff.formats.outcar import standin_mark


def head(
    version: str,
    labelled_by: str,
    raw: dict[str, str],
    settings: Settings,
    species: list[tuple[str, int, float, str]],
    mesh: tuple[int, int, int],
) -> str:
    """Return the text before the first structure.

    :param species: for each species, symbol, number of atoms, mass in amu and title of the potential.
    """
    lines = ['<?xml version="1.0" encoding="ISO-8859-1"?>', '<modeling>', ' <generator>']
    lines += [
        '  <i name="program" type="string">vasp </i>',
        f'  <i name="version" type="string">{version}  </i>',
        f'  <i name="subversion" type="string">{escape(standin_mark(labelled_by))} </i>',
        '  <i name="platform" type="string">stand-in </i>',
        f'  <i name="date" type="string">{time.strftime("%Y %m %d")} </i>',
        f'  <i name="time" type="string">{time.strftime("%H:%M:%S")} </i>',
        ' </generator>',
        ' <incar>',
        *(_tag(tag, value) for tag, value in raw.items()),
        ' </incar>',
    ]
    return '\n'.join([*lines, *_kpoints(mesh), *_parameters(raw, settings), *_atominfo(species)]) + '\n'


def _tag(tag: str, value: str) -> str:
    """Return a tag with the type of its value."""
    name = quoteattr(tag)
    if re.fullmatch(r'\.?(TRUE|FALSE|T|F)\.?', value.strip(), re.IGNORECASE):
        return f'  <i type="logical" name={name}> {value.strip().lstrip(".")[0].upper()}  </i>'
    words = value.split()
    for kind, pattern in ((' type="int"', r'[+-]?\d+'), ('', r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')):
        if all(re.fullmatch(pattern, word) for word in words):
            element = 'i' if len(words) == 1 else 'v'
            return f'  <{element}{kind} name={name}>{" ".join(words):>16}</{element}>'
    return f'  <i type="string" name={name}>{escape(value)}</i>'


def _kpoints(mesh: tuple[int, int, int]) -> list[str]:
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in mesh), indexing='ij'), axis=-1).reshape(-1, 3)
    points -= np.round(points)
    return [
        ' <kpoints>',
        '  <generation param="Gamma">',
        f'   <v type="int" name="divisions"> {mesh[0]} {mesh[1]} {mesh[2]} </v>',
        '   <v name="usershift"> 0.0 0.0 0.0 </v>',
        '  </generation>',
        *_array('kpointlist', points, '  '),
        *_array('weights', np.full((len(points), 1), 1 / len(points)), '  '),
        ' </kpoints>',
    ]


def _parameters(raw: dict[str, str], settings: Settings) -> list[str]:
    integers = {'NSW': settings.nsw, 'IBRION': settings.ibrion, 'ISIF': settings.isif, 'MDALGO': settings.mdalgo}
    integers |= {'NELM': settings.nelm, 'ISPIN': 1, 'ISMEAR': 0, 'LORBIT': 0, 'NBLOCK': settings.block}
    integers |= {'NBANDS': 0, 'NEDOS': 301}
    reals = {'EDIFFG': settings.ediffg, 'POTIM': settings.potim, 'PSTRESS': settings.pressure, 'SMASS': settings.smass}
    reals |= {'TEBEG': settings.tebeg, 'TEEND': settings.teend, 'ENMAX': settings.electronic['encut_ev']}
    reals |= {
        'EDIFF': settings.electronic['energy_per_electron_ev'],
        'SIGMA': settings.electronic['occupations']['width'],
    }
    lines = [' <parameters>', '  <separator name="general" >']
    lines += [f'   <i type="string" name="SYSTEM">{escape(settings.system)}</i>', '  </separator>']
    lines += ['  <separator name="ionic" >']
    lines += [f'   <i type="int" name="{name}">{value:6d}</i>' for name, value in integers.items()]
    lines += [f'   <i name="{name}">{value:16.8f}</i>' for name, value in reals.items()]
    logicals = ('LNONCOLLINEAR', 'LSORBIT', 'LDAU', 'LHFCALC', 'LUSE_VDW', 'LEPSILON', 'LCHIMAG')
    lines += [f'   <i type="logical" name="{name}"> F  </i>' for name in logicals]
    lines += ['   <i type="string" name="GGA">--</i>', '   <i name="AEXX">      0.00000000</i>']
    return [*lines, '  </separator>', ' </parameters>']


def _atominfo(species: list[tuple[str, int, float, str]]) -> list[str]:
    lines = [' <atominfo>', f'  <atoms> {sum(count for _, count, _, _ in species)} </atoms>']
    lines += [f'  <types> {len(species)} </types>', '  <array name="atoms" >', '   <dimension dim="1">ion</dimension>']
    lines += ['   <field type="string">element</field>', '   <field type="int">atomtype</field>', '   <set>']
    for kind, (symbol, count, _, _) in enumerate(species, 1):
        lines += [f'    <rc><c>{symbol:2}</c><c>{kind:4d}</c></rc>'] * count
    lines += ['   </set>', '  </array>', '  <array name="atomtypes" >', '   <dimension dim="1">type</dimension>']
    lines += ['   <field type="int">atomspertype</field>', '   <field type="string">element</field>']
    lines += ['   <field>mass</field>', '   <field>valence</field>']
    lines += ['   <field type="string">pseudopotential</field>', '   <set>']
    for symbol, count, mass, title in species:
        cells = (f'{count:4d}', f'{symbol:2}', f'{mass:16.8f}', f'{0.0:16.8f}', escape(f' {title:39}'))
        lines.append('    <rc>' + ''.join(f'<c>{cell}</c>' for cell in cells) + '</rc>')
    return [*lines, '   </set>', '  </array>', ' </atominfo>']


def structure(atoms: Atoms, name: str | None = None, velocities: np.ndarray | None = None, indent: str = ' ') -> str:
    """Return a structure; velocities in Å/fs."""
    lines = [f'<structure name="{name}" >' if name else '<structure>', ' <crystal>']
    lines += _array('basis', atoms.cell.array, '  ')
    lines += [f'  <i name="volume"> {atoms.get_volume():16.8f} </i>']
    lines += _array('rec_basis', atoms.cell.reciprocal().array, '  ')
    lines += [' </crystal>', *_array('positions', scaled_positions(atoms), ' ')]
    if velocities is not None:
        lines += _array('velocities', velocities, ' ')
    return '\n'.join(indent + line for line in [*lines, '</structure>']) + '\n'


def step(step: Step, brief: bool = False) -> str:
    """Return a step; with ``brief``, a force-field step has energies only."""
    labels, indent = step.labels, ' ' if step.first_principles is None else '  '
    lines = []
    if not (brief and step.first_principles is None):
        lines += structure(step.atoms, indent=indent).splitlines()
        kbar = stress_kbar(labels.stress)
        xx, yy, zz, xy, yz, zx = kbar
        tensor = np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
        arrays = [*_array('forces', labels.forces, ''), *_array('stress', tensor, '')]
        lines += [indent + line for line in arrays]
    energy = [indent + line for line in ['<energy>', *(f' {line}' for line in _energies(step)), '</energy>']]
    lines += [*energy, f'{indent}<time name="totalsc">    0.00    0.00</time>']
    if step.first_principles is not None:
        scf = [
            '  <scstep>',
            '   <energy>',
            *(f'    {line}' for line in _energies(step)[:3]),
            '   </energy>',
            '  </scstep>',
        ]
        lines = [' <calculation>', *scf, *lines, ' </calculation>']
    return '\n'.join(lines) + '\n'


def _energies(step: Step) -> list[str]:
    labels = step.labels
    values = {
        'e_fr_energy': labels.energy,
        'e_wo_entrp': 2 * labels.energy_sigma0 - labels.energy,
        'e_0_energy': labels.energy_sigma0,
    }
    if step.dynamics is not None:
        state = step.dynamics
        values |= {'kinetic': state.kinetic, 'lattice kinetic': state.lattice_kinetic}
        values |= {'nosepot': state.thermostat_potential, 'nosekinetic': state.thermostat_kinetic}
        values |= {'total': step.total_energy}
    return [f'<i name="{name}"> {value:16.8f} </i>' for name, value in values.items()]


def end(atoms: Atoms, velocities: np.ndarray | None) -> str:
    """Return the final structure and the end of the file."""
    return structure(atoms, 'finalpos', velocities) + '</modeling>\n'


def _array(name: str, rows: Iterable[np.ndarray], indent: str) -> list[str]:
    lines = [' <v> ' + ' '.join(f'{value:16.8f}' for value in row) + ' </v>' for row in rows]
    return [indent + line for line in (f'<varray name="{name}" >', *lines, '</varray>')]
