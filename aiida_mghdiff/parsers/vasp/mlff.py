"""Parser of VASP's on-the-fly learning and of other modes of its force fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mghdiff.calculations.vasp.force_field import evaluator_of
from aiida_mghdiff.calculations.vasp.job import integrator_of, start_atoms
from aiida_mghdiff.calculations.vasp.md import reduction_plan
from aiida_mghdiff.calculations.vasp.mlff import (
    MOVING_MODES,
    known_arrays,
    md_parameters,
    mode_of,
    origin_message,
    output_block_of,
)
from aiida_mghdiff.data.architectures import VASP_MLFF
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.frames import arrays_from_frames, index_groups
from aiida_mghdiff.formats.job_files import ML_ABN, ML_FFN, ML_LOGFILE, OSZICAR, OUTCAR
from aiida_mghdiff.formats.ml_ff import read_ml_ff_header
from aiida_mghdiff.formats.ml_logfile import MlLog, Table, read_ml_logfile
from aiida_mghdiff.formats.mlab import MlAb, read_mlab
from aiida_mghdiff.formats.oszicar import read_oszicar
from aiida_mghdiff.formats.outcar import OutcarStep, OutcarSummary
from aiida_mghdiff.formats.plausibility import excess
from aiida_mghdiff.parsers.md import emit_md_outputs
from aiida_mghdiff.parsers.vasp.known_configurations import Configurations
from aiida_mghdiff.parsers.vasp.md_run import Motion, RecordedRun, VaspMdRunParser, read_run, runaway_message
from aiida_mghdiff.science.units import GPA_IN_KBAR

ON_THE_FLY = 'VASP, on the fly'
#: VASP's messages about full arrays. VASP draws boxes around messages, breaks them anywhere and words them differently
#: in each version; only the tag is the same.
_FULL = (
    re.compile(r'(?:increase|enlarge|raise|exceeds?|reached)\W+ML_M(?P<tag>CONF|B)\b', re.IGNORECASE),
    re.compile(r'\bML_M(?P<tag>CONF|B)\b.{0,80}?(?:too small|exceed|reached|increase|enlarge)', re.IGNORECASE),
    re.compile(r'not enough storage reserved for local reference(?P<tag>)', re.IGNORECASE),
)
_BARS = re.compile(r'[\s|]+')
#: Number of characters before these words in the message.
_CONTEXT = 80

#: Value of the dataset's array ``converged``: whether the SCF of a label converged.
CONVERGED = {True: 1, False: 0, None: -1}


@dataclass
class NewConfiguration:
    """A new configuration: VASP's number of its step and whether its SCF converged, each None if unknown."""

    frame: Atoms
    step: int | None
    is_learned: bool
    converged: bool | None


@dataclass
class LearnedConfigurations:
    """Result of learning: new configurations with their origin, and the composition of ML_ABN."""

    mlab: MlAb | None
    order: list[int] = field(default_factory=list)
    new: list[NewConfiguration] = field(default_factory=list)


def sort_out(
    mlab: MlAb | None, known: Configurations, computed: list[OutcarStep], frames: list[Atoms]
) -> LearnedConfigurations:
    """Return the new configurations: unknown configurations of ML_ABN, then DFT steps that VASP did not learn.

    VASP also learns from labels with an unconverged SCF, which are part of ML_AB. Unconverged labels that VASP did not
    learn are dropped.

    :param computed: the steps of DFT; ``frames``: the same steps as labelled atoms.
    """
    learned, in_outcar = LearnedConfigurations(mlab), Configurations(flat_arrays(frames))
    found = set()
    for frame in mlab.frames if mlab else []:
        energy = frame.calc.results['energy']
        index, row = known.find(frame, energy), in_outcar.find(frame, energy)
        found.add(row)
        if index is None:
            index = len(known) + len(learned.new)
            origin = (None, None) if row is None else (computed[row].index, computed[row].scf_converged)
            learned.new.append(NewConfiguration(frame, origin[0], True, origin[1]))
        learned.order.append(index)
    for row, (step, frame) in enumerate(zip(computed, frames, strict=True)):
        if step.scf_converged and row not in found and known.find(frame, step.energy) is None:
            learned.new.append(NewConfiguration(frame, step.index, False, True))
    return learned


def complete_steps(learned: LearnedConfigurations, computed: list[OutcarStep], log: MlLog | None) -> None:
    """Take steps that OUTCAR lacks from ML_LOGFILE, if the numbers of configurations agree.

    A run has one composition, and VASP appends to each composition, so new configurations are in the order of steps.
    """
    unknown = [new for new in learned.new if new.step is None]
    told = {step.index for step in computed}
    steps = [] if log is None else log.status['steps'][log.status['is_dft']].tolist()
    left = [step for step in steps if step not in told]
    if len(left) == len(unknown):
        for new, step in zip(unknown, left, strict=True):
            new.step = step


def flat_arrays(frames: list[Atoms]) -> dict[str, np.ndarray] | None:
    """Return the flat arrays of frames, or None without frames."""
    return arrays_from_frames(frames) if frames else None


def labelled(step: OutcarStep, numbers: np.ndarray) -> Atoms:
    """Return a step of DFT as labelled atoms."""
    atoms = Atoms(numbers, step.positions, cell=step.cell, pbc=True)
    labels = {'energy': step.energy, 'free_energy': step.energy, 'forces': step.forces}
    atoms.calc = SinglePointCalculator(atoms, **labels, **({} if step.stress is None else {'stress': step.stress}))
    return atoms


def make_dataset(
    new: list[NewConfiguration], settings: Mapping[str, Any], temperatures: Mapping[int, float], labelled_by: str
) -> DatasetData:
    """Return new configurations as a dataset; correlated configurations of one part of the run form a group.

    :param settings: settings of the job.
    :param temperatures: temperatures in K by VASP's step.
    """
    first_step, stage = settings['first_step'], settings['stage']
    steps = np.array([-1 if each.step is None else first_step + each.step - 1 for each in new])
    groups, group_names = index_groups(stretches(steps, settings))
    origin = {
        'stages': np.zeros(len(new), dtype=int),
        'steps': steps,
        'temperatures_k': np.array(
            [np.nan if each.step is None else temperatures.get(each.step, np.nan) for each in new]
        ),
        'learned': np.array([each.is_learned for each in new]),
        'converged': np.array([CONVERGED[each.converged] for each in new]),
        'groups': groups,
    }
    return DatasetData.from_arrays(
        arrays_from_frames([each.frame for each in new]) | origin,
        energy_kind='free',
        labelled_by=labelled_by,
        group_names=group_names,
        stage_names=[stage],
    )


def stretches(steps: np.ndarray, settings: Mapping[str, Any]) -> list[str]:
    """Return for each configuration the name of its part of the run; steps are counted over all jobs.

    If the step of one configuration is unknown, all configurations of the job may be correlated.
    """
    stage, length = settings['stage'], settings['group_steps']
    if (steps < 0).any():
        return [f'{stage}, job from step {settings["first_step"]}'] * len(steps)
    return [f'{stage}, stretch {step // length}' for step in steps.tolist()]


def make_learning_state(mlab: MlAb, order: list[int]) -> orm.ArrayData:
    """Return the learning state in ML_ABN: order of the configurations, thresholds and basis."""
    arrays = {'order': np.array(order, dtype='<i8')}
    if mlab.ctifor is not None:
        arrays['ctifor'] = np.array(mlab.ctifor, dtype='<f8')
    arrays |= {f'basis_{element}': np.ascontiguousarray(rows, dtype='<i8') for element, rows in mlab.basis.items()}
    node = orm.ArrayData(arrays)
    node.base.attributes.set_many(
        {
            'types': mlab.types,
            'reference_energies': mlab.reference_energies,
            'masses': mlab.masses,
            'version': mlab.version,
        }
    )
    return node


def make_learning(log: MlLog, first_step: int) -> orm.ArrayData | None:
    """Return the tables of ML_LOGFILE, or None; steps are counted over the whole run."""
    tables: dict[str, Table] = {
        'status': log.status,
        'bayesian': log.beef,
        'training': log.err,
        'spilling': log.sff,
        'threshold': log.threshold_updates,
        'configurations': log.n_configurations,
        **{f'basis_{element}': table for element, table in log.n_basis.items()},
    }
    arrays: dict[str, np.ndarray] = {}
    for name, table in tables.items():
        if len(table['steps']):
            arrays |= {f'{name}_{column}': values for column, values in table.items()}
            arrays[f'{name}_steps'] = table['steps'] + first_step - 1
    return orm.ArrayData(arrays) if arrays else None


def log_results(log: MlLog | None) -> dict[str, Any]:
    """Return the last numbers of ML_LOGFILE."""

    def last(table: str, column: str) -> float | None:
        values = getattr(log, table)[column] if log else []
        return float(values[-1]) if len(values) else None

    spilling, stress_kbar = log.sff['sfmax'] if log else (), last('err', 'rmse_stress')
    return {
        'training_rmse_energy_ev_per_atom': last('err', 'rmse_energy'),
        'training_rmse_force_ev_per_angstrom': last('err', 'rmse_force'),
        'training_rmse_stress_gpa': None if stress_kbar is None else stress_kbar / GPA_IN_KBAR,
        'threshold_ev_per_angstrom': last('threshold_updates', 'ctifor_new') or last('beef', 'threshold'),
        'max_bayesian_error_ev_per_angstrom': float(np.max(log.beef['bee_max_force']))
        if log and len(log.beef['steps'])
        else None,
        'max_spilling_factor': float(np.max(spilling)) if len(spilling) else None,
        'memory_estimate_mb': log.memory_mb if log else None,
    }


class VaspMlffParser(VaspMdRunParser):
    """Emits the learned configurations and the trajectory; for an interrupted run, their complete part."""

    CACHE_VERSION = 9

    def parse_job(self) -> ExitCode | None:
        """Emit the outputs; return the exit code of a failed job."""
        self.tags = self.inputs['parameters'].get_dict()
        self.settings = self.inputs['settings'].get_dict()
        self.start = start_atoms(self.inputs)
        self.missing: list[str] = []
        self.report_failed_reduction()
        try:
            outcar = self.read_outcar(self._labelled_by())
        except (FileNotFoundError, FormatError) as error:
            return self.crash(self.short(str(error)) if isinstance(error, FormatError) else OUTCAR)
        if outcar.truncated:
            self.missing.append(outcar.truncated)
        self.mixed = origin_message(self.inputs, outcar.labelled_by)
        log = self._read(read_ml_logfile, ML_LOGFILE)
        if log and log.truncated:
            self.missing.append(log.truncated)
        if log and (learning := make_learning(log, self.settings['first_step'])) is not None:
            self.out('learning', learning)
        self._miss_files(log)
        results = self._emit_learned(outcar, log) | log_results(log)
        force_field = None if self.mode == 'run' or self.mixed else self._emit_force_field()
        return self._finish(outcar, results, force_field)

    @property
    def mode(self) -> str:
        """Return ML_MODE."""
        return mode_of(self.tags)

    def _labelled_by(self) -> str | None:
        """Return the origin of the labels if OUTCAR lacks it; None if all other files lack it, too."""
        if self.mode == 'run':
            return self.origin_of_labels(self.inputs['potential'])
        try:
            standin = read_ml_ff_header(self.files / ML_FFN).standin
        except (OSError, FormatError):
            return None
        return 'vasp' if standin is None else f'standin:{standin}'

    def _miss_files(self, log: MlLog | None) -> None:
        """Note missing or empty files that a learning job must write.

        Mode run needs its log only for the spilling factor; a job that learned nothing yet has no ML_ABN.
        """
        names = []
        if self.mode != 'run' or self.settings['spilling_limit'] is not None:
            names.append(ML_LOGFILE)
        has_learned = self._has(ML_FFN) or bool(log and len(log.n_configurations['steps']))
        if self.mode in ('select', 'refit') or (self.mode == 'train' and has_learned):
            names.append(ML_ABN)
        for name in names:
            if not self._has(name):
                self.missing.append(f'{name} is {"empty" if (self.files / name).is_file() else "missing"}')

    def _has(self, name: str) -> bool:
        path = self.files / name
        return path.is_file() and bool(path.stat().st_size)

    def _read(self, reader: Any, name: str) -> Any:
        """Read a file; for a damaged file, return None and note a message."""
        if not self._has(name):
            return None
        try:
            return reader(self.files / name)
        except FormatError as error:
            self.missing.append(f'{name}, {error.place}: {error.reason}')
            return None

    def _emit_learned(self, outcar: OutcarSummary, log: MlLog | None) -> dict[str, Any]:
        """Emit dataset and learning state; return their results."""
        mlab = None if self.mode == 'run' else self._read(partial(read_mlab, allow_implausible=True), ML_ABN)
        known, steps = Configurations(self._known_arrays()), outcar.dft_steps
        learned = sort_out(mlab, known, steps, [labelled(step, self.start.numbers) for step in steps])
        complete_steps(learned, steps, log)
        if learned.new:
            self.out('dataset', make_dataset(learned.new, self.settings, self._temperatures(), outcar.labelled_by))
        if mlab is not None and not self.mixed:
            self.out('learning_state', make_learning_state(mlab, learned.order))
        unconverged = [step.index for step in steps if step.scf_converged is False]
        return {
            'mode': self.mode,
            'stage': self.settings['stage'],
            'labelled_by': outcar.labelled_by,
            'n_dft_steps': len(outcar.dft_steps),
            'n_known_configurations': len(known),
            'n_configurations': len(mlab.frames) if mlab else None,
            'n_basis': {element: len(rows) for element, rows in mlab.basis.items()} if mlab else None,
            'n_new_configurations': len(learned.new),
            'n_unlearned_configurations': sum(not new.is_learned for new in learned.new),
            'n_unconverged_configurations': sum(new.converged is False for new in learned.new),
            'n_unjudged_configurations': self._warn_of_unjudged(learned.new),
            'n_implausible_configurations': self._warn_of_implausible(learned.new),
            'unconverged_steps': [self.settings['first_step'] + index - 1 for index in unconverged],
            'max_memory_mb': outcar.max_memory_mb,
        }

    def _warn_of_unjudged(self, new: list[NewConfiguration]) -> int:
        """Return and report the number of learned configurations with an unknown convergence of the SCF."""
        count = sum(each.converged is None for each in new)
        if count:
            self.logger.warning(
                f'OUTCAR does not show whether the SCF of {count} learned configurations converged; the dataset '
                'marks them (-1), and nothing learns from them.'
            )
        return count

    def _warn_of_implausible(self, new: list[NewConfiguration]) -> int:
        """Return the number of new configurations with implausible labels, and report the first of them."""
        words = [(each.step, found) for each in new if (found := excess(each.frame))]
        if words:
            step, first = words[0]
            place = 'an unknown step' if step is None else f'step {self.settings["first_step"] + step - 1}'
            self.logger.warning(
                f'{len(words)} new configurations have implausible labels, the first at {place}: {first}. '
                'VASP learns from them; the dataset of the schedule leaves them out.'
            )
        return len(words)

    def _known_arrays(self) -> dict[str, np.ndarray] | None:
        inputs = self.inputs
        if 'ml_ab' in inputs:
            with inputs['ml_ab'].as_path() as path:
                return arrays_from_frames(read_mlab(path, allow_implausible=True).frames)
        return known_arrays(inputs) if inputs.get('configurations') else None

    def _temperatures(self) -> dict[int, float]:
        """Return the temperatures in K by step of VASP."""
        series = self._read(read_oszicar, OSZICAR) if self.mode in MOVING_MODES else None
        if series is None:
            return {}
        return dict(zip(series['steps'].tolist(), series['temperature_k'].tolist(), strict=True))

    def _emit_force_field(self) -> PotentialData | None:
        header = self._read(read_ml_ff_header, ML_FFN)
        if header is None:
            return None
        node = PotentialData.from_file(
            self.files / ML_FFN,
            architecture=VASP_MLFF.name,
            origin='on-the-fly',
            elements=header.elements,
            dtype='float64',
        )
        self.out('force_field', node)
        return node

    def _finish(self, outcar: OutcarSummary, results: dict[str, Any], force_field: PotentialData | None) -> Any:
        """Emit the trajectory and the results; return the exit code."""
        recorded, problem = None, None
        if self.mode in MOVING_MODES:
            try:
                recorded = self._read_run(outcar)
            except FileNotFoundError as error:
                problem = self.crash(Path(error.filename).name)
            except (FormatError, ValueError) as error:
                problem = self.unreadable(error)
        if recorded is not None:
            completed = emit_md_outputs(self.out, recorded.run, results | self._lattice_change(recorded))
        else:
            completed = self.mode not in MOVING_MODES and outcar.finished
            # no state was written, so the last step is unknown
            steps = {'first_step': self.settings['first_step'], 'last_step': None, 'completed': completed}
            self.out('results', orm.Dict(results | steps | {'versions': {'vasp': outcar.version}}))
        return self._outcome(results, recorded, completed, problem, force_field)

    def _read_run(self, outcar: OutcarSummary) -> RecordedRun:
        parameters = md_parameters(self.tags, self.settings)
        plan = reduction_plan(parameters, self.start, output_block_of(self.tags))
        evaluator = evaluator_of(self.inputs['potential']) if self.mode == 'run' else ON_THE_FLY
        ensemble = parameters['ensemble']
        integrator = integrator_of(self.tags['mdalgo'])
        motion = Motion(
            evaluator=evaluator,
            thermostat=None if ensemble == 'nve' else f'VASP {integrator}',
            barostat='VASP Parrinello-Rahman (ISIF = 3)' if ensemble == 'npt' else None,
            integrator=integrator,
        )
        return read_run(self.files, self.start, parameters, plan, outcar, motion)

    def _lattice_change(self, recorded: RecordedRun) -> dict[str, float]:
        lengths = [np.linalg.norm(cell, axis=1) for cell in (recorded.run.final_cell, self.start.cell.array)]
        return {'lattice_change': float(np.abs(lengths[0] / lengths[1] - 1).max())}

    def _outcome(
        self,
        results: dict[str, Any],
        recorded: RecordedRun | None,
        completed: bool,
        problem: ExitCode | None,
        force_field: PotentialData | None,
    ) -> ExitCode | None:
        codes = self.exit_codes
        if failure := self.failure() or (None if completed else self.full()):
            return failure
        if self.mixed:
            return codes.ERROR_LABELS_DIFFER.format(message=self.mixed)
        if problem is not None:
            return problem
        if recorded and (message := runaway_message(recorded.run, recorded.largest_move)):
            return codes.ERROR_TEMPERATURE_RUNAWAY.format(message=message)
        if cut := self.cut([*self.missing, *(recorded.truncated if recorded else [])]):
            return cut
        if not completed:
            return codes.ERROR_OUT_OF_WALLTIME
        if self.mode != 'run' and force_field is None:
            n = results['n_configurations'] or 0
            message = f'{n} configurations learned in {results["n_dft_steps"]} steps of DFT; read ML_LOGFILE.'
            return codes.ERROR_FORCE_FIELD_UNLEARNED.format(message=message)
        limit, spilling = self.settings['spilling_limit'], results['max_spilling_factor']
        if limit is not None and spilling is not None and spilling > limit:
            message = f'spilling factor {spilling:.3g}, limit {limit:.3g}; learn at these conditions, too.'
            return codes.ERROR_SPILLING_FACTOR.format(message=message)
        if steps := results['unconverged_steps']:
            message = f'{len(steps)} steps of DFT, the first is step {steps[0]}; raise NELM or change ALGO.'
            return codes.ERROR_SCF_NOT_CONVERGED.format(message=message)
        return None

    def crash(self, missing: str) -> ExitCode:
        """Return the exit code of a run without a final state."""
        return self.failure() or self.full() or super().crash(missing)

    def full(self) -> ExitCode | None:
        """Return the exit code of a run that ended because an array was full, or None.

        A completed run had enough room: VASP may print the message, discard references and go on (ML_LBASIS_DISCARD).
        """
        text = _BARS.sub(' ', self.stdout)
        match = next((match for pattern in _FULL if (match := pattern.search(text))), None)
        if match is None:
            return None
        name = 'ERROR_MCONF_REACHED' if match['tag'].upper() == 'CONF' else 'ERROR_MB_REACHED'
        begin = max(match.start() - _CONTEXT, 0)
        return self.exit_codes[name].format(message=text[begin : match.end()].strip())
