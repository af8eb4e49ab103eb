"""Helpers of the training programs: datasets, energy offsets, the loop over epochs, checkpoints and learning curves.

The engines' own loops cannot be continued exactly, so this module has a loop: MACE's checkpoint holds averaged weights
of the best epoch instead of the weights of the optimiser, CHGNet's checkpoint loses which layers were frozen, and MACE
0.3.16 uses ``patience`` in distributed runs only. The code of an epoch is the engines' own.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase.data import chemical_symbols

from aiida_mghdiff.formats.arrays import read_folder
from aiida_mghdiff.formats.frames import select_frames
from aiida_mghdiff.formats.job_files import CHECKPOINT_FILE, CURVES_FILE, TRAINING_FOLDER, VALIDATION_FOLDER
from aiida_mghdiff.programs import job
from aiida_mghdiff.science import energy_offsets
from aiida_mghdiff.science.splits import SplitError, hold_out
from aiida_mghdiff.science.units import EV_IN_MEV

if TYPE_CHECKING:
    from aiida_mghdiff.formats.results import TrainingSummary, ValidationErrors

Arrays = dict[str, np.ndarray]


class Trainer(Protocol):
    """Training run of an engine, epoch by epoch."""

    def train_epoch(self, epoch: int, validation_loss: float | None) -> dict[str, float]:
        """Train one epoch; return ``loss`` and running errors (keys of the curves, without ``_train``).

        :param validation_loss: loss of the previous epoch, for learning-rate schedules that use it.
        """

    def validate(self) -> dict[str, float]:
        """Return ``loss`` and the errors on the validation set."""

    def start_stage(self, stage: int) -> None:
        """Begin a stage, counted from 0, or continue it after a restart."""

    def weights(self) -> dict[str, Any]:
        """Return a copy of the weights that :meth:`validate` uses."""

    def state(self) -> dict[str, Any]:
        """Return the full state for the next epoch, not copied, since the caller writes it at once."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state`."""


class EngineTrainer:
    """What the trainers of the engines share: the model, its batches, and the state for the next epoch."""

    model: Any
    batches: TimedBatches

    def stateful(self) -> dict[str, Any]:
        """Return by name the parts whose states continue the training."""
        raise NotImplementedError

    def weights(self) -> dict[str, Any]:
        """Return a copy of the weights."""
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Return the states of all parts and of the random numbers."""
        states = {name: part.state_dict() for name, part in self.stateful().items()}
        return {'generator': self.batches.loader.generator.get_state(), **states}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state`."""
        self.batches.loader.generator.set_state(state['generator'])
        for name, part in self.stateful().items():
            part.load_state_dict(state[name])

    def n_parameters(self) -> int:
        """Return the number of trained parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)


@dataclass
class Progress:
    """State of the loop over epochs."""

    next_epoch: int = 0
    stage: int = -1
    stale_epochs: int = 0
    validation_loss: float | None = None
    best_loss: float = math.inf
    best_epoch: int = -1
    best_weights: dict[str, Any] = field(default_factory=dict)
    curves: list[dict[str, float]] = field(default_factory=list)
    initial: dict[str, float] = field(default_factory=dict)
    stopped_early: bool = False


class OutOfTimeError(Exception):
    """The wall time is nearly over, in the middle of an epoch."""


class DivergedError(Exception):
    """A loss is not finite."""


@dataclass
class TimedBatches:
    """A data loader that reports its progress and stops when the wall time is nearly over."""

    loader: Any
    clock: job.WallClock
    every_seconds: float = 15.0

    def __iter__(self) -> Iterator[Any]:
        last = time.monotonic()
        for done, batch in enumerate(self.loader):
            if self.clock.is_over():
                raise OutOfTimeError
            if time.monotonic() - last > self.every_seconds:
                last = time.monotonic()
                print(f'batch {done}/{len(self.loader)}', flush=True)
            yield batch

    def __len__(self) -> int:
        return len(self.loader)


def read_datasets() -> tuple[Arrays, Arrays]:
    """Return the arrays of the training and validation set."""
    return read_folder(TRAINING_FOLDER), read_folder(VALIDATION_FOLDER)


def split(arrays: Arrays, fraction: float, seed: int) -> tuple[Arrays, Arrays]:
    """Split off about ``fraction`` of the frames, in whole groups if there are groups; return rest and split.

    :raises ProgramError: INPUT_REFUSED if one of them would be empty.
    """
    try:
        mask = hold_out(arrays.get('groups', np.arange(len(arrays['natoms']))), fraction, seed)
    except SplitError as error:
        raise job.ProgramError('INPUT_REFUSED', str(error)) from None
    kept, held_out = (np.flatnonzero(part).tolist() for part in (~mask, mask))
    return select_frames(arrays, kept), select_frames(arrays, held_out)


def seen_per_epoch(loader: Any) -> int:
    """Return the number of structures in an epoch; MACE's loader leaves out the last, incomplete batch."""
    count = len(loader.dataset)
    return count - count % loader.batch_size if loader.drop_last else count


def elements_of(*datasets: Arrays) -> list[int]:
    """Return the sorted atomic numbers in the arrays."""
    return sorted({int(number) for arrays in datasets for number in np.unique(arrays['numbers'])})


def element_counts(arrays: Arrays, numbers: Iterable[int]) -> np.ndarray:
    """Return the number of atoms of each element in each frame ``[n, len(numbers)]``."""
    return energy_offsets.element_counts(arrays['natoms'], arrays['numbers'], numbers)


def fit_offsets(
    arrays: Arrays,
    residuals: np.ndarray,
    numbers: list[int],
    allow_implausible: bool,
    known: Mapping[str, float],
) -> tuple[np.ndarray, int]:
    """Return energies per element that fit ``residuals [n]`` (eV per cell), and the rank of the fit.

    :param known: fixed energies of elements in eV by symbol.
    :raises ProgramError: INPUT_REFUSED if the compositions do not determine how large energies divide.
    """
    counts, symbols = element_counts(arrays, numbers), [chemical_symbols[number] for number in numbers]
    values = np.array([known.get(symbol, np.nan) for symbol in symbols])
    if not allow_implausible:
        left = residuals - counts @ np.nan_to_num(values)
        with _refusing():
            energy_offsets.check_determined(counts, left, symbols, known)
    return energy_offsets.fit_offsets(counts, residuals, values)


def check_offsets(parameters: Mapping[str, Any], arrays: Arrays, numbers: list[int], e0s: np.ndarray) -> None:
    """Refuse energies per element that cannot belong to the labels.

    Estimated energies always belong: they correct the predictions of the potential.

    :raises ProgramError: INPUT_REFUSED.
    """
    if not parameters['allow_implausible'] and parameters['E0s'] != 'estimated':
        with _refusing():
            energy_offsets.check_offsets(element_counts(arrays, numbers), arrays['energies'], by_symbol(numbers, e0s))


def check_written(numbers: list[int], found: np.ndarray, asked: np.ndarray) -> None:
    """Check the energies per element of the written model.

    :raises ProgramError: E0S_IGNORED for energies that differ from the asked ones.
    """
    if not np.allclose(found, asked, rtol=1e-6, atol=1e-6):
        raise job.ProgramError(
            'E0S_IGNORED', f'The model has the E0s {by_symbol(numbers, found)}, not {by_symbol(numbers, asked)}.'
        )


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except energy_offsets.OffsetError as error:
        reason = f'{error}; to train anyway, set allow_implausible.'
        raise job.ProgramError('INPUT_REFUSED', reason) from None


def offset_warnings(numbers: list[int], rank: int | None) -> list[str]:
    """Return a warning if the rank of the fit leaves the division of energies between elements open."""
    if rank is None or rank == len(numbers):
        return []
    return [
        'the compositions of the training set do not determine how energies divide between the elements, so the E0s of '
        'least norm were taken. Use this potential only at these compositions.'
    ]


def by_symbol(numbers: Iterable[int], values: Iterable[float]) -> dict[str, float]:
    """Return values by chemical symbol."""
    return {chemical_symbols[number]: float(value) for number, value in zip(numbers, values, strict=True)}


def given_offsets(given: Mapping[str, float], numbers: Iterable[int]) -> np.ndarray:
    """Return the energies of ``numbers`` from a dictionary by symbol.

    :raises ProgramError: INPUT_REFUSED if an energy is missing.
    """
    missing = [chemical_symbols[number] for number in numbers if chemical_symbols[number] not in given]
    if missing:
        raise job.ProgramError('INPUT_REFUSED', f'parameters.E0s has no energy of {", ".join(missing)}: add it.')
    return np.array([float(given[chemical_symbols[number]]) for number in numbers])


def fingerprint(parameters: Mapping[str, Any], *datasets: Arrays) -> str:
    """Return a digest of the data and all parameters but the number of epochs; a checkpoint belongs to one digest."""
    bound = {key: value for key, value in parameters.items() if key != 'max_num_epochs'}
    digest = hashlib.sha256(json.dumps(bound, sort_keys=True).encode())
    for arrays in datasets:
        for name in sorted(arrays):
            digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def run_epochs(
    trainer: Trainer,
    epochs: int,
    patience: int,
    clock: job.WallClock,
    progress: Progress,
    stage_starts: tuple[int, ...] = (0,),
    save: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Train until ``epochs`` are done or ``patience`` epochs brought no better validation loss, and keep the best.

    With several stages (each has its own loss), the best epoch of the last stage counts, and the end of patience starts
    the next stage.

    :param progress: the state to continue from; updated.
    :param save: called after every epoch.
    :raises OutOfTimeError: if the wall time is too short for the next epoch; the last ``save`` has the state.
    :raises DivergedError: on a loss that is not finite.
    """
    duration = 0.0
    if progress.stage >= 0:
        trainer.start_stage(progress.stage)
    while progress.next_epoch < epochs and not progress.stopped_early:
        if clock.is_over(1.2 * duration):
            raise OutOfTimeError
        start = time.monotonic()
        _enter_stage(trainer, progress, stage_starts)
        _one_epoch(trainer, progress, epochs)
        duration = time.monotonic() - start
        if progress.stale_epochs >= patience:
            later = [first for first in stage_starts if first >= progress.next_epoch]
            progress.next_epoch = min(later, default=progress.next_epoch)
            progress.stopped_early = not later
        save(progress)


def _enter_stage(trainer: Trainer, progress: Progress, stage_starts: tuple[int, ...]) -> None:
    stage = sum(progress.next_epoch >= first for first in stage_starts) - 1
    if stage > progress.stage:
        progress.stage, progress.stale_epochs, progress.best_loss = stage, 0, math.inf
        trainer.start_stage(stage)


def _one_epoch(trainer: Trainer, progress: Progress, epochs: int) -> None:
    epoch = progress.next_epoch
    start = time.monotonic()
    train = trainer.train_epoch(epoch, progress.validation_loss)
    valid = trainer.validate()
    row = {'epoch': float(epoch), 'stage': float(progress.stage)}
    row |= {f'{key}_train': value for key, value in train.items()}
    row |= {f'{key}_valid': value for key, value in valid.items()}
    progress.curves.append(row)
    job.report_progress(
        epoch + 1,
        epochs,
        loss=valid['loss'],
        rmse_e=valid['energy_rmse'],
        rmse_f=valid['force_rmse'],
        s=time.monotonic() - start,
    )
    if not (math.isfinite(train['loss']) and math.isfinite(valid['loss'])):
        raise DivergedError
    progress.validation_loss = valid['loss']
    progress.next_epoch = epoch + 1
    progress.stale_epochs += 1
    if valid['loss'] < progress.best_loss:
        progress.best_loss, progress.best_epoch, progress.stale_epochs = valid['loss'], epoch, 0
        progress.best_weights = trainer.weights()


def write_curves(progress: Progress) -> None:
    """Write an array for each column of the curves, with NaN for missing values."""
    columns = {key: None for row in progress.curves for key in row}
    job.write_arrays(
        CURVES_FILE, **{key: np.array([row.get(key, np.nan) for row in progress.curves]) for key in columns}
    )


def save_checkpoint(trainer: Trainer, progress: Progress, mark: str) -> None:
    """Write the full state for the next epoch to ``checkpoint.pt``, atomically."""
    import torch

    content = {'fingerprint': mark, 'progress': vars(progress), 'trainer': trainer.state()}
    torch.save(content, f'{CHECKPOINT_FILE}.part')
    os.replace(f'{CHECKPOINT_FILE}.part', CHECKPOINT_FILE)


def load_checkpoint(trainer: Trainer, mark: str) -> Progress | None:
    """Restore the state of the trainer from ``checkpoint.pt`` if it exists.

    :raises ProgramError: INPUT_REFUSED if it is damaged or belongs to another training.
    """
    import torch

    if not Path(CHECKPOINT_FILE).exists():
        return None
    try:
        content = torch.load(CHECKPOINT_FILE, map_location='cpu', weights_only=False)
    except Exception as error:
        raise job.ProgramError('INPUT_REFUSED', f'The checkpoint cannot be read ({error}): start again.') from error
    if content['fingerprint'] != mark:
        raise job.ProgramError(
            'INPUT_REFUSED',
            'The checkpoint belongs to other data or parameters: a restart keeps them (only max_num_epochs may grow).',
        )
    trainer.load_state(content['trainer'])
    return Progress(**content['progress'])


def train_with_restarts(
    trainer: Trainer,
    parameters: Mapping[str, Any],
    clock: job.WallClock,
    mark: str,
    stage_starts: tuple[int, ...] = (0,),
) -> Progress:
    """Run the epochs from the checkpoint, if any, to the end; then delete the checkpoint.

    :raises ProgramError: OUT_OF_WALLTIME, leaving ``checkpoint.pt``, or TRAINING_DIVERGED.
    """
    progress = load_checkpoint(trainer, mark) or Progress(initial=trainer.validate())
    first = progress.next_epoch
    try:
        run_epochs(
            trainer,
            parameters['max_num_epochs'],
            parameters['patience'],
            clock,
            progress,
            stage_starts,
            lambda reached: save_checkpoint(trainer, reached, mark),
        )
    except OutOfTimeError:
        if progress.next_epoch == first:  # a restart would end at the same epoch again
            Path(CHECKPOINT_FILE).unlink(missing_ok=True)
        _write_incomplete(progress)
        raise job.ProgramError(
            'OUT_OF_WALLTIME', 'The wall time is nearly over: restart from the checkpoint, or ask for more time.'
        ) from None
    except DivergedError:
        Path(CHECKPOINT_FILE).unlink(missing_ok=True)
        _write_incomplete(progress)
        raise job.ProgramError(
            'TRAINING_DIVERGED',
            f'the loss of epoch {progress.next_epoch} is not finite: lower the learning rate, check the labels.',
        ) from None
    Path(CHECKPOINT_FILE).unlink(missing_ok=True)
    return progress


def _write_incomplete(progress: Progress) -> None:
    if progress.curves:
        write_curves(progress)
    job.write_results({'completed': False, 'n_epochs': len(progress.curves)})


def summary(
    progress: Progress, validation: Arrays, trained: Collection[str], warnings: Iterable[str] = ()
) -> TrainingSummary:
    """Return the content of ``results.json``: errors on the validation set before the training and at the best epoch.

    :param validation: the validation set; a warning is added if a constant would predict it better.
    :param trained: labels with a weight in the loss (``energy``, ``force``, ``stress``): no other is warned of.
    :param warnings: other warnings.
    """
    best = next(row for row in progress.curves if row['epoch'] == progress.best_epoch)
    errors = {key.removesuffix('_valid'): value for key, value in best.items() if '_valid' in key}
    return {
        'warnings': [*warnings, *_failure_warnings(errors, validation, trained)],
        'completed': True,
        'n_epochs': len(progress.curves),
        'best_epoch': progress.best_epoch,
        'stopped_early': progress.stopped_early,
        'validation_initial': in_report_units(progress.initial),
        'validation': in_report_units(errors),
    }


def _failure_warnings(errors: Mapping[str, float], validation: Arrays, trained: Collection[str]) -> Iterator[str]:
    """Yield messages about errors larger than the spread of the labels: a constant would predict better."""
    known = {
        'energy': ('eV/atom', validation['energies'] / validation['natoms']),
        'force': ('eV/Å', validation['forces']),
        'stress': ('eV/Å³', validation['stresses']),
    }
    for name, (unit, labels) in known.items():
        if name in trained and (rmse := errors[f'{name}_rmse']) > (spread := np.nanstd(labels)) > 0:
            yield (
                f'the training failed: its {name} RMSE on the validation set, {rmse:.3g} {unit}, is larger than the '
                f'spread of the labels, {spread:.3g} {unit}. A constant would do better: check the units of the labels '
                '(stresses too), their weights, the E0s and the learning rate.'
            )


def in_report_units(errors: Mapping[str, float]) -> ValidationErrors:
    """Return errors (eV/atom, eV/Å, eV/Å³) in the units of reports, with the unit in their keys."""
    return {
        'loss': errors['loss'],
        'energy_rmse_mev_per_atom': EV_IN_MEV * errors['energy_rmse'],
        'force_rmse_mev_per_angstrom': EV_IN_MEV * errors['force_rmse'],
        'stress_rmse_mev_per_angstrom3': EV_IN_MEV * errors['stress_rmse'],
    }
