"""Coverage and width of intervals of D over thousands of ensembles with a known answer: ``make intervals``.

A replica has 8 H for 1 ns, with a frame every 0.5 ps. It looks like MD output, wrapped into a triclinic cell of 128 Mg
that drifts. Disjoint groups of 3, 5 and 10 replicas are the ensembles. Each replica is simulated once, and D of each
tracer by each method is kept in ``build/intervals``. So an interrupted run continues, and another rule for the interval
takes only a minute (``--table``). All runs take about half an hour on one core.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

import hops
import numpy as np
from scipy import stats

from aiida_mghdiff.science.diffusion import METHODS, DiffusionEstimate, lag_doubt
from aiida_mghdiff.science.gls import generalised_least_squares
from aiida_mghdiff.science.least_squares import least_squares
from aiida_mghdiff.science.msd import remove_drift
from aiida_mghdiff.science.whittle import automatic_fit

REGIMES, GROUPS, ENSEMBLES = (0.5, 0.05, 0.005), (3, 5, 10), 2000
FRAMES, INTERVAL, TRACERS, LAG, WINDOW = 2001, 0.5, 8, 20.0, (0, 200)
#: Replicas in a batch, a multiple of each group size.
BATCH = 30
FOLDER = Path(__file__).parents[2] / 'build' / 'intervals'
#: Jumps and time matter only for runs without diffusion, so these values decide nothing.
MANY_JUMPS, TRACER_TIME, CONFIDENCE = 10**6, 1.0, 0.95


@functools.cache
def network_of(coefficient):
    return hops.Network(hops.regime(coefficient), (4, 4, 4))


def make_replicas(coefficient, seed, count, frames=FRAMES):
    """Return unwrapped positions [f,n,3] of each replica without drift, from the output that a code would write."""
    rng, network = np.random.default_rng(seed), network_of(coefficient)
    replicas = []
    for _ in range(count):
        positions = network.walks(rng, frames, INTERVAL, TRACERS) + hops.vibrations(rng, frames, TRACERS, INTERVAL)
        tracers, host = hops.disguise(rng, positions, INTERVAL, network.cell)
        replicas.append(remove_drift(hops.unwrap(tracers, network.cell), hops.unwrap(host, network.cell)))
    return replicas


def measure_batch(coefficient, batch, groups):
    """Return D [30,n,3] of tracers by method and group size, and whether the method gives way to least squares."""
    replicas = make_replicas(coefficient, [round(1000 * coefficient), batch], BATCH)
    found = {
        'least-squares': np.stack(least_squares(replicas, INTERVAL, WINDOW)),
    }
    for size in groups:
        parts = [replicas[start : start + size] for start in range(0, BATCH, size)]
        for method, fit_of in (('automatic', automatic_fit), ('gls', fit_gls)):
            fits = [fit_of(part, INTERVAL) for part in parts]
            found[f'{method}-{size}'] = np.concatenate([fit for fit, _ in fits])
            found[f'{method}-{size}-doubts'] = np.array([doubt is not None for _, doubt in fits])
    return found


def fit_gls(replicas, frame_time):
    """Return D by replica, and the reason why gls gives way, if any."""
    whole, double = (generalised_least_squares(replicas, frame_time, factor * LAG) for factor in (1, 2))
    return whole, lag_doubt(LAG, whole, double)


def batches_of(size, ensembles):
    """Return the number of batches with at least so many ensembles of a size."""
    return -(-size * ensembles // BATCH)


def batch_file(folder, coefficient, batch):
    return folder / f'{coefficient:g}' / f'{batch:04d}.npz'


def simulate(coefficient, ensembles, folder=FOLDER):
    """Measure the batches that are missing in the folder."""
    for batch in range(batches_of(max(GROUPS), ensembles)):
        path = batch_file(folder, coefficient, batch)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        groups = [size for size in GROUPS if batch < batches_of(size, ENSEMBLES)]
        part = path.with_name('part.npz')
        np.savez(part, **measure_batch(coefficient, batch, groups))
        part.rename(path)
        if batch % 10 == 9:
            print(f'D = {coefficient:g} Å²/ps: {batch + 1} of {batches_of(max(GROUPS), ensembles)}', flush=True)


def estimates(coefficient, size, method, ensembles, folder=FOLDER):
    """Yield two estimates for each ensemble: the given one, and the method's own even if it gives way."""
    for batch in range(batches_of(size, ensembles)):
        path = batch_file(folder, coefficient, batch)
        if not path.exists():
            return
        with np.load(path) as found:
            least = found['least-squares']
            own = least if method == 'least-squares' else found[f'{method}-{size}']
            doubts = found.get(f'{method}-{size}-doubts', np.zeros(BATCH // size, bool))
        for group, doubt in enumerate(doubts):
            members = slice(group * size, (group + 1) * size)
            alone = estimate_of(method, own[members])
            yield estimate_of('least-squares', least[members]) if doubt else alone, alone


def estimate_of(method, coefficients):
    names = tuple(f'replica {index}' for index in range(len(coefficients)))
    return DiffusionEstimate(method, tuple(coefficients), MANY_JUMPS, TRACER_TIME, CONFIDENCE, names)


def symmetric_interval(estimate):
    """Return the symmetric Student's t interval, over replicas for least squares, else over all tracers."""
    by_replica = [one.mean(axis=1) for one in estimate.coefficients]
    least = estimate.method == 'least-squares'
    samples = np.array([one.mean() for one in by_replica]) if least else np.concatenate(by_replica)
    return stats.t.interval(CONFIDENCE, len(samples) - 1, samples.mean(), stats.sem(samples))


def measure_cell(coefficient, size, method, ensembles, folder=FOLDER):
    """Return rows of (D, limits, symmetric limits) divided by the true D, and the relative scatter of replicas."""
    pairs = list(estimates(coefficient, size, method, ensembles, folder))[:ensembles]
    if not pairs:
        return np.zeros((0, 5)), 0.0
    rows = [(given.value, *given.interval, *symmetric_interval(alone)) for given, alone in pairs]
    replicas = np.array([[one.mean() for one in alone.coefficients] for _, alone in pairs])
    return np.array(rows) / coefficient, np.sqrt(replicas.var(axis=1, ddof=1).mean()) / coefficient


def coverage(rows, low, high, confidence):
    """Return the coverage of the truth in per cent, with the exact interval of the coverage."""
    hits = (rows[:, low] < 1) & (rows[:, high] > 1)
    limits = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(confidence)
    return 100 * hits.mean(), 100 * limits.low, 100 * limits.high


def describe_cell(rows):
    """Return the columns of the table: ensembles, bias, error, coverage with both kinds of limits, widths, ratio."""
    errors = 100 * (rows[:, 0] - 1)
    own = f'{errors.mean():.1f} | {np.sqrt(np.mean(np.square(errors))):.1f}'
    before, after = coverage(rows, 3, 4, 0.99), coverage(rows, 1, 2, 0.99)
    widths = [100 * (rows[:, high] - rows[:, low]).mean() for low, high in ((3, 4), (1, 2))]
    covered = ' | '.join(f'{value:.1f} ({low:.1f} to {high:.1f})' for value, low, high in (before, after))
    return f'{len(rows)} | {own} | {covered} | {widths[0]:.1f} | {widths[1]:.1f} | {widths[1] / widths[0]:.2f}'


def print_table(ensembles, folder=FOLDER):
    """Print the simulated cells as in the manual."""
    header = ['method', 'D (Å²/ps)', 'replicas', 'their scatter (%)', 'ensembles', 'bias (%)', 'error (%)']
    header += ['coverage, symmetric (%)', 'coverage (%)', 'width, symmetric (% of D)', 'width (% of D)', 'ratio']
    print('| ' + ' | '.join(header) + ' |\n|' + len(header) * '---|')
    for method in METHODS:
        for coefficient in REGIMES:
            for size in GROUPS:
                rows, scatter = measure_cell(coefficient, size, method, ensembles, folder)
                if not len(rows):
                    continue
                cells = f'| {method} | {coefficient:g} | {size} | {100 * scatter:.0f} | {describe_cell(rows)} |'
                print(cells, flush=True)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    help_text = f'of each number of replicas, {ENSEMBLES} at most'
    parser.add_argument('--ensembles', type=int, default=ENSEMBLES, help=help_text)
    parser.add_argument('--table', action='store_true', help='measure what is there, simulate nothing')
    options = parser.parse_args(arguments)
    for coefficient in () if options.table else REGIMES:
        simulate(coefficient, options.ensembles)
    print_table(options.ensembles)


if __name__ == '__main__':
    main(sys.argv[1:])
