"""A live view of a running workflow: which jobs run, how far they are, and the time that is left."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiida import orm
from aiida.common.links import LinkType
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRESS = re.compile(r'progress (\d+)/(\d+)(.*)')
_TAIL_BYTES = 4000
BAR_WIDTH = 24


@dataclass
class Job:
    """A job of the workflow, as seen now."""

    label: str
    state: str
    done: float  # fraction
    text: str
    seconds: float


def walk(node: orm.ProcessNode, path: str = '') -> Iterator[tuple[str, orm.CalcJobNode]]:
    """Yield all jobs below a process, each with the labels of the calls that lead to it."""
    links = node.base.links.get_outgoing(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
    for link in sorted(links, key=lambda link: link.node.pk):
        label = f'{path}/{link.link_label}'.strip('/')
        if isinstance(link.node, orm.CalcJobNode):
            yield label, link.node
        elif isinstance(link.node, orm.WorkChainNode):
            yield from walk(link.node, label)


def observe(label: str, node: orm.CalcJobNode) -> Job:
    """Return what a job is doing."""
    state = job_state(node)
    done, text = last_progress(node) if state == 'running' else (float(state == 'done'), '')
    end = node.mtime.timestamp() if node.is_terminated else time.time()
    return Job(label, state, done, text, end - node.ctime.timestamp())


def job_state(node: orm.CalcJobNode) -> str:
    """Return one of ``cached``, ``done``, ``failed``, ``running``, ``queued``."""
    if node.base.caching.is_created_from_cache:
        return 'cached'
    if node.is_terminated:
        return 'done' if node.is_finished_ok else 'failed'
    scheduler = node.get_scheduler_state()
    return 'running' if scheduler is not None and scheduler.value == 'running' else 'queued'


def last_progress(node: orm.CalcJobNode) -> tuple[float, str]:
    """Return fraction and text of the last line of progress that a job on this machine printed."""
    folder, name = node.get_remote_workdir(), node.get_option('output_filename')
    path = Path(folder or '') / (name or '')
    if not folder or not path.is_file():
        return 0.0, ''
    with path.open('rb') as handle:
        handle.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        matches = _PROGRESS.findall(handle.read().decode(errors='replace'))
    if not matches:
        return 0.0, ''
    done, total, text = matches[-1]
    return int(done) / max(int(total), 1), text.strip()


def remaining_seconds(jobs: list[Job]) -> float | None:
    """Return the longest time that a running job still needs at its own pace; None where none tells."""
    paces = [job.seconds * (1 - job.done) / job.done for job in jobs if job.state == 'running' and job.done > 0.02]
    return max(paces, default=None)


def render(process: orm.ProcessNode, jobs: list[Job], started: float) -> Group:
    """Return the view: one line for the study, one for each job that is not over."""
    counts = {state: sum(job.state == state for job in jobs) for state in ('done', 'cached', 'failed', 'queued')}
    words = [f'{counts[state]} {state}' for state in counts if counts[state]]
    elapsed = _clock(time.time() - started)
    head = Text(f'{process.process_label}<{process.pk}> {elapsed}  ' + ', '.join(words), style='bold')
    table = Table.grid(padding=(0, 2))
    for job in jobs:
        if job.state in ('running', 'queued'):
            table.add_row(job.label, _bar(job.done) if job.state == 'running' else 'queued', _left(job), job.text)
    return Group(head, table)


def _bar(done: float) -> str:
    filled = round(done * BAR_WIDTH)
    return '█' * filled + '░' * (BAR_WIDTH - filled) + f' {done:4.0%}'


def _left(job: Job) -> str:
    if job.state != 'running' or job.done < 0.02:
        return ''
    return f'{_clock(job.seconds * (1 - job.done) / job.done)} left'


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'


def follow(process: orm.ProcessNode, interval: float = 2.0, console: Console | None = None) -> None:
    """Show the jobs of a process until it ends; on a console that is no terminal, a line for each job that ends."""
    console = console or Console()
    started = process.ctime.timestamp()
    told: set[int] = set()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            ended = process.is_terminated
            nodes = list(walk(process))
            jobs = [observe(label, node) for label, node in nodes]
            for job, (_, node) in zip(jobs, nodes, strict=True):
                if job.state in ('done', 'failed', 'cached') and node.pk not in told:
                    told.add(node.pk)
                    console.print(_ended_line(job, node), highlight=False)
            if ended:
                return
            if console.is_terminal:
                live.update(render(process, jobs, started), refresh=True)
            time.sleep(interval)


def _ended_line(job: Job, node: orm.CalcJobNode) -> Text:
    mark = {'done': '✓', 'cached': '↺', 'failed': '✗'}[job.state]
    text = f'{mark} {job.label}  {node.process_label}<{node.pk}>  {_clock(job.seconds)}'
    if job.state == 'failed':
        text += f'  [{node.exit_status}] {node.exit_message}'
    return Text(text, style={'failed': 'red', 'cached': 'dim'}.get(job.state, ''))
