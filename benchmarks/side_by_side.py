"""Contestants on the same data in one interleaved run: median time, peak memory and largest difference of each.

Times are medians over rounds in which all take turns, so that a busy machine slows all of them. The peak memory is what
a process of its own, forked with the data, holds beyond them at most. A contestant whose library is not installed is
named and left out; a target that it is needed for is not met.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

Function = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Contest:
    """What a comparison found by contestant; this package is the first."""

    title: str
    times: Mapping[str, float]  # median, s
    differences: Mapping[str, float]  # from this package

    def check_speed(self, least: float, *peers: str) -> list[str]:
        """Return what is missed of this target: to be at least so many times as fast as the fastest of these peers."""
        if absent := self._absent(peers):
            return absent
        ours, *_ = self.times.values()
        found = min(self.times[peer] for peer in peers) / ours
        words = f'{found:.2f} times as fast as the fastest of {", ".join(peers)}, not {least:g} times'
        return self._missed(found >= least, words)

    def check_difference(self, most: float, peer: str) -> list[str]:
        """Return what is missed of this target: to differ by no more than this from a peer."""
        if absent := self._absent([peer]):
            return absent
        found = self.differences[peer]
        return self._missed(found <= most, f'a difference of {found:.1e} from {peer}, not at most {most:g}')

    def _absent(self, peers: Iterable[str]) -> list[str]:
        absent = [peer for peer in peers if peer not in self.times]
        return self._missed(not absent, f'{", ".join(absent)} must be installed to compare with')

    def _missed(self, met: bool, words: str) -> list[str]:
        return [] if met else [f'{self.title}: {words}.']


def report(missed: Iterable[str]) -> int:
    """Print which targets are missed, and return the exit status: 1 where one is."""
    sentences = [f'target missed: {sentence}' for sentence in missed]
    print('\n'.join(sentences) or 'all targets met')
    return int(bool(sentences))


def installed(contestants: Mapping[str, tuple[str, Function]]) -> dict[str, Function]:
    """Return the contestants by name whose library, named beside each, is installed; name the others."""
    found = {name: function for name, (library, function) in contestants.items() if find_spec(library)}
    if absent := sorted(set(contestants) - set(found)):
        print(f'not installed: {", ".join(absent)} (pip install -e ".[benchmarks]")')
    return found


def compare(
    title: str, contestants: Mapping[str, Function], difference: Callable[[np.ndarray, np.ndarray], float], rounds: int
) -> Contest:
    """Print a line for each contestant, and return what was found.

    :param contestants: the first is the one that the others are compared with.
    :param difference: of the result of a contestant from that of the first.
    """
    print(f'{title}\n{"":24s}{"time":>12s}{"ratio":>9s}{"memory":>11s}   difference')
    first, *peers = contestants
    results = {name: function() for name, function in contestants.items()}  # compiles and warms up as well
    times = measure(contestants, rounds)
    differences = {name: difference(results[name], results[first]) for name in peers}
    for name, function in contestants.items():
        found = f'{differences[name]:.1e}' if name in differences else ''
        memory = f'{peak_memory(function) / 1e6:.0f} MB'
        print(f'{name:24s}{1e3 * times[name]:9.1f} ms{times[name] / times[first]:9.2f}{memory:>11s}   {found}')
    return Contest(title, times, differences)


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
