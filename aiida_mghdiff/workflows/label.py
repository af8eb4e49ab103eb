"""Labels from first principles: a single point for each frame of a dataset, of structures or of trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import CalcJob, ExitCode, ProcessBuilder, ProcessSpec, while_
from aiida_vasp.data.potcar import PotcarData

from aiida_mghdiff.calculations.exit_codes import JOB_REFUSALS, define_exit_codes, has_ended_with
from aiida_mghdiff.calculations.functions.labels import (
    collect_labels,
    frame_key,
    frame_structure,
    gather_frames,
)
from aiida_mghdiff.calculations.gpaw import singlepoint as gpaw
from aiida_mghdiff.calculations.validation import at_least
from aiida_mghdiff.calculations.vasp import singlepoint as vasp
from aiida_mghdiff.calculations.vasp.job import potcars_message
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.workflows.cleaning import CleaningMixin
from aiida_mghdiff.workflows.jobs import Options, define_jobs, job_message, job_options, options_inputs
from aiida_mghdiff.workflows.ports import expose_job
from aiida_mghdiff.workflows.protocol import ProtocolMixin, checks_arguments, merge, refuse_unchosen
from aiida_mghdiff.workflows.setting_checks import without_null
from aiida_mghdiff.workflows.tasks import TaskWorkChain, failure_text

ENGINES: dict[str, tuple[type[CalcJob], Any]] = {
    'vasp': (vasp.VaspSinglePointCalculation, vasp.validate_parameters),
    'gpaw': (gpaw.GpawSinglePointCalculation, gpaw.validate_parameters),
}
RETRY = '_retry_'

#: Largest relative difference of edges of cells that can share one mesh of k-points.
_SAME_CELL_TOLERANCE = 0.15
_MOST_NAMED = 20
#: If this many frames failed before the first label, no further single point is launched.
_HOPELESS = 5


def validate_label(inputs: Mapping[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the inputs, or None."""
    if ('dataset' in inputs) == bool(inputs.get('structures')):
        return 'give frames, either as dataset or as structures.'
    if 'engine' not in inputs or 'parameters' not in inputs:
        return None
    engine = inputs['engine'].value
    for name in ('parameters', 'retry_parameters'):
        if name in inputs and (message := ENGINES[engine][1](inputs[name])):
            return message
    if not has_mesh(inputs['kpoints']):
        return 'kpoints must be a mesh: KpointsData.set_kpoints_mesh.'
    if 'dataset' not in inputs and (message := structures_message(inputs['structures'])):
        return message
    codes = inputs.get('codes', {})
    if engine not in codes:
        return f'codes.{engine} is missing: it labels the frames; `aiida-mghdiff setup` makes the code.'
    if message := job_message(inputs, 'label', ENGINES[engine][0], codes[engine]):
        return message
    return potcars_message(elements_of(inputs), inputs.get('potcars', {})) if engine == 'vasp' else None


def structures_message(structures: Mapping[str, orm.StructureData | orm.TrajectoryData]) -> str | None:
    """Return a message about a fault in structures, or None: none, not periodic, or a site that is not one atom."""
    if not structures:
        return 'there are no frames: give a dataset, or structures and trajectories by any keys.'
    for key, node in structures.items():
        if not ('cells' in node.get_arraynames() if isinstance(node, orm.TrajectoryData) else all(node.pbc)):
            return f'structures.{key} is not periodic in three dimensions: give it a cell.'
        if isinstance(node, orm.StructureData) and (node.is_alloy or node.has_vacancies):
            return (
                f'structures.{key} has sites that are not exactly one atom (an alloy, or a vacancy): '
                'a single point needs one atom on each.'
            )
    return None


def elements_of(inputs: Mapping[str, Any]) -> list[str]:
    """Return the symbols of all elements of the frames."""
    if 'dataset' in inputs:
        return inputs['dataset'].elements
    nodes = inputs['structures'].values()
    symbols = [node.symbols if isinstance(node, orm.TrajectoryData) else node.get_symbols_set() for node in nodes]
    return sorted(set().union(*symbols))


def has_mesh(kpoints: orm.KpointsData) -> bool:
    """Return whether the k-points are a mesh."""
    return 'mesh' in kpoints.base.attributes


def validate_engine(node: orm.Str, _: Any = None) -> str | None:
    """Return a message about an unknown engine, or None."""
    return None if node.value in ENGINES else engine_message(node.value)


def engine_message(engine: str) -> str:
    """Return the message about an unknown engine."""
    return f'engine {engine!r} is not one of {", ".join(ENGINES)}.'


class LabelWorkChain(ProtocolMixin, CleaningMixin, TaskWorkChain):
    """Labels frames with single points, at most ``max_in_flight`` at a time; the next one starts when one ends.

    A failed frame is tried again, ``retries`` times. Frames without a label in the end are named in the summary and in
    the exit code; the dataset contains all others. Some failures would affect every frame (no GPAW, no PAW dataset,
    refused input): then no further single point is launched. The same holds after several failed frames before the
    first label.
    """

    _PROTOCOL_FILE = 'label'

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input('engine', valid_type=orm.Str, serializer=orm.to_aiida_type, validator=validate_engine)
        spec.input('dataset', valid_type=DatasetData, required=False, help='Frames whose labels are replaced.')
        spec.input_namespace(
            'structures',
            valid_type=(orm.StructureData, orm.TrajectoryData),
            dynamic=True,
            help='Or: frames by any keys, Cartesian; each key becomes a group of correlated frames.',
        )
        expose_job(spec, gpaw.GpawSinglePointCalculation, 'kpoints')
        expose_job(spec, vasp.VaspSinglePointCalculation, 'kpoints', 'potcars')
        spec.inputs['kpoints'].help = 'One mesh for all frames.'
        spec.input(  # not exposed: each engine has its own validator
            'parameters',
            valid_type=orm.Dict,
            serializer=orm.to_aiida_type,
            help='INCAR, or the parameters of aiida-ase for GPAW.',
        )
        spec.input(
            'retry_parameters',
            valid_type=orm.Dict,
            serializer=orm.to_aiida_type,
            required=False,
            help='Parameters for a frame that is tried again: the same accuracy, but a more robust algorithm.',
        )
        spec.input(
            'retries',
            valid_type=orm.Int,
            serializer=orm.to_aiida_type,
            default=lambda: orm.Int(1),
            validator=at_least('retries', 0),
            help='Number of further attempts for a failed frame.',
        )
        define_jobs(spec)
        spec.input('clean_workdir', valid_type=orm.Bool, default=lambda: orm.Bool(False), help='Empty scratch folders.')
        spec.inputs.validator = validate_label
        spec.outline(
            cls.setup,
            while_(cls.has_tasks)(cls.advance, cls.inspect),
            cls.results,
        )
        spec.output('dataset', valid_type=DatasetData, required=False, help='The labelled frames.')
        spec.output('summary', valid_type=orm.Dict, help='Indices of frames without a label; origin of the labels.')
        define_exit_codes(spec, 'LABELS_FAILED', 'NO_FRAME_LABELLED', 'FRAMES_REFUSED', 'LABELS_DO_NOT_MATCH')

    def setup(self) -> ExitCode | None:
        """Gather the frames, and report the planned work."""
        if 'dataset' in self.inputs:
            self.ctx.frames = self.inputs.dataset
        else:
            frames, node = gather_frames.run_get_node(
                **self.inputs.structures, metadata={'call_link_label': 'gather_frames'}
            )
            if not node.is_finished_ok:
                return self.exit_codes.ERROR_FRAMES_REFUSED.format(message=node.exit_message)
            self.ctx.frames = frames
        natoms = self.ctx.frames.get_array('natoms')
        self.ctx.stopped, self.ctx.given_up, self.ctx.ended = False, 0, {}
        self.set_tasks({frame_key(index): [] for index in range(len(natoms))})
        self.report(self.announcement(natoms))
        return None

    def announcement(self, natoms: np.ndarray) -> str:
        """Return the number of planned single points, in words."""
        mesh = self.inputs.kpoints.get_kpoints_mesh()[0]
        return (
            f'{len(natoms)} single points with {self.inputs.engine.value}: {natoms.min()} to {natoms.max()} atoms, '
            f'k-points {"x".join(map(str, mesh))}, at most {self.inputs.max_in_flight.value} at a time; the first one '
            'gives the expected time.'
        )

    def ready(self) -> list[str]:
        """Return the keys that may start, repetitions first, to see soon whether they help; none after a stop."""
        return [] if self.ctx.stopped else sorted(super().ready(), key=lambda key: RETRY not in key)

    def launch(self, key: str) -> orm.ProcessNode:
        """Launch the single point of a frame, or its repetition."""
        frame, _, attempt = key.partition(RETRY)
        engine = self.inputs.engine.value
        (process, _), code = ENGINES[engine], self.inputs.codes[engine]
        parameters = self.inputs.get('retry_parameters', self.inputs.parameters) if attempt else self.inputs.parameters
        structure = self.child(frame).inputs.structure if attempt else self.make_structure(frame)
        inputs = {
            **self.exposed_inputs(process),
            'code': code,
            'structure': structure,
            'parameters': parameters,
            'metadata': {'options': job_options(self.inputs, 'label', process, code), 'call_link_label': key},
        }
        if 'potcars' in inputs:
            inputs['potcars'] = {symbol: inputs['potcars'][symbol] for symbol in structure.get_symbols_set()}
        return self.submit(process, **inputs)

    def make_structure(self, frame: str) -> orm.StructureData:
        """Return the structure of a frame."""
        return frame_structure(**{frame: self.ctx.frames}, metadata={'call_link_label': f'structure_{frame}'})

    def inspect(self) -> None:
        """Inspect each ended child: measure the first successful one, and try failed frames again."""
        ended = [key for key in self.ctx.children if self.child(key) is not None and key not in self.ctx.ended]
        for key in ended:
            self.ctx.ended[key] = self.is_done(key)
            if not self.ctx.ended[key]:
                self.try_again(key)
            elif sum(self.ctx.ended.values()) == 1:
                self.measure(key)

    def measure(self, key: str) -> None:
        """Report the time of a single point and the remaining time."""
        node, left = self.child(key), len(self.ctx.tasks) - len(self.ctx.ended)
        seconds, limit = (node.mtime - node.ctime).total_seconds(), self.inputs.max_in_flight.value
        self.report(
            f'{key} took {duration(seconds)} from launch to label, waiting included; {left} are left: about '
            f'{duration(-(-left // limit) * seconds)} with {limit} at a time'
        )

    def try_again(self, key: str) -> None:
        """Add the next attempt for a failed frame; stop launching if no frame can succeed."""
        node, (frame, _, attempt) = self.child(key), key.partition(RETRY)
        if has_ended_with(node, *JOB_REFUSALS):
            self.stop('all frames would fail like this')
        elif int(attempt or 0) < self.inputs.retries.value:
            self.report(f'{key} failed: {failure_text(node)}; trying again')
            self.ctx.tasks[f'{frame}{RETRY}{int(attempt or 0) + 1}'] = []
        else:
            self.report(f'{key} failed: {failure_text(node)}; given up')
            self.ctx.given_up += 1
            if self.ctx.given_up == _HOPELESS and not any(self.ctx.ended.values()):
                self.stop(f'the first {_HOPELESS} frames failed, and none has a label')

    def stop(self, reason: str) -> None:
        """Stop launching."""
        self.ctx.stopped = True
        self.report(f'no further single point is launched: {reason}')

    def results(self) -> ExitCode | None:
        """Return the labelled frames and the summary; name the frames without a label."""
        labelled = {
            key.partition(RETRY)[0]: self.child(key).outputs.dataset for key in self.ctx.children if self.is_done(key)
        }
        outputs, node = collect_labels.run_get_node(
            self.ctx.frames, **labelled, metadata={'call_link_label': 'collect_labels'}
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_LABELS_DO_NOT_MATCH.format(message=node.exit_message)
        self.out_many(outputs)
        return self.failure_of(outputs['summary'].get_dict())

    def failure_of(self, summary: Mapping[str, Any]) -> ExitCode | None:
        """Return the exit code that names the frames without a label, or None."""
        failed, n_frames, left_out = summary['failed_frames'], summary['n_frames'], summary['left_out']
        if not failed:
            return None
        reasons = [f'{index} ({left_out.get(str(index)) or self.reason(index)})' for index in failed[:_MOST_NAMED]]
        more = len(failed) - len(reasons)
        words = ', '.join(reasons) + (f' and {more} more, see the output summary' if more else '')
        if len(failed) == n_frames:
            return self.exit_codes.ERROR_NO_FRAME_LABELLED.format(message=words)
        return self.exit_codes.ERROR_LABELS_FAILED.format(message=f'{len(failed)} of {n_frames} lack one: {words}')

    def reason(self, index: int) -> str:
        """Return why a frame has no label: the end of its last attempt."""
        keys = [key for key in self.ctx.children if key.partition(RETRY)[0] == frame_key(index)]
        return failure_text(self.child(keys[-1])) if keys else 'not tried'

    @classmethod
    def get_parameters(
        cls, engine: str, protocol: str | None = None, overrides: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters of a protocol, and the parameters for a frame that is tried again.

        :param overrides: overrides of the protocol file.
        :raises ValueError: for an unknown engine or protocol, or a key that the protocol file does not have.
        """
        if engine not in ENGINES:
            raise ValueError(engine_message(engine))
        settings = cls.get_protocol_inputs(protocol, overrides)[engine]
        refuse_unchosen(overrides, engine, alternatives=ENGINES)
        parameters = settings['parameters'] | (gpaw.GETTERS if engine == 'gpaw' else {})
        return without_null(parameters), without_null(merge(parameters, settings['retry_parameters']))

    @classmethod
    @checks_arguments
    def get_builder_from_protocol(
        cls,
        codes: Mapping[str, orm.AbstractCode],
        frames: DatasetData | Mapping[str, orm.StructureData | orm.TrajectoryData],
        *,
        engine: str,
        potcars: Mapping[str, PotcarData] | None = None,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: Options | None = None,
    ) -> ProcessBuilder:
        """Return a builder.

        :param codes: ``vasp`` or ``gpaw``, as the engine needs.
        :param frames: a dataset, whose labels are replaced, or structures and trajectories by any keys.
        :param engine: ``vasp`` or ``gpaw``.
        :param potcars: POTCARs by element, for VASP.
        :param overrides: overrides of the protocol file: ``max_in_flight``, ``retries``, and by engine ``parameters``,
            ``retry_parameters``, ``kpoints``.
        :param options: ``metadata.options`` for all jobs (``default``), and for labels (``label``).
        :raises ValueError: for an unknown engine, protocol or key of the overrides, for frames without a cell, or for
            cells that are too different for one mesh of k-points.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        parameters, retry_parameters = cls.get_parameters(engine, protocol, overrides)
        if not isinstance(frames, DatasetData) and (message := structures_message(frames)):
            raise ValueError(message)
        builder = cls.get_builder()
        builder.engine, builder.codes = orm.Str(engine), dict(codes)
        builder['dataset' if isinstance(frames, DatasetData) else 'structures'] = frames
        builder.parameters, builder.retry_parameters = orm.Dict(parameters), orm.Dict(retry_parameters)
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh(choose_mesh(inputs[engine]['kpoints'], cells_of(frames)))
        builder.kpoints = kpoints
        builder.potcars = dict(potcars or {})
        builder.retries = orm.Int(inputs['retries'])
        builder.max_in_flight = orm.Int(inputs['max_in_flight'])
        builder.options = options_inputs(options, default=inputs['options'])
        builder.clean_workdir = orm.Bool(inputs['clean_workdir'])
        return builder


def cells_of(frames: DatasetData | Mapping[str, orm.StructureData | orm.TrajectoryData]) -> np.ndarray:
    """Return the cells [n,3,3] of all frames, in Å."""
    if isinstance(frames, DatasetData):
        return frames.get_array('cells')
    return np.concatenate(
        [node.get_array('cells') if isinstance(node, orm.TrajectoryData) else [node.cell] for node in frames.values()]
    )


def choose_mesh(settings: Mapping[str, Any], cells: np.ndarray) -> list[int]:
    """Return the Gamma-centred mesh of all frames; with one mesh their energies can be compared.

    :param settings: ``mesh``, or ``spacing_per_angstrom``, the largest distance of points along the vectors of the
        mean reciprocal cell (with 2π).
    :raises ValueError: if a mesh must be chosen for cells of different sizes.
    """
    if settings.get('mesh'):
        return settings['mesh']
    edges = np.linalg.norm(cells, axis=-1)
    mean = edges.mean(axis=0)
    if np.max(np.abs(edges / mean - 1)) > _SAME_CELL_TOLERANCE:
        raise ValueError(
            f'the frames have cells of different sizes (edges {edges.min():.1f} to {edges.max():.1f} Å): label one '
            'size at a time, or give one mesh for all (overrides: kpoints.mesh).'
        )
    reciprocal = 2 * np.pi * np.linalg.inv(cells.mean(axis=0)).T
    return [
        max(1, int(np.ceil(length / settings['spacing_per_angstrom']))) for length in np.linalg.norm(reciprocal, axis=1)
    ]


def duration(seconds: float) -> str:
    """Return a duration with two digits, in a fitting unit."""
    for unit, length in (('days', 86400), ('hours', 3600), ('minutes', 60)):
        if seconds >= 2 * length:
            return f'{seconds / length:.2g} {unit}'
    return f'{seconds:.2g} s'
