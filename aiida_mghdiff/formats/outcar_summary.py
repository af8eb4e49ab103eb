"""One pass over OUTCAR for what is kept of it: who wrote it, how it ended, pressures, and the steps of DFT."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aiida_mghdiff.formats.outcar import OutcarReader, OutcarStep
from aiida_mghdiff.science.units import EV_PER_ANGSTROM3_IN_GPA

#: So many damaged steps are named, more are counted.
_NAMED = 3
#: What there is of every step of DFT; a stress is not in every one.
_DFT_FIELDS = ('index', 'energy', 'energy_sigma0', 'cell', 'positions', 'forces', 'scf_converged')


@dataclass
class OutcarSummary:
    """What OUTCAR tells. ``pressures`` [m] in GPa, of the potential alone, are those of the steps ``steps`` [m].

    ``truncated`` says what is missing: steps that are damaged, and the end of a file that is cut.
    """

    version: str
    labels: str  # ``vasp``, or ``standin:<labeller>``
    finished: bool
    truncated: str | None
    max_memory_mb: float | None
    steps: np.ndarray
    pressures: np.ndarray
    dft_steps: list[OutcarStep] = field(default_factory=list)

    @classmethod
    def unknown(cls, labels: str, reason: str) -> OutcarSummary:
        """Return the summary of a file that tells nothing, for a reason."""
        return cls('unknown', labels, False, reason, None, np.empty(0, dtype=np.int64), np.empty(0))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all as arrays; those of the d steps of DFT, of n atoms, are ``dft_<field>`` [d,...]."""
        words = ('version', 'labels', 'finished', 'truncated', 'max_memory_mb')
        text = json.dumps({name: getattr(self, name) for name in words}, sort_keys=True)
        arrays = {'outcar': np.array(text), 'outcar_steps': self.steps, 'pressures': self.pressures}
        dft = {f'dft_{name}': np.array([getattr(step, name) for step in self.dft_steps]) for name in _DFT_FIELDS}
        stresses = [np.full(6, np.nan) if step.stress is None else step.stress for step in self.dft_steps]
        return arrays | dft | {'dft_stress': np.array(stresses)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> OutcarSummary:
        """Return the summary that gave the arrays."""
        words = json.loads(str(arrays['outcar']))
        columns = {name: arrays[f'dft_{name}'] for name in (*_DFT_FIELDS, 'stress')}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        dft_steps = [_dft_step(row) for row in rows]
        return cls(**words, steps=arrays['outcar_steps'], pressures=arrays['pressures'], dft_steps=dft_steps)


def _dft_step(row: dict[str, np.ndarray]) -> OutcarStep:
    """Return a step of DFT of its row of arrays."""
    return OutcarStep(
        index=int(row['index']),
        is_dft=True,
        energy=float(row['energy']),
        energy_sigma0=float(row['energy_sigma0']),
        cell=row['cell'],
        positions=row['positions'],
        forces=row['forces'],
        stress=row['stress'] if np.isfinite(row['stress']).all() else None,
        scf_converged=bool(row['scf_converged']),
    )


def summarise_outcar(path: str | Path) -> OutcarSummary:
    """Return what OUTCAR tells; memory grows with the steps of DFT alone. Damaged steps are left out.

    :raises FormatError: for a file that is none.
    """
    reader = OutcarReader(path, skips_damaged=True)
    dft_steps, pressures = [], {}
    for step in reader:
        if step.is_dft:
            dft_steps.append(step)
        if step.stress is not None:
            # of a step with both, that of DFT comes last: it moved the atoms
            pressures[step.index] = -float(step.stress[:3].mean()) * EV_PER_ANGSTROM3_IN_GPA
    return OutcarSummary(
        version=reader.version,
        labels='vasp' if reader.standin is None else f'standin:{reader.standin}',
        finished=reader.finished,
        truncated=_missing(reader),
        max_memory_mb=reader.max_memory_mb,
        steps=np.array(list(pressures), dtype=np.int64),
        pressures=np.array(list(pressures.values())),
        dft_steps=dft_steps,
    )


def _missing(reader: OutcarReader) -> str | None:
    """Return what is missing, in a sentence."""
    named, more = reader.damaged[:_NAMED], len(reader.damaged) - _NAMED
    words = [*named, f'{more} more steps are damaged' if more > 0 else None, reader.truncated]
    return '; '.join(filter(None, words)) or None
