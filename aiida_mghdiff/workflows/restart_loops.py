"""Restart loops: their base class, and how outer WorkChains pass their inputs down."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from aiida import orm
from aiida.engine import BaseRestartWorkChain, ExitCode, ProcessHandlerReport, ProcessSpec, process_handler

from aiida_mghdiff.calculations.exit_codes import JOB_REFUSALS, define_exit_codes, exit_codes
from aiida_mghdiff.calculations.validation import IS_BOOL, Check
from aiida_mghdiff.workflows.setting_checks import settings_message
from aiida_mghdiff.workflows.survival import SurvivalMixin

HANDLERS = 'handler_overrides'
#: Inputs of a restart loop that outer WorkChains pass down.
RESTART = ('max_iterations', HANDLERS, 'on_unhandled_failure')
#: Settings of each handler.
HANDLER_SETTINGS = {
    'enabled': IS_BOOL,
    'priority': Check('a whole number', lambda value: isinstance(value, int) and not isinstance(value, bool)),
}


class RestartWorkChain(SurvivalMixin, BaseRestartWorkChain):
    """Base of the WorkChains that restart one job. Silent when ``clean_workdir`` is false.

    AiiDA's own class would then report a line for each job of a study.
    """

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs whose help lists the handlers, and which accept plain values."""
        super().define(spec)
        spec.inputs[HANDLERS].validator = partial(handlers_message, cls, HANDLERS)
        for name in RESTART:  # AiiDA's own ports, except one, accept only nodes
            port = spec.inputs[name]
            values = {'valid_type': port.valid_type, 'required': port.required, 'validator': port.validator}
            default = {'default': port.default} if port.has_default() else {}
            spec.input(name, serializer=orm.to_aiida_type, help=port.help, **values, **default)

    def on_terminated(self) -> None:
        """Empty the scratch folders if requested."""
        if self.inputs.clean_workdir:
            super().on_terminated()
        else:
            super(BaseRestartWorkChain, self).on_terminated()


class SegmentRestartWorkChain(RestartWorkChain):
    """Base of the restart loops of a segment: MD, or a stage of on-the-fly learning."""

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define the exit codes of runs that no restart can save."""
        super().define(spec)
        define_exit_codes(spec, 'NO_PROGRESS', 'UNPHYSICAL')

    @process_handler(priority=600, exit_codes=exit_codes(*JOB_REFUSALS))
    def handle_refused(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Stop if the program refused its input: a repetition would be refused, too."""
        return report_of_refused(node)

    @process_handler(priority=550, exit_codes=exit_codes('NON_FINITE', 'TEMPERATURE_RUNAWAY'))
    def handle_unphysical(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Stop if a repetition would end the same way."""
        return ProcessHandlerReport(True, self.exit_codes.ERROR_UNPHYSICAL.format(message=node.exit_message))


def report_of_refused(node: orm.CalcJobNode) -> ProcessHandlerReport:
    """Return a report that stops at a refused input, with the exit code of the job."""
    assert node.exit_status is not None  # handlers are called only for failed jobs
    return ProcessHandlerReport(True, ExitCode(node.exit_status, node.exit_message))


def handlers_message(loop: type[RestartWorkChain], place: str, node: orm.Dict | None, _: Any = None) -> str | None:
    """Return a message about unknown handlers or wrong settings in ``handler_overrides``, or None.

    :param place: where the overrides are, as the user writes it.
    """
    handlers = [handler.__name__ for handler in loop.get_process_handlers()]
    return settings_message(node.get_dict(), dict.fromkeys(handlers, HANDLER_SETTINGS), place) if node else None


def define_restarts(spec: ProcessSpec, **loops: type[RestartWorkChain]) -> None:
    """Define the namespace ``restarts``: the inputs of each inner restart loop, by kind of job.

    Their defaults are inputs of the outermost process, so that all loops share the same nodes.
    """
    for kind, loop in loops.items():
        words = f'Restarts of jobs of this kind, see ``{loop.__name__}``.'
        options = {'required': False, 'validator': None, 'help': words}
        place = f'restarts.{kind}'
        spec.expose_inputs(loop, namespace=place, include=RESTART, namespace_options=options)
        own = partial(handlers_message, loop, f'{place}.{HANDLERS}')
        spec.inputs['restarts'][kind][HANDLERS].validator = own


def restarts_inputs(inputs: Mapping[str, Any], *kinds: str) -> dict[str, Any]:
    """Return the namespace ``restarts`` for a child with these kinds of jobs."""
    given = inputs.get('restarts', {})
    return {'restarts': {kind: dict(given[kind]) for kind in kinds if kind in given}}


def loop_inputs(inputs: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the content of the namespace ``restarts`` for the restart loop of a kind of job."""
    return dict(inputs.get('restarts', {}).get(kind, {}))
