"""Find energies that are far from the energies of similar cells.

Several comparisons follow each other. Each leaves out the cells that an earlier comparison found:

- Cells of one composition, then of similar compositions, whose volumes per atom are within a factor of two: if a gap
  separates two groups of energies, and the ratio of their medians is the ratio of two units, one group is in the other
  unit. Two cells are enough.
- Cells of one composition whose volumes per atom are within 15 %, so that dimers in a box are not compared with a
  crystal. Some cells are outliers if a gap of more than 1 eV/atom separates them from at least four others, and if the
  gap is ten times the scatter of the others. Hot and cold runs of one material, defects and phases of one density
  differ by less. Energies of another method, or of an SCF in a wrong state, differ by more.
- Cells of all compositions, after energies per element are subtracted. The fit of these energies minimises absolute
  deviations, so that outliers do not change it.

Structures far from equilibrium, such as random ones, have large forces. A force F costs F²/(2 k) in a harmonic well, so
the gap must be wider by this energy for the cells above it; k = 2 eV/Å² is the constant of a soft bond.

A composition that is unlike all others is not found if all its energies are in another unit: energies per element
absorb the factor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aiida_mghdiff.science.units import EV_IN_MEV, HARTREE_IN_EV, KCAL_PER_MOL_IN_EV, KJ_PER_MOL_IN_EV, RYDBERG_IN_EV

LEAST_GAP_EV_PER_ATOM = 1.0
_GAP_OVER_SCATTER = 10.0
_LEAST_OTHERS = 4
_LN_VOLUME = 0.14
_SOFT_BOND_EV_PER_ANGSTROM2 = 2.0
_ROUNDS = 30
_SMALLEST_DEVIATION_EV = 1e-3
#: Ratio of the standard deviation to the median absolute deviation of normal samples.
_NORMAL = 1.4826

#: Limits for energies in two units: a smaller gap and a larger range of densities than for like cells in one unit.
_LEAST_RATIO = 8.0
_LEAST_GAP_OF_UNITS_EV_PER_ATOM = 0.5
_LN_VOLUME_OF_UNITS = 0.7
#: Compositions are similar if the shares of their elements differ by less, in sum. They are compared only below the
#: largest energy: larger energies include core electrons, so a few heavy atoms change the mean by a large factor.
_LIKE_SHARES, _LARGEST_ENERGY_EV_PER_ATOM = 0.25, 50.0
#: Energies per atom are recognised only in cells of at least this many atoms.
_LEAST_ATOMS_OF_CELL = 8
#: An energy in another unit is within this factor of the expected one.
_SAME_ENERGY = 1.1
#: In eV.
ENERGY_UNITS = {
    'Hartree': HARTREE_IN_EV,
    'Rydberg': RYDBERG_IN_EV,
    'kcal/mol': KCAL_PER_MOL_IN_EV,
    'kJ/mol': KJ_PER_MOL_IN_EV,
    'meV': 1 / EV_IN_MEV,
}
OTHER_SIGN, ONE_ATOM = 'other sign', 'one atom'


@dataclass(frozen=True)
class Outliers:
    """Two groups of like cells whose energies disagree.

    ``unit`` says why the energies of the first group are wrong: one of :data:`ENERGY_UNITS`, :data:`OTHER_SIGN`,
    :data:`ONE_ATOM` (energies of one atom, not of the cell). If ``unit`` is None, either group may be wrong, and
    the first group is the smaller one.
    """

    indices: np.ndarray  # [k], in order
    others: np.ndarray  # [l], in order
    unit: str | None


@dataclass(frozen=True)
class _Cells:
    """Columns of n cells."""

    shares: np.ndarray  # [n,m] of the elements in the atoms
    natoms: np.ndarray
    energies: np.ndarray  # eV/atom
    volumes: np.ndarray  # Å³/atom
    strains: np.ndarray  # eV/atom by which an energy may lie above others, estimated from the forces

    def take(self, rows: np.ndarray) -> _Cells:
        return _Cells(*(column[rows] for column in vars(self).values()))


#: Rows of the smaller group, rows of the larger group, and expected energies of the smaller group in eV/atom.
_Gap = tuple[np.ndarray, np.ndarray, np.ndarray]


def outlying_energies(
    counts: np.ndarray, energies: np.ndarray, volumes: np.ndarray, forces: np.ndarray
) -> list[Outliers]:
    """Return which cells have energies far from the energies of like cells, a group for each reason.

    :param counts: atoms of each element in each cell [n,m]; ``energies`` [n] in eV and ``volumes`` [n] in Å³ of cells.
    :param forces: root mean square of the lengths of forces in each cell [n] in eV/Å.
    """
    natoms = counts.sum(axis=1)
    strains = forces**2 / (2 * _SOFT_BOND_EV_PER_ANGSTROM2)
    cells = _Cells(counts / natoms[:, None], natoms, energies / natoms, volumes / natoms, strains)
    found: dict[str | None, tuple[set[int], set[int]]] = {}
    left = np.arange(len(natoms))
    for compare in _COMPARISONS:
        some = cells.take(left)
        for odd, others, expected in compare(some):
            unit, is_of_others = _unit(some.energies[odd], expected, some.natoms[odd])
            groups = (others, odd) if is_of_others else (odd, others)
            for rows, group in zip(found.setdefault(unit, (set(), set())), groups, strict=True):
                rows.update(left[group].tolist())
        left = np.setdiff1d(left, [row for wrong, _ in found.values() for row in wrong])
    return [Outliers(np.array(sorted(a)), np.intersect1d(left, list(b)), unit) for unit, (a, b) in found.items()]


def _units_of_one_composition(cells: _Cells) -> Iterator[_Gap]:
    return _units(cells, 0.0)


def _units_of_like_compositions(cells: _Cells) -> Iterator[_Gap]:
    for odd, others, level in _units(cells, _LIKE_SHARES):
        if np.abs(cells.energies[np.append(odd, others)]).max() < _LARGEST_ENERGY_EV_PER_ATOM:
            yield odd, others, level


def _units(cells: _Cells, distance: float) -> Iterator[_Gap]:
    """Yield groups of cells of similar composition whose energies are in two units."""
    for rows in _of_composition(cells, distance):
        for alike in _alike(cells.volumes[rows], _LN_VOLUME_OF_UNITS):
            some = cells.take(rows[alike])
            if gap := _gap_of_units(some):
                odd, others = gap
                level = np.full(len(odd), np.median(some.energies[others]))
                if _unit(some.energies[odd], level, some.natoms[odd])[0] in (*ENERGY_UNITS, ONE_ATOM):
                    yield rows[alike[odd]], rows[alike[others]], level


def _gap_of_units(cells: _Cells) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the rows of two groups whose energies may be in two units, the smaller group first."""
    if len(cells.energies) < 2 or len(set(np.sign(cells.energies))) > 1 or not cells.energies.all():
        return None
    logarithms = np.log(np.abs(cells.energies))
    low, high = _parted(logarithms)
    gap = np.median(logarithms[high]) - np.median(logarithms[low])
    below, above = (low, high) if cells.energies[low[0]] < cells.energies[high[0]] else (high, low)
    least = _LEAST_GAP_OF_UNITS_EV_PER_ATOM + max(
        0.0, _median_of(cells.strains, above) - _median_of(cells.strains, below)
    )
    is_far = _median_of(cells.energies, above) - _median_of(cells.energies, below) > least
    is_clear = gap > max(
        np.log(_LEAST_RATIO), _GAP_OVER_SCATTER * max(_scatter(logarithms[low]), _scatter(logarithms[high]))
    )
    if not (is_far and is_clear):
        return None
    return (low, high) if len(low) <= len(high) else (high, low)


def _gaps_of_one_composition(cells: _Cells) -> Iterator[_Gap]:
    for rows in _of_composition(cells):
        some = cells.take(rows)
        yield from ((rows[odd], rows[others], expected) for odd, others, expected in _gaps(some, np.zeros(len(rows))))


def _gaps_of_all(cells: _Cells) -> Iterator[_Gap]:
    return _gaps(cells, cells.shares @ _fit(cells.shares, cells.energies))


def _gaps(cells: _Cells, baseline: np.ndarray) -> Iterator[_Gap]:
    """Yield the gaps in energies minus a baseline [n], each among cells of similar volume per atom."""
    values = cells.energies - baseline
    for rows in _alike(cells.volumes, _LN_VOLUME):
        if len(rows) > _LEAST_OTHERS:
            odd, others = _smaller_part(values[rows], cells.strains[rows])
            if len(odd):
                yield rows[odd], rows[others], baseline[rows[odd]] + np.median(values[rows[others]])


def _fit(shares: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Return energies per element [m] of least absolute deviations, by repeated weighted least squares."""
    weights = np.ones(len(energies))
    for _ in range(_ROUNDS):
        offsets = np.linalg.lstsq(shares * weights[:, None], energies * weights, rcond=None)[0]
        deviations = np.abs(energies - shares @ offsets)
        weights = np.maximum(deviations, _SMALLEST_DEVIATION_EV) ** -0.5
    return offsets


def _of_composition(cells: _Cells, distance: float = 0.0) -> Iterator[np.ndarray]:
    for composition in np.unique(cells.shares.round(9), axis=0):
        yield np.flatnonzero(np.abs(cells.shares - composition).sum(axis=1) < distance + 1e-8)


def _alike(volumes: np.ndarray, width: float) -> Iterator[np.ndarray]:
    """Yield the indices of cells of similar volume per atom.

    Two rows of bins overlap, so that similar cells share a bin.

    :param width: width of the bins in the logarithm of the volume.
    """
    for shift in (0.0, 0.5):
        bins = np.floor(np.log(volumes) / width + shift)
        for each in np.unique(bins):
            yield np.flatnonzero(bins == each)


def _parted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows below and above the largest gap of at least two values."""
    order = np.argsort(values)
    cut = int(np.argmax(np.diff(values[order]))) + 1
    return order[:cut], order[cut:]


def _smaller_part(values: np.ndarray, strains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows on the smaller side of the largest gap in values [k], and the rows on its larger side.

    If the gap is too small, the first rows are empty.

    :param strains: allowance by which each value [k] may lie above others.
    """
    below, above = _parted(values)
    small, large = (below, above) if len(below) < len(above) else (above, below)
    gap = values[above].min() - values[below].max()
    least = max(LEAST_GAP_EV_PER_ATOM + _median_of(strains, above), _GAP_OVER_SCATTER * _scatter(values[large]))
    return (small if len(large) >= _LEAST_OTHERS and gap > least else small[:0]), large


def _median_of(values: np.ndarray, rows: np.ndarray) -> float:
    return float(np.median(values[rows]))


def _scatter(values: np.ndarray) -> float:
    return _NORMAL * float(np.median(np.abs(values - np.median(values))))


def _unit(given: np.ndarray, expected: np.ndarray, natoms: np.ndarray) -> tuple[str | None, bool]:
    """Return the unit that explains the energies, and whether the other group has it.

    :param given: energies [k] of one group in eV/atom, in cells of ``natoms`` [k] atoms.
    :param expected: energies [k] in eV/atom that follow from the other group.
    """
    ratios = expected / np.where(given == 0, np.nan, given)
    if np.all(ratios < 0):
        return (OTHER_SIGN if np.median(np.abs(np.log(-ratios))) < np.log(_SAME_ENERGY) else None), False
    if not np.all(ratios > 0):
        return None, False
    factors = ENERGY_UNITS | ({ONE_ATOM: natoms} if natoms.min() >= _LEAST_ATOMS_OF_CELL else {})
    distances = {
        (unit, is_of_others): float(np.median(np.abs(np.log(ratios) - sign * np.log(factor))))
        for unit, factor in factors.items()
        for is_of_others, sign in ((False, 1), (True, -1))
    }
    best = min(distances, key=distances.__getitem__)
    return best if distances[best] < np.log(_SAME_ENERGY) else (None, False)


_COMPARISONS = (_units_of_one_composition, _units_of_like_compositions, _gaps_of_one_composition, _gaps_of_all)
