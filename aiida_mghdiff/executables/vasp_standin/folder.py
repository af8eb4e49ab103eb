"""Input files of the stand-in, checked against each other before anything is computed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from aiida_mghdiff.executables.vasp_standin.incar_tags import Learning, Settings, read_settings, refusal
from aiida_mghdiff.formats.incar import read_incar
from aiida_mghdiff.formats.kpoints import read_kpoints
from aiida_mghdiff.formats.outcar import VRHFIN
from aiida_mghdiff.formats.poscar import Poscar, read_poscar, require_grouped
from aiida_mghdiff.programs.job import ProgramError

#: Below this temperature VASP relaxes the structure instead of running MD.
COLDEST_K = 0.1

_ELEMENT = re.compile(f'^{VRHFIN}', re.MULTILINE)
_TITLE = re.compile(r'TITEL\s*=\s*(.*?)\s*$', re.MULTILINE)


@dataclass(frozen=True)
class Inputs:
    """INCAR (raw and parsed), POSCAR, titles of the potentials, and divisions of the k-point mesh."""

    raw: dict[str, str]
    settings: Settings
    poscar: Poscar
    titles: list[str]
    mesh: tuple[int, int, int]

    @property
    def learning(self) -> Learning:
        """Return the tags of the force field, in runs with ML_LMLFF."""
        assert self.settings.learning is not None
        return self.settings.learning

    @property
    def numbers(self) -> list[int]:
        """Return the atomic numbers of the species, in the order of POSCAR."""
        return [atomic_numbers[symbol] for symbol in self.poscar.symbols]

    @property
    def masses(self) -> list[float]:
        """Return the masses of the species in u, in the order of POSCAR."""
        return list(self.settings.masses) or [float(atomic_masses[number]) for number in self.numbers]

    def atoms(self, poscar: Poscar | None = None) -> Atoms:
        """Return the atoms of this or another POSCAR, with masses and velocities."""
        poscar = poscar or self.poscar
        atoms = Atoms(poscar.numbers, poscar.positions, cell=poscar.cell, pbc=True)
        atoms.set_masses(np.repeat(self.masses, poscar.counts))
        if poscar.velocities is not None:
            atoms.set_velocities(poscar.velocities / units.fs)
        return atoms


def read_inputs(labels: str) -> Inputs:
    """Read and check the files of the folder.

    :param labels: source of the labels; GPAW uses more tags than other sources.
    :raises ProgramError: INPUT_REFUSED with the file and the reason.
    """
    raw = _read(read_incar, Path('INCAR'))
    settings = read_settings(raw, labels)
    poscar = read_structure(Path('00/POSCAR' if settings.images else 'POSCAR'))
    titles = _read(_read_potcar, Path('POTCAR'), poscar.symbols)
    mesh, is_centred = (1, 1, 1), True
    if labels == 'gpaw' or Path('KPOINTS').exists():
        mesh, is_centred = _read(read_kpoints, Path('KPOINTS'))
    electronic = settings.electronic | {'k_points': mesh, 'gamma_centred': is_centred or None}
    inputs = Inputs(raw, replace(settings, electronic=electronic), poscar, titles, mesh)
    _check(inputs)
    return inputs


def read_structure(path: Path) -> Poscar:
    """Return a POSCAR with grouped species.

    :raises ProgramError: INPUT_REFUSED.
    """
    poscar = _read(read_poscar, path)
    _read(lambda _: require_grouped(poscar.symbols), path)
    if poscar.movable is not None:
        raise ProgramError('INPUT_REFUSED', f'{path}: the stand-in has no selective dynamics: remove the flags.')
    return poscar


def _read(reader: Any, path: Path, *arguments: Any) -> Any:
    """Call a reader; turn its error into INPUT_REFUSED."""
    try:
        return reader(path, *arguments)
    except FileNotFoundError:
        raise ProgramError('INPUT_REFUSED', f'{path} is missing: write it into this folder.') from None
    except ValueError as error:
        sentence = str(error) if str(path) in str(error) else f'{path}: {error}'
        raise ProgramError('INPUT_REFUSED', f'{sentence}.') from error


def _read_potcar(path: Path, symbols: list[str]) -> list[str]:
    """Return the titles of the potentials; check that their elements are the species of POSCAR."""
    text = path.read_text(errors='replace')
    elements, titles = _ELEMENT.findall(text), _TITLE.findall(text)
    if elements != symbols:
        raise ValueError(
            f'the potentials are of {" ".join(elements) or "no element"}, but POSCAR has {" ".join(symbols)}: '
            'give one potential for each species, in the order of POSCAR'
        )
    return titles if len(titles) == len(symbols) else symbols


def _check(inputs: Inputs) -> None:
    """Refuse settings that contradict the structure or each other."""
    settings, n_species = inputs.settings, len(inputs.poscar.symbols)
    if settings.masses and len(settings.masses) != n_species:
        raise refusal('POMASS', inputs.raw['POMASS'], f'give {n_species} masses, one for each species')
    if settings.is_md and not settings.images:
        _check_dynamics(inputs)
    if settings.is_relaxation and settings.isif == 3 and settings.images:
        raise refusal('ISIF', '3', 'the cell of an elastic band is fixed: set ISIF = 2')


def _check_dynamics(inputs: Inputs) -> None:
    settings, n_species = inputs.settings, len(inputs.poscar.symbols)
    if settings.tebeg < COLDEST_K or settings.teend < COLDEST_K:
        tag = 'TEBEG' if settings.tebeg < COLDEST_K else 'TEEND'
        value = inputs.raw.get(tag, '0 (its default)')
        raise refusal(tag, value, f'below {COLDEST_K} K VASP relaxes the structure instead of running MD: start at 1 K')
    if settings.potim <= 0:
        raise refusal('POTIM', inputs.raw['POTIM'], 'a time step must be above 0')
    if settings.isif == 3 and settings.mdalgo != 3:
        raise refusal('ISIF', '3', 'VASP moves the cell only in Langevin dynamics: set MDALGO = 3, or ISIF = 2')
    if settings.mdalgo == 3 and len(settings.friction) != n_species:
        value = inputs.raw.get('LANGEVIN_GAMMA', 'nothing')
        symbols = ' '.join(inputs.poscar.symbols)
        raise refusal('LANGEVIN_GAMMA', value, f'give {n_species} frictions, one for each species ({symbols})')
    if settings.mdalgo == 3 and min(*settings.friction, settings.lattice_friction) < 0:
        raise refusal('LANGEVIN_GAMMA', inputs.raw['LANGEVIN_GAMMA'], 'a friction must not be below 0')
    if settings.mdalgo in (0, 2) and settings.smass < 0 and settings.smass != -3:
        raise refusal('SMASS', inputs.raw['SMASS'], 'the stand-in accepts -3 (no thermostat), 0 and above')
    if settings.isif == 3 and settings.piston_mass <= 0:
        raise refusal('PMASS', inputs.raw['PMASS'], 'a mass must be above 0')
    if inputs.poscar.predictor_corrector is not None and not has_nose_thermostat(settings):
        raise ProgramError(
            'INPUT_REFUSED',
            'POSCAR: its predictor-corrector block is of another ensemble (MDALGO = 2): delete all lines after the '
            'velocities.',
        )


def has_nose_thermostat(settings: Settings) -> bool:
    """Return whether the run has a Nosé-Hoover thermostat."""
    return settings.mdalgo in (0, 2) and settings.smass >= 0


def symbols_of(numbers: list[int]) -> list[str]:
    """Return the symbols of atomic numbers."""
    return [chemical_symbols[number] for number in numbers]
