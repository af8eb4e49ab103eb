"""Sources of labels in place of VASP's first principles: ``chgnet-r2scan``, ``mace:FILE`` or ``gpaw``.

Every output names the source of its labels. GPAW runs in a separate process, under the interpreter that has GPAW, and
labels one configuration after the other.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase import Atoms

from aiida_mghdiff.executables.vasp_standin import gpaw_worker
from aiida_mghdiff.executables.vasp_standin.force_field import Labels
from aiida_mghdiff.programs.calculators import mace
from aiida_mghdiff.programs.calculators.base import import_engine, set_threads
from aiida_mghdiff.programs.calculators.chgnet import ChgnetCalculator
from aiida_mghdiff.programs.calculators.loading import check_elements, chosen_head
from aiida_mghdiff.programs.job import ProgramError

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

GPAW_PYTHON = '/usr/bin/python3'
#: GPAW's exception for an SCF that did not converge.
_UNCONVERGED = 'KohnShamConvergenceError'
CHOICES = 'chgnet-r2scan, mace:FILE or gpaw'
#: Prefix of the file in a choice.
_MODEL = 'mace:'


class Labeller(Protocol):
    """Source of labels."""

    name: str

    def label(self, atoms: Atoms) -> Labels:
        """Return the labels of a periodic configuration."""


def make_labeller(choice: str, numbers: list[int], electronic: dict[str, Any]) -> Labeller:
    """Return the labeller that a user chose.

    :param numbers: elements that the labeller must know.
    :param electronic: settings of INCAR and KPOINTS for GPAW.
    :raises ProgramError: for an unknown choice, a missing engine, or a model that cannot be read.
    """
    if choice == 'chgnet-r2scan':
        return CalculatorLabeller(choice, _chgnet)
    if choice == 'gpaw':
        return GpawLabeller(electronic)
    if (path := _model_file(choice)) is not None:
        return _mace(path, numbers)
    raise ProgramError('INPUT_REFUSED', f'labels come from {CHOICES}, not from {choice!r}.')


def labeller_name(choice: str) -> str:
    """Return the name of the labeller in outputs: the choice, with 12 digits of the SHA-256 instead of a file."""
    path = _model_file(choice)
    if path is None or not path.is_file():
        return choice
    return f'{_MODEL}{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}'


def _model_file(choice: str) -> Path | None:
    path = choice.removeprefix(_MODEL)
    return Path(path).expanduser() if path and path != choice else None


class CalculatorLabeller:
    """Labels from an ASE calculator."""

    def __init__(self, name: str, load: Callable[[], Calculator]) -> None:
        """:param load: returns an ASE calculator; called before the first label."""
        self.name, self._load = name, load

    @cached_property
    def _calculator(self) -> Calculator:
        return self._load()

    def label(self, atoms: Atoms) -> Labels:
        """Return energy, forces and stress.

        :raises ProgramError: NON_FINITE.
        """
        self._calculator.calculate(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True))
        results = self._calculator.results
        values = [np.array(results[name], dtype=float) for name in ('energy', 'forces', 'stress')]
        if not all(np.isfinite(value).all() for value in values):
            raise ProgramError(
                'NON_FINITE', f'a label from {self.name} is not finite: check the structure and the time step.'
            )
        energy, forces, stress = values
        return Labels(float(energy), float(energy), forces, stress)


def _chgnet() -> Calculator:
    model = import_engine('chgnet.model.model', 'chgnet')
    set_threads()
    return ChgnetCalculator(model.CHGNet.load(model_name='r2scan', use_device='cpu', verbose=False))


def _mace(path: Path, numbers: list[int]) -> CalculatorLabeller:
    if not path.is_file():
        raise ProgramError(
            'POTENTIAL_UNREADABLE', f'--labels {_MODEL}{path}: there is no such file: give the path of a MACE model.'
        )
    calculator = mace.load({}, str(path), 'float64')
    check_elements({'elements': mace.elements_of(calculator)}, numbers)
    name = labeller_name(f'{_MODEL}{path}')
    print(f'labels of {name} come from its head {chosen_head(calculator)}', flush=True)
    return CalculatorLabeller(name, lambda: calculator)


class GpawLabeller:
    """Labels from GPAW with plane waves, using all settings of INCAR and KPOINTS that GPAW has, too."""

    name = 'gpaw'

    def __init__(self, electronic: dict[str, Any]) -> None:
        """:raises ProgramError: ENGINE_MISSING."""
        probe = [GPAW_PYTHON, '-c', 'import gpaw']
        if not Path(GPAW_PYTHON).exists() or subprocess.run(probe, capture_output=True, check=False).returncode:
            raise ProgramError('ENGINE_MISSING', f'{GPAW_PYTHON} has no GPAW: apt-get install gpaw gpaw-data.')
        self._electronic = electronic
        self._process: subprocess.Popen[str] | None = None

    def label(self, atoms: Atoms) -> Labels:
        """Return energy, forces and stress.

        :raises ProgramError: SCF_NOT_CONVERGED with VASP 6's own words (VASP itself would continue); or LABEL_FAILED
            with the last line that GPAW wrote.
        """
        process = self._process = self._process or self._start()
        request = {'numbers': atoms.numbers, 'positions': atoms.positions, 'cell': atoms.cell.array}
        request = {name: value.tolist() for name, value in request.items()} | {'settings': self._electronic}
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + '\n')
        process.stdin.flush()
        answer = json.loads(process.stdout.readline() or '{"error": "its process ended: see gpaw.log"}')
        if answer.get('kind') == _UNCONVERGED:
            steps = f'the given number of steps (NELM = {self._electronic["max_iterations"]})'
            message = f'The electronic self-consistency was not achieved in {steps}, and GPAW gave no label.'
            raise ProgramError('SCF_NOT_CONVERGED', message)
        if 'error' in answer:
            raise ProgramError('LABEL_FAILED', f'GPAW gave no label: {answer["error"]}.')
        return Labels(answer['free_energy'], answer['energy'], np.array(answer['forces']), np.array(answer['stress']))

    def _start(self) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
        environment.setdefault('OMP_NUM_THREADS', '1')
        with Path('gpaw.log').open('a') as log:
            process = subprocess.Popen(
                [GPAW_PYTHON, gpaw_worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,  # a signal to the group of the stand-in must not interrupt a label
            )
        atexit.register(process.kill)
        return process
