"""A tiny MACE model made on the spot: random features, linear readouts fitted to the example data by least squares.

The random features of MACE are kept. Only the weights in which the energy is linear (readouts and atomic energies) are
fitted, in closed form. The fit takes seconds and gives the same on every machine up to rounding. The Mg-H potential is
inaccurate but realistic: hcp Mg stays hcp, and hydrogen stays between the planes.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

EXAMPLE_DATA = Path(__file__).parents[2] / 'examples' / 'data' / 'mgh_pbe.extxyz'


def make_tiny_mace(path, elements=('Mg', 'H'), dtype='float64', channels=16, r_max=5.0, max_ell=3, fit=True) -> Path:
    """Write a tiny MACE model to `path`, ready for `MACECalculator(model_paths=path)`.

    `fit=False` (or elements other than Mg and H) leaves the readouts random and weak, under a ZBL repulsion.
    """
    os.environ.setdefault('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')  # e3nn loads a pickle
    import torch

    fitted = fit and set(elements) == {'Mg', 'H'}
    default, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = _build(sorted_numbers(elements), channels, r_max, max_ell, scale=1.0 if fitted else 0.05)
        if fitted:
            _fit_readouts(model, _example_frames())
    finally:
        torch.set_default_dtype(default)
        torch.set_num_threads(threads)
    torch.save(model.to(getattr(torch, dtype)), path)
    return Path(path)


def make_multihead_mace(path, heads, e0s=None, elements=('Mg', 'H'), channels=4, r_max=4.0, max_ell=1) -> Path:
    """Write a tiny random MACE model with several heads to `path`, like a model after multi-head fine-tuning.

    :param e0s: energies of the isolated atoms by atomic number, a row for each head; by default -1, -2, ... eV by head.
    """
    os.environ.setdefault('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')  # e3nn loads a pickle
    import torch

    numbers = sorted_numbers(elements)
    rows = [[-1.0 - index] * len(numbers) for index in range(len(heads))] if e0s is None else e0s
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = _build(numbers, channels, r_max, max_ell, scale=0.05, heads=list(heads), e0s=np.array(rows))
    finally:
        torch.set_default_dtype(default)
    torch.save(model, path)
    return Path(path)


def sorted_numbers(elements):
    from ase.data import atomic_numbers

    return sorted(atomic_numbers[element] for element in elements)


def _build(numbers, channels, r_max, max_ell, scale, heads=('Default',), e0s=None):
    import torch
    from e3nn import o3
    from mace.modules import RealAgnosticResidualInteractionBlock, ScaleShiftMACE

    return ScaleShiftMACE(
        atomic_inter_scale=scale if len(heads) == 1 else [scale] * len(heads),
        atomic_inter_shift=0.0 if len(heads) == 1 else [0.0] * len(heads),
        r_max=r_max,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=max_ell,
        interaction_cls=RealAgnosticResidualInteractionBlock,
        interaction_cls_first=RealAgnosticResidualInteractionBlock,
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(f'{channels}x0e'),
        MLP_irreps=o3.Irreps('16x0e'),
        atomic_energies=np.zeros(len(numbers)) if e0s is None else e0s,
        avg_num_neighbors=30.0,
        atomic_numbers=numbers,
        correlation=3,
        gate=torch.nn.functional.silu,
        pair_repulsion=True,
        radial_MLP=[16, 16],
        heads=list(heads),
    )


def _example_frames():
    import ase.io

    frames = ase.io.read(EXAMPLE_DATA, ':')
    return [frame for count in (0, 1, 2) for frame in frames if frame.info['hydrogen_count'] == count][::7]


def _fit_readouts(model, frames, ridge=1e-4):
    """Fit readout weights to energies and forces, and atomic energies to the rest of the energies."""
    import torch

    weights = [model.readouts[0].linear.weight, model.readouts[1].linear_2.weight]
    sizes = [weight.numel() for weight in weights]
    batch = _batch(model, frames)
    columns = []
    for column in np.eye(sum(sizes)):
        _assign(weights, sizes, column)
        columns.append(_evaluate(model, batch))
    _assign(weights, sizes, np.zeros(sum(sizes)))
    base_energy, base_forces = _evaluate(model, batch)
    natoms = np.array([len(frame) for frame in frames])
    counts = np.array([[np.sum(frame.numbers == z) for z in model.atomic_numbers.tolist()] for frame in frames])
    energy_columns = np.stack([energy - base_energy for energy, _ in columns], axis=1)
    force_columns = np.stack([(forces - base_forces).ravel() for _, forces in columns], axis=1)
    energies = np.array([frame.info['REF_energy'] for frame in frames]) - base_energy
    forces = np.concatenate([frame.arrays['REF_forces'] for frame in frames]).ravel() - base_forces.ravel()
    design = np.block(
        [
            [energy_columns / natoms[:, None] * 10, counts / natoms[:, None] * 10],
            [force_columns, np.zeros((len(forces), counts.shape[1]))],
        ]
    )
    target = np.concatenate([energies / natoms * 10, forces])
    damping = np.diag([ridge * np.linalg.norm(force_columns)] * sum(sizes) + [0.0] * counts.shape[1])
    solution = np.linalg.lstsq(np.vstack([design, damping]), np.append(target, np.zeros(len(damping))), rcond=None)[0]
    _assign(weights, sizes, solution[: sum(sizes)])
    with torch.no_grad():
        model.atomic_energies_fn.atomic_energies.add_(torch.tensor(solution[sum(sizes) :]))


def _batch(model, frames):
    import torch
    from mace.data import AtomicData, config_from_atoms
    from mace.tools import AtomicNumberTable, torch_geometric

    table = AtomicNumberTable(model.atomic_numbers.tolist())
    data = [AtomicData.from_config(config_from_atoms(f), z_table=table, cutoff=float(model.r_max)) for f in frames]
    batch = next(iter(torch_geometric.dataloader.DataLoader(data, batch_size=len(data), shuffle=False)))
    return {key: value for key, value in batch.to_dict().items() if isinstance(value, torch.Tensor)}


def _assign(weights, sizes, values):
    import torch

    with torch.no_grad():
        for weight, part in zip(weights, np.split(values, np.cumsum(sizes)[:-1]), strict=True):
            weight.copy_(torch.tensor(part).reshape(weight.shape))


def _evaluate(model, batch):
    output = model(dict(batch), training=False, compute_force=True)
    return output['energy'].detach().numpy(), output['forces'].detach().numpy()


def write_sealed(path: Path, content: str = 'no pickle') -> Path:
    """Write a file that looks like a torch file but holds no model; only a job can notice."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(zipfile.ZipInfo('archive/data.pkl'), content)
    return path
