"""Parser of on-the-fly learning in VASP, and of what else its force fields can do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mghdiff.calculations.vasp.md import distil_plan
from aiida_mghdiff.calculations.vasp.mlff import (
    MOVING_MODES,
    known_arrays,
    md_parameters,
    mode_of,
    output_block_of,
    start_of,
)
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.formats.frames import arrays_from_frames
from aiida_mghdiff.formats.matching import Configurations
from aiida_mghdiff.formats.ml_ff import read_ml_ff_header
from aiida_mghdiff.formats.ml_logfile import MlLog, Table, read_ml_logfile
from aiida_mghdiff.formats.mlab import MlAb, read_mlab
from aiida_mghdiff.formats.oszicar import read_oszicar
from aiida_mghdiff.formats.outcar import OutcarStep
from aiida_mghdiff.formats.outcar_summary import OutcarSummary
from aiida_mghdiff.parsers.md import emit_md_outputs
from aiida_mghdiff.parsers.vasp.md import evaluator_of
from aiida_mghdiff.parsers.vasp.run import (
    How,
    Recorded,
    VaspRunParser,
    read_outcar,
    read_run,
    runaway_message,
)

ON_THE_FLY = 'VASP, on the fly'
_MCONF = re.compile(
    r'^.*ML_MCONF.*(?:reached|exceed|too small|increase|enlarge|no room).*$', re.MULTILINE | re.IGNORECASE
)


@dataclass
class Learned:
    """What a job learned: new configurations with their origin, and how all of them make up ML_ABN."""

    mlab: MlAb | None
    order: list[int] = field(default_factory=list)
    frames: list[Atoms] = field(default_factory=list)
    dft_steps: list[int] = field(default_factory=list)  # of each frame, as VASP counts; 0 where unknown
    is_learned: list[bool] = field(default_factory=list)

    def add(self, frame: Atoms, dft_step: int, is_learned: bool) -> None:
        """Take in a new configuration."""
        self.frames.append(frame)
        self.dft_steps.append(dft_step)
        self.is_learned.append(is_learned)


def sort_out(mlab: MlAb | None, known: Configurations, computed: list[tuple[int, Atoms]]) -> Learned:
    """Return which configurations are new: those of ML_ABN that were not known, then those that DFT alone has.

    :param computed: steps of DFT whose electrons converged, labelled, with their numbers in OUTCAR.
    """
    learned, in_outcar = Learned(mlab), Configurations(flat_arrays([frame for _, frame in computed]))
    found = set()
    for frame in mlab.frames if mlab else []:
        energy = frame.calc.results['energy']
        index, step = known.find(frame, energy), in_outcar.find(frame, energy)
        found.add(step)
        if index is None:
            index = len(known) + len(learned.frames)
            learned.add(frame, 0 if step is None else computed[step][0], True)
        learned.order.append(index)
    for index, (step, frame) in enumerate(computed):
        if index not in found and known.find(frame, frame.calc.results['energy']) is None:
            learned.add(frame, step, False)
    return learned


def complete_steps(learned: Learned, log: MlLog | None) -> None:
    """Give configurations whose step OUTCAR does not tell that of ML_LOGFILE, where the numbers of both agree.

    VASP appends to each composition, and a run has one: the new ones are in the order of their steps.
    """
    if log is None or not learned.dft_steps or any(learned.dft_steps):
        return
    steps = log.status['steps'][log.status['is_dft']]
    if len(steps) == len(learned.dft_steps):
        learned.dft_steps[:] = steps.tolist()


def flat_arrays(frames: list[Atoms]) -> dict[str, np.ndarray] | None:
    """Return the flat arrays of frames, None of none."""
    return arrays_from_frames(frames) if frames else None


def labelled(step: OutcarStep, numbers: np.ndarray) -> Atoms:
    """Return a step of DFT as labelled atoms."""
    atoms = Atoms(numbers, step.positions, cell=step.cell, pbc=True)
    labels = {'energy': step.energy, 'free_energy': step.energy, 'forces': step.forces}
    atoms.calc = SinglePointCalculator(atoms, **labels, **({} if step.stress is None else {'stress': step.stress}))
    return atoms


def make_dataset(learned: Learned, first_step: int, temperatures: dict[int, float], labels: str, stage: str) -> Any:
    """Return the new configurations as a dataset of one group, the stage.

    :param temperatures: in K, by step of VASP.
    """
    steps = np.array(learned.dft_steps)
    origin = {
        'steps': np.where(steps > 0, first_step + steps - 1, -1),
        'temperatures_k': np.array([temperatures.get(step, np.nan) for step in learned.dft_steps]),
        'learned': np.array(learned.is_learned),
        'groups': np.zeros(len(steps), dtype=int),
    }
    arrays = arrays_from_frames(learned.frames) | origin
    return DatasetData.from_arrays(arrays, energy_kind='free', labels=labels, group_names=[stage])


def make_learning_state(learned: Learned) -> orm.ArrayData:
    """Return what ML_ABN has besides the configurations themselves: their order, thresholds and basis."""
    mlab = learned.mlab
    arrays = {'order': np.array(learned.order, dtype='<i8')}
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
    """Return the tables of ML_LOGFILE, the steps counted over the whole run; None where there is none."""
    tables: dict[str, Table] = {
        'status': log.status,
        'bayesian': log.beef,
        'training': log.err,
        'spilling': log.sff,
        'threshold': log.threshold_updates,
        'configurations': log.n_configurations,
        **{f'basis_{element}': table for element, table in log.n_basis.items()},
    }
    arrays = {}
    for name, table in tables.items():
        if len(table['steps']):
            arrays |= {f'{name}_{column}': values for column, values in table.items()}
            arrays[f'{name}_steps'] = table['steps'] + first_step - 1
    return orm.ArrayData(arrays) if arrays else None


def log_results(log: MlLog | None) -> dict[str, Any]:
    """Return the numbers that ML_LOGFILE ends with."""

    def last(table: str, column: str) -> float | None:
        values = getattr(log, table)[column] if log else ()
        return float(values[-1]) if len(values) else None

    spilling = log.sff['sfmax'] if log else ()
    return {
        'training_rmse_energy_ev_per_atom': last('err', 'rmse_energy'),
        'training_rmse_force_ev_per_angstrom': last('err', 'rmse_force'),
        'training_rmse_stress_kbar': last('err', 'rmse_stress'),
        'threshold_ev_per_angstrom': last('threshold_updates', 'ctifor_new') or last('beef', 'threshold'),
        'max_bayesian_error_ev_per_angstrom': float(np.max(log.beef['bee_max_force']))
        if log and len(log.beef['steps'])
        else None,
        'max_spilling_factor': float(np.max(spilling)) if len(spilling) else None,
        'memory_estimate_mb': log.memory_mb if log else None,
    }


class VaspMlffParser(VaspRunParser):
    """Gives what was learned and what moved; of a run that was cut or killed, too, what is whole."""

    CACHE_VERSION = 1

    def parse(self, retrieved_temporary_folder: str | None = None, **_: Any) -> ExitCode | None:
        """Emit the outputs; return the exit code of what went wrong."""
        self.files = Path(retrieved_temporary_folder or '').absolute()
        self.tags = self.inputs['parameters'].get_dict()
        self.settings = self.inputs['settings'].get_dict()
        self.start = start_of(self.inputs)
        self.missing: list[str] = []
        try:
            outcar = read_outcar(self.files)
        except (FileNotFoundError, FormatError) as error:
            return self.crash(self.short(str(error)) if isinstance(error, FormatError) else 'OUTCAR')
        if outcar.truncated:
            self.missing.append(outcar.truncated)
        log = self._read(read_ml_logfile, 'ML_LOGFILE')
        if log and log.truncated:
            self.missing.append(log.truncated)
        if log and (learning := make_learning(log, self.settings['first_step'])) is not None:
            self.out('learning', learning)
        results = self._emit_learned(outcar, log) | log_results(log)
        force_field = None if self.mode == 'run' else self._emit_force_field()
        return self._finish(outcar, results, force_field)

    @property
    def mode(self) -> str:
        """Return ML_MODE."""
        return mode_of(self.tags)

    def _read(self, reader: Any, name: str) -> Any:
        """Return what a reader makes of a file; None, and a sentence more about what is missing, of a damaged one."""
        path = self.files / name
        if not path.is_file() or not path.stat().st_size:
            return None
        try:
            return reader(path)
        except FormatError as error:
            self.missing.append(f'{name}, {error.place}: {error.reason}')
            return None

    def _emit_learned(self, outcar: OutcarSummary, log: MlLog | None) -> dict[str, Any]:
        """Emit dataset and learning state; return what there is to say of them."""
        mlab = None if self.mode == 'run' else self._read(read_mlab, 'ML_ABN')
        known = Configurations(self._known_arrays())
        converged = [step for step in outcar.dft_steps if step.scf_converged is not False]
        learned = sort_out(mlab, known, [(step.index, labelled(step, self.start.numbers)) for step in converged])
        complete_steps(learned, log)
        if learned.frames:
            temperatures = self._temperatures()
            first, stage = self.settings['first_step'], self.settings['stage']
            self.out('dataset', make_dataset(learned, first, temperatures, outcar.labels, stage))
        if mlab is not None:
            self.out('learning_state', make_learning_state(learned))
        unconverged = [step.index for step in outcar.dft_steps if step.scf_converged is False]
        return {
            'mode': self.mode,
            'stage': self.settings['stage'],
            'labels': outcar.labels,
            'n_dft_steps': len(outcar.dft_steps),
            'n_known_configurations': len(known),
            'n_configurations': len(mlab.frames) if mlab else None,
            'n_basis': {element: len(rows) for element, rows in mlab.basis.items()} if mlab else None,
            'n_new_configurations': len(learned.frames),
            'n_unlearned_configurations': learned.is_learned.count(False),
            'unconverged_steps': [self.settings['first_step'] + index - 1 for index in unconverged],
            'max_memory_mb': outcar.max_memory_mb,
        }

    def _known_arrays(self) -> dict[str, np.ndarray] | None:
        inputs = self.inputs
        if 'ml_ab' in inputs:
            with inputs['ml_ab'].as_path() as path:
                return arrays_from_frames(read_mlab(path).frames)
        return known_arrays(inputs) if inputs.get('configurations') else None

    def _temperatures(self) -> dict[int, float]:
        """Return the temperatures in K by step of VASP."""
        series = self._read(read_oszicar, 'OSZICAR') if self.mode in MOVING_MODES else None
        if series is None:
            return {}
        return dict(zip(series['steps'].tolist(), series['temperature_k'].tolist(), strict=True))

    def _emit_force_field(self) -> PotentialData | None:
        header = self._read(read_ml_ff_header, 'ML_FFN')
        if header is None:
            return None
        node = PotentialData.from_file(
            self.files / 'ML_FFN',
            architecture='vasp-mlff',
            origin='on-the-fly',
            elements=header.elements,
            dtype='float64',
        )
        self.out('force_field', node)
        return node

    def _finish(self, outcar: OutcarSummary, results: dict[str, Any], force_field: PotentialData | None) -> Any:
        """Emit what moved, and the results; return the exit code."""
        recorded, problem = None, None
        if self.mode in MOVING_MODES:
            try:
                recorded = self._read_run(outcar)
            except FileNotFoundError as error:
                problem = self.crash(Path(error.filename).name)
            except (FormatError, ValueError) as error:
                problem = self.exit_codes.ERROR_OUTPUT_INVALID.format(message=self.short(str(error)))
        if recorded is not None:
            completed = emit_md_outputs(self.out, recorded.run, results | self._lattice_change(recorded))
        else:
            completed = self.mode not in MOVING_MODES and outcar.finished
            self.out('results', orm.Dict(results | {'completed': completed, 'versions': {'vasp': outcar.version}}))
        return self._outcome(results, recorded, completed, problem, force_field)

    def _read_run(self, outcar: OutcarSummary) -> Recorded:
        parameters = md_parameters(self.tags, self.settings)
        plan = distil_plan(parameters, self.start, output_block_of(self.tags))
        evaluator = evaluator_of(self.inputs['ml_ff']) if self.mode == 'run' else ON_THE_FLY
        ensemble = parameters['ensemble']
        thermostat = None if ensemble == 'nve' else f'VASP MDALGO = {self.tags["mdalgo"]}'
        how = How(evaluator, thermostat, 'VASP Parrinello-Rahman (ISIF = 3)' if ensemble == 'npt' else None)
        return read_run(self.files, self.start, parameters, plan, outcar, how)

    def _lattice_change(self, recorded: Recorded) -> dict[str, float]:
        lengths = [np.linalg.norm(cell, axis=1) for cell in (recorded.run.final_cell, self.start.cell.array)]
        return {'lattice_change': float(np.abs(lengths[0] / lengths[1] - 1).max())}

    def _outcome(
        self,
        results: dict[str, Any],
        recorded: Recorded | None,
        completed: bool,
        problem: ExitCode | None,
        force_field: PotentialData | None,
    ) -> ExitCode | None:
        codes = self.exit_codes
        if failure := self.failure():
            return failure
        if problem is not None:
            return problem
        if recorded and (message := runaway_message(recorded.run, recorded.largest_move)):
            return codes.ERROR_TEMPERATURE_RUNAWAY.format(message=message)
        if missing := [*self.missing, *(recorded.truncated if recorded else [])]:
            return codes.ERROR_OUTPUT_TRUNCATED.format(message=self.short('; '.join(dict.fromkeys(missing))))
        if not completed:
            return codes.ERROR_OUT_OF_WALLTIME
        if self.mode != 'run' and force_field is None:
            n = results['n_configurations'] or 0
            message = f'{n} configurations learned in {results["n_dft_steps"]} steps of DFT; look at ML_LOGFILE.'
            return codes.ERROR_FORCE_FIELD_UNLEARNED.format(message=message)
        limit, spilling = self.settings['spilling_limit'], results['max_spilling_factor']
        if limit is not None and spilling is not None and spilling > limit:
            message = f'spilling factor {spilling:.3g}, limit {limit:.3g}; learn there, too.'
            return codes.ERROR_SPILLING_FACTOR.format(message=message)
        if steps := results['unconverged_steps']:
            message = f'{len(steps)} steps of DFT, the first is step {steps[0]}; raise NELM or change ALGO.'
            return codes.ERROR_SCF_NOT_CONVERGED.format(message=message)
        return None

    def failure(self) -> ExitCode | None:
        """Return the exit code of a failure that VASP names: no room for configurations is one more."""
        if failure := super().failure():
            return failure
        if match := _MCONF.search(self.stdout):
            return self.exit_codes.ERROR_MCONF_REACHED.format(message=match[0].strip(' |'))
        return None
