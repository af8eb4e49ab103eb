"""D from the counted jumps of a temperature series."""

from __future__ import annotations

import pytest
from aiida import orm
from counted_jumps import make_sites

from aiida_mghdiff.workflows.arrhenius import ArrheniusWorkChain


@pytest.fixture
def build(generate_workchain, generate_job_node, codes, tiny_potential, host):
    """Return a function that makes a series; its runs ended with the sites given by label."""

    def make(sites, extrapolation=None):
        builder = ArrheniusWorkChain.get_builder_from_protocol(
            codes,
            tiny_potential,
            host,
            temperatures_k=[480.0, 673.0, 800.0],
            protocol='smoke',
            overrides={'extrapolation': extrapolation or {'temperatures_k': [300.0, 600.0]}},
        )
        process = generate_workchain(ArrheniusWorkChain, builder._inputs(prune=True))
        process.setup()
        for label in process.ctx.tasks:
            outputs = {'diffusion': orm.Dict({}), 'msd': orm.ArrayData(), 'volume': orm.Float(750.0)}
            outputs |= {'rdf': orm.ArrayData(), 'density': orm.ArrayData()}
            outputs |= {'sites': sites[label]} if label in sites else {}
            process.ctx.children[label] = generate_job_node('mghdiff.diffusion', 0, outputs)
        process.return_outputs()
        return process

    return make


def test_jumps_give_d_where_there_are_sites(build):
    sites = {'t480k': make_sites(480.0), 't673k': make_sites(673.0)}
    process = build(sites)
    process.extrapolate()
    result = process.outputs['jump_diffusion']
    assert result['temperatures_k'] == [300.0, 600.0]
    assert result['extrapolated'] == [True, False]
    parents = {link.node.uuid for link in result.creator.base.links.get_incoming().all()}
    assert {node.uuid for node in sites.values()} < parents
    assert set(process.outputs['sites']) == {'t480k', 't673k'}


def test_too_few_jumps_are_no_failure(build):
    process = build({'t480k': make_sites(480.0)})
    assert process.extrapolate() is None
    assert 'jump_diffusion' not in process.outputs
    process = build({})
    assert process.extrapolate() is None
    assert 'jump_diffusion' not in process.outputs


def test_gives_on_what_its_runs_give(build):
    process = build({'t480k': make_sites(480.0)})
    temperatures = {'t480k', 't673k', 't800k'}
    for name in ('diffusion', 'msd', 'volume', 'rdf', 'density'):
        assert set(process.outputs[name]) == temperatures
        assert all(node.uuid == process.child(key).outputs[name].uuid for key, node in process.outputs[name].items())
    assert set(process.outputs['sites']) == {'t480k'}
    assert 'pairs' not in process.outputs


def test_refuses_temperatures_that_are_none(build):
    with pytest.raises(ValueError, match='a non-empty list, each item a temperature of at least 1 K'):
        build({}, {'temperatures_k': [300.0, -5.0]})


def test_a_misspelt_extrapolation_is_refused_at_its_place():
    builder = ArrheniusWorkChain.get_builder()
    with pytest.raises(ValueError, match=r'extrapolation\.temperature_k: no such key; did you mean temperatures_k\?'):
        builder.extrapolation = {'temperature_k': [300.0]}
