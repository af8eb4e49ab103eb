"""Sources of energies and forces for moving atoms: first principles, a learned force field, or learning on the fly.

Each evaluates a step of the run, which it may record, or looks ahead without a record.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Protocol

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from aiida_mghdiff.executables.vasp_standin.folder import Inputs, symbols_of
from aiida_mghdiff.executables.vasp_standin.force_field import ForceField, Labels
from aiida_mghdiff.executables.vasp_standin.incar_tags import Learning, refusal
from aiida_mghdiff.executables.vasp_standin.labels import Labeller
from aiida_mghdiff.executables.vasp_standin.learner import Configuration, Learner, wrapped
from aiida_mghdiff.executables.vasp_standin.outputs import Outputs
from aiida_mghdiff.executables.vasp_standin.sampling import Sampler
from aiida_mghdiff.formats import ml_logfile
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.ml_ff import MlFfHeader, read_ml_ff_header, read_ml_ff_payload, write_ml_ff
from aiida_mghdiff.formats.ml_logfile import BayesianErrors, State
from aiida_mghdiff.formats.mlab import MlAb, labelled_by_of, read_mlab, standin_name, write_mlab
from aiida_mghdiff.programs.job import ProgramError

#: Version of the ML_FF files of VASP 6.4.
ML_FF_VERSION = '0.2.1'

_USUAL_CONFIGURATIONS = 1500
_USUAL_REFERENCES = 1500


class Potential(Protocol):
    """Energies, forces and stresses."""

    def evaluate(self, step: int, atoms: Atoms, stress: bool) -> tuple[Labels | None, Labels | None]:
        """Return the labels of the force field and of first principles for a step, either or both."""

    def look_ahead(self, atoms: Atoms) -> Labels:
        """Return labels that belong to no step."""

    def finish(self) -> None:
        """End a run: write all results that are not written yet."""


class FirstPrinciples:
    """Labels for every step."""

    def __init__(self, labeller: Labeller) -> None:
        """:param labeller: gives the labels."""
        self.labeller = labeller

    def evaluate(self, step: int, atoms: Atoms, stress: bool) -> tuple[Labels | None, Labels | None]:
        """Return None for the force field, and the first-principles labels."""
        return None, self.labeller.label(atoms)

    def look_ahead(self, atoms: Atoms) -> Labels:
        """Return labels."""
        return self.labeller.label(atoms)

    def finish(self) -> None:
        """Do nothing."""


class LearnedForceField:
    """A learned force field (ML_MODE = run); writes its spilling factors at intervals."""

    def __init__(self, force_field: ForceField, outputs: Outputs, inputs: Inputs, labelled_by: str) -> None:
        """:param labelled_by: origin of the labels that the force field learned."""
        self.force_field, self.outputs, self.learning = force_field, outputs, inputs.learning
        self._started = time.monotonic()
        limits = (force_field.n_configurations, max(map(len, force_field.references.values())))
        outputs.write('ML_LOGFILE', _log_head(labelled_by, self.learning, limits, 0))

    def evaluate(self, step: int, atoms: Atoms, stress: bool) -> tuple[Labels | None, Labels | None]:
        """Return the force field's labels."""
        is_due = self.outputs.is_due(step)
        descriptor = self.force_field.soap.compute(atoms, stress=stress or is_due)
        lines = [ml_logfile.status(step, State.PREDICT, False, True, 0, step)] if is_due else []
        if self.learning.spilling_block and step % self.learning.spilling_block == 0:
            lines.append(ml_logfile.spilling(step, self.force_field.spilling(descriptor)))
        if lines:
            self.outputs.write('ML_LOGFILE', ml_logfile.block(lines))
        return self.force_field.evaluate_descriptor(descriptor, atoms.numbers), None

    def look_ahead(self, atoms: Atoms) -> Labels:
        """Return labels."""
        return self.force_field.evaluate(atoms)

    def finish(self) -> None:
        """End ML_LOGFILE."""
        self.outputs.write('ML_LOGFILE', ml_logfile.end(time.monotonic() - self._started))


class OnTheFly:
    """A force field that learns while it runs (ML_MODE = train)."""

    def __init__(self, inputs: Inputs, outputs: Outputs, labeller: Labeller) -> None:
        """Start from ML_AB if it exists, else from nothing.

        :raises ProgramError: INPUT_REFUSED for an ML_AB that does not match the structure or the limits.
        """
        self.inputs, self.outputs, self.labeller = inputs, outputs, labeller
        self.waiting: list[Configuration] = []
        self.memory = Memory(inputs, outputs, labeller.name)
        self.sampler = Sampler(inputs.learning)

    @property
    def learner(self) -> Learner:
        """Return the learner."""
        return self.memory.learner

    def evaluate(self, step: int, atoms: Atoms, stress: bool) -> tuple[Labels | None, Labels | None]:
        """Return the force field's labels, and first-principles labels if the Bayesian error is too large."""
        learned, errors = self._predict(atoms)
        error = None if errors is None else errors.max_force
        threshold = self.sampler.threshold
        state = self.sampler.decide(step, error, len(self.waiting))
        labels = None
        if state is not State.ACCURATE:
            self._check_room(step)
            labels = self.labeller.label(atoms)
            self.waiting.append(wrapped(atoms, labels, threshold))
        learns = state in (State.LEARNING, State.CRITICAL)
        lines = [ml_logfile.status(step, state, labels is not None, learned is not None, len(self.waiting), step)]
        self._pending = lines + ([] if errors is None else [ml_logfile.bayesian_errors(step, errors, threshold)])
        self._step, self._error, self._learns = step, error, learns
        return learned, labels

    def after_step(self) -> None:
        """Learn and adapt the threshold, after the labels of the step are on disk."""
        lines, before = self._pending, self.sampler.threshold
        if self._learns:
            lines += self._learn(self._step)
        if self.sampler.observe(self._error, self._learns):
            history = list(self.sampler.history)
            lines += ml_logfile.threshold_update(self._step, before, self.sampler.threshold, history)
        self.outputs.write('ML_LOGFILE', ml_logfile.block(lines))

    def _predict(self, atoms: Atoms) -> tuple[Labels | None, BayesianErrors | None]:
        return (None, None) if self.learner.force_field is None else self.learner.predict(atoms)

    def _learn(self, step: int) -> list[str]:
        waiting, self.waiting = self.waiting, []
        return self.memory.learn(step, waiting)

    def _check_room(self, step: int) -> None:
        """Refuse a configuration beyond the limit, after learning the waiting configurations."""
        limit = self.memory.max_configurations
        if len(self.learner.configurations) + len(self.waiting) < limit:
            return
        self.finish()
        raise ProgramError(
            'MCONF_REACHED',
            f'ML_MCONF = {limit} is reached in step {step}: increase ML_MCONF, continue from ML_ABN and CONTCAR.',
        )

    def look_ahead(self, atoms: Atoms) -> Labels:
        """Return the labels of the force field or, without a force field, of first principles."""
        return self._predict(atoms)[0] or self.labeller.label(atoms)

    def finish(self) -> None:
        """Learn the waiting configurations, so that ML_ABN is complete, and end ML_LOGFILE."""
        if self.waiting:
            self.outputs.write('ML_LOGFILE', ml_logfile.block(self._learn(self._step)))
        self.memory.finish()


class Memory:
    """The learner and its files: reads ML_AB at the start, writes ML_ABN, ML_FFN and ML_LOGFILE."""

    def __init__(self, inputs: Inputs, outputs: Outputs, labelled_by: str, loads: bool = True) -> None:
        """:param loads: learn the content of ML_AB at once.

        :raises ProgramError: INPUT_REFUSED.
        """
        self.inputs, self.outputs, self.labelled_by = inputs, outputs, labelled_by
        learning, numbers = inputs.learning, inputs.numbers
        self.stored = read_stored(numbers, labelled_by) if Path('ML_AB').exists() else None
        self.max_configurations, max_references = _limits(inputs, self.stored)
        self.learner = Learner(numbers, max_references, learning.weights)
        self._started = time.monotonic()
        n_stored = 0 if self.stored is None else len(self.stored.frames)
        limits = (self.max_configurations, max_references)
        outputs.write('ML_LOGFILE', _log_head(labelled_by, learning, limits, n_stored))
        if loads and self.stored is not None:
            basis = {
                number: [(int(index), int(atom)) for index, atom in self.stored.basis[symbol] - 1]
                for number, symbol in zip(numbers, symbols_of(numbers), strict=True)
                if symbol in self.stored.basis
            }
            left_out = self.learner.load(stored_configurations(self.stored), basis)
            if left_out:
                print(f' {left_out} local reference configurations of ML_AB repeat others and are left out')
            self.write_learned()

    def learn(self, step: int, configurations: list[Configuration]) -> list[str]:
        """Learn configurations, write the files, and return the lines for ML_LOGFILE."""
        before, n_before = self.sizes(), len(self.learner.configurations)
        self.learner.add(configurations)
        self.write_learned()
        after = self.sizes()
        self._check_references()
        sizes = {symbol: (before[symbol], after[symbol]) for symbol in after}
        n_after = len(self.learner.configurations)
        return ml_logfile.learned(step, self.learner.training_errors, sizes, (n_before, n_after))

    def sizes(self) -> dict[str, int]:
        """Return the number of references of each element."""
        references = self.learner.references
        return {chemical_symbols[number]: len(references[number]) for number in self.learner.numbers}

    def _check_references(self) -> None:
        sizes = self.sizes()
        if not self.inputs.learning.discard_references and max(sizes.values()) >= self.learner.max_references:
            raise ProgramError(
                'MB_REACHED',
                f'ML_MB = {self.learner.max_references} is reached: increase ML_MB, continue from ML_ABN and CONTCAR.',
            )

    def write_learned(self) -> None:
        """Write ML_ABN and ML_FFN atomically."""
        learner, folder = self.learner, self.outputs.folder
        symbols = symbols_of(learner.numbers)
        basis = {symbol: learner.basis()[number] for symbol, number in zip(symbols, learner.numbers, strict=True)}
        masses = dict(zip(symbols, self.inputs.masses, strict=True))
        name = standin_name(self.labelled_by, self.inputs.poscar.comment)
        frames = [_frame(item, name) for item in learner.configurations]
        ctifor = [item.ctifor for item in learner.configurations]
        write_mlab(folder / 'ML_ABN.new', frames, ctifor, basis, masses=masses)
        (folder / 'ML_ABN.new').replace(folder / 'ML_ABN')
        assert learner.force_field is not None  # from the last fit
        is_fast = self.inputs.learning.mode == 'refit'  # VASP's mark; here all force fields are equally fast
        header = MlFfHeader(ML_FF_VERSION, symbols, is_fast, len(frames), self.sizes(), self.labelled_by)
        write_ml_ff(folder / 'ML_FFN.new', header, learner.force_field.to_bytes())
        (folder / 'ML_FFN.new').replace(folder / 'ML_FFN')

    def finish(self) -> None:
        """End ML_LOGFILE."""
        self.outputs.write('ML_LOGFILE', ml_logfile.end(time.monotonic() - self._started))


def read_stored(numbers: list[int], labelled_by: str) -> MlAb:
    """Return ML_AB.

    :raises ProgramError: INPUT_REFUSED for a damaged file, for elements that the structure lacks, and for labels of
        another source.
    """
    try:
        stored = read_mlab('ML_AB', allow_implausible=True)
    except FormatError as error:
        raise ProgramError('INPUT_REFUSED', f'{error}.') from error
    symbols = symbols_of(numbers)
    others = [name for name in stored.types if name not in symbols]
    if others:
        raise ProgramError(
            'INPUT_REFUSED',
            f'ML_AB has configurations of {", ".join(others)}, but POSCAR has only {", ".join(symbols)}: '
            'give an ML_AB of these elements.',
        )
    sources = {labelled_by_of(frame) for frame in stored.frames} - {'vasp', f'standin:{labelled_by}'}
    if sources:
        raise ProgramError(
            'INPUT_REFUSED',
            f'ML_AB is labelled by {", ".join(sorted(sources))}, this run by standin:{labelled_by}: '
            'use one source of labels for a force field.',
        )
    return stored


def stored_configurations(stored: MlAb) -> list[Configuration]:
    """Return the content of ML_AB; without thresholds in the file, they are 0."""
    configurations = []
    for frame in stored.frames:
        results = frame.calc.results
        labels = Labels(results['energy'], results['energy'], results['forces'], results['stress'])
        atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True, info=dict(frame.info))
        configurations.append(Configuration(atoms, labels, frame.info.get('ctifor', 0.0)))
    return configurations


def read_force_field(numbers: list[int]) -> tuple[ForceField, str]:
    """Return the force field of ML_FF and the origin of its labels.

    :raises ProgramError: INPUT_REFUSED.
    """
    if not Path('ML_FF').exists():
        raise ProgramError('INPUT_REFUSED', 'ML_FF is missing: ML_MODE = run needs a force field, copy ML_FFN to it.')
    try:
        header = read_ml_ff_header('ML_FF')
        problem = _force_field_problem(header, symbols_of(numbers))
        if problem is None:
            return ForceField.from_bytes(read_ml_ff_payload('ML_FF')), str(header.standin)
    except (ValueError, KeyError, OSError) as error:
        problem = str(error).removeprefix('ML_FF').lstrip(', :')
    raise ProgramError('INPUT_REFUSED', f'ML_FF: {problem}.')


def _force_field_problem(header: MlFfHeader, symbols: list[str]) -> str | None:
    if header.standin is None:
        return 'VASP itself wrote it, and the stand-in cannot read force fields of VASP: use VASP'
    if header.version != ML_FF_VERSION:
        return f'its version is {header.version}, but the stand-in reads {ML_FF_VERSION}: refit ML_AB (ML_MODE = refit)'
    if missing := [symbol for symbol in symbols if symbol not in header.elements]:
        return f'it knows only {", ".join(header.elements)}, not {", ".join(missing)}: use another ML_FF'
    return None


def _limits(inputs: Inputs, stored: MlAb | None) -> tuple[int, int]:
    """Return the largest numbers of configurations, and of references of an element."""
    learning = inputs.learning
    n_stored = 0 if stored is None else len(stored.frames)
    n_references = 0 if stored is None else max(map(len, stored.basis.values()), default=0)
    if learning.max_configurations is not None and learning.max_configurations < max(n_stored, 1):
        raise refusal('ML_MCONF', str(learning.max_configurations), f'ML_AB has {n_stored} configurations: raise it')
    if learning.max_references is not None and learning.max_references < max(n_references, 1):
        raise refusal('ML_MB', str(learning.max_references), f'ML_AB has {n_references} of an element: raise it')
    room = min(_USUAL_CONFIGURATIONS, max(1, inputs.settings.nsw))
    configurations = learning.max_configurations or n_stored + room
    return configurations, learning.max_references or n_references + _USUAL_REFERENCES


def _frame(item: Configuration, name: str) -> Atoms:
    """Return a configuration in the form of ML_AB, with its own system name or, without one, a given name."""
    frame = item.atoms.copy()
    frame.info = {'system_name': item.atoms.info.get('system_name', name)}
    labels = item.labels
    frame.calc = SinglePointCalculator(
        frame, energy=labels.energy, free_energy=labels.energy, forces=labels.forces, stress=labels.stress
    )
    return frame


def _log_head(labelled_by: str, learning: Learning, limits: tuple[int, int], n_stored: int) -> str:
    """Return the head of ML_LOGFILE.

    :param limits: largest numbers of configurations, and of references of an element.
    """
    settings = {
        'Operation mode': (learning.mode, 'ML_MODE'),
        'Threshold of the Bayesian error (eV/Ang)': (learning.ctifor, 'ML_CTIFOR'),
        'Update of the threshold': (learning.criteria, 'ML_ICRITERIA'),
        'Factor of the update': (learning.cx, 'ML_CX'),
        'Length of the history': (learning.history, 'ML_MHIS'),
        'Factor of a critical error': (learning.cdoub, 'ML_CDOUB'),
        'Least interval of samples': (learning.least_interval, 'ML_NMDINT'),
        'Configurations learned together': (learning.new_configurations, 'ML_MCONF_NEW'),
        'Maximum number of configurations': (limits[0], 'ML_MCONF'),
        'Maximum number of local reference configurations': (limits[1], 'ML_MB'),
    }
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return ml_logfile.head(labelled_by, settings, (n_stored, limits[0]), memory_mb)
