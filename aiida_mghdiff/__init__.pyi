"""Names for users: nodes, WorkChains, functions that make or load nodes, readers. ``__init__.py`` reads this list."""

from .calculations.functions.dataset import dataset_from_extxyz as dataset_from_extxyz
from .calculations.functions.dataset import dataset_from_mlab as dataset_from_mlab
from .calculations.functions.dataset import split_dataset as split_dataset
from .calculations.functions.hops import barrier_diffusion as barrier_diffusion
from .calculations.functions.merge import merge_datasets as merge_datasets
from .calculations.functions.supercell import build_hcp as build_hcp
from .calculations.functions.supercell import build_host as build_host
from .calculations.functions.supercell import build_supercell as build_supercell
from .calculations.hosts import subject_of as subject_of
from .cli.inputs import load_codes as load_codes
from .cli.inputs import load_dataset as load_dataset
from .cli.inputs import load_potential as load_potential
from .cli.inputs import make_host_of as make_host_of
from .cli.potentials import import_potential as import_potential
from .data.architectures import Architecture as Architecture
from .data.dataset import DatasetData as DatasetData
from .data.md_state import MdStateData as MdStateData
from .data.potential import PotentialData as PotentialData
from .data.tracers import TracerTrajectoryData as TracerTrajectoryData
from .formats.extxyz import read_extxyz as read_extxyz
from .formats.mlab import read_mlab as read_mlab
from .formats.mlab import write_mlab as write_mlab
from .workflows.arrhenius import ArrheniusWorkChain as ArrheniusWorkChain
from .workflows.diffusion import DiffusionWorkChain as DiffusionWorkChain
from .workflows.engines import Engines as Engines
from .workflows.label import LabelWorkChain as LabelWorkChain
from .workflows.md import MolecularDynamicsWorkChain as MolecularDynamicsWorkChain
from .workflows.neb import BarrierWorkChain as BarrierWorkChain
from .workflows.otf import OnTheFlyWorkChain as OnTheFlyWorkChain
from .workflows.study import StudyWorkChain as StudyWorkChain
from .workflows.train import TrainWorkChain as TrainWorkChain
from .workflows.validate import ValidationWorkChain as ValidationWorkChain

__version__: str
