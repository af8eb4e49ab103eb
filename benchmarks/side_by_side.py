"""Compare contestants on the same data in one interleaved run: median time, peak memory and largest difference.

All contestants take turns in each round, so a busy machine slows all of them. Times are medians over rounds. Each
contestant runs once more in a process forked with the data. The peak memory does not count the data. If the library of
a contestant is not installed, the contestant is named and left out, and each target that needs it is missed.
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
    """The results of a comparison by contestant; this package comes first."""

    title: str
    times: Mapping[str, float]  # median, s
    differences: Mapping[str, float]  # compared with this package

    def check_speed(self, least: float, *peers: str) -> list[str]:
        """Return a sentence if this package is less than `least` times as fast as the fastest of these peers."""
        if absent := self._absent(peers):
            return absent
        ours, *_ = self.times.values()
        found = min(self.times[peer] for peer in peers) / ours
        words = f'{found:.2f} times as fast as the fastest of {", ".join(peers)}, not {least:g} times'
        return self._missed(found >= least, words)

    def check_difference(self, most: float, peer: str) -> list[str]:
        """Return a sentence if this package differs by more than `most` from a peer."""
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
    """Print the missed targets; return the exit status, 1 if there are any."""
    sentences = [f'target missed: {sentence}' for sentence in missed]
    print('\n'.join(sentences) or 'all targets met')
    return int(bool(sentences))


def installed(contestants: Mapping[str, tuple[str, Function]]) -> dict[str, Function]:
    """Return the contestants whose library, named beside each, is installed; print the names of the others."""
    found = {name: function for name, (library, function) in contestants.items() if find_spec(library)}
    if absent := sorted(set(contestants) - set(found)):
        print(f'not installed: {", ".join(absent)} (pip install -e ".[benchmarks]")')
    return found


def compare(
    title: str, contestants: Mapping[str, Function], difference: Callable[[np.ndarray, np.ndarray], float], rounds: int
) -> Contest:
    """Print a line for each contestant, and return the results.

    :param contestants: by name; the others are compared with the first.
    :param difference: compares the result of a contestant with the first result.
    """
    print(f'{title}\n{"":24s}{"time":>12s}{"ratio":>9s}{"memory":>11s}   difference')
    first, *peers = contestants
    results = {name: function() for name, function in contestants.items()}  # also compiles and warms up
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
    """Return the peak memory of a call in bytes, with the memory in use before it only if `whole`."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context('fork').Process(target=_report_memory, args=(function, whole, sender))
    process.start()
    process.join()
    return receiver.recv()


def _report_memory(function: Callable[[], object], whole: bool, sender: multiprocessing.connection.Connection) -> None:
    Path('/proc/self/clear_refs').write_text('5')  # reset the peak
    before = 0 if whole else _status('VmRSS')
    function()
    sender.send(_status('VmHWM') - before)


def _status(key: str) -> int:
    """Return a size in bytes from the status of this process."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])
