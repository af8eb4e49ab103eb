"""Barriers: the choice of the engine, VASP's relaxed and joined end points, early refusals."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from vasp_runs import end_results, hydride, learn_path, make_force_field, standin_code, straight_path

from aiida_mghdiff.calculations.functions.hops import barrier_diffusion
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.queries import potential_of
from aiida_mghdiff.report.study import Barrier, Call
from aiida_mghdiff.science.bands import band_results
from aiida_mghdiff.workflows.neb import BarrierWorkChain
from aiida_mghdiff.workflows.survival import call_label


@pytest.fixture
def vasp(aiida_profile, aiida_code_installed):
    """A code in VASP's place, for tests that run nothing."""
    return aiida_code_installed(default_calc_job_plugin='mghdiff.vasp.neb', filepath_executable='/bin/true')


@pytest.fixture
def build(generate_workchain, vasp, host):
    """Return a function that makes a search in VASP with some inputs changed."""

    def make(potential=None, codes=None, elements=('Mg', 'H'), drop=(), changes=None, protocol='smoke', **options):
        builder = BarrierWorkChain.get_builder_from_protocol(
            {'vasp': vasp} if codes is None else codes,
            potential,
            host,
            path='O-T',
            potcars=placeholder_potcars(elements),
            protocol=protocol,
            **options,
        )
        inputs = {name: value for name, value in builder._inputs(prune=True).items() if name not in drop}
        return generate_workchain(BarrierWorkChain, inputs | (changes or {}))

    return make


def test_engine_follows_the_potential(build, codes, tiny_potential, vasp, tmp_path):
    both = codes | {'vasp': vasp}
    assert build(codes=both).runs_in_vasp()
    assert build(make_force_field(tmp_path), codes=both).runs_in_vasp()
    assert not build(tiny_potential, codes=both).runs_in_vasp()


def test_settings_of_dft_and_of_a_force_field(build, tmp_path):
    dft, learned = build().inputs, build(make_force_field(tmp_path)).inputs
    assert (dft.parameters['encut'], dft.kpoints.get_kpoints_mesh()[0]) == (600.0, [4, 4, 4])
    assert (learned.parameters['encut'], learned.kpoints.get_kpoints_mesh()[0]) == (300.0, [1, 1, 1])
    for inputs in (dft, learned):
        assert inputs.parameters['images'] == inputs.interpolation['n_images'] == 1
        assert (inputs.parameters['ediffg'], inputs.relaxation['ediffg']) == (-0.1, -0.05)


def test_refusals_of_dft(build, codes):
    with pytest.raises(ValueError, match=r'give a potential, or for DFT potcars and codes\.vasp'):
        build(codes={'python': codes['python']})
    with pytest.raises(ValueError, match='potcars has no POTCAR for H'):
        build(elements=('Mg',))
    with pytest.raises(ValueError, match='vibrations run in ASE'):
        build(vibrations=True)
    with pytest.raises(ValueError, match='inputs lack kpoints'):
        build(drop=('kpoints',))


@pytest.mark.parametrize(
    ('in_vasp', 'overrides', 'message'),
    [
        (False, {'vasp': {'band': {'iopt': 3}}}, r'^vasp: barriers of mace potentials run in ASE: leave vasp out\.$'),
        (False, {'vibrations': {'parameters': {'dtype': 'float32'}}}, r'^vibrations: set the argument vibrations to'),
        (True, {'parameters': {'optimizer': 'fire'}}, r'^parameters\.optimizer: only ASE takes it'),
        (True, {'vasp': {'force_field': {'mesh': [2, 2, 2]}}}, r'^vasp\.force_field: this barrier takes vasp\.dft'),
    ],
)
def test_refuses_settings_that_it_would_not_use(build, codes, tiny_potential, in_vasp, overrides, message):
    given = {} if in_vasp else {'potential': tiny_potential, 'codes': codes}
    with pytest.raises(ValueError, match=message):
        build(**given, overrides=overrides)


@pytest.mark.parametrize('name', ['relaxation', 'interpolation', 'displacement_angstrom', 'kpoints'])
def test_refuses_inputs_of_vasp_for_a_barrier_in_ase(build, codes, tiny_potential, name):
    changes = {name: build().inputs[name]}
    with pytest.raises(ValueError, match=rf'{name}: only VASP takes these, and barriers of mace run in ASE'):
        build(tiny_potential, codes=codes, changes=changes)


@pytest.mark.parametrize('name', ['relaxation', 'parameters'])
def test_refuses_tags_of_either_job(build, name):
    tags = build().inputs[name].get_dict()
    with pytest.raises(ValueError, match=rf'{name}: nsw = 0 is not a positive whole number'):
        build(changes={name: orm.Dict(tags | {'nsw': 0})})


@pytest.mark.parametrize(
    ('name', 'changes', 'message'),
    [
        ('interpolation', {'n_image': 3}, r'interpolation\.n_image: no such key; did you mean n_images\?'),
        ('interpolation', {'interpolation': 'idp'}, r"interpolation = 'idp' is not one of idpp, linear \(did you mean"),
        ('interpolation', {'n_images': 3}, r'interpolation\.n_images = 3, but parameters\.images = 1: give one number'),
        ('relaxation', {'ediffg': -0.2}, r'relaxation\.ediffg = -0\.2 allows larger .* parameters\.ediffg = -0\.1'),
    ],
)
def test_the_band_is_checked_before_its_ends_are_relaxed(build, name, changes, message):
    values = build().inputs[name].get_dict() | changes
    with pytest.raises(ValueError, match=message):
        build(changes={name: orm.Dict(values)})


@pytest.mark.parametrize('shift', [-0.1, float('nan')])
def test_refuses_a_displacement_that_is_none(build, shift):
    with pytest.raises(ValueError, match=r'inputs: displacement_angstrom = .* is not a number of at least 0'):
        build(changes={'displacement_angstrom': orm.Float(shift)})


@pytest.mark.parametrize(('protocol', 'images', 'n_nodes'), [('balanced', 5, 5), ('paper', 10, 5)])
def test_refuses_ranks_that_images_cannot_share(build, protocol, images, n_nodes):
    def make(n_machines, kind='barrier', **more):
        resources = {'num_machines': n_machines, 'num_mpiprocs_per_machine': 48}
        return build(protocol=protocol, options={kind: {'resources': resources, **more}})

    for kind in ('default', 'barrier'):
        message = rf'options\.barrier\.resources: 192 MPI ranks cannot be shared .* a multiple of {images}'
        with pytest.raises(ValueError, match=message):
            make(4, kind)
    assert make(n_nodes).job
    assert make(4, withmpi=False).job
    with pytest.raises(ValueError, match=rf'options\.barrier\.resources: 1 MPI ranks cannot be .* by {images} images'):
        build(protocol=protocol, options={})


def test_refusals_of_potentials(build, codes, tiny_potential, tmp_path):
    with pytest.raises(ValueError, match=r'codes\.vasp is missing: barriers of vasp-mlff'):
        build(make_force_field(tmp_path), codes={'python': codes['python']})
    with pytest.raises(ValueError, match=r'codes\.python is missing: barriers of mace'):
        build(tiny_potential)
    with pytest.raises(ValueError, match='does not know Mg; it knows H, Ti'):
        build(make_force_field(tmp_path, ('H', 'Ti')))
    with pytest.raises(ValueError, match='the force field has no fast mode'):
        build(make_force_field(tmp_path, fast=False))


def test_ends_are_relaxed_each_until_it_is_done(build, generate_job_node):
    process = build()
    assert process.setup() is None
    assert process.ctx.unrelaxed == ['initial', 'final']
    first, last = (orm.StructureData(ase=atoms) for atoms in hydride())
    process.ctx.initial = generate_job_node('mghdiff.vasp.relax', 0, {'structure': first, 'results': end_results()})
    process.ctx.final = generate_job_node('mghdiff.vasp.relax', 400, {'structure': last})
    assert process.inspect_ends() is None
    assert process.ctx.unrelaxed == ['final']
    assert process.ctx.inputs['final'].uuid == last.uuid

    last, results = orm.StructureData(ase=hydride()[1]), end_results(-25.8)
    process.ctx.final = generate_job_node('mghdiff.vasp.relax', 0, {'structure': last, 'results': results})
    assert process.inspect_ends() is None
    assert not process.should_relax_ends()
    assert process.interpolate() is None
    assert process.ctx.inputs['final_results'].uuid == results.uuid
    assert process.ctx.inputs['images'].numsteps == 3
    np.testing.assert_allclose(process.ctx.inputs['images'].get_positions()[0], first.get_ase().positions)


def test_end_that_does_not_relax(build, generate_job_node):
    process = build()
    process.setup()
    process.ctx.initial = generate_job_node('mghdiff.vasp.relax', 513, exit_message='forces of 0.3 eV/Å')
    code = process.inspect_ends()
    assert code.status == 631
    assert 'initial: forces of 0.3 eV/Å' in code.message


def test_ends_that_collapse(build, generate_job_node):
    process = build()
    process.setup()
    for name in ('initial', 'final'):
        outputs = {'structure': orm.StructureData(ase=hydride()[0]), 'results': end_results()}
        process.ctx[name] = generate_job_node('mghdiff.vasp.relax', 0, outputs)
    process.inspect_ends()
    code = process.interpolate()
    assert code.status == 631
    assert 'one minimum' in code.message


def test_path_that_stopped_is_continued(build, generate_job_node):
    process = build()
    process.setup()
    path = straight_path(hydride(), 1)
    process.ctx.neb = generate_job_node('mghdiff.vasp.neb', 400, {'path': path})
    assert process.inspect_neb() is None
    assert process.should_run_neb()
    assert process.ctx.inputs['images'].uuid == path.uuid
    process.ctx.neb = generate_job_node('mghdiff.vasp.neb', 216, exit_message='built without VTST')
    code = process.inspect_neb()
    assert code.status == 632
    assert 'without VTST' in code.message


@pytest.fixture
def found(build, codes, tiny_potential, generate_job_node):
    """A finished search in ASE, with a function that makes its vibrations."""
    process = build(tiny_potential, codes=codes, vibrations=True)
    process.setup()
    path, *points = straight_path(hydride(), 1), *(orm.StructureData(ase=hydride()[0]) for _ in range(3))
    barrier = {'forward_barrier_ev': 0.2, 'reverse_barrier_ev': 0.3, 'energies_ev': [0.0, 0.2, -0.1]}
    outputs = {'results': orm.Dict(barrier), 'path': path}
    outputs |= dict(zip(('initial_relaxed', 'saddle', 'final_relaxed'), points, strict=True))
    process.ctx.neb = generate_job_node('mghdiff.ase.neb', 0, outputs)

    def vibrate(statuses=(0, 0, 0), saddle=(-15.0, 33.0, 45.0)):
        modes = [12.0, 13.0, 14.0], list(saddle), [30.0, 31.0, 40.0]
        for name, status, values in zip(('initial', 'saddle', 'final'), statuses, modes, strict=True):
            results = {'results': orm.Dict({'frequencies_thz': values})}
            node = generate_job_node('mghdiff.ase.vibrations', status, results, '2 found, a saddle point has one')
            process.ctx[f'vibrations_{name}'] = node
        return process

    return vibrate


def test_parameters_of_vibrations_come_from_the_inputs(found, monkeypatch):
    process = found()
    monkeypatch.setattr(process, 'submit', lambda job, **inputs: inputs)
    parameters = {name: inputs['parameters'] for name, inputs in process.run_vibrations().items()}
    modes = {name: node['expected_imaginary_modes'] for name, node in parameters.items()}
    assert modes == {'vibrations_initial': 0, 'vibrations_saddle': 1, 'vibrations_final': 0}
    for node in parameters.values():
        assert node['tracer_element'] == 'H'
        assert node.creator.inputs.vibrations.uuid == process.inputs.vibrations.uuid
        assert node.creator.inputs.path.uuid == process.inputs.path.uuid


def test_vibrations_make_a_hop(found):
    process = found()
    process.results()
    assert process.inspect_vibrations() is None
    process.make_hop()
    values = process.outputs['hop'].get_dict()
    assert (values['path'], values['forward_barrier_ev'], values['reverse_barrier_ev']) == ('O-T', 0.2, 0.3)
    assert values['forward_attempt_frequency_thz'] == pytest.approx(12 * 13 * 14 / (33 * 45))
    assert set(process.outputs['vibrations']) == {'initial', 'saddle', 'final'}


def test_point_of_the_wrong_kind_is_a_result_and_no_hop(found):
    process = found((0, 530, 0), (-15.0, -3.0, 45.0))
    process.results()
    assert process.inspect_vibrations() is None
    process.make_hop()
    assert 'hop' not in process.outputs
    assert process.outputs['vibrations']['saddle']['frequencies_thz'][1] == -3.0
    assert process.outputs['barrier']['forward_barrier_ev'] == 0.2


def test_path_without_a_saddle_point_is_a_result(found, generate_job_node, monkeypatch):
    """The ends still vibrate, and imaginary modes show their kind; there is no hop."""
    process = found()
    outputs = {'results': orm.Dict(band_results([0.0, 0.1, 0.2])), 'path': straight_path(hydride(), 1)}
    outputs |= {name: orm.StructureData(ase=hydride()[0]) for name in ('initial_relaxed', 'final_relaxed')}
    process.ctx.neb = generate_job_node('mghdiff.ase.neb', 0, outputs)
    assert process.inspect_neb() is None
    process.results()
    with monkeypatch.context() as patch:
        patch.setattr(process, 'submit', lambda job, **inputs: inputs)
        assert set(process.run_vibrations()) == {'vibrations_initial', 'vibrations_final'}
    assert process.inspect_vibrations() is None
    process.make_hop()
    assert process.outputs['barrier']['reverse_barrier_ev'] is None
    assert set(process.outputs['vibrations']) == {'initial', 'final'}
    assert not {'saddle', 'hop'} & set(process.outputs)


def test_barrier_outlives_vibrations_that_failed(found):
    process = found((0, 0, 310))
    process.results()
    code = process.inspect_vibrations()
    assert code.status == 633
    assert code.message.startswith('Vibrations of final failed')
    assert {'barrier', 'images', 'saddle'} <= set(process.outputs)


@pytest.mark.slow
def test_vasp_finds_the_barrier_that_ase_finds(codes, host, tiny_mace, tiny_potential, tmp_path):
    """One potential energy surface, three ways to the saddle point: ASE, VASP's files, and VASP with learning."""
    codes = codes | {'vasp': standin_code(codes['python'].computer, tiny_mace)}
    tight = {'force_tolerance_ev_per_angstrom': 0.02, 'endpoint_tolerance_ev_per_angstrom': 0.01}

    def find(potential, **potcars):
        builder = BarrierWorkChain.get_builder_from_protocol(
            codes, potential, host, path='O-T', protocol='smoke', overrides={'parameters': tight}, **potcars
        )
        outputs, node = run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        return outputs['barrier'].get_dict(), node

    potcars = placeholder_potcars(['Mg', 'H'])
    (ase, _), (dft, node), (learned, _) = (
        find(tiny_potential),
        find(None, potcars=potcars),
        find(learn_path(tmp_path, tiny_mace), potcars=potcars),
    )
    np.testing.assert_allclose(
        np.array(dft['energies_ev'])[[0, 2]], np.array(ase['energies_ev'])[[0, 2]], rtol=0, atol=2e-4
    )
    assert dft['forward_barrier_ev'] == pytest.approx(ase['forward_barrier_ev'], abs=2e-3)
    assert dft['path_length_angstrom'] == pytest.approx(ase['path_length_angstrom'], abs=0.05)
    assert learned['forward_barrier_ev'] == pytest.approx(ase['forward_barrier_ev'], abs=0.03)
    assert (dft['evaluator'], learned['evaluator'][:10]) == ('dft', 'vasp-mlff ')
    assert dft['labelled_by'].startswith('standin:mace:')

    relaxed = {
        job.outputs.results.uuid: job for job in node.called if 'structure' in job.outputs and 'results' in job.outputs
    }
    band = next(job for job in node.called if 'saddle' in job.outputs)
    assert set(relaxed) == {band.inputs.initial_results.uuid, band.inputs.final_results.uuid}
    assert 'POTCAR' not in band.base.repository.list_object_names()


@pytest.mark.slow
def test_hops_of_a_potential_give_d(codes, host, tiny_potential):
    """Two paths with vibrations run as real jobs; the network checks D, and D knows its origin.

    The octahedral site of this potential is a hill between two minima, so tracers are displaced far enough to leave it.
    """
    own = {
        'force_tolerance_ev_per_angstrom': 0.03,
        'endpoint_tolerance_ev_per_angstrom': 0.005,
        'endpoint_displacement_angstrom': 0.3,
    }
    hops = {}
    for key, path in (('o_t', 'O-T'), ('t_t', 'T-T')):
        builder = BarrierWorkChain.get_builder_from_protocol(
            codes, tiny_potential, host, path=path, protocol='smoke', vibrations=True, overrides={'parameters': own}
        )
        outputs, node = run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        hops[key] = outputs['hop']
        hop, barrier = outputs['hop'].get_dict(), outputs['barrier'].get_dict()
        assert hop['forward_barrier_ev'] == barrier['forward_barrier_ev']
        energies = {name: outputs['vibrations'][name]['zero_point_energy_ev'] for name in outputs['vibrations']}
        assert hop['reverse_zero_point_barrier_ev'] - hop['reverse_barrier_ev'] == pytest.approx(
            energies['saddle'] - energies['final'], abs=1e-4
        )
    results, node = barrier_diffusion.run_get_node(host, orm.Dict({'temperatures_k': [300.0, 600.0]}), **hops)
    assert node.is_finished_ok, node.exit_message
    cold, hot = results['classical']['diffusion_coefficients_m2_s']
    assert 1e-12 < cold < hot < 1e-7
    assert potential_of(results['quantum']).uuid == tiny_potential.uuid


@pytest.mark.slow
def test_end_that_vibrations_find_to_be_a_hill(codes, host, tiny_potential):
    """The energy rises along O-T, but this potential's octahedral site is a hill in other directions."""
    own = {'endpoint_displacement_angstrom': 0.0, 'force_tolerance_ev_per_angstrom': 0.05}
    builder = BarrierWorkChain.get_builder_from_protocol(
        codes, tiny_potential, host, path='O-T', protocol='smoke', vibrations=True, overrides={'parameters': own}
    )
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert outputs['barrier']['forward_barrier_ev'] > 0.05
    assert outputs['vibrations']['initial']['n_imaginary_modes'] > 0
    assert 'hop' not in outputs
    band = Barrier('tiny', Call(('neb',), node), 'O-T', outputs['barrier']).band
    assert band.forward.barrier_ev is None
    assert 'the initial end is no minimum of this potential: it has' in band.forward.reason
    assert band.reverse.barrier_ev == pytest.approx(outputs['barrier']['reverse_barrier_ev'])
    assert 'no saddle point but the highest image' in band.reverse.reason


@pytest.mark.slow
def test_jobs_that_are_killed_are_run_once_more(codes, host, tiny_potential, tmp_path):
    """Each job of a barrier is killed at its first start: the search, and the vibrations at three points."""
    first = f'mkdir {tmp_path}/$(sha256sum < input.json | cut -c1-16) && kill -9 $$'
    builder = BarrierWorkChain.get_builder_from_protocol(
        codes,
        tiny_potential,
        host,
        path='O-T',
        protocol='smoke',
        vibrations=True,
        options={'default': {'prepend_text': f'{first} || true'}},
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    jobs = [called for called in node.called if isinstance(called, orm.CalcJobNode)]
    labels = sorted(call_label(job) for job in jobs)
    names = ['neb', *(f'vibrations_{name}' for name in ('initial', 'saddle', 'final'))]
    assert labels == sorted([*names, *(f'{name}_repeated' for name in names)])
    assert all((job.exit_status in (0, 530)) == call_label(job).endswith('_repeated') for job in jobs)
    assert len(list(tmp_path.iterdir())) == 4
