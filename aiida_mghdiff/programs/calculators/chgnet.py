"""An ASE calculator of CHGNet models, about twice as fast on a CPU as CHGNet's own, with the same numbers.

CHGNet's own calculator computes magnetic moments that are not needed, keeps the graph of the forces as if for training,
and builds the neighbour graph edge by edge. This calculator evaluates the same layers once, backward once (forces and
stress together), on a graph built with array operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

from aiida_mghdiff.programs.calculators.base import AllAtOnce, import_engine, readable, set_threads
from aiida_mghdiff.programs.job import ProgramError

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

DISTRIBUTIONS = ('ase', 'numpy', 'torch', 'chgnet', 'pymatgen', 'vesin')


def load(potential: dict[str, Any], path: str, dtype: str, device: str = 'cpu') -> Calculator:
    """Return the calculator of a model.

    :param dtype: must be ``float32``, the only type of CHGNet.
    :raises ProgramError: ENGINE_MISSING, POTENTIAL_UNREADABLE, or INPUT_REFUSED for the dtype.
    """
    if dtype != 'float32':
        raise ProgramError('INPUT_REFUSED', f'CHGNet computes only in float32, not in {dtype}: set dtype to float32.')
    model = import_engine('chgnet.model.model', 'chgnet')
    set_threads()
    with readable(path):
        return ChgnetCalculator(model.CHGNet.from_file(path), device)


def model_properties(path: str) -> dict[str, Any]:
    """Return the ``dtype`` of the parameters of a model file; all models know the same elements."""
    load({}, path, 'float32')
    return {'dtype': 'float32'}


class ChgnetCalculator(AllAtOnce):
    """Energy, forces and stress of a CHGNet model, in float32."""

    implemented_properties = ['energy', 'free_energy', 'forces', 'stress']

    def __init__(self, model: Any, device: str = 'cpu') -> None:
        """:param model: a ``chgnet.model.CHGNet``."""
        super().__init__()
        self.device = device
        self.model = model.to(device).eval().requires_grad_(False)

    def compute(self, atoms: Atoms) -> dict[str, Any]:
        """Return energy (eV), forces (eV/Å) and stress (eV/Å³)."""
        import torch

        graph = crystal_graph(atoms, self.model.graph_converter).to(self.device)
        batch = self._batch(graph)
        energy = self.model._compute(batch)['e'].sum() * self._scale
        gradients = torch.autograd.grad(energy, [batch.atom_positions[0], batch.strains[0]])
        forces, virial = (gradient.cpu().numpy().astype(float) for gradient in gradients)
        total = energy.item() + self._composition_energy(graph)
        stress = full_3x3_to_voigt_6_stress((virial + virial.T) / 2 / atoms.get_volume())
        return {'energy': total, 'free_energy': total, 'forces': -forces, 'stress': stress}

    def _batch(self, graph: Any) -> Any:
        from chgnet.model.model import BatchedGraph

        return BatchedGraph.from_graphs(
            [graph],
            bond_basis_expansion=self.model.bond_basis_expansion,
            angle_basis_expansion=self.model.angle_basis_expansion,
            compute_stress=True,
        )

    def _composition_energy(self, graph: Any) -> float:
        composition = self.model.composition_model
        return 0.0 if composition is None else float(composition([graph])) * self._scale

    @property
    def _scale(self) -> int:
        """Return the factor from the model's energy, which may be per atom, to the energy of the cell."""
        return len(self.atoms) if self.model.is_intensive else 1


def crystal_graph(atoms: Atoms, converter: Any) -> Any:
    """Return the graph that CHGNet's converter makes of periodic atoms, up to the order of its edges.

    Atoms are wrapped first, because CHGNet stores fractional coordinates in float32, which is too coarse for a tracer
    far outside the cell. Each pair within the cutoff is one undirected edge and two directed edges, whose rows differ
    by the number of pairs. An angle is an ordered pair of short directed edges from the same atom.
    """
    import torch
    from chgnet.graph.crystalgraph import CrystalGraph

    wrapped = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    wrapped.wrap()
    edges, images, distances = _directed_edges(wrapped, converter.atom_graph_cutoff)
    undirected = np.tile(np.arange(len(edges) // 2), 2)
    angles = _angles(edges[:, 0], undirected, distances < converter.bond_graph_cutoff)
    return CrystalGraph(
        atomic_number=torch.tensor(wrapped.numbers, dtype=torch.int32),
        atom_frac_coord=torch.tensor(wrapped.get_scaled_positions(), dtype=torch.float32, requires_grad=True),
        atom_graph=torch.tensor(edges, dtype=torch.int32),
        neighbor_image=torch.tensor(images, dtype=torch.float32),
        directed2undirected=torch.tensor(undirected, dtype=torch.int32),
        undirected2directed=torch.arange(len(edges) // 2, dtype=torch.int32),
        bond_graph=torch.tensor(angles, dtype=torch.int32),
        lattice=torch.tensor(wrapped.cell.array, dtype=torch.float32, requires_grad=True),
        atom_graph_cutoff=converter.atom_graph_cutoff,
        bond_graph_cutoff=converter.bond_graph_cutoff,
    )


def _directed_edges(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centre and neighbour [2m,2], image of the neighbour [2m,3] and length in Å [2m]: all pairs, twice."""
    import vesin

    neighbours = vesin.NeighborList(cutoff=cutoff, full_list=False)
    i, j, images, distances = neighbours.compute(atoms.positions, atoms.cell.array, periodic=True, quantities='ijSd')
    pairs = np.stack([i, j], axis=1).astype(np.int64)
    return np.concatenate([pairs, pairs[:, ::-1]]), np.concatenate([images, -images]), np.tile(distances, 2)


def _angles(centres: np.ndarray, undirected: np.ndarray, is_short: np.ndarray) -> np.ndarray:
    """Return rows (centre, undirected and directed first edge, undirected and directed second edge) [k,5]."""
    short = np.flatnonzero(is_short)
    short = short[np.argsort(centres[short], kind='stable')]
    counts = np.bincount(centres[short])
    sizes = np.repeat(counts, counts)  # edges that leave the centre of each short edge
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.repeat(np.arange(len(short)), sizes)
    columns = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(firsts, sizes)
    first, second = short[rows[rows != columns]], short[columns[rows != columns]]
    return np.stack([centres[first], undirected[first], first, undirected[second], second], axis=1)
