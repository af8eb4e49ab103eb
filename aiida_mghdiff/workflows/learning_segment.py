"""One segment of on-the-fly learning, continued after every failure that can be cured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiida import orm
from aiida.engine import (
    ExitCode,
    ProcessHandlerReport,
    ProcessSpec,
    process_handler,
    while_,
)

from aiida_mghdiff.calculations.exit_codes import define_exit_codes, exit_codes, has_ended_with
from aiida_mghdiff.calculations.functions.learning import (
    LARGEST_LATTICE_CHANGE,
    forget_unconverged,
    more_configurations,
    more_electronic_steps,
    more_references,
    piece_of_segment,
)
from aiida_mghdiff.calculations.vasp.job import potcars_message, start_atoms
from aiida_mghdiff.calculations.vasp.mlff import VaspMlffCalculation, known_content
from aiida_mghdiff.calculations.vasp.mlff import validate_inputs as validate_job
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.workflows.jobs import define_jobs, job_message, job_options
from aiida_mghdiff.workflows.ports import expose_job
from aiida_mghdiff.workflows.restart_loops import SegmentRestartWorkChain

#: Inputs with the start of a segment, or of a schedule of segments, and the known configurations.
START = ('structure', 'state', 'configurations', 'learning_state')
#: Outputs of a job that a segment returns for each part; a part is the work of one job.
PARTS = {
    'results': orm.Dict,
    'learning': orm.ArrayData,
    'tracers': TracerTrajectoryData,
    'trajectory': orm.TrajectoryData,
    'thermo': orm.ArrayData,
}
FEWEST_STEPS = 50
#: Practically unlimited: one day covers about 100 of up to 20,000 steps. A handler stops a segment without progress.
MOST_JOBS = 10_000
#: The function that enlarges the arrays after each failure for a full array.
ROOM = {'MCONF_REACHED': more_configurations, 'MB_REACHED': more_references}
SCF_ATTEMPTS = 2
#: After these failures the next job simply continues.
WHOLE = ('OUT_OF_WALLTIME', 'SCF_NOT_CONVERGED')


def validate_learning(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return a message about a fault in the start or the code, or None."""
    if ('structure' in inputs) == ('state' in inputs):
        return 'give either a structure (velocities are drawn) or a state (velocities are carried over).'
    names = sorted(inputs.get('configurations', {}))
    if names != [part_name(index) for index in range(len(names))]:
        return f'configurations must be named part0000, part0001, ... in their order, not {", ".join(names)}.'
    if 'vasp' not in inputs.get('codes', {}):
        return 'codes.vasp is missing: VASP, or the stand-in that `aiida-mghdiff setup` makes.'
    codes = inputs['codes']
    if message := job_message(inputs, 'learn', VaspMlffCalculation, codes['vasp'], codes.get('reduce')):
        return message
    symbols = start_atoms(inputs).get_chemical_symbols()
    return potcars_message(symbols, inputs.get('potcars', {}))


def learning_options(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``metadata.options`` of the jobs of a segment."""
    return job_options(inputs, 'learn', VaspMlffCalculation, inputs['codes']['vasp'])


def validate_segment(inputs: dict[str, Any], _: Any = None) -> str | None:
    """Return why the first job of a segment would be refused, or None."""
    if message := validate_learning(inputs):
        return message
    return validate_job(inputs)


def part_name(index: int) -> str:
    """Return the name of a part; names sort as their indices."""
    return f'part{index:04d}'


def lattice_change(node: orm.CalcJobNode) -> float:
    """Return the largest relative change of a length of the cell in a job; 0 if it is unknown."""
    return node.outputs.results.get('lattice_change', 0.0) if 'results' in node.outputs else 0.0


class LearningSegmentWorkChain(SegmentRestartWorkChain):
    """Runs one segment of on-the-fly learning, cures what stops it, and loses no labelled configuration."""

    _process_class = VaspMlffCalculation

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        define_jobs(spec)
        expose_job(spec, VaspMlffCalculation, *START, 'potcars', 'parameters', 'settings', 'kpoints', 'iconst')
        spec.inputs['max_iterations'].default = lambda: orm.Int(MOST_JOBS)
        spec.inputs.validator = validate_segment
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.results,
        )
        for name, node_class in PARTS.items():
            spec.output_namespace(
                name, valid_type=node_class, dynamic=True, help=f'``{name}`` of each part of the run.'
            )
        spec.output('state', valid_type=MdStateData, required=False, help='End of the run, which continues it.')
        spec.output(
            'learning_state', valid_type=orm.ArrayData, required=False, help='Order of all configurations in ML_ABN.'
        )
        spec.output_namespace(
            'configurations',
            valid_type=DatasetData,
            dynamic=True,
            help='Configurations of ``learning_state`` in order.',
        )
        spec.output('force_field', valid_type=PotentialData, required=False, help='The learned force field.')
        spec.output(
            'last_parameters', valid_type=orm.Dict, help='INCAR tags of the segment, with the changes to continue it.'
        )
        spec.output_namespace('datasets', valid_type=DatasetData, dynamic=True, help='New configurations by part.')
        define_exit_codes(spec, 'SCF_NOT_CONVERGED', 'LATTICE_CHANGED', 'BROKEN')

    def setup(self) -> None:
        """Collect the inputs of the first job."""
        super().setup()
        self.ctx.inputs = {'configurations': {}, **self.exposed_inputs(VaspMlffCalculation)}
        self.ctx.inputs |= {
            'code': self.inputs.codes['vasp'],
            'metadata': {'options': learning_options(self.inputs)},
        }
        if 'reduce' in self.inputs.codes:
            self.ctx.inputs['reduce_code'] = self.inputs.codes['reduce']
        self.ctx.parameters = self.inputs.parameters
        self.ctx.parts, self.ctx.last, self.ctx.broken, self.ctx.unconverged = [], None, 0, 0

    @property
    def end(self) -> int:
        """Return the last step of the segment."""
        return self.inputs.settings['first_step'] + self.inputs.parameters['nsw']

    @process_handler(priority=450)
    def handle_lattice_change(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Repeat a job whose cell changed too much in two halves, each with the plane waves of its own cell."""
        change = lattice_change(node)
        if change <= LARGEST_LATTICE_CHANGE:
            return None
        results = node.outputs.results
        steps = results['last_step'] - results['first_step']
        if steps <= FEWEST_STEPS:
            return ProcessHandlerReport(True, self.exit_codes.ERROR_LATTICE_CHANGED.format(change=change, steps=steps))
        self.report(f'{node.process_label}<{node.pk}>: a length of the cell changed by {change:.0%}; repeating halves')
        self.prepare_piece(results)
        return ProcessHandlerReport(True)

    @process_handler(priority=400)
    def handle_electrons(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Give the SCF more steps if it did not converge, however the job ended; stop if more steps do not help.

        VASP learns from such labels, too; later jobs begin without them.
        """
        results = node.outputs.results if 'results' in node.outputs else {}
        has_labels = bool(results.get('unconverged_steps', []))
        # Without any label the results name no step: only the exit code shows the failure of the SCF.
        if not (has_labels or has_ended_with(node, 'SCF_NOT_CONVERGED')):
            self.ctx.unconverged = 0
            return None
        self.ctx.unconverged += 1
        if self.ctx.unconverged > SCF_ATTEMPTS:
            self.take_over(node)
            message = f'not even with nelm = {self.ctx.parameters["nelm"]}; look at {node.process_label}<{node.pk}>.'
            return ProcessHandlerReport(True, self.exit_codes.ERROR_SCF_NOT_CONVERGED.format(message=message))
        self.change(more_electronic_steps)
        return None if has_labels else self.go_on(node)

    @process_handler(priority=350, exit_codes=exit_codes(*ROOM))
    def handle_no_room(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Continue with larger arrays for configurations, or for local reference configurations."""
        if report := self.report_of_stuck(node):
            return report
        self.change(next(function for name, function in ROOM.items() if has_ended_with(node, name)))
        return self.go_on(node)

    @process_handler(priority=300)
    def handle_broken(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Continue from the output of a job that crashed, was killed or left truncated files."""
        if node.is_finished_ok or has_ended_with(node, *WHOLE):
            self.ctx.broken = 0
            return None
        if report := self.report_of_stuck(node):
            return report
        self.report(f'{node.process_label}<{node.pk}> [{node.exit_status}] {node.exit_message} Continuing.')
        return self.go_on(node)

    def report_of_stuck(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Return a report that stops at the second failure in a row without a step, or None."""
        if self.ctx.broken and not self.has_advanced(node):
            return ProcessHandlerReport(True, self.exit_codes.ERROR_BROKEN.format(message=node.exit_message))
        self.ctx.broken += 1
        return None

    @process_handler(priority=200)
    def handle_steps_left(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Continue if a job stopped before its wall time, or if the segment has more steps than the job."""
        if 'state' not in node.outputs or (has_ended_with(node, 'OUT_OF_WALLTIME') and not self.has_advanced(node)):
            return ProcessHandlerReport(True, self.exit_codes.ERROR_NO_PROGRESS)
        return self.go_on(node)

    def has_advanced(self, node: orm.CalcJobNode) -> bool:
        """Return whether a job made a step."""
        return 'state' in node.outputs and node.outputs.state.step > self.ctx.inputs['settings']['first_step']

    def go_on(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Take over the output of a job, and run the rest; without a rest the segment is done."""
        self.take_over(node)
        if 'state' in node.outputs:
            step = node.outputs.state.step
            self.ctx.is_finished = step >= self.end
            self.report(f'{node.process_label}<{node.pk}> ended at step {step} of {self.end}')
        return ProcessHandlerReport(True)

    def take_over(self, node: orm.CalcJobNode) -> None:
        """Let the next job begin with the learned configurations and the end of this job."""
        self.ctx.parts.append(node)
        self.take_over_learned(node)
        self.make_room_for_known()
        state = node.outputs.state if self.has_advanced(node) else None
        if state is not None:
            self.ctx.inputs['state'] = state
            self.ctx.inputs.pop('structure', None)
        if state is None or state.step < self.end:
            self.prepare_piece(node.outputs.results if 'results' in node.outputs else None, state)

    def take_over_learned(self, node: orm.CalcJobNode) -> None:
        """Pass the new and learned configurations to the next job, without labels of an unconverged SCF.

        Labels from before the first learning have no order yet, so the next job cannot continue with them.
        """
        parts = dict(self.ctx.inputs['configurations'])
        if 'dataset' in node.outputs:
            parts[part_name(len(parts))] = node.outputs.dataset
        state = self.ctx.inputs.get('learning_state')
        if 'learning_state' in node.outputs:
            state = self.without_unconverged(node, parts) or state
        if state is not None:
            self.ctx.inputs |= {'learning_state': state, 'configurations': parts}

    def make_room_for_known(self) -> None:
        """Enlarge the arrays if the known configurations fill them: the next job would be refused otherwise."""
        room = self.ctx.parameters.get('ml_mconf')
        if room is not None and known_content(self.ctx.inputs)[0] >= room:
            self.change(more_configurations)

    def without_unconverged(self, node: orm.CalcJobNode, parts: dict[str, DatasetData]) -> orm.ArrayData | None:
        """Return the learning state of a job without labels of an unconverged SCF; None if nothing is left."""
        state = node.outputs.learning_state
        results = node.outputs.results if 'results' in node.outputs else {}
        if not any(results.get(f'n_{kind}_configurations', 0) for kind in ('unconverged', 'unjudged')):
            return state
        label = {'call_link_label': f'iteration_{self.ctx.iteration:02d}_without_unconverged'}
        kept, call = forget_unconverged.run_get_node(state, **parts, metadata=label)
        return kept if call.is_finished_ok else None

    def prepare_piece(self, results: orm.Dict | None, state: MdStateData | None = None) -> None:
        """Set the parameters of the next job: to the end of the segment, or as far as one job may go.

        :param results: results of the last job.
        :param state: start of the next job; None to repeat the start of the last job.
        """
        learned = [node.outputs.results for node in self.ctx.parts if 'results' in node.outputs]
        known: dict[str, Any] = {'job_results': results, 'state': state, 'learned': learned[-1] if learned else None}
        piece = piece_of_segment(  # type: ignore[call-arg]  # AiiDA accepts the label of the call, too
            self.ctx.parameters,
            self.inputs.settings,
            self.ctx.inputs['parameters'],
            self.ctx.inputs['settings'],
            **{name: node for name, node in known.items() if node is not None},
            metadata={'call_link_label': f'iteration_{self.ctx.iteration + 1:02d}_piece'},
        )
        self.ctx.inputs |= {'parameters': piece['parameters'], 'settings': piece['settings']}

    def change(self, function: Callable[..., orm.Dict]) -> None:
        """Change INCAR tags of later jobs by a calcfunction."""
        before, label = self.ctx.parameters.get_dict(), f'iteration_{self.ctx.iteration + 1:02d}_changed'
        self.ctx.parameters = function(self.ctx.parameters, metadata={'call_link_label': label})
        changed = {tag: value for tag, value in self.ctx.parameters.get_dict().items() if before.get(tag) != value}
        self.report('continuing with ' + ', '.join(f'{tag.upper()} = {value}' for tag, value in changed.items()))

    def inspect_process(self) -> ExitCode | None:
        """Cure what stopped the job; otherwise return the results from before, and the labels of the job."""
        code = super().inspect_process()
        if code is not None and code.status:
            self.ctx.last = self.ctx.children[self.ctx.iteration - 1]
            self.results()
        return code

    def labelling_jobs(self) -> list[orm.CalcJobNode]:
        """Return the jobs with usable labels: all parts, and a job that ended the segment without a state.

        Labels of a cell that changed too much have plane waves of another cell.
        """
        jobs, last = list(self.ctx.parts), self.ctx.last
        if last is None or last.pk in {node.pk for node in jobs} or lattice_change(last) > LARGEST_LATTICE_CHANGE:
            return jobs
        return [*jobs, last]

    def results(self) -> None:
        """Return the results of every part; a repeated job is no part."""
        parts = {part_name(index): node for index, node in enumerate(self.ctx.parts)}
        for name in PARTS:
            self.out(name, {label: node.outputs[name] for label, node in parts.items() if name in node.outputs})
        jobs = {part_name(index): node for index, node in enumerate(self.labelling_jobs())}
        self.out('datasets', {label: node.outputs.dataset for label, node in jobs.items() if 'dataset' in node.outputs})
        inputs = self.ctx.inputs
        self.out('configurations', inputs['configurations'])
        self.out('last_parameters', self.ctx.parameters)
        for name in ('state', 'learning_state'):
            if name in inputs:
                self.out(name, inputs[name])
        if learned := [node.outputs.force_field for node in self.ctx.parts if 'force_field' in node.outputs]:
            self.out('force_field', learned[-1])
