"""Find implausible labels before they enter a dataset.

Forces above 100 eV/Å and stresses above 1 eV/Å³ (160 GPa) are refused. Stresses that are far larger than the forces on
the atoms imply (:mod:`aiida_mghdiff.science.stress_scale`) are refused, too, however small they are: they are in
another unit, which the message names. A warning names fewer than five such frames, and a median stress above
0.1 eV/Å³, or a median force above 5 eV/Å.

Zeros are refused if they replace labels that were not computed: energies of exactly 0, stresses of exactly 0 on atoms
with forces, forces of exactly 0 that no symmetry requires.

Atoms closer than 0.3 Å, periodic images included, are one atom that occurs twice. If only some frames have stresses
far larger than their forces imply, the message names these frames: they are in another unit. It also names frames whose
energies are far from energies of similar frames (:mod:`aiida_mghdiff.science.energy_outliers`) by the factor of a unit,
or against the forces of a frame of almost the same positions; without these signs it warns, because phases, broken
molecules and other compounds may be as far apart. If changes of energies are far from the work of the forces, the
energies are in another unit (:mod:`aiida_mghdiff.science.energy_scale`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from ase.stress import voigt_6_to_full_3x3_stress

from aiida_mghdiff.formats.frames import ENERGY_KEYS, energy_of
from aiida_mghdiff.science.energy_offsets import element_counts
from aiida_mghdiff.science.energy_outliers import (
    ENERGY_UNITS,
    LEAST_GAP_EV_PER_ATOM,
    ONE_ATOM,
    OTHER_SIGN,
    Outliers,
    outlying_energies,
)
from aiida_mghdiff.science.energy_scale import Snapshot, energy_scale, work_of_forces
from aiida_mghdiff.science.stress_scale import CUTOFF_ANGSTROM, Cell, StressScale, pair_forces, stress_scale
from aiida_mghdiff.science.units import (
    BAR_IN_GPA,
    BOHR_IN_ANGSTROM,
    EV_PER_ANGSTROM3_IN_GPA,
    HARTREE_IN_EV,
    KBAR_IN_EV_PER_ANGSTROM3,
    RYDBERG_IN_EV,
)

SMALLEST_DISTANCE_ANGSTROM = 0.3
LARGEST_FORCE_EV_PER_ANGSTROM = 100.0
LARGEST_STRESS_EV_PER_ANGSTROM3 = 1.0
HIGH_MEDIAN_STRESS_EV_PER_ANGSTROM3 = 0.1
#: Forces of crystals, melts and molecules are up to 3 eV/Å, and 23 (kcal/mol) or 96 (kJ/mol) times these numbers.
HIGH_MEDIAN_FORCE_EV_PER_ANGSTROM = 5.0
#: Ratio of stresses to estimates from forces that no dataset in one unit reaches, but every dataset in GPa does.
LARGEST_RATIO = 30.0
#: Ratios of stresses to forces that differ by more are treated as two groups; at most this many times.
_LEAST_GAP, _MOST_GAPS = 4.0, 3
_LEAST_FORCE_EV_PER_ANGSTROM = 0.1
#: With fewer cells the comparison of stresses and forces is not reliable.
_LEAST_CELLS = 5
#: The fit uses at most this many atoms.
_ENOUGH_ATOMS = 1000
_SURE_CORRELATION = 0.8
#: A factor farther than this from the factors of all units identifies no unit.
_FARTHEST = 4.0
#: Units whose factors differ by less are named together.
_SIMILAR = 1.4
#: Usual magnitudes of stresses in condensed matter, used if forces give no estimate: from 0.1 to 50 GPa.
_USUAL_STRESSES_EV_PER_ANGSTROM3 = (6e-4, 0.3)
#: Below this sum of unit pushes from its pairs, the neighbours of an atom balance: 0.001 Å from symmetry.
_LEAST_IMBALANCE = 1e-3
_NO_ENERGY = 'the energy is exactly 0, as in other frames: it was not computed. Compute it, or leave such frames out'
_NO_STRESS = (
    'the stress is exactly 0 on atoms with forces, as in other frames: it was not computed. Compute it, or give '
    'such frames no stress (in extxyz, stress_key null reads none)'
)
_NO_FORCES = (
    'all forces are exactly 0 on atoms in no symmetric places, as in other frames: they were not computed. Compute '
    'them, or leave such frames out'
)
_ALLOW = 'to take all labels as they are, set allow_implausible'

#: Messages name this many stretches of frames.
_NAMED = 5

UNITS = {
    'GPa': EV_PER_ANGSTROM3_IN_GPA,
    'kbar': 1 / KBAR_IN_EV_PER_ANGSTROM3,
    'bar': EV_PER_ANGSTROM3_IN_GPA / BAR_IN_GPA,
}
_ENERGY_WORDS = {
    OTHER_SIGN: 'the first group has the opposite sign',
    ONE_ATOM: 'the first group looks like energies per atom',
    None: 'if they are no other phase or compound, the SCF found a wrong state in one of them, or energies are of '
    'another method',
}
#: A ratio of changes of energies to the work of forces that no set in one unit reaches, nor its inverse.
LARGEST_ENERGY_RATIO = 8.0
#: The ratio over the factor of a unit is within these limits.
_USUAL_ENERGY_RATIOS = (0.3, 1.5)
_ENOUGH_PAIRS = 200
#: A frame is compared with at most this many frames of the same atoms, the next ones in the file.
_ENOUGH_NEIGHBOURS = 50
_ENERGY_OVER_WORK = {f'energies look like {unit}': 1 / factor for unit, factor in ENERGY_UNITS.items()} | {
    'forces look like Hartree/bohr': HARTREE_IN_EV / BOHR_IN_ANGSTROM,
    'forces look like Rydberg/bohr': RYDBERG_IN_EV / BOHR_IN_ANGSTROM,
    'forces look like meV/Å': 1e-3,
    'forces have the opposite sign': -1.0,
}
VIRIAL = 'a virial in eV (minus stress times volume)'

Item = TypeVar('Item')


class ImplausibleWarning(UserWarning):
    """Labels are unusual, but may be right: under high pressure, or of another phase or compound."""


@dataclass(frozen=True)
class Finding:
    """An implausible label: the index of the worst frame, and the reason in words."""

    index: int
    reason: str


def implausible(frames: Sequence[Atoms], numbers: Sequence[int] | None = None) -> Finding | None:
    """Return the first implausible label of frames, or None; warn of unusual stresses and energies.

    :param numbers: numbers of the frames for messages; by default counted from 0.
    """
    names = range(len(frames)) if numbers is None else numbers
    finding = (
        _coinciding_atoms(frames)
        or _large_force(frames)
        or _placeholders(frames)
        or _odd_energies(frames, names)
        or _mixed_stresses(frames, names)
        or _wrong_stresses(frames)
        or _unrelated_forces(frames)
    )
    if finding is None and len(frames):
        _warn_of_large_forces(frames)
    return finding


def within_bounds(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return for each frame ``[n]`` whether its forces and stress are within the limits of plausible labels.

    :param arrays: flat, see :mod:`aiida_mghdiff.formats.frames`.
    """
    starts = np.cumsum(arrays['natoms']) - arrays['natoms']
    forces = np.maximum.reduceat(np.linalg.norm(arrays['forces'], axis=1), starts)
    stresses = np.nan_to_num(np.abs(arrays['stresses'])).max(axis=1)
    return (forces <= LARGEST_FORCE_EV_PER_ANGSTROM) & (stresses <= LARGEST_STRESS_EV_PER_ANGSTROM3)


def excess(atoms: Atoms) -> str | None:
    """Return in words which label of a frame is implausibly large, or None."""
    forces = np.linalg.norm(atoms.calc.results['forces'], axis=1)
    if forces.max() > LARGEST_FORCE_EV_PER_ANGSTROM:
        atom = int(forces.argmax())
        size, limit = f'{forces[atom]:.4g} eV/Å', f'{LARGEST_FORCE_EV_PER_ANGSTROM:g}'
        return f'the force on atom {atom} ({atoms.symbols[atom]}) is {size}, above {limit}'
    stress = atoms.calc.results.get('stress')
    largest = 0.0 if stress is None else float(np.abs(stress).max())
    if largest > LARGEST_STRESS_EV_PER_ANGSTROM3:
        return f'{_stress_words(largest)} is above {LARGEST_STRESS_EV_PER_ANGSTROM3:g} eV/Å³'
    return None


def _warn_of_large_forces(frames: Sequence[Atoms]) -> None:
    """Warn of large forces: energies and forces that are both in another unit agree with each other."""
    sizes = [np.sqrt(np.mean(np.square(atoms.calc.results['forces']).sum(axis=1))) for atoms in frames]
    if (median := float(np.median(sizes))) > HIGH_MEDIAN_FORCE_EV_PER_ANGSTROM:
        words = (
            f'the median over frames of the root mean square force is {median:.3g} eV/Å: right only for very hot or '
            'dense cells; otherwise check the units of forces and energies (kcal/mol, kJ/mol).'
        )
        warnings.warn(words, ImplausibleWarning, stacklevel=3)


def _coinciding_atoms(frames: Sequence[Atoms]) -> Finding | None:
    for index, atoms in enumerate(frames):
        # cells are at least 0.5 Å thick, so the rounded image is the nearest one for coinciding atoms
        inverse = np.linalg.inv(atoms.cell.array)
        vectors = atoms.positions[:, None] - atoms.positions
        vectors -= np.round(vectors @ inverse) @ atoms.cell.array
        squares = np.einsum('ijk,ijk->ij', vectors, vectors)
        np.fill_diagonal(squares, np.inf)
        if squares.min(initial=np.inf) < SMALLEST_DISTANCE_ANGSTROM**2:
            first, second = sorted(np.unravel_index(squares.argmin(), squares.shape))
            names = ' and '.join(f'{atom} ({atoms.symbols[atom]})' for atom in (first, second))
            reason = (
                f'atoms {names} are {np.sqrt(squares.min()):.3g} Å apart, periodic images included: one atom occurs '
                f'twice, or lengths are not in Å. Remove one of them, or leave the frame out; {_ALLOW}'
            )
            return Finding(index, reason)
    return None


def _odd_energies(frames: Sequence[Atoms], numbers: Sequence[int]) -> Finding | None:
    """Return a finding about energies that are far from energies of similar composition and density, or None."""
    natoms, atom_numbers = np.array([len(atoms) for atoms in frames]), np.concatenate([each.numbers for each in frames])
    counts = element_counts(natoms, atom_numbers, np.unique(atom_numbers))
    labels = [atoms.calc.results for atoms in frames]
    energies = np.array([energy_of(each, ENERGY_KEYS['free']) for each in labels], dtype=float).ravel()
    volumes = np.array([atoms.get_volume() for atoms in frames])
    forces = np.array([np.sqrt(np.mean(np.square(each['forces']).sum(axis=1))) for each in labels])
    sure: list[tuple[int, str]] = []
    for each in outlying_energies(counts, energies, volumes, forces):
        reason = _energy_reason(each, energies / natoms, numbers)
        if each.unit or not energies[each.indices].all() or _contradict(frames, each):
            sure.append((int(each.indices[0]), reason))
        else:
            warnings.warn(reason, ImplausibleWarning, stacklevel=2)
    if not sure:
        return None
    remedy = 'Convert these energies, compute them again, or leave such frames out'
    return Finding(min(sure)[0], f'{"; ".join(reason for _, reason in sure)}. {remedy}; {_ALLOW}')


def _contradict(frames: Sequence[Atoms], found: Outliers) -> bool:
    """Return whether energies of two frames with almost the same positions are far from the work of their forces."""
    for index in found.indices:
        end, least = _snapshot(frames[index]), LEAST_GAP_EV_PER_ATOM * len(frames[index])
        same = [other for other in found.others if np.array_equal(frames[other].numbers, frames[index].numbers)]
        for other in sorted(same, key=lambda other: abs(other - index))[:_ENOUGH_NEIGHBOURS]:
            start = _snapshot(frames[other])
            work = work_of_forces(start, end)
            if work is not None and abs(end.energy - start.energy - work) > max(least, abs(work)):
                return True
    return False


def _energy_reason(found: Outliers, per_atom: np.ndarray, numbers: Sequence[int]) -> str:
    """Return which two groups of frames disagree, and the likely reason.

    :param per_atom: energies of all frames [n] in eV/atom.
    """
    wrong, others = (f'about {np.median(per_atom[rows]):.4g} eV/atom' for rows in (found.indices, found.others))
    return (
        f'energies of {_listed(found.indices, numbers)} are {wrong}, of {_listed(found.others, numbers)}, '
        f'{others}: {_ENERGY_WORDS.get(found.unit) or f"the first group looks like {found.unit}"}'
    )


def _unrelated_forces(frames: Sequence[Atoms]) -> Finding | None:
    """Return that energies and forces of frames of the same atoms are in two units, where no frame alone shows it."""
    pairs = list(_pairs(frames))
    some = _spread(pairs, _ENOUGH_PAIRS)
    scale = energy_scale([(_snapshot(frames[first]), _snapshot(frames[second])) for first, second in some])
    if scale is None or 1 / LARGEST_ENERGY_RATIO < scale < LARGEST_ENERGY_RATIO:
        return None
    low, high = _USUAL_ENERGY_RATIOS
    units_ = [words for words, factor in _ENERGY_OVER_WORK.items() if low < scale / factor < high]
    words = f'{" or ".join(units_)}' if units_ else 'one of both is in another unit'
    reason = (
        f'between frames of the same atoms energies change by {scale:.2g} times what the forces imply: {words}. '
        f'Convert energies to eV, and forces to eV/Å; {_ALLOW}'
    )
    return Finding(some[0][0], reason)


def _pairs(frames: Sequence[Atoms]) -> Iterator[tuple[int, int]]:
    """Yield each frame after the frame of the same atoms before it."""
    last: dict[bytes, int] = {}
    for index, atoms in enumerate(frames):
        key = atoms.numbers.tobytes()
        if key in last:
            yield last[key], index
        last[key] = index


def _snapshot(atoms: Atoms) -> Snapshot:
    labels = atoms.calc.results
    stress = None if labels.get('stress') is None else voigt_6_to_full_3x3_stress(labels['stress'])
    return Snapshot(atoms.cell.array, atoms.positions, energy_of(labels, ENERGY_KEYS['free']), labels['forces'], stress)


def _listed(indices: Sequence[int] | np.ndarray, numbers: Sequence[int]) -> str:
    """Return the numbers of frames in words, and their share of all frames."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    words = [f'{numbers[run[0]]}' + (f' to {numbers[run[-1]]}' if run[1:] else '') for run in runs]
    shown = ', '.join(words[:_NAMED]) + (', ...' if words[_NAMED:] else '')
    return f'{"frames" if len(indices) > 1 else "frame"} {shown} ({len(indices)} of {len(numbers)})'


def _mixed_stresses(frames: Sequence[Atoms], numbers: Sequence[int]) -> Finding | None:
    """Return a finding about frames whose stresses are in another unit than in all other frames, or None."""
    for small, large in _groups_of_stresses(frames):
        low, high = (stress_scale(list(_cells(frames, _some(frames, group)))) for group in (small, large))
        if low is None or high is None or low.ratio > LARGEST_RATIO or high.ratio < LARGEST_RATIO:
            continue
        largest = np.array([np.abs(frames[index].calc.results['stress']).max() for index in large])
        units_ = units_of_ratio(high, float(np.median([frames[index].get_volume() for index in large])))
        words = f'it looks like {" or ".join(units_)}. ' if units_ else ''
        reason = (
            f'stresses of {_listed(large, numbers)} are about {high.ratio:.2g} times what their forces imply, '
            f'stresses of other frames {low.ratio:.2g} times: {words}Convert these stresses to eV/Å³'
        )
        overall = stress_scale(list(_cells(frames, _some(frames, sorted(small + large)))))
        is_off = overall is not None and overall.ratio > LARGEST_RATIO
        if largest.max() > LARGEST_STRESS_EV_PER_ANGSTROM3 or len(large) >= _LEAST_CELLS or is_off:
            return Finding(large[0], f'{reason}; {_ALLOW}')
        warnings.warn(f'{reason}.', ImplausibleWarning, stacklevel=4)
    return None


def _groups_of_stresses(frames: Sequence[Atoms]) -> Iterator[tuple[list[int], list[int]]]:
    """Yield frames with small and with large stresses relative to their forces, for each gap, the widest first."""
    sizes = {index: size for index, atoms in enumerate(frames) if (size := _stress_over_force(atoms)) is not None}
    order = sorted(sizes, key=sizes.__getitem__)
    gaps = np.diff(np.log([sizes[index] for index in order]))
    for place in np.argsort(-gaps)[:_MOST_GAPS]:
        if gaps[place] > np.log(_LEAST_GAP):
            yield sorted(order[: place + 1]), sorted(order[place + 1 :])


def _stress_over_force(atoms: Atoms) -> float | None:
    """Return the ratio of traceless virial to forces in Å; None if one of them is too small to compare."""
    stress, forces = atoms.calc.results.get('stress'), atoms.calc.results['forces']
    size = np.sqrt(np.mean(np.square(forces)))
    if stress is None or size < _LEAST_FORCE_EV_PER_ANGSTROM:
        return None
    shear = np.concatenate([stress[:3] - np.mean(stress[:3]), stress[3:]])
    return float(np.linalg.norm(shear) * atoms.get_volume() / (size * np.sqrt(len(atoms)))) or None


def _large_force(frames: Sequence[Atoms]) -> Finding | None:
    for index, atoms in enumerate(frames):
        if np.square(atoms.calc.results['forces']).sum(axis=1).max() > LARGEST_FORCE_EV_PER_ANGSTROM**2:
            reason = (
                f'{excess(atoms)}: atoms collide, or forces are in another unit (meV/Å; or kcal/mol/Å or '
                f'kJ/mol/Å, probably with the energies). Leave the frame out or convert the forces; {_ALLOW}'
            )
            return Finding(index, reason)
    return None


def _placeholders(frames: Sequence[Atoms]) -> Finding | None:
    """Return a finding about labels that are placeholder zeros, or None; a single frame may have zeros."""
    labels = [atoms.calc.results for atoms in frames]
    without_energy = [i for i, each in enumerate(labels) if 0.0 in (each.get('energy'), each.get('free_energy'))]
    without_stress = [i for i, each in enumerate(labels) if _lacks_stress(each)]
    for found, reason in (
        (without_energy, _NO_ENERGY),
        (without_stress, _NO_STRESS),
        (_without_forces(frames), _NO_FORCES),
    ):
        if len(found) > 1:
            return Finding(found[0], f'{reason}; {_ALLOW}')
    return None


def _lacks_stress(labels: Mapping[str, np.ndarray]) -> bool:
    stress = labels.get('stress')
    return stress is not None and not np.any(stress) and bool(np.any(labels['forces']))


def _without_forces(frames: Sequence[Atoms]) -> list[int]:
    """Return frames whose forces are all exactly 0 although the neighbours of an atom do not balance.

    In a perfect crystal they balance, and forces vanish. Of many frames only some are checked.
    """
    silent = [index for index, atoms in enumerate(frames) if not np.any(atoms.calc.results['forces'])]
    some = _some(frames, silent)
    pushes = [np.abs(pair_forces(cell)).max(initial=0.0) for cell in _cells(frames, some)]
    return [index for index, largest in zip(some, pushes, strict=True) if largest > _LEAST_IMBALANCE]


def _wrong_stresses(frames: Sequence[Atoms]) -> Finding | None:
    with_stress = [index for index, atoms in enumerate(frames) if atoms.calc.results.get('stress') is not None]
    if not with_stress:
        return None
    largest = np.array([np.abs(frames[index].calc.results['stress']).max() for index in with_stress])
    scale = stress_scale(list(_cells(frames, _some(frames, with_stress))))
    off_scale = scale is not None and scale.ratio > LARGEST_RATIO
    volume = float(np.median([frames[index].get_volume() for index in with_stress]))
    reason = _stress_reason(float(largest.max()), float(np.median(largest)), scale, volume)
    if largest.max() > LARGEST_STRESS_EV_PER_ANGSTROM3 or (off_scale and len(with_stress) >= _LEAST_CELLS):
        return Finding(with_stress[int(largest.argmax())], f'{reason}; {_ALLOW}')
    if off_scale:
        warnings.warn(f'{reason}.', ImplausibleWarning, stacklevel=4)
    elif (median := float(np.median(largest))) > HIGH_MEDIAN_STRESS_EV_PER_ANGSTROM3:
        warnings.warn(_median_words(median), ImplausibleWarning, stacklevel=4)
    return None


def _some(frames: Sequence[Atoms], indices: Sequence[int]) -> list[int]:
    """Return some of the indices of frames, spread evenly."""
    most_atoms = max((len(frames[index]) for index in indices), default=1)
    return _spread(indices, max(2, _ENOUGH_ATOMS // most_atoms))


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return at most so many of the items, spread evenly."""
    rows = np.linspace(0, len(items) - 1, min(len(items), count)).round().astype(int)
    return [items[row] for row in np.unique(rows)]


def _cells(frames: Sequence[Atoms], indices: Sequence[int]) -> Iterator[Cell]:
    """Yield the frames with these indices, each with its pairs of atoms."""
    kinds: dict[tuple[int, int], int] = {}
    for index in indices:
        atoms = frames[index]
        first, second, vectors = neighbor_list('ijD', atoms, CUTOFF_ANGSTROM)
        pairs = np.sort(np.stack([atoms.numbers[first], atoms.numbers[second]], axis=1), axis=1)
        own = [kinds.setdefault(pair, len(kinds)) for pair in map(tuple, pairs.tolist())]
        labels = atoms.calc.results
        stress = np.zeros(6) if labels.get('stress') is None else labels['stress']
        yield Cell(first, np.array(own, int), vectors, atoms.get_volume(), labels['forces'], stress)


def _stress_reason(largest: float, median: float, scale: StressScale | None, volume: float) -> str:
    """Return the fault of stresses in words.

    :param largest: largest component in eV/Å³; ``median`` is the median over frames of the largest component.
    :param volume: median volume of the frames in Å³.
    """
    words = _stress_words(largest)
    off_scale = scale is not None and scale.ratio > LARGEST_RATIO
    if scale is not None and off_scale:
        words += f', and stresses are about {scale.ratio:.2g} times what the forces imply'
    if units := _units(median, scale, volume):
        return f'{words}: it looks like {" or ".join(units)}. Convert stresses to eV/Å³'
    if off_scale:
        return f'{words}: one of the two is in another unit. Convert stresses to eV/Å³, and forces to eV/Å'
    limit = f'{LARGEST_STRESS_EV_PER_ANGSTROM3:g} eV/Å³ is the most for a stress'
    return f'{words}: {limit}. Compute the frame again, or leave it out'


def _stress_words(stress: float) -> str:
    return f'a stress of {stress:.4g} eV/Å³ ({stress * EV_PER_ANGSTROM3_IN_GPA:.4g} GPa)'


def _units(median: float, scale: StressScale | None, volume: float) -> list[str]:
    """Return the likely units of stresses; none if forces confirm eV/Å³."""
    if scale is None:
        return units_of_magnitude(median, volume)
    return units_of_ratio(scale, volume) if scale.ratio > LARGEST_RATIO else []


def units_of_ratio(scale: StressScale, volume: float) -> list[str]:
    """Return the likely units of stresses with a scale, the likeliest first.

    A negative correlation excludes no sign, since some correct stresses have one.

    :param volume: volume of the cells in Å³.
    """
    factors = {f'{unit} ({factor:.4g} to 1 eV/Å³)': factor for unit, factor in UNITS.items()}
    factors |= {f'{unit}, pressure positive ({-factor:.4g} to 1 eV/Å³)': -factor for unit, factor in UNITS.items()}
    factors[VIRIAL] = -volume
    if scale.correlation > _SURE_CORRELATION:
        factors = {unit: factor for unit, factor in factors.items() if factor > 0}
    elif scale.correlation > -_SURE_CORRELATION:
        factors = {unit: factor for unit, factor in factors.items() if 'positive' not in unit}
    distances = {unit: abs(np.log(scale.ratio / abs(factor))) for unit, factor in factors.items()}
    least = min(distances.values())
    if least > np.log(_FARTHEST):
        return []
    return [unit for unit in sorted(distances, key=distances.__getitem__) if distances[unit] < least + np.log(_SIMILAR)]


def units_of_magnitude(stress: float, volume: float) -> list[str]:
    """Return the units in which a stress (a number in eV/Å³) would have a usual magnitude.

    :param volume: volume of the cell in Å³.
    """
    low, high = _USUAL_STRESSES_EV_PER_ANGSTROM3
    factors = UNITS | {VIRIAL: volume}
    return [unit for unit, factor in factors.items() if low < stress / factor < high]


def _median_words(median: float) -> str:
    gpa = median * EV_PER_ANGSTROM3_IN_GPA
    return (
        f'the median of the stresses is {median:.3g} eV/Å³ ({gpa:.3g} GPa): right only for cells under high pressure; '
        'otherwise check their unit (GPa, kbar, bar, or a virial in eV).'
    )
