"""A tracer of a host's element is refused with the same sentence wherever a user sets it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from click.testing import CliRunner
from lammps_runs import hydride
from structure_runs import SETTINGS as STRUCTURE
from structure_runs import make_segment
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.ase.vibrations import validate_inputs as validate_vibrations
from aiida_mghdiff.calculations.functions.hops import barrier_diffusion
from aiida_mghdiff.calculations.functions.paths import path_endpoints
from aiida_mghdiff.calculations.functions.sites import site_statistics
from aiida_mghdiff.calculations.functions.supercell import build_host, build_supercell
from aiida_mghdiff.calculations.hosts import SubjectError, subject_of
from aiida_mghdiff.calculations.md import validate_md_inputs
from aiida_mghdiff.calculations.vasp.mlff import start_message
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.cli.demo import demo
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.workflows.arrhenius import ArrheniusWorkChain
from aiida_mghdiff.workflows.diffusion import DiffusionWorkChain
from aiida_mghdiff.workflows.md import MolecularDynamicsWorkChain
from aiida_mghdiff.workflows.neb import BarrierWorkChain
from aiida_mghdiff.workflows.otf import OnTheFlyWorkChain
from aiida_mghdiff.workflows.protocol import protocol_inputs
from aiida_mghdiff.workflows.study import StudyWorkChain

SENTENCE = (
    'the tracer Mg is an element of the host (Mg): self-diffusion is not supported, since a tracer looks like '
    'an atom of the host; name a tracer of another element, and give the host without tracers.'
)
OF_MAGNESIUM = {'settings': {'supercell': {'tracer_element': 'Mg'}}}


@pytest.fixture
def dataset(aiida_profile, example_data):
    return DatasetData.from_frames(read_extxyz(example_data / 'mgh_pbe.extxyz').frames[:6])


def submit(generate_workchain, process, builder):
    generate_workchain(process, builder._inputs(prune=True))


def test_functions(host):
    supercell = {'tracer_element': 'Mg', 'tracer_count': 2, 'seed': 1, 'minimum_distance': 2.6}
    for function, settings in ((build_supercell, supercell), (path_endpoints, {'tracer_element': 'Mg', 'path': 'O-T'})):
        outputs, node = function.run_get_node(host, orm.Dict(settings))
        assert (node.exit_status, outputs) == (220, {})
        assert node.exit_message == f'{SENTENCE}'


def test_host_of_a_dataset(dataset):
    settings = {'element': 'Mg', 'tracer_element': 'Mg', 'repeats': [2, 2, 2]}
    _, node = build_host.run_get_node(dataset, orm.Dict(settings))
    assert (node.exit_status, node.exit_message) == (220, SENTENCE)


def test_functions_of_runs_and_hops(host):
    hop = {'path': 'O-T', 'tracer_element': 'Mg', 'elementary': True}
    hop |= {'forward_barrier_ev': 0.2, 'reverse_barrier_ev': 0.3}
    hop |= {f'{name}_frequencies_thz': [1.0, 2.0, 3.0] for name in ('initial', 'final')}
    hop |= {'saddle_frequencies_thz': [-1.0, 2.0, 3.0]}
    segment = make_segment(np.zeros((3, 1, 3)), np.zeros((3, 3)), np.array(host.cell), tracer_element='Mg')
    runs = {'r0_s0': segment, 'r0_f0': orm.TrajectoryData([host])}
    for function, inputs in (
        (barrier_diffusion, {'host': host, 'settings': orm.Dict({'temperatures_k': [300.0]}), 'a': orm.Dict(hop)}),
        (site_statistics, {'host': host, 'settings': orm.Dict(STRUCTURE), **runs}),
    ):
        _, node = function.run_get_node(**inputs)
        assert (node.exit_status, node.exit_message) == (228, SENTENCE)


@pytest.mark.parametrize('process', [DiffusionWorkChain, ArrheniusWorkChain, BarrierWorkChain, StudyWorkChain])
def test_workflows(generate_workchain, codes, tiny_potential, host, dataset, process):
    options, inputs = {'protocol': 'smoke'}, (codes, tiny_potential, host)
    if process is DiffusionWorkChain:
        options |= {'temperature_k': 600.0, 'overrides': OF_MAGNESIUM}
    elif process is ArrheniusWorkChain:
        options |= {'temperatures_k': [500.0, 600.0], 'overrides': {'diffusion': OF_MAGNESIUM}}
    elif process is BarrierWorkChain:
        options |= {'path': 'O-T', 'tracer_element': 'Mg'}
    else:
        options |= {'tracer_element': 'Mg', 'potentials': {'mace_mp': tiny_potential}}
        inputs = (codes, dataset, host, host)
    builder = process.get_builder_from_protocol(*inputs, **options)
    with pytest.raises(ValueError, match=re.escape(SENTENCE)):
        submit(generate_workchain, process, builder)


def test_barrier_in_vasp(generate_workchain, codes, host):
    builder = BarrierWorkChain.get_builder_from_protocol(
        {'vasp': codes['vasp']}, None, host, path='O-T', tracer_element='Mg', potcars=placeholder_potcars(['Mg'])
    )
    with pytest.raises(ValueError, match=re.escape(SENTENCE)):
        submit(generate_workchain, BarrierWorkChain, builder)


def test_learning(generate_workchain, codes, host):
    builder = OnTheFlyWorkChain.get_builder_from_protocol(
        {'vasp': codes['vasp'], 'reduce': codes['python']},
        placeholder_potcars(['Mg']),
        host,
        protocol='smoke',
        overrides={'settings': {'tracer_element': 'Mg'}},
    )
    with pytest.raises(ValueError, match=re.escape(SENTENCE)):
        submit(generate_workchain, OnTheFlyWorkChain, builder)


def test_molecular_dynamics(generate_workchain, codes, tiny_potential, host):
    builder = MolecularDynamicsWorkChain.get_builder_from_protocol(
        codes,
        tiny_potential,
        host,
        ensemble='nve',
        temperature_k=300.0,
        seed=1,
        protocol='smoke',
        overrides={'parameters': {'tracer_element': 'Mg'}},
    )
    with pytest.raises(ValueError, match=re.escape(SENTENCE)):
        submit(generate_workchain, MolecularDynamicsWorkChain, builder)


def test_study_from_nothing(generate_workchain, codes, tiny_potential, host):
    engines = codes | {'reduce': codes['python']}
    builder = StudyWorkChain.get_builder_from_protocol(
        engines,
        host,
        host,
        host,
        tracer_element='Mg',
        potentials={'mace_mp': tiny_potential},
        potcars=placeholder_potcars(['Mg']),
        protocol='smoke',
    )
    with pytest.raises(ValueError, match=re.escape(SENTENCE)):
        submit(generate_workchain, StudyWorkChain, builder)


def test_jobs(tiny_potential, host, tmp_path):
    vibrations = protocol_inputs('vibrations')['parameters'] | {'tracer_element': 'Mg', 'expected_imaginary_modes': 0}
    inputs = {'potential': tiny_potential, 'structure': host}
    assert validate_vibrations(inputs | {'parameters': orm.Dict(vibrations)}) == SENTENCE
    md = {'ensemble': 'nve', 'temperature_k': 300.0, 'time_step_fs': 1.0, 'steps': 2, 'first_step': 0, 'seed': 1}
    md |= {'tracer_element': 'Mg', 'tracer_stride': 1, 'thermo_stride': 1, 'frame_stride': 1}
    md |= {'dtype': 'float64', 'evaluator': 'torch'}
    for potential in (tiny_potential, make_force_field(tmp_path)):
        message = validate_md_inputs(inputs | {'potential': potential, 'parameters': orm.Dict(md)})
        assert message == SENTENCE
    assert start_message(host.get_ase(), {}, {'tracer_element': 'Mg', 'first_step': 0}) == SENTENCE


def test_dataset(dataset):
    for host in ('Mg', None):
        with pytest.raises(SubjectError, match=re.escape(SENTENCE)):
            subject_of(dataset, host, 'Mg')


@pytest.mark.parametrize(
    ('host', 'tracer', 'message'),
    [
        ('Mg', 'Mg', SENTENCE),
        (None, 'D', '--tracer D is not a chemical symbol but an isotope of H: atoms here have the mass of the natural'),
        (None, 'Xx', '--tracer Xx is not a chemical symbol: name an element, such as Ti.'),
    ],
)
def test_command_line(tmp_path, example_data, host, tracer, message):
    file = example_data / 'mgh_pbe.extxyz'
    words = [
        '--directory',
        tmp_path / 'demo',
        '--dataset',
        file,
        '--tracer',
        tracer,
        *(['--host', host] if host else []),
    ]
    result = CliRunner().invoke(demo, [str(word) for word in words])
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / 'demo').exists()


@pytest.mark.parametrize('element', ['D', 'T'])
def test_isotopes(codes, tiny_potential, host, dataset, element):
    words = f'{element!r} is not a chemical symbol but an isotope of H: atoms here have the mass of the natural element'
    overrides = {'settings': {'supercell': {'tracer_element': element}}}
    given = (codes, tiny_potential, host)
    with pytest.raises(ValueError, match=words):
        DiffusionWorkChain.get_builder_from_protocol(*given, temperature_k=600.0, overrides=overrides)
    with pytest.raises(ValueError, match=words):
        BarrierWorkChain.get_builder_from_protocol(*given, path='O-T', tracer_element=element)
    with pytest.raises(SubjectError, match=words):
        subject_of(dataset, 'Mg', element)


def test_heavy_hydrogen_is_refused_where_masses_count(tiny_potential, host):
    """A structure may give H the mass of D, but engines do not read it and would run H."""
    atoms = hydride()
    atoms.set_masses([2.014 if symbol == 'H' else 24.305 for symbol in atoms.symbols])
    md = {'ensemble': 'nve', 'temperature_k': 300.0, 'time_step_fs': 1.0, 'steps': 2, 'first_step': 0, 'seed': 1}
    md |= {'tracer_element': 'H', 'tracer_stride': 1, 'thermo_stride': 1, 'frame_stride': 1}
    md |= {'dtype': 'float64', 'evaluator': 'torch'}
    inputs = {'potential': tiny_potential, 'parameters': orm.Dict(md)}
    message = validate_md_inputs(inputs | {'structure': orm.StructureData(ase=atoms)})
    assert 'H atoms of the structure have a mass of 2.014 u: isotopes are not supported' in message
    assert validate_md_inputs(inputs | {'structure': orm.StructureData(ase=hydride())}) is None


def test_an_alloy_that_holds_the_tracer(generate_workchain, codes, tiny_potential):
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19).repeat(3)
    atoms.symbols[3] = 'Al'
    tracers = {'tracer_element': 'Al', 'tracer_count': 1, 'seed': 1, 'minimum_distance': 2.6}
    _, node = build_supercell.run_get_node(orm.StructureData(ase=atoms), orm.Dict(tracers))
    assert node.exit_message.startswith('the tracer Al is an element of the host (Al, Mg): self-diffusion')
