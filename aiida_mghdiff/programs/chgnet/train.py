"""Fine-tune a CHGNet model with CHGNet's ``Trainer``, epoch by epoch (see :mod:`aiida_mghdiff.programs.training`).

CHGNet keeps VASP's reference energies in a linear model of the composition, which its trainer does not train. This
program first fits the composition model to the labels, then freezes it. CHGNet silently replaces structures of which it
cannot make a graph; such structures are refused here. With fewer than ten batches per epoch CHGNet's cosine schedule
ends half-way, so here its length follows from the number of steps.

The written model is the epoch with the best validation loss, without the state of the optimiser.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from aiida_mghdiff.formats.frames import frames_from_arrays
from aiida_mghdiff.formats.job_files import MODEL_FILE, POTENTIAL_FILE
from aiida_mghdiff.programs import job, training
from aiida_mghdiff.programs.calculators import chgnet
from aiida_mghdiff.programs.calculators.loading import check_elements
from aiida_mghdiff.programs.training import Arrays
from aiida_mghdiff.science.units import CHGNET_EV_PER_ANGSTROM3_IN_GPA, GPA_IN_KBAR

if TYPE_CHECKING:
    from aiida_mghdiff.formats.results import TrainingResults

#: eV/Å³ of ASE to kbar in VASP's sign, which CHGNet's dataset expects.
KBAR_IN_VASP_SIGN = -GPA_IN_KBAR * CHGNET_EV_PER_ANGSTROM3_IN_GPA
#: CHGNet's own stress unit, GPa, in eV/Å³.
GPA = 1 / CHGNET_EV_PER_ANGSTROM3_IN_GPA
#: Largest number of scheduler steps in an epoch of CHGNet.
STEPS_PER_EPOCH = 10


def main() -> None:
    """Run the program in the working directory."""
    inputs = job.read_input()
    clock = job.WallClock(inputs['max_wallclock_seconds'])
    versions = job.engine_versions(*chgnet.DISTRIBUTIONS)
    parameters = inputs['parameters']
    datasets = training.read_datasets()
    numbers = training.elements_of(*datasets)
    check_elements(inputs['potential'], numbers)
    calculator = chgnet.load(inputs['potential'], POTENTIAL_FILE, 'float32', parameters['device'])
    e0s, rank = choose_e0s(parameters, calculator, datasets[0], numbers)
    training.check_offsets(parameters, datasets[0], numbers, e0s)
    trainer = ChgnetTrainer(parameters, datasets, clock)
    trainer.set_e0s(numbers, e0s)
    mark = training.fingerprint(parameters, *datasets)
    progress = training.train_with_restarts(trainer, parameters, clock, mark)
    trainer.write_model(progress.best_weights)
    training.check_written(numbers, written_e0s(numbers), e0s)
    training.write_curves(progress)
    results: TrainingResults = {
        **training.summary(progress, datasets[1], trained_labels(parameters), _warnings(inputs, numbers, rank)),
        'mode': 'fine-tune',
        'e0s_ev': training.by_symbol(numbers, e0s),
        'e0s_rank': rank,
        'elements': inputs['potential']['elements'],
        'n_training': len(datasets[0]['natoms']),
        'n_validation': len(datasets[1]['natoms']),
        'n_training_per_epoch': training.seen_per_epoch(trainer.batches.loader),
        'n_parameters': trainer.n_parameters(),
        'dtype': 'float32',
        'device': parameters['device'],
        'seed': parameters['seed'],
        'versions': versions,
    }
    job.write_results(results)


def trained_labels(parameters: Mapping[str, Any]) -> set[str]:
    """Return which of ``energy``, ``force`` and ``stress`` have a weight in the loss."""
    names = {'e': 'energy', 'f': 'force', 's': 'stress'}
    return {names[target] for target in parameters['targets'] if parameters[f'{names[target]}_loss_ratio'] > 0}


def _warnings(inputs: dict[str, Any], numbers: list[int], rank: int | None) -> list[str]:
    warnings = training.offset_warnings(numbers, rank)
    if inputs.get('isolated_atoms'):
        warnings.append(
            'the isolated atoms of the training set are not used: the energies per element of CHGNet are energies of '
            'atoms in solids.'
        )
    return warnings


def choose_e0s(
    parameters: dict[str, Any], calculator: Any, arrays: Arrays, numbers: list[int]
) -> tuple[np.ndarray, int | None]:
    """Return the energies per element in eV of the composition model, and the rank of their fit (None without a fit).

    ``estimated``: energies of the potential, plus a least-squares fit of the difference between labels and predictions;
    ``foundation``: energies of the potential; or a dictionary by symbol.
    """
    kind = parameters['E0s']
    if isinstance(kind, dict):
        return training.given_offsets(kind, numbers), None
    own = _composition_weights(calculator.model)[[number - 1 for number in numbers]]
    if kind == 'foundation':
        return own, None
    energies = []
    for atoms in frames_from_arrays(arrays):
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    residuals = arrays['energies'] - np.array(energies)
    correction, rank = training.fit_offsets(arrays, residuals, numbers, parameters['allow_implausible'], {})
    return own + correction, rank


def _composition_weights(model: Any) -> np.ndarray:
    return model.composition_model.fc.weight.detach().cpu().numpy().astype(float).ravel()


def make_loader(arrays: Arrays, converter: Any, targets: str, batch_size: int, seed: int, shuffle: bool) -> Any:
    """Return a data loader of CHGNet's graphs and targets.

    :raises ProgramError: STRUCTURES_REPLACED if CHGNet cannot make a graph of each structure.
    """
    import torch
    from chgnet.data.dataset import StructureData, collate_graphs
    from pymatgen.io.ase import AseAtomsAdaptor
    from torch.utils.data import DataLoader

    frames = frames_from_arrays(arrays)
    stresses = voigt_6_to_full_3x3_stress(arrays['stresses']) * KBAR_IN_VASP_SIGN if 's' in targets else None
    dataset = StructureData(
        structures=[AseAtomsAdaptor.get_structure(atoms) for atoms in frames],
        energies=list(arrays['energies'] / arrays['natoms']),
        forces=[atoms.get_forces() for atoms in frames],
        stresses=None if stresses is None else list(stresses),
        graph_converter=converter,
        shuffle=False,
    )
    samples = [dataset[index] for index in range(len(dataset))]
    if dataset.failed_graph_id:
        failed = ', '.join(f'{index} ({formula})' for index, formula in sorted(dataset.failed_graph_id.items()))
        raise job.ProgramError(
            'STRUCTURES_REPLACED',
            f'CHGNet makes no graph of these structures and would replace them: {failed}.',
        )
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(samples, batch_size, shuffle, collate_fn=collate_graphs, generator=generator)


class _RecordedLoss:
    """CHGNet's loss function, which also sums up the squared errors of all batches."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss
        self.reset()

    def reset(self) -> None:
        self.squares: dict[str, list[Any]] = {'e': [], 'f': [], 's': []}
        self.losses: list[float] = []

    def __call__(self, targets: dict[str, Any], prediction: dict[str, Any]) -> dict[str, Any]:
        import torch

        for key in self.squares.keys() & targets.keys() & prediction.keys():
            wanted, got = ((values if key == 'e' else torch.cat(values)) for values in (targets[key], prediction[key]))
            self.squares[key].append(((wanted - got) ** 2).detach().ravel())
        loss = self.loss(targets, prediction)
        self.losses.append(loss['loss'].item())
        return loss

    def errors(self) -> dict[str, float]:
        """Return the mean loss and the errors in eV/atom, eV/Å and eV/Å³."""
        import torch

        factors = {'e': ('energy_rmse', 1.0), 'f': ('force_rmse', 1.0), 's': ('stress_rmse', GPA)}
        errors = {'loss': float(np.mean(self.losses))}
        for key, (name, factor) in factors.items():
            squares = torch.cat(self.squares[key]) if self.squares[key] else torch.tensor([math.nan])
            errors[name] = factor * math.sqrt(squares.nanmean().item())
        return errors


class ChgnetTrainer(training.EngineTrainer):
    """CHGNet's trainer as a :class:`~aiida_mghdiff.programs.training.Trainer`."""

    def __init__(self, parameters: dict[str, Any], datasets: tuple[Arrays, Arrays], clock: job.WallClock) -> None:
        """Load the model and build loaders, optimiser and schedule."""
        import torch
        from chgnet.model.model import CHGNet
        from chgnet.trainer import Trainer
        from torch.optim.lr_scheduler import CosineAnnealingLR

        torch.manual_seed(parameters['seed'])
        random.seed(parameters['seed'])
        self.model = CHGNet.from_file(POTENTIAL_FILE)
        freeze(self.model, parameters['frozen_layers'])
        self.trainer = Trainer(
            model=self.model,
            epochs=parameters['max_num_epochs'],
            print_freq=10**9,
            use_device=parameters['device'],
            **_trainer_options(parameters),
        )
        self.model.to(self.trainer.device)
        self.trainer.criterion = self.loss = _RecordedLoss(self.trainer.criterion)
        settings = (self.model.graph_converter, parameters['targets'])
        seed = parameters['seed']
        loader = make_loader(datasets[0], *settings, parameters['batch_size'], seed, shuffle=True)
        self.batches = training.TimedBatches(loader, clock)
        self.validation = make_loader(datasets[1], *settings, parameters['valid_batch_size'], seed, shuffle=False)
        if parameters['scheduler'] == 'CosLR':
            steps = parameters['max_num_epochs'] * min(STEPS_PER_EPOCH, len(loader))
            last = parameters['decay_fraction'] * parameters['learning_rate']
            self.trainer.scheduler = CosineAnnealingLR(self.trainer.optimizer, steps, last)

    def set_e0s(self, numbers: list[int], e0s: np.ndarray) -> None:
        """Set the energies per element of the composition model."""
        weight = self.model.composition_model.fc.weight.data
        weight[0, [number - 1 for number in numbers]] = weight.new_tensor(e0s)

    def start_stage(self, stage: int) -> None:
        """Do nothing: CHGNet has one stage."""

    def train_epoch(self, epoch: int, validation_loss: float | None) -> dict[str, float]:
        """Train with CHGNet's own epoch."""
        self.loss.reset()
        self.trainer._train(self.batches, epoch)
        return self.loss.errors() | {'learning_rate': self.trainer.optimizer.param_groups[0]['lr']}

    def validate(self) -> dict[str, float]:
        """Return the errors on the validation set."""
        self.loss.reset()
        self.trainer._validate(self.validation)
        return self.loss.errors()

    def stateful(self) -> dict[str, Any]:
        """Return by name the parts whose states continue the training."""
        return {'model': self.model, 'optimizer': self.trainer.optimizer, 'schedule': self.trainer.scheduler}

    def write_model(self, weights: dict[str, Any]) -> None:
        """Write the model with these weights, for ``CHGNet.from_file``."""
        import torch

        self.model.load_state_dict(weights)
        torch.save({'model': self.model.to('cpu').as_dict()}, MODEL_FILE)


def freeze(model: Any, layers: list[str]) -> None:
    """Freeze the composition model and the named layers; ``atom_conv_layers[:-1]`` means all but the last layer."""
    model.composition_model.requires_grad_(False)
    for name in layers:
        if name == 'atom_conv_layers[:-1]':
            model.atom_conv_layers[:-1].requires_grad_(False)
        else:
            getattr(model, name).requires_grad_(False)


def _trainer_options(parameters: dict[str, Any]) -> dict[str, Any]:
    names = (
        *('targets', 'energy_loss_ratio', 'force_loss_ratio', 'stress_loss_ratio', 'criterion'),
        *('optimizer', 'scheduler', 'learning_rate', 'weight_decay'),
    )
    options = {name: parameters[name] for name in names}
    schedule = {'CosLR': {}, 'ExponentialLR': {'gamma': parameters['gamma']}}
    options['scheduler_params'] = schedule[parameters['scheduler']]
    return options | ({'delta': parameters['huber_delta']} if parameters['criterion'] == 'Huber' else {})


def written_e0s(numbers: list[int]) -> np.ndarray:
    """Return the energies per element in eV of the written model."""
    from chgnet.model.model import CHGNet

    return _composition_weights(CHGNet.from_file(MODEL_FILE))[[number - 1 for number in numbers]]
