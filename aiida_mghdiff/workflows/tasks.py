"""A WorkChain with many children that depend on each other, and a limit on the number in flight.

AiiDA's WorkChain waits at each step for all its children, so the slowest child of a group would leave slots of a
machine empty. This WorkChain acts whenever one child ends: a task starts when its prerequisites are finished and
there is room.
"""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.extendeddicts import AttributeDict
from aiida.engine import ExitCode, ProcessSpec, ProcessState, WorkChain
from aiida.engine.processes.workchains.awaitable import Awaitable, construct_awaitable

from aiida_mghdiff.calculations.exit_codes import define_exit_codes
from aiida_mghdiff.calculations.validation import at_least
from aiida_mghdiff.workflows.survival import SurvivalMixin


class TaskWorkChain(SurvivalMixin, WorkChain):
    """Runs ``ctx.tasks``: for each key the keys of its prerequisites; a subclass launches each by its key.

    An outline is ``setup, while_(has_tasks)(advance), finish``. A task with a failed prerequisite is left out. All
    others continue, so that one failure loses no other result.
    """

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define the limit and the exit code of failed children."""
        super().define(spec)
        spec.input(
            'max_in_flight',
            valid_type=orm.Int,
            serializer=orm.to_aiida_type,
            default=lambda: orm.Int(8),
            validator=at_least('max_in_flight', 1),  # a limit of zero would start nothing
            help='Largest number of children that run at the same time.',
        )
        define_exit_codes(spec, 'CHILDREN_FAILED')

    def launch(self, key: str) -> orm.ProcessNode:
        """Submit the child with a key and return its node."""
        raise NotImplementedError

    def set_tasks(self, tasks: dict[str, list[str]]) -> None:
        """Set the tasks: for each key the keys of its prerequisites."""
        self.ctx.tasks = tasks
        self.ctx.children = AttributeDict()

    def child(self, key: str) -> Any:
        """Return the node of an ended child, which may be any process; otherwise None."""
        node = self.ctx.children.get(key)
        return None if isinstance(node, Awaitable) else node

    def is_done(self, key: str) -> bool:
        """Return whether the child of the key finished with exit code 0."""
        node = self.child(key)
        return node is not None and bool(node.is_finished_ok)

    def running(self) -> list[str]:
        """Return the keys of the children in flight."""
        return [key for key, node in self.ctx.children.items() if isinstance(node, Awaitable)]

    def ready(self) -> list[str]:
        """Return the keys of tasks that are not started and whose prerequisites are finished."""
        waiting = [key for key in self.ctx.tasks if key not in self.ctx.children]
        return [key for key in waiting if all(self.is_done(before) for before in self.ctx.tasks[key])]

    def has_tasks(self) -> bool:
        """Return whether a task must be started or waited for."""
        return bool(self.running() or self.ready())

    def advance(self) -> None:
        """Continue to wait for the children in flight, and start ready tasks up to the limit."""
        for key in self.running():
            self._insert_awaitable(self.ctx.children[key])
        room = self.inputs.max_in_flight.value - len(self.running())
        for key in self.ready()[: max(room, 0)]:
            awaitable = construct_awaitable(self.launch(key))
            awaitable.key = f'children.{key}'
            self._insert_awaitable(awaitable)

    def _on_awaitable_finished(self, awaitable: Awaitable) -> None:
        """Resume when one child ends, not only when all have ended; a repeated signal of a child is ignored.

        After a restart of the daemon the signal may come from a copy of the awaitable.
        """
        waiting = [each for each in self._awaitables if each.pk == awaitable.pk]
        if not waiting:
            return
        super()._on_awaitable_finished(waiting[0])
        if self.state == ProcessState.WAITING:
            self.resume()

    def failure(self) -> ExitCode | None:
        """Return the exit code that names failed children and the children left out because of them, or None."""
        failed = [f'{key} ({failure_text(self.child(key))})' for key in self.ctx.children if not self.is_done(key)]
        left_out = [key for key in self.ctx.tasks if key not in self.ctx.children]
        if not failed:
            return None
        return self.exit_codes.ERROR_CHILDREN_FAILED.format(
            failed=', '.join(failed), left_out=', '.join(left_out) or 'none'
        )


def failure_text(node: Any) -> str:
    """Return in words how a process ended."""
    if node is None or node.is_excepted or node.is_killed:
        return f'{node.process_label}<{node.pk}> {node.process_state.value}' if node is not None else 'not ended'
    return f'{node.process_label}<{node.pk}> [{node.exit_status}] {node.exit_message}'
