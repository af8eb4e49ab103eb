"""Kill parts of a running `demo --protocol smoke`, or all of it, and check that it ends as without the fault.

There are four faults, each at three moments. Three are `kill -9`: of the broker, of the worker, and of everything (the
command, the daemon with its parts, all jobs). The fourth is `verdi daemon restart` while a WorkChain launches children:
when the worker ends, some children must be launched but not begun. After each fault the command, or a second start of
it, must end with exit status 0 and all results. No two jobs with equal inputs may have finished, and no job may have
run twice.

The first run has no fault. It is interrupted where the later moments begin, and leaves a copy of its folder there. A
run with a later fault starts from such a copy, so the fault still hits real work.

    python tests/faults/demo_survives.py FOLDER [--faults broker,worker] [--moments early,late]

A table goes to stdout and to FOLDER/table.md; later calls add to the file. On two idle cores an undisturbed demo takes
about four minutes, and all twelve runs take most of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil

SCRIPTS = Path(sys.executable).parent
FAULTS = ('broker', 'worker', 'everything', 'restart')
MOMENTS = ('early', 'middle', 'late')
#: Jobs that run at a moment (parts of entry points), and children that a WorkChain launches then (starts of labels).
JOBS = {'early': ('train',), 'middle': ('neb', 'vibrations'), 'late': ('md',)}
LAUNCHED = {'early': ('train_',), 'middle': ('barrier_', 'neb', 'vibrations_'), 'late': ('nve', 'nvt')}
LIMIT_SECONDS = 1800.0
HEAD = '| fault | moment | what happened | jobs failed | jobs | seconds | verdict |\n|---|---|---|---|---|---|---|\n'

#: `verdi daemon restart` with all imports done, waiting for a line, because a launch takes only half a second.
RESTART = """
from aiida.cmdline.commands.cmd_verdi import verdi
import aiida.engine.daemon.client, aiida.orm, aiida.storage.sqlite_dos
print('ready', flush=True)
input()
verdi(['daemon', 'restart'])
"""

JOB = 'process.calculation.calcjob.CalcJobNode.'
QUERY_JOBS = f"""
    SELECT id, process_type, json_extract(attributes, '$.process_state'), json_extract(attributes, '$.exit_status'),
           json_extract(attributes, '$.scheduler_state'), json_extract(extras, '$._aiida_hash'),
           json_extract(extras, '$._aiida_cached_from'), label
    FROM db_dbnode WHERE node_type = '{JOB}'
"""
QUERY_CALLS = """
    SELECT db_dblink.label, json_extract(attributes, '$.process_state') FROM db_dblink
    JOIN db_dbnode ON db_dbnode.id = db_dblink.output_id WHERE type IN ('call_calc', 'call_work')
"""


class Demo:
    """A demo in a folder, run as a user runs it and observed from outside."""

    def __init__(self, folder: Path) -> None:
        """Take a folder; it need not exist."""
        self.folder = folder
        self.command: subprocess.Popen[str] | None = None
        self.ids: dict[str, set[int]] = {}  # process ids of the jobs seen to run, by their scratch folder

    def start(self) -> None:
        """Start the command; its output goes to a file."""
        arguments = [SCRIPTS / 'aiida-mghdiff', 'demo', '--directory', self.folder, '--protocol', 'smoke']
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / 'output.txt').open('a') as output:
            self.command = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)

    def output(self) -> str:
        """Return the output of all starts of the command."""
        return (self.folder / 'output.txt').read_text()

    def wait_for(self, condition: Callable[[], Any], seconds: float = LIMIT_SECONDS) -> Any:
        """Wait for a condition and return its first true value; look at the jobs meanwhile.

        :raises SystemExit: if the time is over.
        """
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                raise SystemExit(f'nothing happened within {seconds:.0f} s:\n{self.output()}')
            self.look_at_jobs()
            time.sleep(0.2)
        return found

    def look_at_jobs(self) -> None:
        """Note the processes that run a job."""
        for folder, process_id in self.running():
            self.ids.setdefault(folder, set()).add(process_id)

    def running(self) -> Iterator[tuple[str, int]]:
        """Yield scratch folder and process id of each job that runs."""
        for process in self.processes():
            with suppress(psutil.Error):
                if process.cmdline()[:1] == ['mghdiff-running']:
                    yield process.cwd(), process.pid

    def processes(self) -> Iterator[psutil.Process]:
        """Yield the processes of the daemon and of the jobs."""
        for process in psutil.process_iter():
            try:
                environment, place = process.environ().get('AIIDA_PATH', ''), process.cwd()
            except psutil.Error:
                continue
            if any(Path(path).is_relative_to(self.folder) for path in (environment, place) if path):
                yield process

    def part(self, role: str) -> psutil.Process | None:
        """Return the daemon's process with this name, or None."""
        for process in self.processes():
            with suppress(psutil.Error):
                if process.cmdline()[4:6] == ['daemon', role]:
                    return process
        return None

    def daemon_runs(self) -> bool:
        """Return whether broker and worker run."""
        return all(map(self.part, ('broker', 'worker')))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the database's answer; nothing if there is no database yet."""
        for path in self.folder.glob('.aiida/**/database.sqlite'):
            connection = sqlite3.connect(f'file:{path}?mode=ro', uri=True, timeout=30)
            try:
                return connection.execute(query).fetchall()
            except sqlite3.OperationalError:  # the tables do not exist yet
                return []
            finally:
                connection.close()
        return []

    def runs_job(self, kinds: tuple[str, ...]) -> bool:
        """Return whether a job of one of these kinds runs, by processes and by database (which may be out of date)."""
        return any(self.running()) and any(
            row[2] == 'waiting' and row[4] == 'running' and any(kind in row[1] for kind in kinds)
            for row in self.rows(QUERY_JOBS)
        )

    def launches(self, labels: tuple[str, ...]) -> int:
        """Return the number of children with these labels that are launched but not begun."""
        return sum(state == 'created' and label.startswith(labels) for label, state in self.rows(QUERY_CALLS))

    def restart_daemon(self, labels: tuple[str, ...]) -> None:
        """Restart AiiDA's daemon as soon as a child of one of these labels is launched.

        :raises SystemExit: if every such child had begun before the worker ended.
        """
        self.wait_for((self.folder / '.aiida').is_dir)
        command, environment = [sys.executable, '-c', RESTART], os.environ | {'AIIDA_PATH': str(self.folder)}
        pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, **pipes) as restart:
            restart.stdout.readline()
            self.wait_until_there(partial(self.launches, labels))
            worker = self.part('worker')
            restart.stdin.write('\n')
            restart.stdin.flush()
            while worker.is_running():
                time.sleep(0.01)
            launched = self.launches(labels)
        if not launched:
            raise SystemExit('every child had begun when the worker was gone: run this fault again')

    def wait_until_there(self, is_there: Callable[[], Any]) -> None:
        """Wait for a moment; the demo and its daemon must run.

        :raises SystemExit: if the demo ends before the moment.
        """
        self.wait_for(lambda: self.command.poll() is not None or (self.daemon_runs() and is_there()))
        if self.command.poll() is not None:
            raise SystemExit(f'the demo ended before the moment:\n{self.output()}')

    def interrupt(self) -> None:
        """End the command as Ctrl-C does, and wait until its jobs end by themselves."""
        os.killpg(self.command.pid, signal.SIGINT)
        self.wait_for(lambda: self.command.poll() is not None)
        self.wait_for(lambda: not list(self.processes()))

    def kill_everything(self) -> None:
        """Kill the command, the daemon with all its parts, and all jobs."""
        self.end('suspend')  # nothing may restart or submit while others are killed
        self.end('kill')
        self.command.wait()

    def end(self, how: str) -> None:
        """Call a method of each process of the command, the daemon and the jobs."""
        command = [psutil.Process(self.command.pid)] if self.command.poll() is None else []
        for process in [*command, *self.processes()]:
            with suppress(psutil.NoSuchProcess):
                getattr(process, how)()


def break_demo(demo: Demo, fault: str, moment: str) -> None:
    """Wait for the moment and cause the fault; if everything was killed, start the command again."""
    if fault == 'restart':
        demo.restart_daemon(LAUNCHED[moment])
        return
    demo.wait_until_there(partial(demo.runs_job, JOBS[moment]))
    if fault == 'everything':
        demo.kill_everything()
        demo.start()
    else:
        demo.part(fault).kill()


def faults_of(demo: Demo, reference: set[str]) -> list[str]:
    """Return a sentence for each fault in the result."""
    jobs = demo.rows(QUERY_JOBS)
    finished = Counter(row[5] for row in jobs if row[3] == 0 and not row[6])
    wrong = [] if demo.command.returncode == 0 else [f'exit status {demo.command.returncode}']
    wrong += [f'{count} finished jobs of the same inputs' for count in finished.values() if count > 1]
    wrong += [f'{folder} ran {len(ids)} times' for folder, ids in demo.ids.items() if len(ids) > 1]
    wrong += [f'process {row[0]} is {row[2]}' for row in jobs if row[2] in ('created', 'waiting', 'running')]
    if missing := reference - result_keys(demo):
        wrong.append(f'{len(missing)} results are missing, such as {min(missing)}')
    names = ('report.html', 'study.aiida')
    return wrong + [f'there is no {name}' for name in names if not (demo.folder / name).is_file()]


def result_keys(demo: Demo) -> set[str]:
    """Return the places of all numbers in `results.json`."""
    path = demo.folder / 'results.json'
    return set(places(json.loads(path.read_text()))) if path.is_file() else set()


def places(content: Any, where: str = '') -> Iterator[str]:
    """Yield the place of each number in nested lists and dictionaries."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from places(value, f'{where}/{key}')
    elif isinstance(content, list):
        for value in content[:1]:
            yield from places(value, f'{where}/*')
    elif isinstance(content, int | float):
        yield where


def reference_run(folder: Path) -> Demo:
    """Run the demo without a fault; copy its folder at the beginning of the middle and the late moments."""
    demo = Demo(folder / 'demo')
    for moment in MOMENTS[1:]:
        demo.start()
        demo.wait_for(lambda moment=moment: demo.runs_job(JOBS[moment]))
        demo.interrupt()
        shutil.copytree(demo.folder, folder / moment)
    demo.start()
    demo.wait_for(lambda: demo.command.poll() is not None)
    return demo


def run(folder: Path, fault: str, moment: str, reference: set[str]) -> str:
    """Run the demo with one fault; return the line of the table."""
    shutil.rmtree(folder / 'demo', ignore_errors=True)
    if moment != 'early':
        shutil.copytree(folder / moment, folder / 'demo')
    demo, began = Demo(folder / 'demo'), time.monotonic()
    try:
        demo.start()
        break_demo(demo, fault, moment)
        demo.wait_for(lambda: demo.command.poll() is not None)
        wrong = faults_of(demo, reference)
    finally:
        demo.end('kill')
    said = [line for line in demo.output().splitlines() if 'AiiDA had lost' in line or 'task in a crash' in line]
    jobs = demo.rows(QUERY_JOBS)
    failed = ', '.join(f'{row[1].partition(":")[2]} [{row[3]}]' for row in jobs if row[3] != 0) or 'none'
    seconds = time.monotonic() - began
    verdict = '; '.join(wrong) or 'as without a fault'
    return f'| {fault} | {moment} | {" ".join(said)} | {failed} | {len(jobs)} | {seconds:.0f} | {verdict} |\n'


def main() -> None:
    """Run the chosen faults, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='an empty folder, or one of an earlier call')
    parser.add_argument('--faults', default=','.join(FAULTS))
    parser.add_argument('--moments', default=','.join(MOMENTS))
    arguments = parser.parse_args()
    # a shell ignores SIGINT in background jobs, and the demo would inherit this
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = arguments.folder.resolve()
    reference, table = folder / 'reference.json', folder / 'table.md'
    if not reference.is_file():
        keys = result_keys(demo := reference_run(folder))
        if demo.command.returncode or not keys:
            raise SystemExit(f'the demo fails without a fault:\n{demo.output()}')
        reference.write_text(json.dumps(sorted(keys)))
        table.write_text(HEAD)
    keys = set(json.loads(reference.read_text()))
    for moment in arguments.moments.split(','):
        for fault in arguments.faults.split(','):
            with table.open('a') as handle:
                handle.write(run(folder, fault, moment, keys))
            print(table.read_text().splitlines()[-1], flush=True)
    print(table.read_text())
    sys.exit(0 if all('as without a fault' in line for line in table.read_text().splitlines()[2:]) else 1)


if __name__ == '__main__':
    main()
