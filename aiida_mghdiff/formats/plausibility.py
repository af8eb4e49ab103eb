"""Labels that cannot be right, found before they enter a dataset.

Forces above 100 eV/Å and stresses above 1 eV/Å³ (160 GPa) are refused. So are stresses that are far larger than the
forces on the atoms imply (:mod:`aiida_mghdiff.science.stress_scale`), however small they are: they are in another unit,
and the message names it. A median of the stresses above 0.1 eV/Å³ is warned of.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from aiida_mghdiff.science.stress_scale import CUTOFF_ANGSTROM, Cell, StressScale, stress_scale
from aiida_mghdiff.science.units import BAR_IN_GPA, EV_PER_ANGSTROM3_IN_GPA, KBAR_IN_EV_PER_ANGSTROM3

LARGEST_FORCE_EV_PER_ANGSTROM = 100.0
LARGEST_STRESS_EV_PER_ANGSTROM3 = 1.0
HIGH_MEDIAN_STRESS_EV_PER_ANGSTROM3 = 0.1
#: A ratio of stresses to what forces imply that no set in one unit reaches, and every set in GPa does.
LARGEST_RATIO = 30.0
#: Fewer cells may have stresses and forces that do not compare.
_LEAST_CELLS = 5
#: The fit needs no more atoms than this.
_ENOUGH_ATOMS = 1000
_SURE_CORRELATION = 0.8
#: A factor further than this from that of every unit names none.
_FARTHEST = 4.0
#: Units whose factors differ by less are named together.
_SIMILAR = 1.4
#: What stresses of condensed matter are by order of magnitude, where forces tell nothing: from 0.1 to 50 GPa.
_USUAL_STRESSES_EV_PER_ANGSTROM3 = (6e-4, 0.3)
_ALLOW = 'to take all labels as they are, set allow_implausible'

UNITS = {
    'GPa': EV_PER_ANGSTROM3_IN_GPA,
    'kbar': 1 / KBAR_IN_EV_PER_ANGSTROM3,
    'bar': EV_PER_ANGSTROM3_IN_GPA / BAR_IN_GPA,
}
VIRIAL = 'a virial in eV (minus stress times volume)'


class ImplausibleWarning(UserWarning):
    """Labels that are unusual, and right only under high pressure."""


@dataclass(frozen=True)
class Finding:
    """What cannot be right: the index of the frame where it shows most, and the reason in words."""

    index: int
    reason: str


def implausible(frames: Sequence[Atoms]) -> Finding | None:
    """Return what cannot be right in the labels of frames, None where nothing is; warn of high stresses."""
    if (finding := _large_force(frames)) is not None:
        return finding
    with_stress = [index for index, atoms in enumerate(frames) if atoms.calc.results.get('stress') is not None]
    if not with_stress:
        return None
    largest = np.array([np.abs(frames[index].calc.results['stress']).max() for index in with_stress])
    scale = stress_scale(list(_cells([frames[index] for index in with_stress])))
    off_scale = scale is not None and scale.ratio > LARGEST_RATIO
    index = with_stress[int(largest.argmax())]
    if largest.max() > LARGEST_STRESS_EV_PER_ANGSTROM3 or (off_scale and len(with_stress) >= _LEAST_CELLS):
        volume = float(np.median([frames[each].get_volume() for each in with_stress]))
        return Finding(index, _stress_reason(float(largest.max()), float(np.median(largest)), scale, volume))
    if (median := float(np.median(largest))) > HIGH_MEDIAN_STRESS_EV_PER_ANGSTROM3:
        warnings.warn(_median_words(median), ImplausibleWarning, stacklevel=3)
    return None


def _large_force(frames: Sequence[Atoms]) -> Finding | None:
    for index, atoms in enumerate(frames):
        forces = np.linalg.norm(atoms.calc.results['forces'], axis=1)
        if forces.max() > LARGEST_FORCE_EV_PER_ANGSTROM:
            atom = int(forces.argmax())
            return Finding(
                index,
                f'the force on atom {atom} ({atoms.symbols[atom]}) is {forces[atom]:.4g} eV/Å, above '
                f'{LARGEST_FORCE_EV_PER_ANGSTROM:g}: atoms collide, or forces are in another unit (meV/Å: divide by '
                f'1000). Leave the frame out or convert the forces; {_ALLOW}',
            )
    return None


def _cells(frames: Sequence[Atoms]) -> Iterator[Cell]:
    """Yield some of the frames, spread evenly, each with its pairs of atoms."""
    kinds: dict[tuple[int, int], int] = {}
    chosen = max(1, min(len(frames), _ENOUGH_ATOMS // max(len(atoms) for atoms in frames)))
    for index in np.unique(np.linspace(0, len(frames) - 1, chosen).round().astype(int)):
        atoms = frames[index]
        first, second, vectors = neighbor_list('ijD', atoms, CUTOFF_ANGSTROM)
        pairs = np.sort(np.stack([atoms.numbers[first], atoms.numbers[second]], axis=1), axis=1)
        indices = [kinds.setdefault(pair, len(kinds)) for pair in map(tuple, pairs.tolist())]
        labels = atoms.calc.results
        yield Cell(first, np.array(indices, int), vectors, atoms.get_volume(), labels['forces'], labels['stress'])


def _stress_reason(largest: float, median: float, scale: StressScale | None, volume: float) -> str:
    """Return what is wrong with stresses in words.

    :param largest: eV/Å³, and the ``median`` over frames of each one's largest component.
    :param volume: median of the frames in Å³.
    """
    words = f'a stress of {largest:.4g} eV/Å³ ({largest * EV_PER_ANGSTROM3_IN_GPA:.4g} GPa)'
    if scale is not None and scale.ratio > LARGEST_RATIO:
        words += f', and stresses are about {scale.ratio:.2g} times what the forces imply'
        units = units_of_ratio(scale, volume)
    elif scale is not None:
        units = []
    else:
        units = units_of_magnitude(median, volume)
    if not units:
        limit = f'{LARGEST_STRESS_EV_PER_ANGSTROM3:g} eV/Å³ is the most for a stress'
        return f'{words}: {limit}. Compute the frame again, or leave it out; {_ALLOW}'
    return f'{words}: it looks like {" or ".join(units)}. Convert stresses to eV/Å³; {_ALLOW}'


def units_of_ratio(scale: StressScale, volume: float) -> list[str]:
    """Return the units that stresses of a scale are likely in, the likeliest first.

    :param volume: of the cells in Å³.
    """
    factors = {f'{unit} ({factor:.4g} to 1 eV/Å³)': factor for unit, factor in UNITS.items()}
    factors |= {f'{unit}, pressure positive ({-factor:.4g} to 1 eV/Å³)': -factor for unit, factor in UNITS.items()}
    factors[VIRIAL] = -volume
    if abs(scale.correlation) > _SURE_CORRELATION:
        factors = {unit: factor for unit, factor in factors.items() if factor * scale.correlation > 0}
    else:
        factors = {unit: factor for unit, factor in factors.items() if 'positive' not in unit}
    distances = {unit: abs(np.log(scale.ratio / abs(factor))) for unit, factor in factors.items()}
    least = min(distances.values())
    if least > np.log(_FARTHEST):
        return []
    return [unit for unit in sorted(distances, key=distances.get) if distances[unit] < least + np.log(_SIMILAR)]


def units_of_magnitude(stress: float, volume: float) -> list[str]:
    """Return the units in which a stress (a number in eV/Å³) would be a usual one.

    :param volume: of the cell in Å³.
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
