"""Inputs that a diffusion run, a temperature series and a barrier refuse before anything runs."""

from __future__ import annotations

import numpy as np
import pytest
import structure_runs
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from ase import Atoms
from ase.build import bulk
from study_graph import Process
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.workflows.arrhenius import ArrheniusWorkChain
from aiida_mghdiff.workflows.diffusion import DiffusionWorkChain
from aiida_mghdiff.workflows.neb import BarrierWorkChain


@pytest.fixture
def build(generate_workchain, codes, tiny_potential, host):
    """Return a function that makes a diffusion run with some inputs changed."""

    def make(codes=codes, host=host, temperature_k=600.0, fit=None, **supercell):
        builder = DiffusionWorkChain.get_builder_from_protocol(
            codes,
            tiny_potential,
            host,
            temperature_k=temperature_k,
            protocol='smoke',
            overrides={'settings': {'supercell': supercell, 'fit': fit or {}}},
        )
        return generate_workchain(DiffusionWorkChain, builder._inputs(prune=True))

    return make


def test_plans_all_runs(build):
    process = build(tracer_count=2)
    process.setup()
    assert process.ctx.looks == [['nvt_0', 'nvt_1', 'nve_0', 'nve_1']]
    assert {'npt', 'nvt_0', 'nvt_1', 'nve_0', 'nve_1', 'supercell_0', 'supercell_1'} <= set(process.ctx.plan)


def test_refuses_what_cannot_run(build):
    with pytest.raises(ValueError, match='tracer_count = 0'):
        build(tracer_count=0)
    with pytest.raises(ValueError, match='temperature of at least 1 K'):
        build(temperature_k=0.5)
    with pytest.raises(ValueError, match=r'codes\.lammps or codes\.python'):
        build(codes={})
    with pytest.raises(ValueError, match='does not know C;'):
        build(tracer_element='C')


def test_incar_tags_are_for_vasp_alone(generate_workchain, codes, tiny_potential, host, tmp_path):
    """The user's tags, by ensemble, reach VASP's jobs; all other engines refuse them before anything runs."""

    def make(potential, **tags):
        builder = DiffusionWorkChain.get_builder_from_protocol(
            codes,
            potential,
            host,
            temperature_k=600.0,
            potcars=placeholder_potcars(['Mg', 'H']),
            protocol='smoke',
            overrides={'settings': {'nve': {'incar': tags}}},
        )
        process = generate_workchain(DiffusionWorkChain, builder._inputs(prune=True))
        process.setup()
        return process.ctx.plan

    plan = make(make_force_field(tmp_path), ncore=8)
    assert plan['nve_0']['incar'] == {'ncore': 8}
    assert 'incar' not in plan['npt'].get_dict()
    with pytest.raises(ValueError, match='settings: nve: incar: nsw cannot be given, because the job sets it'):
        make(make_force_field(tmp_path), nsw=8)
    with pytest.raises(
        ValueError, match='settings: nve: incar has tags for VASP, but VASP does not run this potential'
    ):
        make(tiny_potential, ncore=8)


#: Hosts without known sites, and the reason.
OTHER_HOSTS = {
    'fcc': (
        bulk('Pd', 'fcc', a=3.9, cubic=True).repeat(2),
        r'Pd \(host\) is fcc, which is not supported yet: interstitial sites and paths are known only for hcp hosts\.',
    ),
    'bcc': (bulk('V', 'bcc', a=3.03, cubic=True).repeat(3), r'V \(host\) is bcc, which is not supported yet'),
    'a vacancy': (bulk('Mg', 'hcp', a=3.2, c=5.19).repeat(3)[1:], 'host: the host of 53 atoms has .* without tracers'),
}


@pytest.mark.parametrize('kind', OTHER_HOSTS)
def test_refuses_a_host_without_known_sites(build, generate_workchain, codes, tiny_potential, kind):
    atoms, message = OTHER_HOSTS[kind]
    tiny_potential.base.attributes.set('elements', ['H', atoms.symbols[0]])
    host = orm.StructureData(ase=atoms)
    with pytest.raises(ValueError, match=message):
        build(host=host)
    builder = BarrierWorkChain.get_builder_from_protocol(codes, tiny_potential, host, path='O-T', protocol='smoke')
    with pytest.raises(ValueError, match=message):
        generate_workchain(BarrierWorkChain, builder._inputs(prune=True))


def test_all_reasons_are_given_at_once(generate_workchain, tiny_potential):
    host = orm.StructureData(ase=bulk('Pd', 'fcc', a=3.9, cubic=True))
    builder = DiffusionWorkChain.get_builder_from_protocol(
        {}, tiny_potential, host, temperature_k=600.0, protocol='smoke'
    )
    builder.temperature = 0.5
    with pytest.raises(ValueError, match='at least 1 K') as refusal:
        generate_workchain(DiffusionWorkChain, builder._inputs(prune=True))
    for words in ('Pd (host) is fcc', 'does not know Pd', 'needs codes.lammps or codes.python for MD'):
        assert words in str(refusal.value)


def test_refuses_tracers_for_which_there_is_no_room(build, host):
    with pytest.raises(
        ValueError, match='settings: supercell: 500 tracers are requested: the host has room for 1 to 48'
    ):
        build(tracer_count=500)
    with pytest.raises(ValueError, match=r'settings: supercell: the cell is .* Å thin'):
        build(tracer_count=1, minimum_distance=7.0)


def test_c_axis_is_a_cell_vector_along_c(build):
    """A turned host has another cell vector along c, and would mix D along a with D along c."""
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19).repeat(2)
    turned = orm.StructureData(
        ase=Atoms(
            'Mg16', scaled_positions=atoms.get_scaled_positions()[:, [2, 0, 1]], cell=atoms.cell[[2, 0, 1]], pbc=True
        )
    )
    with pytest.raises(ValueError, match=r'fit: c_axis = c, but .* not along its c axis; a is: set c_axis: a'):
        build(host=turned)
    build(host=turned, fit={'c_axis': 'a'})
    build(host=turned, fit={'c_axis': None})


@pytest.mark.parametrize(
    ('protocol', 'method'),
    [('paper', 'least-squares'), ('balanced', 'automatic'), ('demo', 'automatic'), ('smoke', 'least-squares')],
)
def test_method_of_each_protocol(protocol, method):
    """The demo's runs are too short for the automatic estimate, so its protocol chooses least squares."""
    assert DiffusionWorkChain.get_settings('mace', protocol)['fit']['method'] == method


PRECISE = {'target_relative_interval': 0.2, 'max_time_ps': 0.9}


@pytest.fixture
def precise(generate_workchain, codes, tiny_potential, host):
    """Return a function that makes a diffusion run with a target precision."""

    def make(run=generate_workchain, **settings):
        builder = DiffusionWorkChain.get_builder_from_protocol(
            codes, tiny_potential, host, temperature_k=600.0, protocol='smoke', overrides={'settings': settings}
        )
        return (
            run(DiffusionWorkChain, **builder._inputs(prune=True))
            if run is run_get_node
            else run(DiffusionWorkChain, builder._inputs(prune=True))
        )

    return make


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'target_relative_interval': 0.1}, 'give both or neither'),
        (PRECISE | {'target_relative_interval': 0.0}, 'target_relative_interval = 0.0'),
        (PRECISE | {'max_time_ps': 0.1}, r'first look takes 0\.2 ps'),
        ({'starts': {'count': 2}}, 'each NVT run starts 1 of the 2 replicas'),
        ({'independent_replicas': False}, 'each NVT run starts 2 of the 2 replicas'),
    ],
)
def test_precision_and_replicas_that_cannot_be(precise, settings, words):
    with pytest.raises(ValueError, match=words):
        precise(**settings)


def test_looks_go_on_until_the_interval_is_narrow_or_the_time_over(precise):
    process = precise(**PRECISE)
    process.setup()
    assert process.should_look()
    assert len(process.ctx.looks) == 3
    for look, reached, goes_on in [(1, False, True), (1, True, False), (2, False, True), (3, False, False)]:
        process.ctx.look, process.ctx.analysis = look, {'diffusion': orm.Dict({'target_reached': reached})}
        assert process.should_look() == goes_on


def test_interval_is_of_all_replicas_and_all_their_runs(precise):
    """Three looks at runs made by hand: two replicas, four replicas, and the same four continued."""
    process = precise(**PRECISE | {'fit': {'fit_end_ps': 0.02}})
    process.setup()
    process.ctx.starts = [None] * 2
    for look, tracer_time in enumerate([0.2, 0.4, 0.8]):
        process.ctx.look, process.ctx.starts = look, [None] * (2 if look == 0 else 4)
        for name in process.names('nve'):
            process.ctx[name] = Process(orm.WorkChainNode, 'md', {}).close({'tracers__seg000': rattling(name, look)})
        assert process.inspect_nve() is None
        results = process.ctx.analysis['diffusion'].get_dict()
        assert (results['n_replicas'], results['target_reached']) == (len(process.ctx.starts), False)
        assert results['total_time_ps'] == pytest.approx(tracer_time, rel=0.02)
        assert process.ctx.look == look + 1
    assert sorted(process.ctx.segments) == [f'r{replica}_s{part:03d}' for replica in range(4) for part in range(2)]
    assert not process.should_look()


def rattling(name, look):
    """Return the stored tracers of a run of 0.1 ps, a frame each fs; a continued run starts after the one before."""
    replica, goes_on = int(name.split('_')[1]), 'look' in name
    rng = np.random.default_rng(10 * replica + look)
    first, frames = (101, 100) if goes_on else (0, 101)
    positions = rng.normal(scale=0.1, size=(frames, 1, 3))
    return structure_runs.make_segment(positions, np.zeros((frames, 3)), 6.4 * np.eye(3), first_step=first).store()


@pytest.mark.slow
def test_replicas_are_added_and_go_on(precise):
    """Nothing diffuses within 0.1 ps, so all looks happen: 2 x 0.1, 4 x 0.1 and 4 x 0.2 ps."""
    outputs, node = precise(run_get_node, **PRECISE)
    assert node.is_finished_ok, node.exit_message
    results = outputs['diffusion'].get_dict()
    assert (results['n_replicas'], results['total_time_ps']) == (4, pytest.approx(0.8, rel=0.05))
    assert (results['looks'], results['target_reached'], results['reached_relative_interval']) == (3, False, None)
    children = {link.link_label for link in node.base.links.get_outgoing(link_type=LinkType.CALL_WORK).all()}
    runs = {'npt', *(f'{stage}{index}' for stage in ('nvt', 'nve') for index in range(4))}
    assert children == runs | {f'nve{index}look2' for index in range(4)}
    replica = node.base.links.get_outgoing(link_type=LinkType.CALL_WORK, link_label_filter='nve0%').all()
    steps = np.sort(np.concatenate([part.steps for run in replica for part in run.node.outputs.tracers.values()]))
    assert (steps[0], steps[-1]) == (0, 200)
    assert len(set(np.diff(steps))) == 1


@pytest.fixture
def analysed(build):
    """Return a function that analyses the structure of given replicas."""

    def make(replicas):
        process = build(host=structure_runs.make_host(1.01), tracer_count=3)
        process.setup()
        process.ctx.segments = {key: node for key, node in replicas.items() if '_s' in key}
        process.ctx.starts = [None] * (1 + max(int(key[1]) for key in replicas))
        for index in range(len(process.ctx.starts)):
            frames = {
                f'trajectory__{key}': node.store() for key, node in replicas.items() if key.startswith(f'r{index}_f')
            }
            process.ctx[f'nve_{index}'] = Process(orm.WorkChainNode, 'md', {}).close(frames)
        process.analyse_structure()
        return set(process.outputs), [log.message for log in orm.Log.collection.get_logs_for(process.node)]

    return make


def test_structure_is_analysed(analysed):
    outputs, messages = analysed(structure_runs.make_runs(replicas=2, frames=1000)[0])
    assert outputs == {'sites', 'rdf', 'pairs', 'density'}
    assert messages == []


def test_a_melt_loses_its_sites_alone(analysed):
    outputs, messages = analysed(structure_runs.make_runs(replicas=2, frames=1000, melted=True)[0])
    assert outputs == {'rdf', 'pairs'}
    (message,) = messages
    assert 'warning: no output sites' in message
    assert 'melted' in message


def test_runs_without_full_frames_lose_their_structure(analysed):
    nodes = structure_runs.make_runs(replicas=1, frames=500)[0]
    outputs, messages = analysed({key: node for key, node in nodes.items() if '_s' in key})
    assert outputs == set()
    assert all('no full frames' in message for message in messages)


@pytest.fixture
def change(generate_workchain, codes, tiny_potential, host):
    """Return a function that makes a diffusion run after a user changed its complete settings."""

    def make(*path, value=None):
        builder = DiffusionWorkChain.get_builder_from_protocol(
            codes, tiny_potential, host, temperature_k=600.0, protocol='smoke'
        )
        settings = builder.settings.get_dict()
        section = settings
        for key in path[:-1]:
            section = section[key]
        section.pop(path[-1], None)
        if value is not None:
            section[path[-1]] = value
        return generate_workchain(DiffusionWorkChain, builder._inputs(prune=True) | {'settings': orm.Dict(settings)})

    return make


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        (['fit'], None, r'settings lack fit: a protocol'),
        (['fit'], 1.0, r'settings\.fit = 1\.0 is not a dictionary'),
        (['fits'], {}, r'settings\.fits: no such key; did you mean fit\?'),
        (['supercell', 'tracer_count'], None, r'settings\.supercell lacks tracer_count'),
        (['volume', 'discard_fraction'], 1.5, r'settings\.volume: discard_fraction = 1\.5 is not a number between'),
        (['starts', 'count'], None, r'settings\.starts lack count'),
        (['npt', 'barostat_time_ps'], None, r'settings\.npt lacks barostat_time_ps'),
        (['nvt', 'friction_per_ps'], -1.0, r'settings\.nvt: friction_per_ps = -1\.0 is not a positive number'),
        (['nve', 'evaluator'], 'as-learned', r'settings: nve: evaluator = as-learned is for VASP'),
        (['nvt', 'steps'], 2, r'settings: nvt: 1 starts at least .* ps apart do not exist among 0 frames'),
        (['nve', 'steps'], 20, r'settings: nve: the fit window ends at .* ps, but the run has 0\.0. ps'),
        (['nve', 'tracer_stride'], 2000, r'settings: nve: the fit window ends at'),
        (['fit', 'fit_start_ps'], 50.0, r'settings: fit: fit_start_ps must be less than fit_end_ps'),
        (['fit', 'method'], 'gls', r'settings: fit: lag_ps is null, but the method gls needs a lag'),
    ],
)
def test_refuses_settings_that_would_end_the_run_later(change, path, value, message):
    """Refused are a wrong key, a wrong value, and a run too short for its analysis."""
    with pytest.raises(ValueError, match=message):
        change(*path, value=value)


@pytest.mark.parametrize(
    ('namespace', 'key', 'value', 'message'),
    [
        ('parameters', 'optimizer', 'newton', r"parameters: optimizer = 'newton' is not one of bfgs"),
        ('parameters', 'n_images', None, r'parameters lack n_images'),
        ('vibrations', 'displacement_angstrom', 0.0, r'vibrations: parameters: displacement_angstrom = 0\.0 is not'),
    ],
)
def test_barrier_refuses_parameters_of_its_jobs(
    generate_workchain, codes, tiny_potential, host, namespace, key, value, message
):
    builder = BarrierWorkChain.get_builder_from_protocol(
        codes, tiny_potential, host, path='O-T', protocol='smoke', vibrations=True
    )
    values = builder[namespace].get_dict()
    values.pop(key)
    values |= {} if value is None else {key: value}
    with pytest.raises(ValueError, match=message):
        generate_workchain(BarrierWorkChain, builder._inputs(prune=True) | {namespace: orm.Dict(values)})


def test_series_needs_two_temperatures(generate_workchain, codes, tiny_potential, host):
    builder = ArrheniusWorkChain.get_builder_from_protocol(
        codes, tiny_potential, host, temperatures_k=[600.0], protocol='smoke'
    )
    with pytest.raises(ValueError, match='at least two'):
        generate_workchain(ArrheniusWorkChain, builder._inputs(prune=True))


def test_barrier_refuses_a_path_that_hcp_does_not_have(generate_workchain, codes, tiny_potential, host):
    builder = BarrierWorkChain.get_builder_from_protocol(codes, tiny_potential, host, path='O-T', protocol='smoke')
    builder.path = {'tracer_element': 'H', 'path': 'O-X'}
    with pytest.raises(ValueError, match=r"path: path = 'O-X' is not one of O-O c, O-O ab, O-T, T-T \(did"):
        generate_workchain(BarrierWorkChain, builder._inputs(prune=True))


def test_barrier_continues_from_its_images(generate_workchain, generate_job_node, codes, tiny_potential, host):
    builder = BarrierWorkChain.get_builder_from_protocol(codes, tiny_potential, host, path='O-T', protocol='smoke')
    process = generate_workchain(BarrierWorkChain, builder._inputs(prune=True))
    process.setup()
    path = orm.TrajectoryData()
    cells = np.eye(3)[None]
    path.set_trajectory(symbols=['H'], positions=np.zeros((1, 1, 3)), cells=cells, pbc=[True] * 3)
    process.ctx.neb = generate_job_node('mghdiff.ase.neb', 400, {'path': path})
    assert process.inspect_neb() is None
    assert process.should_run_neb()
    assert process.ctx.inputs['restart'].uuid == path.uuid
    process.ctx.neb = generate_job_node('mghdiff.ase.neb', 510)
    assert process.inspect_neb().status == 632
