"""Every protocol of every process gives complete settings."""

from __future__ import annotations

import pytest

from aiida_mghdiff.calculations.functions.parameters import derive_seed, diffusion_settings_message
from aiida_mghdiff.calculations.md import parameters_message
from aiida_mghdiff.cli.inputs import make_host
from aiida_mghdiff.workflows.arrhenius import ArrheniusWorkChain, temperature_label
from aiida_mghdiff.workflows.diffusion import STAGES, DiffusionWorkChain
from aiida_mghdiff.workflows.diffusion_settings import length_messages
from aiida_mghdiff.workflows.md import MolecularDynamicsWorkChain
from aiida_mghdiff.workflows.neb import BarrierWorkChain
from aiida_mghdiff.workflows.protocol import merge, protocol_inputs
from aiida_mghdiff.workflows.study import StudyWorkChain, diffusion_inputs

PROTOCOLS = ('paper', 'balanced', 'demo', 'smoke')
ARCHITECTURES = {
    'mace_mp': 'mace',
    'mace_tr': 'mace',
    'mace_ft': 'mace',
    'chgnet_mp': 'chgnet',
    'chgnet_ft': 'chgnet',
    'vasp_mlff': 'vasp-mlff',
}
PROCESSES = (ArrheniusWorkChain, BarrierWorkChain, DiffusionWorkChain, MolecularDynamicsWorkChain, StudyWorkChain)


@pytest.mark.parametrize('process', PROCESSES)
def test_every_process_has_the_four_protocols(process):
    available = process.get_available_protocols()
    assert tuple(available) == PROTOCOLS
    assert all(content['description'] for content in available.values())
    assert process.get_default_protocol() == 'balanced'


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('architecture', ['mace', 'chgnet'])
@pytest.mark.parametrize('ensemble', STAGES)
def test_md_parameters_are_complete(protocol, architecture, ensemble):
    parameters = MolecularDynamicsWorkChain.get_md_parameters(architecture, ensemble, protocol)
    assert parameters_message(parameters | {'temperature_k': 300.0, 'seed': 1, 'first_step': 0}) is None


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_diffusion_settings_are_complete(protocol):
    settings = DiffusionWorkChain.get_settings('mace', protocol)
    for stage in STAGES:
        parameters = settings[stage] | {'temperature_k': 300.0, 'seed': 1, 'first_step': 0}
        assert parameters_message(parameters) is None
    assert settings['starts']['count'] == (1 if settings['independent_replicas'] else settings['n_replicas'])


def test_paper_is_the_paper():
    settings = DiffusionWorkChain.get_settings('mace', 'paper')
    assert not settings['independent_replicas']
    assert settings['n_replicas'] == settings['starts']['count'] == 3
    assert settings['starts']['minimum_spacing_ps'] == 10
    assert (settings['fit']['fit_start_ps'], settings['fit']['fit_end_ps']) == (0, 200)
    times = {stage: settings[stage]['steps'] * settings[stage]['time_step_fs'] / 1000 for stage in STAGES}
    assert times == {'npt': 100, 'nvt': 100, 'nve': 1000}
    assert {stage: settings[stage]['time_step_fs'] for stage in STAGES} == {'npt': 1.0, 'nvt': 1.0, 'nve': 0.5}
    assert settings['npt']['friction_per_ps'] == 10
    assert settings['npt']['pressure_gpa'] == 0
    chgnet = DiffusionWorkChain.get_settings('chgnet', 'paper')
    assert {chgnet[stage]['time_step_fs'] for stage in STAGES} == {0.5}
    assert ArrheniusWorkChain.get_protocol_inputs('paper')['temperatures_k'] == [300, 480, 673]
    neb = BarrierWorkChain.get_protocol_inputs('paper')['parameters']
    assert (neb['n_images'], neb['force_tolerance_ev_per_angstrom']) == (10, 0.01)
    study = StudyWorkChain.get_protocol_inputs('paper')
    assert study['repeats'] == {'host': [4, 4, 4], 'neb_host': [2, 2, 2]}


def test_paper_study_has_the_runs_of_the_paper(aiida_profile):
    """All potentials with 8 H in 128 Mg, and the fine-tuned MACE at each content, at three temperatures."""
    study = StudyWorkChain.get_protocol_inputs('paper')
    runs = study['diffusion'].values()
    settings = [DiffusionWorkChain.get_settings('mace', 'paper', run.get('overrides')) for run in runs]
    found = {
        (run['potential'], values['supercell']['tracer_count'], tuple(run['temperatures_k']))
        for run, values in zip(runs, settings, strict=True)
    }
    temperatures = (300.0, 480.0, 673.0)
    potentials = ('mace_mp', 'mace_tr', 'mace_ft', 'chgnet_mp', 'chgnet_ft')
    assert found == {(label, 8, temperatures) for label in potentials} | {
        ('mace_ft', count, temperatures) for count in (4, 6, 10)
    }
    assert {values['supercell']['tracer_element'] for values in settings} == {'H'}
    assert make_host(study['repeats']['host']).get_ase().get_chemical_formula() == 'Mg128'
    assert make_host(study['repeats']['neb_host']).get_ase().get_chemical_formula() == 'Mg16'


@pytest.mark.parametrize(('protocol', 'time_step'), [('paper', 0.5), ('balanced', 0.5), ('demo', 0.5), ('smoke', 1.0)])
def test_time_step_of_chgnet_wins_over_the_protocol_and_yields_to_the_user(protocol, time_step):
    settings = DiffusionWorkChain.get_settings('chgnet', protocol)
    assert {settings[stage]['time_step_fs'] for stage in STAGES} == {time_step}
    changed = DiffusionWorkChain.get_settings('chgnet', protocol, {'settings': {'nve': {'time_step_fs': 0.25}}})
    assert [changed[stage]['time_step_fs'] for stage in STAGES] == [time_step, time_step, 0.25]
    assert changed['nve']['steps'] * 0.25 == pytest.approx(settings['nve']['steps'] * time_step)


def test_time_step_of_mace_is_that_of_the_stage():
    assert DiffusionWorkChain.get_settings('mace', 'demo')['nve']['time_step_fs'] == 1.0
    assert DiffusionWorkChain.get_settings('mace', 'balanced')['nve']['time_step_fs'] == 0.5


def test_overrides_win_over_protocol_and_leave_it_as_it_is():
    before = protocol_inputs('diffusion', 'paper')
    changed = DiffusionWorkChain.get_settings('mace', 'paper', {'settings': {'nve': {'duration_ps': 5.0}}})
    assert changed['nve']['steps'] == 10000
    assert protocol_inputs('diffusion', 'paper') == before


def test_merge_goes_into_dictionaries():
    assert merge({'a': {'b': 1, 'c': 2}, 'd': 3}, {'a': {'b': 4}}) == {'a': {'b': 4, 'c': 2}, 'd': 3}


def test_unknown_protocol_is_named():
    with pytest.raises(ValueError, match='no protocol'):
        DiffusionWorkChain.get_protocol_inputs('best')


def test_labels_of_temperatures():
    assert temperature_label(300.0) == 't300k'
    assert temperature_label(672.5) == 't672k5'


def test_each_run_has_its_own_seed_and_always_the_same():
    seeds = {derive_seed(1, t, s, i) for t in (300.0, 480.0) for s in ('npt', 'nvt', 'nve') for i in range(3)}
    assert len(seeds) == 18
    assert derive_seed(1, 300.0, 'npt', 0) == derive_seed(1, 300.0, 'npt', 0)
    assert derive_seed(2, 300.0, 'npt', 0) not in seeds


@pytest.mark.parametrize('from_nothing', [True, False])
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_runs_of_studies_are_as_long_as_their_analyses_need(aiida_profile, protocol, from_nothing):
    inputs = StudyWorkChain.get_protocol_inputs(protocol)
    inputs = merge(inputs, inputs['from_nothing']) if from_nothing else inputs
    shared = {'settings': {'supercell': {'tracer_element': 'H'}}}
    runs = diffusion_inputs(inputs['diffusion'], ARCHITECTURES, shared, protocol)
    for settings in (run['settings'].get_dict() for run in runs.values()):
        assert diffusion_settings_message(settings) is None
        assert list(length_messages(settings)) == []
