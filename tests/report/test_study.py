"""The report's view of the graph: failures, running studies, names."""

from __future__ import annotations

from aiida import orm
from study_graph import Process

from aiida_mghdiff.report.study import Study


def test_calls_of_a_study(study, graph):
    names = [call.name for call in study.calls]
    assert 'train_mace_ft / iteration_01' in names
    assert len(names) == len(set(names))
    assert [item.label for item in study.trainings] == ['mace_ft']
    assert [item.label for item in study.errors] == ['mace_ft', 'chgnet_mp']
    assert study.errors[0].dataset.uuid == graph.test.uuid
    (fit,) = study.arrhenius
    assert fit.series == study.diffusion[0].series == 'mace_ft, 2 H'
    assert (study.diffusion[0].host, study.diffusion[0].n_atoms) == ('Mg', 18)
    assert [drift.target_temperature_k for drift in study.energy_drifts] == [700.0] * 3 + [850.0] * 3
    assert study.failures == []


def test_failures_are_the_innermost(broken_study):
    assert sorted(call.name for call in broken_study.failures) == [
        'barrier_mace_mp_o_t / neb',
        'diffusion_best_mace_mp_h2 / arrhenius_fit',
        'diffusion_best_mace_mp_h2 / t850k / nve1 / seg000 / iteration_01',
        'evaluate_mace_mp',
        'train_mace_tr / iteration_01',
    ]


def test_a_failure_that_was_made_good_is_none():
    study = Process(orm.WorkChainNode, 'study', {})
    chain = Process(orm.WorkChainNode, 'train', {}, study, 'train_a')
    for label, status in (('iteration_01', 400), ('iteration_02', 0)):
        Process(orm.CalcFunctionNode, 'x', {}, chain, label).close({}, status)
    chain.close({})
    study.close({})
    assert Study(study.node).failures == []


def test_a_study_that_just_started():
    study = Study(Process(orm.WorkChainNode, 'study', {}).node)
    found = (study.potentials, study.errors, study.barriers, study.diffusion, study.arrhenius, study.failures)
    assert not any(found)
