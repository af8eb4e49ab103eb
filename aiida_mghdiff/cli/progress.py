"""Show a running workflow live: the running jobs, their progress, and the remaining time."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida import orm
from aiida.common.links import LinkType
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from aiida_mghdiff.calculations.vasp.job import STDOUT
from aiida_mghdiff.cli.unexpected import state_of
from aiida_mghdiff.data.potential import LEARNED
from aiida_mghdiff.formats.job_files import read_progress
from aiida_mghdiff.workflows.engines import engines_of, is_evaluated, training_job
from aiida_mghdiff.workflows.neb import STATIONARY
from aiida_mghdiff.workflows.study import chosen_architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_VASP_STEP = re.compile(r'^ *(\d+) +(T= *[\d.]+)', re.MULTILINE)
_TAIL_BYTES = 4000
_MARKS = {'done': '✓', 'cached': '↺', 'failed': '✗'}
_STYLES = {'failed': 'red', 'cached': 'dim'}
BAR_WIDTH = 20


@dataclass
class Job:
    """A job of the workflow at this moment; ``done`` is a fraction, ``left`` the remaining time in s."""

    label: str
    node: orm.CalcJobNode
    state: str
    done: float = 0.0
    text: str = ''
    left: float | None = None


@dataclass
class Watch:
    """Follows the jobs of a study; the pace of a job is measured from its first observed progress."""

    process: orm.ProcessNode
    slots: int
    first_seen: dict[int | None, tuple[float, float]] = field(default_factory=dict)
    step_seconds: dict[str, float] = field(default_factory=dict)
    durations: dict[str, dict[int | None, float]] = field(default_factory=dict)  # s, by kind and job, if seen to run
    over: dict[int | None, list[Job]] = field(default_factory=dict)  # jobs below ended processes

    def __post_init__(self) -> None:
        """Read the plan of the study once."""
        inputs = self.process.base.links.get_incoming(link_type=LinkType.INPUT_WORK).nested()
        self.planned_steps, self.planned_jobs = planned_steps(inputs), planned_jobs(inputs)
        self.learns = 'otf' in inputs

    def jobs(self) -> list[Job]:
        """Return all jobs as they are now."""
        return self._below(self.process, '')

    def _below(self, node: orm.ProcessNode, path: str) -> list[Job]:
        """Return the jobs below a process; an ended process is queried only once, to save time."""
        if node.pk in self.over:
            return self.over[node.pk]
        jobs: list[Job] = []
        for label, child in children(node):
            where = f'{path}/{label}'.strip('/')
            jobs += [self._job(where, child)] if isinstance(child, orm.CalcJobNode) else self._below(child, where)
        if node.is_terminated:
            self.over[node.pk] = jobs
        return jobs

    def _job(self, label: str, node: orm.CalcJobNode) -> Job:
        label = label.removesuffix('/iteration_01').removesuffix('/seg000')
        state = job_state(node)
        if state != 'running':
            if state == 'done' and node.pk in self.first_seen:
                duration = time.monotonic() - self.first_seen[node.pk][0]
                self.durations.setdefault(kind(node), {}).setdefault(node.pk, duration)
            return Job(label, node, state)
        done, total, text = last_progress(node)
        fraction, now = done / total, time.monotonic()
        start, before = self.first_seen.setdefault(node.pk, (now, fraction))
        moved = fraction - before
        left = (now - start) * (1 - fraction) / moved if moved > 0 else None
        if moved > 0 and is_md(node):
            self.step_seconds[architecture(node)] = (now - start) / (moved * total)
        return Job(label, node, state, fraction, text, left)

    def left(self, jobs: list[Job]) -> tuple[float, bool]:
        """Return the time in s until the study ends, and whether it is complete; otherwise it is a lower bound.

        Remaining MD goes at its observed pace. Each other job takes the mean time of ended jobs of its kind. The sum is
        spread over the slots. If the longest running job takes longer than that, its time is returned. A lower bound
        leaves out kinds of jobs that have not been observed yet.
        """
        parts = [*self._left_of_md(jobs), *self._left_of_others(jobs)]
        work = sum(part for part in parts if part is not None)
        longest = max((job.left or 0.0 for job in jobs), default=0.0)
        return max(work / self.slots, longest), None not in parts and not self._is_learning(jobs)

    def _left_of_md(self, jobs: list[Job]) -> Iterator[float | None]:
        """Yield the remaining time in s of the MD of each architecture, or None if its pace is unknown."""
        planned = self.planned_steps.copy()
        for job in jobs:
            if is_md(job.node) and job.state != 'queued':
                done = 1.0 if job.state != 'running' else job.done
                planned[architecture(job.node)] -= done * job.node.inputs.parameters['steps']
        for name, steps in planned.items():
            if steps > 0:
                yield steps * self.step_seconds[name] if name in self.step_seconds else None

    def _left_of_others(self, jobs: list[Job]) -> Iterator[float | None]:
        """Yield the remaining time in s of the other jobs, by kind or each; None if it is unknown."""
        waiting = self.planned_jobs.copy()
        for job in jobs:
            if is_md(job.node) or job.state == 'queued':
                continue
            waiting[kind(job.node)] -= 1
            if job.state == 'running':
                yield job.left if job.left is not None else self._mean(kind(job.node))
        for name, count in waiting.items():
            if count > 0:
                mean = self._mean(name)
                yield None if mean is None else count * mean

    def _is_learning(self, jobs: list[Job]) -> bool:
        """Return whether the study still learns on the fly, which takes an unknown number of jobs."""
        return self.learns and not any(kind(job.node) in self.planned_jobs for job in jobs)

    def _mean(self, name: str) -> float | None:
        """Return the mean time in s of observed jobs of a kind from start to end; None without such jobs."""
        durations = self.durations.get(name, {}).values()
        return sum(durations) / len(durations) if durations else None


def children(node: orm.ProcessNode) -> Iterator[tuple[str, orm.CalcJobNode | orm.WorkChainNode]]:
    """Yield the jobs and WorkChains that a process called, each with the label of the call."""
    links = node.base.links.get_outgoing(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
    for link in sorted(links, key=attrgetter('node.pk')):
        if isinstance(link.node, orm.CalcJobNode | orm.WorkChainNode):
            yield link.link_label, link.node


def job_state(node: orm.CalcJobNode) -> str:
    """Return one of ``cached``, ``done``, ``failed``, ``running``, ``queued``."""
    if node.is_terminated:
        cached = node.base.caching.is_created_from_cache
        return ('cached' if cached else 'done') if node.is_finished_ok else 'failed'
    scheduler = node.get_scheduler_state()
    return 'running' if scheduler is not None and scheduler.value == 'running' else 'queued'


def last_progress(node: orm.CalcJobNode) -> tuple[int, int, str]:
    """Return done, total and text of the last progress line that a job on this machine printed."""
    folder = Path(node.get_remote_workdir() or '/nowhere')
    found = read_progress(tail(folder / (node.get_option('output_filename') or '')))
    if found is None and ':mghdiff.vasp.' in (node.process_type or ''):
        parameters = node.inputs.parameters.get_dict() if 'parameters' in node.inputs else {}
        total = parameters.get('steps', parameters.get('nsw', 0))
        steps = _VASP_STEP.findall(tail(folder / STDOUT))
        found = (int(steps[-1][0]), int(total), steps[-1][1].strip()) if steps and total else None
    if found is None:
        return 0, 1, 'starting'
    done, total, text = found
    return done, max(total, 1), text


def tail(path: Path) -> str:
    """Return the end of a file; an empty string if the file does not exist."""
    if not path.is_file():
        return ''
    with path.open('rb') as handle:
        handle.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return handle.read().decode(errors='replace')


def kind(node: orm.CalcJobNode) -> str:
    """Return the entry point of a job."""
    return (node.process_type or '').partition(':')[2]


def is_md(node: orm.CalcJobNode) -> bool:
    """Return whether a job runs MD."""
    return kind(node).endswith('.md')


def architecture(node: orm.CalcJobNode) -> str:
    """Return the architecture of the potential that a job runs."""
    return node.inputs.potential.architecture


def planned_steps(inputs: dict[str, Any]) -> Counter[str]:
    """Return the number of MD steps of all diffusion runs of a study, by the architecture of their potential."""
    steps: Counter[str] = Counter()
    for run in inputs.get('diffusion', {}).values():
        settings = run['settings'].get_dict()
        placements = settings['n_replicas'] if settings['independent_replicas'] else 1
        counts = {'npt': 1, 'nvt': placements, 'nve': settings['n_replicas']}
        one = sum(count * settings[stage]['steps'] for stage, count in counts.items())
        steps[str(chosen_architecture(inputs, run['potential'].value))] += one * len(run['temperatures'])
    return steps


def planned_jobs(inputs: dict[str, Any]) -> Counter[str]:
    """Return the number of jobs of each kind except MD, if each job succeeds at the first try."""
    trained = inputs.get('training', {})
    jobs = Counter(training_job(training['architecture'].value).entry_point for training in trained.values())
    paths = len(inputs.get('paths', {}))
    for label in [*trained, *inputs.get('potentials', {}), *([LEARNED] if 'otf' in inputs else [])]:
        name = str(chosen_architecture(inputs, label))
        if is_evaluated(name, inputs):
            jobs[engines_of(name).evaluation.entry_point] += 1
        if name in inputs.get('neb', {}):
            jobs['mghdiff.ase.neb'] += paths
            jobs['mghdiff.ase.vibrations'] += paths * len(STATIONARY) if name in inputs.get('vibrations', {}) else 0
    return jobs


def render(watch: Watch, jobs: list[Job]) -> Group:
    """Return the view: one line for the process, one for each running job, and the number of waiting jobs."""
    counts = {state: sum(job.state == state for job in jobs) for state in ('done', 'cached', 'failed', 'queued')}
    words = [f'{count} {state}' for state, count in counts.items() if count]
    left, is_all = watch.left(jobs)
    is_known = is_all or left > 0
    words.append(f'{"about" if is_all else "at least"} {clock(left)} left' if is_known else 'time left not known yet')
    elapsed = clock(time.time() - watch.process.ctime.timestamp())
    head = Text(f'{watch.process.process_label}<{watch.process.pk}> {elapsed}: {", ".join(words)}', style='bold')
    table = Table.grid(padding=(0, 2))
    for job in jobs:
        if job.state == 'running':
            table.add_row(job.label, bar(job.done), '' if job.left is None else f'{clock(job.left)} left', job.text)
    return Group(head, table)


def bar(done: float) -> str:
    """Return a bar of characters that shows a fraction."""
    filled = round(done * BAR_WIDTH)
    return '█' * filled + '░' * (BAR_WIDTH - filled) + f' {done:4.0%}'


def clock(seconds: float) -> str:
    """Return a time as ``m:ss`` or ``h:mm:ss``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'


def follow(
    process: orm.ProcessNode,
    slots: int,
    keep_daemon: Callable[[], str | None],
    interval: float = 5.0,
    console: Console | None = None,
) -> None:
    """Show the jobs of a process until it ends; without a terminal, print a line for each job that ends.

    :param keep_daemon: restarts the daemon if it is damaged, and returns a sentence about the repair, or None.
    """
    console = console or Console()
    watch, told = Watch(process, slots), set[tuple[int | None, str]]()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            ended = process.is_terminated
            jobs = watch.jobs()
            for line in news(jobs, told):
                console.print(line, highlight=False, soft_wrap=True)
            if ended:
                return
            if done := keep_daemon():
                console.print(done, highlight=False, soft_wrap=True)
            if console.is_terminal:
                live.update(render(watch, jobs), refresh=True)
            time.sleep(interval)


def news(jobs: list[Job], told: set[tuple[int | None, str]]) -> Iterator[Text | str]:
    """Yield a line for each job that newly ended or paused; ``told`` keeps the jobs that were reported."""
    for job in jobs:
        what = 'paused' if job.node.paused and not job.node.is_terminated else job.state
        if what in (*_MARKS, 'paused') and (job.node.pk, what) not in told:
            told.add((job.node.pk, what))
            yield paused_line(job) if what == 'paused' else ended_line(job)


def ended_line(job: Job) -> Text:
    """Return the line about the end of a job."""
    seconds = job.node.mtime.timestamp() - job.node.ctime.timestamp()
    text = f'{_MARKS[job.state]} {job.label}  {job.node.process_label}<{job.node.pk}>  {clock(seconds)} with queue'
    if job.state == 'failed':
        node = job.node
        text += f'  [{node.exit_status}] {node.exit_message}' if node.is_failed else f'  {state_of(node)}'
    return Text(text, style=_STYLES.get(job.state, ''))


def paused_line(job: Job) -> str:
    """Return the advice for a job that AiiDA paused, for example after five failed submissions."""
    return (
        f'{job.label} is paused: {job.node.process_status}. `verdi process report {job.node.pk}` says why. '
        f'Remove the cause, then continue with `verdi process play {job.node.pk}`.'
    )
