"""Rates of jumps, residence times, occupancy and free energies of sites, from the motion of each tracer.

A rate is the number of jumps of a class, divided by the time spent on their starting sites. A residence time is the
inverse of the sum of the rates away from the site. A stay that the end of the run cut short counts in the time, but not
in the number, as in the likelihood of exponential stays.

Errors: jumps come in bunches, since a tracer that jumped often returns, so the square root of their number is too
small. All results are ratios of sums over tracers. The errors assume independent tracers (ratio estimator: Cochran,
Sampling Techniques, 3rd ed., Wiley 1977, section 2.11) and are at least the errors of counting.

Rates of ``T-T`` depend on the core radius: if the barrier within a pair is low, a tracer swings from one core to the
other and back.

The difference of the free energies of a tetrahedral and an octahedral site at the temperature T follows from the
fractions of time p on each kind, with two tetrahedral sites for each octahedral site:

    dF = -kT ln[(p_T / 2) / p_O].

The difference exists only if tracers changed between the kinds; otherwise the fractions are the initial ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from aiida_mghdiff.science.lattice.hcp import CLASSES, HcpSites
from aiida_mghdiff.science.lattice.sites import Jumps
from aiida_mghdiff.science.units import BOLTZMANN_EV_PER_K

KINDS = ('O', 'T')
PLACES = (*KINDS, 'T pair')
_UPPER = float(stats.chi2.ppf(0.95, 2)) / 2


class Estimate(NamedTuple):
    """A value and its standard error; None if unknown."""

    value: float | None
    error: float | None


@dataclass(frozen=True)
class Tallies:
    """Times and jumps of each of m tracers, over several replicas."""

    times_ps: np.ndarray  # [m,2] on octahedral and on tetrahedral sites
    counts: np.ndarray  # [m,7] jumps of each of the ``CLASSES``
    departures: np.ndarray  # [m,2] jumps from octahedral and from tetrahedral sites
    changes: np.ndarray  # [m] jumps from one kind to the other

    @classmethod
    def of(cls, jumps: list[Jumps], sites: HcpSites, frame_interval_ps: float) -> Tallies:
        """Return the tallies of all tracers of replicas."""
        tallies = [cls._of_run(run, sites, frame_interval_ps) for run in jumps]
        return cls(*(np.concatenate(parts) for parts in zip(*tallies, strict=True)))

    @staticmethod
    def _of_run(run: Jumps, sites: HcpSites, frame_interval_ps: float) -> tuple[np.ndarray, ...]:
        frames, tracers = run.occupied.shape
        octahedral = sites.is_octahedral[run.occupied].sum(axis=0)
        from_t, to_t = (~sites.is_octahedral[ends] for ends in (run.origins, run.targets))
        return (
            np.stack([octahedral, frames - octahedral], axis=1) * frame_interval_ps,
            _count(run.tracers, sites.classify(run), (tracers, len(CLASSES))),
            _count(run.tracers, from_t.astype(int), (tracers, len(KINDS))),
            np.bincount(run.tracers, from_t != to_t, minlength=tracers),
        )

    def count(self, *classes: str) -> np.ndarray:
        """Return the number of jumps [m] of each tracer, of some classes together."""
        return self.counts[:, [CLASSES.index(name) for name in classes]].sum(axis=1)

    def time(self, kind: str) -> np.ndarray:
        """Return the time [m] in ps that each tracer spent on sites of a kind."""
        return self.times_ps[:, KINDS.index(kind)]


def _count(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.bincount(np.ravel_multi_index((rows, columns), shape), minlength=shape[0] * shape[1]).reshape(shape)


def jump_rate(tallies: Tallies, name: str) -> Estimate:
    """Return the rate of a class of jumps in 1/ps, to all its targets together; see also :func:`rate_bound`."""
    counts, times = tallies.count(name), tallies.time(name[0])
    return _ratio(counts, times, counts.sum())


def rate_bound(tallies: Tallies, name: str) -> float | None:
    """Return a 95 % upper limit of the rate in 1/ps of a class without jumps in a time above zero; otherwise None."""
    time = tallies.time(name[0]).sum()
    return _UPPER / float(time) if time > 0 and not tallies.count(name).any() else None


def residence_time(tallies: Tallies, place: str) -> Estimate:
    """Return the mean stay in ps on a site of the kind ``O`` or ``T``, or in a ``T pair`` that shares a face."""
    endings = tallies.departures[:, KINDS.index(place[0])]
    if place == 'T pair':
        endings = endings - tallies.count('T-T')
    return _ratio(tallies.time(place[0]), endings, endings.sum())


def occupancy(tallies: Tallies) -> dict[str, Estimate]:
    """Return the fraction of time on sites of each kind."""
    whole = tallies.times_ps.sum(axis=1)
    ratio = _log_ratio(tallies)
    fractions = {kind: float(tallies.time(kind).sum() / whole.sum()) for kind in KINDS}
    error = None if ratio.error is None else fractions['O'] * fractions['T'] * ratio.error
    return {kind: Estimate(fraction, error) for kind, fraction in fractions.items()}


def free_energy_difference(tallies: Tallies, temperature_k: float) -> Estimate:
    """Return the difference of the free energies of a tetrahedral and an octahedral site in eV."""
    ratio, kt = _log_ratio(tallies), BOLTZMANN_EV_PER_K * temperature_k
    if ratio.value is None or ratio.error is None:
        return Estimate(None, None)
    return Estimate(-kt * (ratio.value - float(np.log(2))), kt * ratio.error)


def _log_ratio(tallies: Tallies) -> Estimate:
    """Return ln(p_T / p_O); None if no tracer changed between the kinds.

    The relative error of a mean of N stays is 1/sqrt(N); the number of stays on each kind equals the number of changes.
    """
    changes = tallies.changes.sum()
    if not changes or not tallies.times_ps.sum(axis=0).all():
        return Estimate(None, None)
    ratio = _ratio(tallies.time('T'), tallies.time('O'), changes / 4)
    if ratio.value is None or ratio.error is None:
        return Estimate(None, None)
    return Estimate(float(np.log(ratio.value)), ratio.error / ratio.value)


def _ratio(numerators: np.ndarray, denominators: np.ndarray, events: float) -> Estimate:
    """Return the ratio of sums, with a relative error of at least 1/sqrt(events)."""
    total = denominators.sum()
    if not total:
        return Estimate(None, None)
    value, m = float(numerators.sum() / total), len(numerators)
    if not events:
        return Estimate(value, None)
    residuals = numerators - value * denominators
    scatter = np.sqrt(np.square(residuals).sum() * m / (m - 1)) / total if m > 1 else 0.0
    return Estimate(value, max(float(scatter), value / float(np.sqrt(events))))
