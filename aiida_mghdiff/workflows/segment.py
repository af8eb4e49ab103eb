"""One segment of a molecular-dynamics run, continued after every failure that can be cured."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import (
    CalcJob,
    ProcessHandlerReport,
    ProcessSpec,
    process_handler,
    while_,
)

from aiida_mghdiff.calculations.exit_codes import has_ended_with
from aiida_mghdiff.calculations.md import MD_KEYS, define_md_inputs, start_symbols, validate_md_inputs
from aiida_mghdiff.calculations.validation import keys_help
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.workflows.engines import Job, incar_message, job_parameters, md_engine, validate_md_codes
from aiida_mghdiff.workflows.jobs import define_jobs, job_options
from aiida_mghdiff.workflows.restart_loops import SegmentRestartWorkChain

#: Outputs of an MD job that a segment returns for each part; a part is the work of one job.
PARTS = {
    'results': orm.Dict,
    'tracers': TracerTrajectoryData,
    'trajectory': orm.TrajectoryData,
    'thermo': orm.ArrayData,
}
#: Practically unlimited: a long run with a short wall time has many jobs. A job without a step ends the loop.
MOST_JOBS = 10_000


def define_md_run(spec: ProcessSpec) -> None:
    """Define the ports that a segment and a run of segments share."""
    define_md_inputs(spec)
    define_jobs(spec)
    words = keys_help('Complete MD parameters.', MD_KEYS)
    spec.input('parameters', valid_type=orm.Dict, serializer=orm.to_aiida_type, help=words)
    for name, node_class in PARTS.items():
        spec.output_namespace(name, valid_type=node_class, dynamic=True, help=f'``{name}`` of each part of the run.')
    spec.output('state', valid_type=MdStateData, help='End of the run, which continues it.')
    spec.inputs.validator = validate_md_run


def parts_of(segments: list[orm.WorkChainNode], name: str) -> dict[str, Any]:
    """Return an output of each part of each segment, if present, by labels in order."""
    return {
        f'seg{index:03d}_{label}': node
        for index, segment in enumerate(segments)
        if name in segment.outputs
        for label, node in segment.outputs[name].items()
    }


def validate_md_run(inputs: dict, _: object = None) -> str | None:
    """Return a message about a fault in the inputs of an MD run, or None."""
    if message := validate_md_inputs(inputs, takes_incar=True):
        return message
    return validate_md_codes(inputs, start_symbols(inputs)) or incar_message(inputs, inputs['parameters'])


class MdSegmentWorkChain(SegmentRestartWorkChain):
    """Runs one segment, if possible in one job; a job that stops before its wall time is continued from its state."""

    _process_class = CalcJob

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        define_md_run(spec)
        spec.inputs['max_iterations'].default = lambda: orm.Int(MOST_JOBS)
        spec.inputs['on_unhandled_failure'].default = lambda: orm.Str('restart_once')
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.results,
        )

    @property
    def process_class(self) -> type[CalcJob]:
        """Return the MD job of the engine that runs the potential."""
        if not self.inputs:
            return CalcJob
        return self.job.process

    @property
    def job(self) -> Job:
        """Return the MD job that runs the potential."""
        return md_engine(self.inputs.potential, self.inputs.codes)[0]

    def setup(self) -> None:
        """Collect the inputs of the first job."""
        super().setup()
        names = ('potential', 'structure', 'state', 'parameters')
        self.ctx.inputs = {name: self.inputs[name] for name in names if name in self.inputs}
        job, code = md_engine(self.inputs.potential, self.inputs.codes)
        self.ctx.inputs |= {'code': code, **job.extra(self.inputs)}
        self.ctx.inputs['metadata'] = {'options': job_options(self.inputs, 'md', job.process, code)}
        self.prepare_job()

    @property
    def end(self) -> int:
        """Return the last step of the segment."""
        return self.inputs.parameters['first_step'] + self.inputs.parameters['steps']

    def prepare_job(self, state: MdStateData | None = None) -> None:
        """Set the parameters of the next job.

        :param state: end of the last job, None for the first job.
        """
        label = f'iteration_{self.ctx.iteration + 1:02d}_parameters'
        self.ctx.inputs['parameters'] = job_parameters(self.job, self.inputs.parameters, state, label)

    @process_handler(priority=500)
    def handle_steps_left(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Continue from the state of a job that stopped in time, was killed, or completed its steps."""
        is_whole = node.is_finished_ok or has_ended_with(node, 'OUT_OF_WALLTIME', 'OUTPUT_TRUNCATED')
        if not is_whole or 'state' not in node.outputs:
            return None
        state = node.outputs.state
        if state.step <= self.ctx.inputs['parameters']['first_step']:
            return ProcessHandlerReport(True, self.exit_codes.ERROR_NO_PROGRESS)
        if state.step >= self.end:
            self.ctx.is_finished = True
            return ProcessHandlerReport(True)
        self.report(f'{node.process_label}<{node.pk}> ended at step {state.step} of {self.end}; continuing')
        self.prepare_job(state)
        self.ctx.inputs['state'] = state
        self.ctx.inputs.pop('structure', None)
        return ProcessHandlerReport(True)

    def results(self) -> None:
        """Return the outputs of every job that ran a part of the segment."""
        parts = [node for node in self.ctx.children if 'state' in node.outputs]
        for name in PARTS:
            nodes = {f'part{index}': node.outputs[name] for index, node in enumerate(parts) if name in node.outputs}
            self.out(name, nodes)
        self.out('state', parts[-1].outputs.state)
