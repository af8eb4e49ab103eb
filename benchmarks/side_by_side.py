"""Contestants on the same data in one interleaved run: median time, peak memory and largest difference of each.

Times are medians over rounds in which all take turns, so that a busy machine slows all of them. The peak memory is what
a process of its own, forked with the data, holds beyond them at most. A contestant whose library is not installed is
named and left out.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

Function = Callable[[], np.ndarray]


def installed(contestants: Mapping[str, tuple[str, Function]]) -> dict[str, Function]:
    """Return the contestants by name whose library, named beside each, is installed; name the others."""
    found = {name: function for name, (library, function) in contestants.items() if find_spec(library)}
    if absent := sorted(set(contestants) - set(found)):
        print(f'not installed: {", ".join(absent)} (pip install -e ".[benchmarks]")')
    return found


def compare(
    title: str, contestants: Mapping[str, Function], difference: Callable[[np.ndarray, np.ndarray], float], rounds: int
) -> dict[str, float]:
    """Print a line for each contestant, and return its median time in s by name.

    :param contestants: the first is the one that the others are compared with.
    :param difference: of the result of a contestant from that of the first.
    """
    print(f'{title}\n{"":24s}{"time":>12s}{"ratio":>9s}{"memory":>11s}   difference')
    first, *_ = contestants
    results = {name: function() for name, function in contestants.items()}  # compiles and warms up as well
    times = measure(contestants, rounds)
    for name, function in contestants.items():
        found = '' if name == first else f'{difference(results[name], results[first]):.1e}'
        memory = f'{peak_memory(function) / 1e6:.0f} MB'
        print(f'{name:24s}{1e3 * times[name]:9.1f} ms{times[name] / times[first]:9.2f}{memory:>11s}   {found}')
    return times


def measure(contestants: Mapping[str, Function], rounds: int) -> dict[str, float]:
    """Return the median time of each contestant in s."""
    times = np.empty((rounds, len(contestants)))
    for row in times:
        for index, function in enumerate(contestants.values()):
            start = time.perf_counter()
            function()
            row[index] = time.perf_counter() - start
    return dict(zip(contestants, np.median(times, axis=0).tolist(), strict=True))


def peak_memory(function: Callable[[], object], whole: bool = False) -> float:
    """Return the most memory in bytes that a call holds beyond what was there before, or with that (the whole)."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context('fork').Process(target=_report_memory, args=(function, whole, sender))
    process.start()
    process.join()
    return receiver.recv()


def _report_memory(function: Callable[[], object], whole: bool, sender: multiprocessing.connection.Connection) -> None:
    Path('/proc/self/clear_refs').write_text('5')  # forgets the peak so far
    before = 0 if whole else _status('VmRSS')
    function()
    sender.send(_status('VmHWM') - before)


def _status(key: str) -> int:
    """Return a size in bytes from the status of this process."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])
