"""Tasks in the queue of AiiDA's ZeroMQ broker: a worker runs a process only if the queue has a task for it.

A task can get lost if the broker is killed, or a worker while it stops. Then the process waits for ever.
"""

from __future__ import annotations

import json
import shutil
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida.brokers.zeromq import ZeromqBroker


def lost_processes() -> set[int]:
    """Return the processes that need a worker but have no task; change nothing.

    The result may include a process that a worker launches at this moment, or a process that just ends.
    """
    active = active_processes()
    return active - tasks_in_queue()


def active_processes() -> set[int]:
    """Return the daemon's processes that have not ended.

    Only these have a checkpoint from which to continue; a process that runs in an interpreter has none.
    """
    from aiida.orm import ProcessNode, QueryBuilder

    states = {'attributes.process_state': {'in': ['created', 'waiting', 'running']}}
    filters = states | {'attributes': {'has_key': ProcessNode.CHECKPOINT_KEY}}
    return set(QueryBuilder().append(ProcessNode, filters=filters, project='id').all(flat=True))


def tasks_in_queue() -> set[int]:
    """Return the processes that have a task, whether or not a worker has received it.

    AiiDA's own functions must not be used while the broker runs: they take all tasks away from the workers.
    """
    return {pk for folder in ('pending', 'processing') for pk in _tasks_in(folder)}


def _tasks_in(folder: str) -> list[int]:
    pks = []
    for path in (_broker()._storage_path / 'tasks' / folder).glob('*.json'):
        try:
            pks.append(json.loads(path.read_text())['body']['args']['pid'])
        except (FileNotFoundError, ValueError, KeyError):  # the task is done, or is no task of a process
            continue
    return pks


def repair_tasks() -> set[int]:
    """Give each process without a task a new one, drop tasks of ended processes and duplicates; return the revived.

    `verdi process repair` does the same, with two differences. Here a revived process keeps its task until it ends, and
    a process has only one task: with two, two workers would run it.
    The daemon must not run: no worker may still run a process that gets a task, and the broker must read the queue.
    """
    from aiida.brokers.zeromq.queue import PersistentQueue
    from plumpy.process_comms import create_continue_body

    broker, active, seen = _broker(), active_processes(), set()
    for task in broker.iterate_tasks():
        pk = task.body.get('args', {}).get('pid')
        if pk in seen or pk not in active:
            with task.processing():
                pass
        seen.add(pk)
    lost = active - seen
    queue = PersistentQueue(broker._storage_path / 'tasks')
    for pk in sorted(lost):
        queue.push(uuid.uuid4().hex, {'body': create_continue_body(pid=pk), 'no_reply': True})
    return lost


def forget_broker() -> None:
    """Delete the address file of a killed broker; the queue stays.

    With the file, a worker that starts before the new broker would connect to the old broker, for ever.
    """
    broker = _broker()
    if sockets := broker._get_sockets_path():
        shutil.rmtree(sockets, ignore_errors=True)
    for path in (broker._service_pid_file, broker._service_status_file, broker._service_sockets_file):
        path.unlink(missing_ok=True)


def _broker() -> ZeromqBroker:
    from aiida.manage import get_manager

    return get_manager().get_broker()  # type: ignore[return-value]  # profiles of this package use ZeroMQ
