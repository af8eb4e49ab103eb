"""Train a MACE model, from scratch or from a potential.

``mace_run_train`` itself reads the data and builds model, loaders, loss and optimiser from its own arguments. This
program replaces its training loop (see :mod:`aiida_mghdiff.programs.training`) and calls MACE's functions for an epoch
and for the validation. Before the first step it compares MACE's set-up with the parameters:

- This program computes the energies of the isolated atoms (E0s) and gives them explicitly. If the elements are the same
  (fine-tuning a fine-tuned model), MACE replaces them by the foundation's E0s. So they are set again, and checked once
  more in the written model.
- If MACE by itself switches multi-head fine-tuning off, or changes loss, learning rate or averaging, the training is
  refused.
- In MACE 0.3.16 ``weight_pt_head`` has no effect on the user's own replay data, and the weight of a whole frame has no
  effect on the loss of multi-head training. So each frame's energy, forces and stress get this weight.

The written model has one head.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from ase.data import chemical_symbols
from ase.io import write

from aiida_mghdiff.formats.arrays import read_folder
from aiida_mghdiff.formats.frames import frames_from_arrays
from aiida_mghdiff.formats.job_files import MODEL_FILE, POTENTIAL_FILE, REPLAY_FOLDER
from aiida_mghdiff.formats.mace_heads import REPLAY_HEAD, TRAINED_HEAD
from aiida_mghdiff.formats.mace_loss import trained_labels
from aiida_mghdiff.programs import job, training
from aiida_mghdiff.programs.calculators import mace
from aiida_mghdiff.programs.calculators.base import import_engine, set_threads
from aiida_mghdiff.programs.calculators.loading import check_elements, chosen_head
from aiida_mghdiff.programs.training import Arrays

if TYPE_CHECKING:
    import argparse

    from aiida_mghdiff.formats.results import MaceStart, MaceTrainingResults

#: Parameters that go to ``mace_run_train`` under the same name.
PLAIN = (
    *('loss', 'energy_weight', 'forces_weight', 'stress_weight', 'huber_delta'),
    *('optimizer', 'amsgrad', 'weight_decay', 'beta', 'lr', 'ema', 'ema_decay', 'clip_grad', 'freeze'),
    *('scheduler', 'lr_factor', 'scheduler_patience', 'lr_scheduler_gamma'),
    *('batch_size', 'valid_batch_size', 'max_num_epochs', 'foundation_model_elements'),
    *('default_dtype', 'device', 'seed'),
)
#: Arguments without a value.
FLAGS = ('amsgrad', 'ema', 'stage_two', 'pair_repulsion')
#: Arguments whose values MACE must not change.
KEPT = ('multiheads_finetuning', 'loss', 'lr', 'ema', 'ema_decay', 'swa', 'start_swa', 'freeze', 'batch_size')


class _SetUp(BaseException):
    """Carries MACE's set-up out of ``mace_run_train`` before its training loop."""

    def __init__(self, parts: dict[str, Any]) -> None:
        self.parts = parts


def main() -> None:
    """Run the program in the working directory."""
    inputs = job.read_input()
    clock = job.WallClock(inputs['max_wallclock_seconds'])
    versions = job.engine_versions(*mace.DISTRIBUTIONS)
    parameters = inputs['parameters']
    datasets, replay = training.read_datasets(), _read_replay(parameters)
    numbers = training.elements_of(*datasets)
    parts, e0s, start = prepare(inputs, datasets, replay, numbers)
    trainer = MaceTrainer(parts, clock)
    restored = trainer.set_e0s(numbers, e0s)
    mark = training.fingerprint(parameters, *datasets, *(replay or ()))
    progress = training.train_with_restarts(trainer, parameters, clock, mark, _stage_starts(parameters))
    trainer.write_model(progress.best_weights)
    training.check_written(numbers, written_e0s(numbers), e0s)
    training.write_curves(progress)
    results: MaceTrainingResults = {
        **training.summary(
            progress, datasets[1], trained_labels(parameters), training.offset_warnings(numbers, start['e0s_rank'])
        ),
        **start,
        'e0s_restored': restored,
        'elements': trainer.elements(),
        'n_training': len(datasets[0]['natoms']),
        'n_validation': len(datasets[1]['natoms']),
        'n_replay': 0 if replay is None else len(replay[0]['natoms']),
        'n_training_per_epoch': training.seen_per_epoch(parts['train_loader']),
        'n_parameters': trainer.n_parameters(),
        'dtype': parameters['default_dtype'],
        'device': parameters['device'],
        'seed': parameters['seed'],
        'versions': versions,
    }
    job.write_results(results)


def prepare(
    inputs: dict[str, Any], datasets: tuple[Arrays, Arrays], replay: tuple[Arrays, Arrays] | None, numbers: list[int]
) -> tuple[dict[str, Any], np.ndarray, MaceStart]:
    """Return MACE's set-up, the E0s [elements] in eV, and results about the start of the training.

    :raises ProgramError: for inputs that cannot be used, or that MACE would train differently.
    """
    parameters, isolated = inputs['parameters'], inputs.get('isolated_atoms', {})
    potential, foundation = _load_foundation(inputs.get('potential'), parameters['device'], numbers)
    e0s, rank = choose_e0s(parameters, isolated, foundation, datasets[0], numbers)
    training.check_offsets(parameters, datasets[0], numbers, e0s)
    del foundation  # MACE loads it again
    arguments = mace_arguments(parameters, potential, datasets, replay, numbers, e0s)
    parts = set_up(arguments)
    check_structures(parts, datasets, replay)
    start: MaceStart = {
        'mode': training_mode(potential, replay),
        'head': potential['head'] if potential else None,
        'heads': [TRAINED_HEAD],
        'e0s_ev': training.by_symbol(numbers, e0s),
        'e0s_rank': rank,
        'e0s_from_isolated_atoms': bool(isolated),
    }
    return parts, e0s, start


def training_mode(potential: dict[str, Any] | None, replay: Any) -> str:
    """Return ``scratch``, ``naive`` or ``multihead``."""
    if potential is None:
        return 'scratch'
    return 'naive' if replay is None else 'multihead'


def _load_foundation(
    potential: dict[str, Any] | None, device: str, numbers: list[int]
) -> tuple[dict[str, Any] | None, Any]:
    """Return the potential to fine-tune (or None), the head that gives weights and E0s, and its calculator."""
    if potential is None:
        return None, None
    check_elements(potential, numbers)
    calculator = mace.load(potential, POTENTIAL_FILE, 'float64', device)
    return potential | {'head': chosen_head(calculator)}, calculator


def _read_replay(parameters: dict[str, Any]) -> tuple[Arrays, Arrays] | None:
    if not Path(REPLAY_FOLDER).is_dir():
        return None
    fraction = parameters['multihead']['validation_fraction']
    return training.split(read_folder(REPLAY_FOLDER), fraction, parameters['seed'])


def _stage_starts(parameters: dict[str, Any]) -> tuple[int, ...]:
    stage_two = parameters['stage_two']
    return (0,) if stage_two is None else (0, stage_two['start_stage_two'])


def choose_e0s(
    parameters: dict[str, Any],
    isolated: dict[str, float],
    foundation: Any,
    arrays: Arrays,
    numbers: list[int],
) -> tuple[np.ndarray, int | None]:
    """Return the energies of the isolated atoms in eV, and the rank of their fit (None without a fit).

    As in MACE, isolated atoms of the training set come first. For other elements the parameter ``E0s`` decides:

    ``estimated``: energies of the potential, plus a least-squares fit of the difference between labels and predictions
    (another reference or pseudopotential); ``foundation``: energies of the potential; ``average``: least-squares fit of
    the labels; or a dictionary by symbol. ``estimated`` equals MACE's option of this name, always in float64.
    """
    kind, allowed = parameters['E0s'], parameters['allow_implausible']
    if isinstance(kind, dict):
        return training.given_offsets(kind | isolated, numbers), None
    if all(chemical_symbols[number] in isolated for number in numbers):
        return training.given_offsets(isolated, numbers), None
    if kind == 'average':
        return training.fit_offsets(arrays, arrays['energies'], numbers, allowed, isolated)
    own = _potential_e0s(foundation.models[0], numbers, foundation.head)
    potential = training.by_symbol(numbers, own)
    if kind == 'foundation':
        return training.given_offsets(potential | isolated, numbers), None
    energies = [foundation.get_potential_energy(atoms) for atoms in frames_from_arrays(arrays)]
    known = {symbol: isolated[symbol] - potential[symbol] for symbol in isolated.keys() & potential.keys()}
    correction, rank = training.fit_offsets(arrays, arrays['energies'] - np.array(energies), numbers, allowed, known)
    return own + correction, rank


def _potential_e0s(model: Any, numbers: list[int], head: str) -> np.ndarray:
    known = [int(number) for number in model.atomic_numbers]
    energies = np.atleast_2d(model.atomic_energies_fn.atomic_energies.detach().cpu().numpy())
    row = model.heads.index(head) if hasattr(model, 'heads') else 0
    return energies[row][[known.index(number) for number in numbers]]


def mace_arguments(
    parameters: dict[str, Any],
    potential: dict[str, Any] | None,
    datasets: tuple[Arrays, Arrays],
    replay: tuple[Arrays, Arrays] | None,
    numbers: list[int],
    e0s: np.ndarray,
) -> argparse.Namespace:
    """Write the frames and return the arguments of ``mace_run_train``."""
    tools = import_engine('mace.tools', 'mace-torch')
    options = {name: parameters[name] for name in PLAIN}
    options |= {'name': 'mace', 'work_dir': '.', 'error_table': 'PerAtomRMSE', 'plot': False, 'num_workers': 0}
    options |= {'energy_key': 'REF_energy', 'forces_key': 'REF_forces', 'stress_key': 'REF_stress'}
    options |= {
        'train_file': write_frames('training', datasets[0]),
        'valid_file': write_frames('validation', datasets[1]),
    }
    options['E0s'] = str({number: float(energy) for number, energy in zip(numbers, e0s, strict=True)})
    options |= {'multiheads_finetuning': replay is not None, 'foundation_model': None}
    if potential is None:
        options |= {'model': 'MACE', **parameters['architecture']}
    else:
        options |= {'foundation_model': str(Path(POTENTIAL_FILE).resolve()), 'foundation_head': potential['head']}
    if replay is not None:
        options |= _replay_options(parameters['multihead'], replay)
    if parameters['stage_two'] is not None:
        options |= {'stage_two': True, **parameters['stage_two']}
    return tools.build_default_arg_parser().parse_args(_command_line(options))


def _replay_options(multihead: dict[str, Any], replay: tuple[Arrays, Arrays]) -> dict[str, Any]:
    return {
        'pt_train_file': write_frames('replay_training', replay[0], multihead['weight_pt_head']),
        'pt_valid_file': write_frames('replay_validation', replay[1]),
        'real_pt_data_ratio_threshold': multihead['real_pt_data_ratio_threshold'],
        'force_mh_ft_lr': True,
    }


def _command_line(options: dict[str, Any]) -> list[str]:
    words = []
    for key, value in options.items():
        if key in FLAGS:
            words += [f'--{key}'] if value else []
        elif value is not None:
            words += [f'--{key}', str(value)]
    return words


def write_frames(name: str, arrays: Arrays, weight: float = 1.0) -> str:
    """Write ``<name>.extxyz`` with MACE's keys of labels; return the file's name."""
    frames = frames_from_arrays(arrays)
    for atoms in frames:
        results, atoms.calc = atoms.calc.results, None
        atoms.info = {f'config_{label}_weight': weight for label in ('energy', 'forces', 'stress')}
        atoms.info['REF_energy'] = results['energy']
        if 'stress' in results:
            atoms.info['REF_stress'] = results['stress']
        atoms.arrays['REF_forces'] = results['forces']
    write(f'{name}.extxyz', frames, format='extxyz')
    return f'{name}.extxyz'


def set_up(arguments: argparse.Namespace) -> dict[str, Any]:
    """Let ``mace_run_train`` set up the training; return its keywords for ``mace.tools.train``.

    :raises ProgramError: FINETUNING_MODE_CHANGED if MACE changed a parameter.
    """
    from mace.cli import run_train

    set_threads()

    def take_over(**parts: Any) -> None:
        raise _SetUp(parts)

    asked = {name: getattr(arguments, name) for name in KEPT}
    with mock.patch.object(run_train.tools, 'train', take_over), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            run_train.run(arguments)
        except _SetUp as captured:
            parts = captured.parts
    changed = [
        f'{name} ({asked[name]} became {getattr(arguments, name)})'
        for name in KEPT
        if asked[name] != getattr(arguments, name)
    ]
    heads = [REPLAY_HEAD, TRAINED_HEAD] if asked['multiheads_finetuning'] else [TRAINED_HEAD]
    if changed or parts['model'].heads != heads:
        raise job.ProgramError(
            'FINETUNING_MODE_CHANGED',
            f'MACE changed the training by itself: {", ".join(changed) or "heads " + str(parts["model"].heads)}.',
        )
    return parts


def check_structures(
    parts: dict[str, Any], datasets: tuple[Arrays, Arrays], replay: tuple[Arrays, Arrays] | None
) -> None:
    """Refuse a training on other structures than the given ones.

    :raises ProgramError: STRUCTURES_REPLACED.
    """
    given = [len(arrays['natoms']) for arrays in datasets]
    used = len(parts['train_loader'].dataset) - (0 if replay is None else len(replay[0]['natoms']))
    validated = len(parts['valid_loaders'][TRAINED_HEAD].dataset)
    if used < given[0] or used % given[0] or validated != given[1]:
        raise job.ProgramError(
            'STRUCTURES_REPLACED',
            f'MACE took {used} of {given[0]} structures for training and {validated} of {given[1]} for validation.',
        )


def written_e0s(numbers: list[int]) -> np.ndarray:
    """Return the E0s in eV of the written model."""
    import torch

    model = torch.load(MODEL_FILE, map_location='cpu', weights_only=False)
    return _potential_e0s(model, numbers, TRAINED_HEAD)


class _RecordedLoss:
    """A loss function that also sums up the squared errors of all batches."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss
        self.reset()

    def reset(self) -> None:
        self.sums = dict.fromkeys(('energy', 'force', 'stress'), 0.0)
        self.counts = dict.fromkeys(self.sums, 0)
        self.losses: list[float] = []

    def __call__(self, pred: dict[str, Any], ref: Any, ddp: bool | None = None) -> Any:
        natoms = ref.ptr[1:] - ref.ptr[:-1]
        self._add('energy', (pred['energy'] - ref['energy']) / natoms)
        self._add('force', pred['forces'] - ref['forces'])
        if pred.get('stress') is not None:
            self._add('stress', (pred['stress'] - ref['stress'])[ref.stress_weight > 0])
        value = self.loss(pred=pred, ref=ref, ddp=ddp)
        self.losses.append(value.item())
        return value

    def _add(self, key: str, errors: Any) -> None:
        self.sums[key] += float((errors.detach() ** 2).sum())
        self.counts[key] += errors.numel()

    def errors(self) -> dict[str, float]:
        rmse = {
            f'{key}_rmse': float(np.sqrt(self.sums[key] / self.counts[key])) if self.counts[key] else np.nan
            for key in self.sums
        }
        return {'loss': float(np.mean(self.losses)), **rmse}


class _Silent:
    """Takes MACE's line for each batch."""

    def log(self, metrics: dict[str, Any]) -> None:
        """Do nothing: the loss function records the errors."""


class MaceTrainer(training.EngineTrainer):
    """MACE's parts of a training as a :class:`~aiida_mghdiff.programs.training.Trainer`."""

    def __init__(self, parts: dict[str, Any], clock: job.WallClock) -> None:
        self.parts = parts
        self.model = parts['model']
        self.batches = training.TimedBatches(parts['train_loader'], clock)
        self.loss = parts['loss_fn']
        self.stage = 0

    def set_e0s(self, numbers: list[int], e0s: np.ndarray) -> bool:
        """Set the E0s of the trained head; return whether MACE had changed them."""
        found = self.model.atomic_energies_fn.atomic_energies
        known = [int(number) for number in self.model.atomic_numbers]
        head = self.model.heads.index(TRAINED_HEAD)
        asked = found.clone()
        asked.view(len(self.model.heads), -1)[head, [known.index(number) for number in numbers]] = found.new_tensor(e0s)
        if np.allclose(found.cpu(), asked.cpu(), rtol=1e-6, atol=1e-6):
            return False
        found.copy_(asked)
        return True

    def start_stage(self, stage: int) -> None:
        """Take the loss of the stage."""
        self.stage = stage
        if stage == 1:
            self.loss = self.parts['swa'].loss_fn

    def train_epoch(self, epoch: int, validation_loss: float | None) -> dict[str, float]:
        """Step the schedule and train, as in ``mace.tools.train``."""
        from mace.tools.train import train_one_epoch

        if validation_loss is not None:
            self._step_schedule(validation_loss)
        recorded = _RecordedLoss(self.loss)
        train_one_epoch(
            **{key: self.parts[key] for key in ('model', 'optimizer', 'output_args', 'max_grad_norm', 'ema', 'device')},
            loss_fn=recorded,
            data_loader=self.batches,
            epoch=epoch,
            logger=_Silent(),
            distributed=False,
        )
        return recorded.errors() | {'learning_rate': self.parts['optimizer'].param_groups[0]['lr']}

    def _step_schedule(self, validation_loss: float) -> None:
        if self.stage == 0:
            self.parts['lr_scheduler'].step(metrics=validation_loss)
        else:
            self.parts['swa'].scheduler.step()

    def validate(self) -> dict[str, float]:
        """Return the errors of the (averaged) model on the validation set of the trained head."""
        from mace.tools.train import evaluate

        with self._averaged():
            loss, aux = evaluate(
                model=self.model,
                loss_fn=self.loss,
                data_loader=self.parts['valid_loaders'][TRAINED_HEAD],
                output_args=self.parts['output_args'],
                device=self.parts['device'],
            )
        errors = {'energy_rmse': aux['rmse_e_per_atom'], 'force_rmse': aux['rmse_f']}
        stress = aux.get('rmse_stress')
        errors['stress_rmse'] = np.nan if stress is None else stress
        return {'loss': float(loss), **{key: float(value) for key, value in errors.items()}}

    def _averaged(self) -> Any:
        from contextlib import nullcontext

        return nullcontext() if self.parts['ema'] is None else self.parts['ema'].average_parameters()

    def weights(self) -> dict[str, Any]:
        """Return the (averaged) weights."""
        with self._averaged():
            return super().weights()

    def stateful(self) -> dict[str, Any]:
        """Return by name the parts whose states continue the training."""
        parts = {'model': self.model, 'optimizer': self.parts['optimizer'], 'ema': self.parts['ema']}
        parts['schedule'] = self.parts['lr_scheduler'].lr_scheduler
        if self.parts['swa'] is not None:
            parts['schedule_two'] = self.parts['swa'].scheduler
        return {name: part for name, part in parts.items() if part is not None}

    def elements(self) -> list[str]:
        """Return the symbols the model knows."""
        return [chemical_symbols[int(number)] for number in self.model.atomic_numbers]

    def write_model(self, weights: dict[str, Any]) -> None:
        """Write the model with these weights and without its replay head, for ``MACECalculator``."""
        import torch
        from mace.tools.scripts_utils import remove_pt_head

        self.model.load_state_dict(weights)
        model = self.model.to('cpu')
        if len(model.heads) > 1:
            model = remove_pt_head(model, TRAINED_HEAD)
        torch.save(model, MODEL_FILE)
