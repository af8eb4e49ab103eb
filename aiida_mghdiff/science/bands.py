"""The barriers of a path, from the energies of its images.

A barrier is the energy of a saddle point above the minimum from which a hop starts. A relaxed end point is not always a
minimum: its forces are also small on a shoulder of the potential or on a symmetric site. Two rules detect this:

- An end is a minimum if the energy along the path rises before it falls. If the energy falls first or does not change,
  or if vibrations of the end have imaginary modes, this end has no barrier.
- The highest image is a saddle point if it lies above both ends and, if its vibrations are known, has one imaginary
  mode. Otherwise a direction from a minimum keeps the energy of the highest image as its barrier, with a reason.

A path with a minimum between its ends, with a hill on either side, is several hops. If this minimum lies below an end,
the highest image above the end is no barrier of this direction: the climb out of the minimum is higher. If an image has
no finite energy, there is no barrier at all.

Energies that differ by less than ``RESOLUTION_EV`` count as equal: forces are converged to some 0.01 eV/Å, images are
some 0.2 Å apart, and energies in single precision have errors of about 1 meV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypedDict

import numpy as np

from aiida_mghdiff.science.units import EV_IN_MEV

#: Smaller differences in energy along a path are not significant.
RESOLUTION_EV = 0.005
#: Direction off all symmetry axes of a crystal: on a symmetric site forces vanish even if it is no minimum.
OFF_AXIS = np.array([1.0, np.sqrt(2), np.sqrt(3)]) / np.sqrt(6)
_REMEDY = 'relax it further or take another path.'


@dataclass(frozen=True)
class Direction:
    """A direction of a path: its barrier in eV, and the reason if the barrier is missing or not a saddle point."""

    barrier_ev: float | None
    reason: str | None


@dataclass(frozen=True)
class Band:
    """Both directions of a path, and the index of the saddle point among the images."""

    forward: Direction
    reverse: Direction
    saddle_image: int | None

    @property
    def reason(self) -> str | None:
        """Return why the path is not a single hop between two minima over a saddle point, or None."""
        return self.forward.reason or self.reverse.reason


def read_band(energies_ev: Sequence[float] | np.ndarray, imaginary_modes: Mapping[str, int] | None = None) -> Band:
    """Return the barriers of both directions.

    :param energies_ev: energies of the images [i], with the end points.
    :param imaginary_modes: number at ``initial``, ``saddle`` and ``final``, as far as vibrations were computed.
    """
    energies, modes = np.asarray(energies_ev, float), dict(imaginary_modes or {})
    if len(broken := np.flatnonzero(~np.isfinite(energies))):
        none = Direction(None, f'image {broken[0]} has no finite energy: compute the path again.')
        return Band(none, none, None)
    top = int(np.argmax(energies))
    is_above = energies[top] - max(energies[0], energies[-1]) > RESOLUTION_EV
    flaw = _flaw_of_saddle(is_above, modes.get('saddle', 1))
    valley = _own_minimum(energies)
    forward = _direction('initial', energies, modes.get('initial', 0), flaw, valley)
    reverse = _direction('final', energies[::-1], modes.get('final', 0), flaw, valley)
    return Band(forward, reverse, top if is_above else None)


class BandResults(TypedDict):
    """Energies of a path in eV, and its barrier in each direction, or a sentence with the reason for none."""

    forward_barrier_ev: float | None
    forward_barrier_reason: str | None
    reverse_barrier_ev: float | None
    reverse_barrier_reason: str | None
    reaction_energy_ev: float | None
    energies_ev: list[float | None]
    saddle_image: int | None


def band_results(energies_ev: Sequence[float] | np.ndarray) -> BandResults:
    """Return the results about the energies [i] in eV for every search for a path; None replaces infinite numbers."""
    energies, band = [_finite(energy) for energy in energies_ev], read_band(energies_ev)
    first, last = energies[0], energies[-1]
    return {
        'forward_barrier_ev': band.forward.barrier_ev,
        'forward_barrier_reason': band.forward.reason,
        'reverse_barrier_ev': band.reverse.barrier_ev,
        'reverse_barrier_reason': band.reverse.reason,
        'reaction_energy_ev': None if first is None or last is None else last - first,
        'energies_ev': energies,
        'saddle_image': band.saddle_image,
    }


def path_coordinate(positions: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Return the length of a path in Å up to each image [i], in the space of all coordinates.

    :param positions: of the atoms [n,3] in Å of each image, unwrapped along the path.
    """
    steps = [np.linalg.norm(after - before) for before, after in pairwise(positions)]
    return np.concatenate([[0.0], np.cumsum(steps)])


def _finite(energy: float) -> float | None:
    return float(energy) if np.isfinite(energy) else None


def _direction(
    end: str, energies: np.ndarray, imaginary_modes: int, flaw: str | None, valley: tuple[int, float] | None
) -> Direction:
    """Return the direction that starts at an end, the first of the energies.

    :param valley: index and energy of the path's intermediate minimum, if it has one.
    """
    if fault := _fault_of_end(energies - energies[0], imaginary_modes):
        return Direction(None, f'the {end} end is no minimum of this potential: {fault}; {_REMEDY}')
    if valley is not None and (depth := energies[0] - valley[1]) > RESOLUTION_EV:
        return Direction(
            None,
            f'the path has a minimum at image {valley[0]}, {depth:.3f} eV below its {end} end: it is '
            'several hops; relax this image, and take a path for each hop.',
        )
    return Direction(float(energies.max() - energies[0]), flaw)


def _own_minimum(energies: np.ndarray) -> tuple[int, float] | None:
    """Return index and energy of the lowest image with a hill on either side, each above its end of the path."""
    inner = energies[1:-1]
    if not len(inner):
        return None
    before, behind = np.maximum.accumulate(inner), np.maximum.accumulate(inner[::-1])[::-1]
    is_own = before > np.maximum(inner, energies[0]) + RESOLUTION_EV
    is_own &= behind > np.maximum(inner, energies[-1]) + RESOLUTION_EV
    if not is_own.any():
        return None
    index = int(np.argmin(np.where(is_own, inner, np.inf)))
    return index + 1, float(inner[index])


def _fault_of_end(energies: np.ndarray, imaginary_modes: int) -> str | None:
    """Return why an end is not a minimum, from the energies [i] relative to this end, or None."""
    told = np.flatnonzero(np.abs(energies) > RESOLUTION_EV)
    if not len(told):
        return f'the energy changes by less than {EV_IN_MEV * RESOLUTION_EV:g} meV along the path'
    if energies[told[0]] < 0:
        return f'the energy falls from it along the path, by {-energies[told[0]]:.3f} eV at first'
    return f'it has {_modes(imaginary_modes)}' if imaginary_modes else None


def _flaw_of_saddle(is_above: bool, imaginary_modes: int) -> str | None:
    """Return why the highest image is not a saddle point, or None."""
    if not is_above:
        return 'the path has no saddle point: this is the energy of its highest image, an end.'
    if imaginary_modes != 1:
        return f'this is no saddle point but the highest image, which has {_modes(imaginary_modes)}, not one.'
    return None


def _modes(number: int) -> str:
    return 'one imaginary mode' if number == 1 else f'{number or "no"} imaginary modes'
