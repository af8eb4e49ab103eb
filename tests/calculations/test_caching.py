"""When the cache takes two jobs for the same, and when it does not."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching

from aiida_mghdiff.calculations.ase.md import AseMdCalculation
from aiida_mghdiff.workflows.md import MolecularDynamicsWorkChain

pytestmark = pytest.mark.slow


@pytest.fixture
def inputs(codes, tiny_potential, host):
    """Return inputs of five steps of MD with the tiny model."""
    atoms = host.get_ase()
    atoms.append('H')
    atoms.positions[-1] = (0.0, 0.0, 2.595)
    parameters = MolecularDynamicsWorkChain.get_md_parameters(
        'mace', 'nve', 'smoke', {'parameters': {'duration_ps': 0.005}}
    )
    return {
        'code': codes['python'],
        'potential': tiny_potential.store(),
        'structure': orm.StructureData(ase=atoms).store(),
        'parameters': parameters | {'temperature_k': 300.0, 'seed': 1, 'first_step': 0},
        'metadata': {'options': {'resources': {'num_machines': 1}}},
    }


def test_seed_dtype_and_cache_version_count(inputs, monkeypatch):
    def is_cached(**changes):
        parameters = orm.Dict(inputs['parameters'] | changes)
        with enable_caching(identifier='aiida.calculations:mghdiff.*'):
            _, node = run_get_node(AseMdCalculation, **inputs | {'parameters': parameters})
        assert node.is_finished_ok, node.exit_message
        return node.base.caching.is_created_from_cache

    assert [is_cached(), is_cached()] == [False, True]
    assert not is_cached(seed=2)
    assert not is_cached(dtype='float32')
    monkeypatch.setattr(AseMdCalculation, 'CACHE_VERSION', AseMdCalculation.CACHE_VERSION + 1)
    assert not is_cached()
