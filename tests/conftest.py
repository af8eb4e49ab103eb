"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ['aiida.tools.pytest_fixtures']

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Folder of real files outside the repository; if it is missing, a test that reads them skips."""
    folder = Path(os.environ.get('MGHDIFF_SHARED_DATA', REPOSITORY.parent / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no real data in {folder}: set MGHDIFF_SHARED_DATA to a folder that has them')
    return folder


@pytest.fixture(scope='session')
def daemon_environment() -> None:
    """Skip a test that starts a daemon if AiiDA's daemon cannot run in this environment."""
    from aiida_mghdiff.cli.environment import environment_message

    if message := environment_message():
        pytest.skip(message)


@pytest.fixture(scope='session')
def example_data() -> Path:
    """Folder of the data in the repository."""
    return REPOSITORY / 'examples' / 'data'


@pytest.fixture(scope='session')
def tiny_mace(tmp_path_factory) -> Path:
    """A tiny MACE model file for Mg and H, in float64."""
    from models import make_tiny_mace

    return make_tiny_mace(tmp_path_factory.mktemp('models') / 'tiny.model')


@pytest.fixture(scope='session')
def scratch(tmp_path_factory) -> Path:
    """Folder in which jobs run."""
    return tmp_path_factory.mktemp('scratch')


@pytest.fixture
def codes(aiida_profile, scratch) -> dict:
    """The codes of this environment by role, on a computer with two slots."""
    from aiida_mghdiff.cli.environment import setup_codes

    return setup_codes(label='tests', workdir=scratch, slots=2, threads=1)


@pytest.fixture
def slurm(aiida_computer):
    """A computer with Slurm, which is not installed here; tests look at the scripts for it."""
    computer = aiida_computer(label='slurm', scheduler_type='core.slurm')
    computer.set_mpirun_command(['srun', '-n', '{tot_num_mpiprocs}'])
    return computer


@pytest.fixture
def gpaw(codes):
    """The code of an interpreter with GPAW; without GPAW a test skips."""
    if 'gpaw' not in codes:
        pytest.skip('GPAW is not installed: `apt-get install gpaw gpaw-data`')
    return codes['gpaw']


@pytest.fixture
def tiny_potential(aiida_profile, tiny_mace):
    """The tiny MACE model as an unstored node."""
    from aiida_mghdiff.data.potential import PotentialData

    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    return PotentialData.from_file(tiny_mace, **options)


@pytest.fixture
def host(aiida_profile):
    """A 2x2x2 cell of hcp magnesium."""
    from aiida import orm
    from ase.build import bulk

    return orm.StructureData(ase=bulk('Mg', 'hcp', a=3.20, c=5.19).repeat(2))


@pytest.fixture
def hydride(host):
    """The host with one hydrogen at an interstitial place."""
    from aiida import orm

    atoms = host.get_ase()
    atoms.append('H')
    atoms.positions[-1] = (1.6, 0.92, 1.3)
    return orm.StructureData(ase=atoms)


@pytest.fixture
def generate_workchain():
    """Return a function that makes a WorkChain with its inputs, without running it."""
    from aiida.engine.utils import instantiate_process
    from aiida.manage.manager import get_manager

    def generate(process_class, inputs):
        return instantiate_process(get_manager().get_runner(), process_class, **inputs)

    return generate


@pytest.fixture
def generate_job_node():
    """Return a function that makes the node of an ended job, with an exit status and outputs."""
    from aiida import orm
    from aiida.common.links import LinkType
    from ended_nodes import ended_node

    def generate(entry_point, exit_status=0, outputs=None, exit_message='as made'):
        node = ended_node(orm.CalcJobNode, f'aiida.calculations:{entry_point}', exit_status, exit_message)
        for label, output in (outputs or {}).items():
            output.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label=label)
            output.store()
        return node

    return generate


@pytest.fixture
def generate_workchain_node(aiida_profile):
    """Return a function that makes the node of an ended WorkChain, with an exit status and outputs."""
    from aiida import orm
    from aiida.common.links import LinkType
    from ended_nodes import ended_node

    def generate(entry_point, exit_status=0, outputs=None, exit_message='as made'):
        node = ended_node(orm.WorkChainNode, f'aiida.workflows:{entry_point}', exit_status, exit_message)
        for label, output in (outputs or {}).items():
            output.store().base.links.add_incoming(node, link_type=LinkType.RETURN, link_label=label)
        return node

    return generate


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect the tests that start services only if `-m cluster` asks for them."""
    is_left_out = collection_path == REPOSITORY / 'tests' / 'cluster' and 'cluster' not in config.option.markexpr
    return True if is_left_out else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the fast tests first; at the very end run the tests that load LAMMPS into this process.

    LAMMPS brings its own C++ symbols and floating-point mode (subnormal numbers become zero). After it scipy's trees
    crash, and hypothesis refuses to draw numbers. A job runs LAMMPS in another process.
    """
    items.sort(
        key=lambda item: (item.path.parent.name in ('lammps', 'lmp'), item.get_closest_marker('slow') is not None)
    )
