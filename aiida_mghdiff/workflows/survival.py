"""How a WorkChain survives a crash: it launches no child twice, and repeats a crashed job once.

A WorkChain that another version started is paused when a daemon loads it: its steps may have changed.

AiiDA saves a WorkChain between its steps. If a worker is killed in the middle of a step, the next worker begins the
step again, and would launch the children of the first one again.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import CalcJob, Process, ProcessState, ToContext
from aiida.engine.utils import prepare_inputs
from aiida.plugins.utils import PluginVersionProvider

from aiida_mghdiff.calculations.exit_codes import exit_codes
from aiida_mghdiff.workflows.ports import PortsMixin

CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)
#: Ends of a job that was killed or crashed: no retrieved files, a failed node, missing, invalid or truncated output, or
#: a program that ended unexpectedly. A repetition would reach the limits of wall time and memory again.
CRASHED = (
    CalcJob.exit_codes.ERROR_NO_RETRIEVED_FOLDER,
    CalcJob.exit_codes.ERROR_SCHEDULER_NODE_FAILURE,
    *exit_codes('OUTPUT_MISSING', 'OUTPUT_INVALID', 'PROGRAM_CRASHED', 'OUTPUT_TRUNCATED'),
)
#: Appended to the call label of a repeated job.
REPEATED = '_repeated'


class SurvivalMixin(PortsMixin):
    """Base of all WorkChains; before `WorkChain` in the order of bases."""

    #: Saved steps of a process that another version started. They are kept for this version, and never restored here.
    _foreign_steps: Any = None

    def load_instance_state(self, saved_state: Any, load_context: Any) -> None:
        """Load the saved state, and end children that a killed worker did not save: they can never continue."""
        node: Any = orm.load_node(saved_state[self.SaveKeys.CALC_ID.value])
        message = version_message(node, type(self))
        if message:
            saved_state = dict(saved_state)
            self._foreign_steps = saved_state.pop(self._STEPPER_STATE, None)
        super().load_instance_state(saved_state, load_context)
        close_half_made(self.node)
        if message:
            self.pause(message)

    def save_instance_state(self, out_state: Any, save_context: Any) -> None:
        """Save the state; the steps of another version stay as this version saved them."""
        super().save_instance_state(out_state, save_context)
        if self._foreign_steps is not None:
            out_state[self._STEPPER_STATE] = self._foreign_steps

    def play(self) -> bool:
        """Continue a paused process; a process that another version started stays paused, and the report says why."""
        if message := version_message(self.node, type(self)):
            self.report(message)
            return False
        return super().play()

    def submit(self, process: Any, inputs: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """Submit a child and return its node; if a killed worker submitted it in this very step, return its node."""
        given = prepare_inputs(inputs, **kwargs)
        launched = self.ctx.setdefault('launched', [])
        node = self._launched_before(given.get('metadata', {}).get('call_link_label'))
        if node is None:
            node = super().submit(process, **given)
        launched.append(node.pk)
        return node

    def _launched_before(self, label: str | None) -> orm.ProcessNode | None:
        """Return the child with a label that this process launched, but that its saved state does not know."""
        calls = self.node.base.links.get_outgoing(link_type=CALLS, link_label_filter=label).all()
        nodes = [call.node for call in calls if call.link_label == label and isinstance(call.node, orm.ProcessNode)]
        unknown = [node for node in nodes if node.pk not in self.ctx.launched and not node.is_excepted]
        return min(unknown, key=attrgetter('pk'), default=None)

    def has_crashed(self) -> bool:
        """Return whether crashed jobs of the last step must be repeated."""
        return bool(self._crashed())

    def repeat_crashed(self) -> ToContext:
        """Repeat crashed jobs once, with the same inputs."""
        return ToContext(**{name: self.repeat(node) for name, node in self._crashed().items()})

    def repeat(self, node: orm.CalcJobNode) -> orm.CalcJobNode:
        """Repeat a job once, with the same inputs."""
        self.report(f'{node.process_label}<{node.pk}> [{node.exit_status}] {node.exit_message} Running it once more.')
        inputs = node.get_builder_restart()._inputs(prune=True)
        inputs['metadata']['call_link_label'] = f'{call_label(node)}{REPEATED}'
        return self.submit(node.process_class, **inputs)

    def _crashed(self) -> dict[str, orm.CalcJobNode]:
        """Return the jobs of the context that must be repeated, by their names there."""
        return {name: node for name, node in self.ctx.items() if is_repeatable(node)}


def version_message(node: orm.ProcessNode, process_class: type[Process]) -> str | None:
    """Return what to do with an unfinished process if another version of its package started it, or None."""
    versions = (
        node.base.attributes.get('version', {}),
        PluginVersionProvider().get_version_info(process_class)['version'],
    )
    began, here = (version.get('plugin', 'unknown') for version in versions)
    if minor_version(began) == minor_version(here):
        return None
    return (
        f'{node.process_label}<{node.pk}> was started by version {began} and is not resumed by version {here}: '
        f'end it with `verdi process kill {node.pk}`, or return to the version that started it.'
    )


def minor_version(version: str) -> list[str]:
    """Return the major and minor number of a version. Steps of a WorkChain change only between such versions."""
    return version.split('.')[:2]


def close_half_made(parent: orm.WorkChainNode) -> None:
    """End the children of a process whose maker was killed before it saved them."""
    for node in parent.called:
        end_half_made(node)


def end_half_made(node: orm.ProcessNode) -> None:
    """End a process whose maker was killed before it saved the process: there is no checkpoint to continue from."""
    if not node.is_terminated and node.checkpoint is None:
        node.set_exception('The worker of this process was killed before the process was saved.')
        node.set_process_state(ProcessState.EXCEPTED)
        node.seal()


def is_repeatable(node: Any) -> bool:
    """Return whether a node is a crashed job that is not itself a repetition."""
    if not isinstance(node, orm.CalcJobNode) or node.exit_status not in {code.status for code in CRASHED}:
        return False
    return not call_label(node).endswith(REPEATED)


def ending(node: orm.ProcessNode) -> str:
    """Return the exit message of a failed process, or its final state."""
    return node.exit_message or str(node.process_state and node.process_state.value)


def call_label(node: orm.ProcessNode) -> str:
    """Return the label under which a process was called, or an empty string."""
    call = node.base.links.get_incoming(link_type=CALLS).first()
    return call.link_label if call else ''
