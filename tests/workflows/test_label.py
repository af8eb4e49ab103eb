"""Frames are labelled a few at a time; a failed frame is tried again and named, and nothing is lost."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mghdiff.calculations.evaluate import EvaluateCalculation
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.extxyz import read_extxyz
from aiida_mghdiff.formats.frames import arrays_from_frames
from aiida_mghdiff.workflows.label import LabelWorkChain, choose_mesh, duration

TITLES = ('paper', 'pbe', 'balanced', 'smoke')


def magnesium(shift=0.0):
    """Return a primitive cell of magnesium with made-up labels; the second atom is moved by `shift` (Å)."""
    atoms = bulk('Mg', 'hcp', a=3.2, c=5.19)
    atoms.positions[1, 0] += shift
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)))
    return atoms


def lone_hydrogen(length, energy):
    """Return a labelled hydrogen atom in a cubic box of `length` (Å)."""
    atoms = Atoms('H', cell=[length] * 3, pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((1, 3)))
    return atoms


@pytest.fixture
def dataset(aiida_profile):
    """Three frames, labelled by another potential."""
    frames = [magnesium(shift) for shift in (0.0, 0.05, 0.1)]
    names = {'groups': [0, 0, 1], 'group_names': ['a', 'b']}
    return DatasetData.from_frames(frames, labelled_by='mace', **names, allow_implausible=True)


@pytest.fixture
def build(codes, dataset):
    """Return a function that makes the inputs of a run with GPAW, with some changed."""

    own = {'gpaw': codes['python'], 'vasp': codes['vasp']}

    def run(frames=dataset, **changes):
        builder = LabelWorkChain.get_builder_from_protocol(own, frames, engine='gpaw', protocol='smoke')
        inputs = builder._inputs(prune=True) | changes
        return {key: value for key, value in inputs.items() if value is not None}

    return run


@pytest.fixture
def chain(generate_workchain, build):
    """A run after its setup; it launches nothing."""
    process = generate_workchain(LabelWorkChain, build())
    process.setup()
    return process


def finish(chain, key, node):
    """Let the child with this key end."""
    chain.ctx.children[key] = node


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'dataset': None}, 'either as dataset or as structures'),
        ({'retries': -1}, 'retries = -1: it must be at least 0'),
        ({'max_in_flight': 0}, 'max_in_flight = 0: it must be at least 1'),
        ({'max_in_flight': -2}, 'max_in_flight = -2'),
        ({'engine': 'qe'}, "engine 'qe' is not one of vasp, gpaw"),
        ({'engine': 'vasp'}, 'parameters lack'),
        ({'parameters': {}}, 'must be as in a protocol'),
        ({'codes': {}}, r'codes\.gpaw is missing: it labels the frames'),
    ],
)
def test_refuses(generate_workchain, build, changes, message):
    with pytest.raises(ValueError, match=message):
        generate_workchain(LabelWorkChain, build(**changes))


def test_refuses_frames_given_twice(generate_workchain, build):
    with pytest.raises(ValueError, match='either as dataset or as structures'):
        generate_workchain(LabelWorkChain, build(structures={'a': orm.StructureData(ase=magnesium())}))


def test_refuses_kpoints_without_a_mesh(generate_workchain, build):
    kpoints = orm.KpointsData()
    kpoints.set_kpoints([[0.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match='kpoints must be a mesh'):
        generate_workchain(LabelWorkChain, build(kpoints=kpoints))


def test_refuses_structures_that_are_not_periodic(generate_workchain, build):
    atoms = magnesium()
    atoms.pbc = (True, True, False)
    with pytest.raises(ValueError, match=r'structures\.slab is not periodic'):
        generate_workchain(LabelWorkChain, build(dataset=None, structures={'slab': orm.StructureData(ase=atoms)}))


def test_refuses_trajectories_without_cells(build):
    trajectory = orm.TrajectoryData()
    trajectory.set_trajectory(['Mg'], np.zeros((1, 1, 3)), pbc=(False,) * 3)
    with pytest.raises(ValueError, match=r'structures\.run is not periodic'):
        build({'run': trajectory})


@pytest.mark.parametrize(('symbols', 'weights'), [(('Mg', 'Al'), (0.5, 0.5)), (('Mg',), (0.5,))])
def test_refuses_sites_that_are_not_one_atom(build, symbols, weights):
    structure = orm.StructureData(ase=magnesium())
    structure.clear_kinds()
    structure.append_kind(orm.Kind(symbols=symbols, weights=weights, name='mixed'))
    structure.append_site(orm.Site(kind_name='mixed', position=(0.0, 0.0, 0.0)))
    with pytest.raises(ValueError, match=r'mixed has sites that are not exactly one atom \(an alloy, or a vacancy\)'):
        build({'mixed': structure})


def test_builder_refuses(codes, dataset):
    with pytest.raises(ValueError, match='there are no frames'):
        LabelWorkChain.get_builder_from_protocol(codes, {}, engine='gpaw')
    with pytest.raises(ValueError, match="engine 'qe' is not one of vasp, gpaw"):
        LabelWorkChain.get_builder_from_protocol(codes, dataset, engine='qe')
    with pytest.raises(ValueError, match="no protocol 'fast'"):
        LabelWorkChain.get_builder_from_protocol(codes, dataset, engine='gpaw', protocol='fast')


def test_overrides(codes, dataset):
    changes = {'parameters': {'encut': 700.0}, 'retry_parameters': {'nelm': 999}, 'kpoints': {'mesh': [9, 9, 5]}}
    overrides = {'vasp': changes, 'retries': 4}
    builder = LabelWorkChain.get_builder_from_protocol(
        codes, dataset, engine='vasp', overrides=overrides, options={'label': {'max_wallclock_seconds': 60}}
    )
    assert builder.parameters['encut'] == builder.retry_parameters['encut'] == 700.0
    assert (builder.parameters['nelm'], builder.retry_parameters['nelm']) == (100, 999)
    assert builder.kpoints.get_kpoints_mesh()[0] == [9, 9, 5]
    assert (builder.retries.value, builder.options.label['max_wallclock_seconds']) == (4, 60)


def test_refuses_elements_without_potcar(generate_workchain, build):
    parameters, retry = LabelWorkChain.get_parameters('vasp', 'smoke')
    with pytest.raises(ValueError, match='potcars has no POTCAR for Mg'):
        generate_workchain(LabelWorkChain, build(engine='vasp', parameters=parameters, retry_parameters=retry))


# ---- protocols and the estimate ------------------------------------------------------------------------------------


def test_protocols(data_regression):
    assert set(LabelWorkChain.get_available_protocols()) == set(TITLES)
    data_regression.check({name: LabelWorkChain.get_parameters('vasp', name)[0] for name in TITLES})


@pytest.mark.parametrize('engine', ['vasp', 'gpaw'])
@pytest.mark.parametrize('protocol', TITLES)
def test_a_retry_changes_nothing_that_labels_depend_on(engine, protocol):
    first, again = LabelWorkChain.get_parameters(engine, protocol)
    if engine == 'gpaw':
        first, again = (values['calculator']['args'] for values in (first, again))
    assert {key for key in again if again[key] != first.get(key)} == (
        {'algo', 'nelm'} if engine == 'vasp' else {'maxiter', 'mixer'}
    )


def test_mesh():
    cell = np.array([[6.4, 0, 0], [-3.2, 6.4 * 3**0.5 / 2, 0], [0, 0, 10.38]])
    assert choose_mesh({'mesh': [4, 4, 3]}, cell[None]) == [4, 4, 3]
    by_spacing = {'mesh': None, 'spacing_per_angstrom': 0.29}
    assert choose_mesh(by_spacing, np.stack([cell, 1.02 * cell])) == [4, 4, 3]
    assert choose_mesh(by_spacing, 2 * cell[None]) == [2, 2, 2]
    with pytest.raises(ValueError, match='cells of different sizes'):
        choose_mesh(by_spacing, np.stack([cell, 2 * cell]))


def test_durations_in_words():
    assert [duration(seconds) for seconds in (8.5, 130, 7200, 3e5)] == ['8.5 s', '2.2 minutes', '2 hours', '3.5 days']


def test_refuses_frames_that_are_none(generate_workchain, build):
    atoms = magnesium()
    atoms.positions[1] = atoms.positions[0] + 0.1
    chain = generate_workchain(LabelWorkChain, build({'crash': orm.StructureData(ase=atoms)}))
    code = chain.setup()
    assert code.status == chain.exit_codes.ERROR_FRAMES_REFUSED.status
    assert 'crash, frame 0: atoms are less than 0.4 Å apart' in code.message


# ---- the course of a run -------------------------------------------------------------------------------------------


def test_says_what_is_ahead_before_the_first(chain):
    (record,) = orm.Log.collection.get_logs_for(chain.node)
    assert '3 single points with gpaw: 2 to 2 atoms, k-points 1x1x1, at most 2 at a time' in record.message
    assert not chain.node.called


def test_a_failed_frame_is_tried_again_as_often_as_asked(chain, generate_job_node):
    finish(chain, 'frame_000001', generate_job_node('mghdiff.gpaw.singlepoint', 430))
    chain.inspect()
    chain.inspect()
    assert list(chain.ctx.tasks) == ['frame_000000', 'frame_000001', 'frame_000002', 'frame_000001_retry_1']
    assert chain.ready() == ['frame_000001_retry_1', 'frame_000000', 'frame_000002']
    finish(chain, 'frame_000001_retry_1', generate_job_node('mghdiff.gpaw.singlepoint', 303))
    chain.inspect()
    assert len(chain.ctx.tasks) == 4


@pytest.mark.parametrize('status', [210, 212, 213, 215, 217])
def test_stops_launching_where_all_would_fail(chain, generate_job_node, status):
    finish(chain, 'frame_000000', generate_job_node('mghdiff.gpaw.singlepoint', status))
    chain.inspect()
    assert not chain.has_tasks()
    code = chain.results()
    assert code.status == chain.exit_codes.ERROR_NO_FRAME_LABELLED.status
    assert f'[{status}] as made), 1 (not tried), 2 (not tried)' in code.message
    assert 'dataset' not in chain.outputs
    assert chain.outputs['summary']['failed_frames'] == [0, 1, 2]


def test_stops_launching_where_there_is_no_hope(generate_workchain, build, generate_job_node):
    chain = generate_workchain(LabelWorkChain, build(DatasetData.from_frames([magnesium()] * 8), retries=0))
    chain.setup()
    for index in range(5):
        assert chain.has_tasks()
        finish(chain, f'frame_{index:06d}', generate_job_node('mghdiff.gpaw.singlepoint', 300))
        chain.inspect()
    assert not chain.has_tasks()
    assert 'the first 5 frames failed' in orm.Log.collection.get_logs_for(chain.node)[-1].message


def test_goes_on_where_others_have_labels(generate_workchain, build, generate_job_node):
    chain = generate_workchain(LabelWorkChain, build(DatasetData.from_frames([magnesium()] * 8), retries=0))
    chain.setup()
    for index, status in enumerate([0, 300, 300, 300, 300, 300]):
        finish(chain, f'frame_{index:06d}', generate_job_node('mghdiff.gpaw.singlepoint', status))
        chain.inspect()
    assert chain.ready() == ['frame_000006', 'frame_000007']


@pytest.mark.parametrize('status', [430, 431])
def test_the_others_are_given_where_some_failed(chain, dataset, generate_job_node, status):
    for index in (0, 2):
        outputs = {'dataset': dataset.select([index])}
        finish(chain, f'frame_{index:06d}', generate_job_node('mghdiff.gpaw.singlepoint', 0, outputs))
    for key in ('frame_000001', 'frame_000001_retry_1'):
        finish(chain, key, generate_job_node('mghdiff.gpaw.singlepoint', status))
        chain.inspect()
    code = chain.results()
    assert code.status == chain.exit_codes.ERROR_LABELS_FAILED.status
    assert code.message.startswith('Not all frames have a label: 1 of 3 lack one: 1 (')
    assert f'[{status}] as made' in code.message
    assert chain.outputs['dataset'].base.attributes.get('n_configurations') == 2
    assert chain.outputs['summary']['failed_frames'] == [1]


def test_isolated_atoms_that_contradict_each_other_are_named(generate_workchain, build, generate_job_node):
    frames = [magnesium(), *(lone_hydrogen(length, energy) for length, energy in ((10, -1.1), (12, -1.103)))]
    structures = {f's{index}': orm.StructureData(ase=atoms) for index, atoms in enumerate(frames)}
    chain = generate_workchain(LabelWorkChain, build(dataset=None, structures=structures))
    chain.setup()
    for index, atoms in enumerate(frames):
        label = DatasetData.from_arrays(arrays_from_frames([atoms]), energy_kind='free', labelled_by='gpaw')
        finish(chain, f'frame_{index:06d}', generate_job_node('mghdiff.gpaw.singlepoint', 0, {'dataset': label}))
    code = chain.results()
    assert code.status == chain.exit_codes.ERROR_LABELS_FAILED.status
    assert '1 of 3 lack one: 2 (an isolated H has -1.103 eV, but -1.1 eV before: keep one of the two)' in code.message
    assert chain.outputs['dataset'].isolated_atoms == {'H': -1.1}


# ---- with GPAW -----------------------------------------------------------------------------------------------------


def test_labels_with_gpaw(gpaw, build, dataset):
    """Two frames run at a time; the first attempts have too few steps, so every frame needs its second."""
    changes = {'gpaw': {'parameters': {'calculator': {'args': {'maxiter': 2}}}}}
    parameters, retry = LabelWorkChain.get_parameters('gpaw', 'smoke', changes)
    inputs = build(codes={'gpaw': gpaw}, parameters=parameters, retry_parameters=retry)
    outputs, node = run_get_node(LabelWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert outputs['summary']['failed_frames'] == []
    labelled = outputs['dataset']
    assert labelled.base.attributes.get('labelled_by') == 'gpaw'
    assert np.array_equal(labelled.get_array('positions'), dataset.get_array('positions'))
    assert labelled.get_array('groups').tolist() == [0, 0, 1]
    forces = labelled.get_array('forces').reshape(3, 2, 3)
    assert np.abs(forces[0]).max() < 0.05
    assert forces[2, 1, 0] < forces[1, 1, 0] - 0.01 < -0.02
    jobs = [child for child in node.called if isinstance(child, orm.CalcJobNode)]
    assert sorted(job.exit_status for job in jobs) == [0, 0, 0, 430, 430, 430]


#: In this small cell, half the steps lead to the same ground state (1e-7 meV/atom, 0.1 meV/Å).
QUICK_MIXER = {'mixer': {'backend': 'pulay', 'beta': 0.25, 'nmaxold': 5, 'weight': 1.0}}


@pytest.mark.slow
def test_reproduces_the_example_data(gpaw, example_data):
    """One frame of each composition, at the settings of the data."""
    content = read_extxyz(example_data / 'mgh_pbe.extxyz')
    formulas = [str(frame.symbols) for frame in content.frames]
    frames = [content.frames[formulas.index(formula)] for formula in sorted(set(formulas))]
    known = DatasetData.from_frames(frames, energy_kind='free', labelled_by='gpaw')
    builder = LabelWorkChain.get_builder_from_protocol(
        {'gpaw': gpaw},
        known,
        engine='gpaw',
        protocol='pbe',
        overrides={'gpaw': {'parameters': {'calculator': {'args': QUICK_MIXER}}}},
    )
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    differences = {name: outputs['dataset'].get_array(name) - known.get_array(name) for name in known.get_arraynames()}
    assert np.abs(differences['energies'] / known.get_array('natoms')).max() < 1e-3
    assert np.abs(differences['forces']).max() < 1e-2
    assert np.abs(differences['stresses']).max() < 1e-4


# ---- with the stand-in for VASP ------------------------------------------------------------------------------------


@pytest.fixture
def mixed_frames(aiida_profile, example_data):
    """Two frames with one and two H, with mixed elements."""
    frames = read_extxyz(example_data / 'mgh_pbe.extxyz').frames
    chosen = [next(frame for frame in frames if frame.symbols.count('H') == count) for count in (1, 2)]
    shuffled = []
    for frame in chosen:
        order = np.roll(np.arange(len(frame)), 5)
        atoms = frame[order]
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((len(atoms), 3)))
        shuffled.append(atoms)
    return DatasetData.from_frames(shuffled, labelled_by='none', allow_implausible=True)


@pytest.fixture
def build_vasp(aiida_code_installed, codes, mixed_frames, tiny_mace):
    """Return a function that makes the builder of a run with the stand-in, with some tags changed."""
    code = aiida_code_installed(
        label='standin',
        computer=codes['python'].computer,
        default_calc_job_plugin='mghdiff.vasp.singlepoint',
        filepath_executable=str(Path(sys.executable).with_name('mghdiff-vasp-standin')),
        prepend_text=f'export MGHDIFF_STANDIN_LABELS=mace:{tiny_mace}',
    )

    def run(**tags):
        return LabelWorkChain.get_builder_from_protocol(
            {'vasp': code},
            mixed_frames,
            engine='vasp',
            potcars=placeholder_potcars(['Mg', 'H']),
            protocol='smoke',
            overrides={'vasp': {'parameters': tags}, 'max_in_flight': 1},
        )

    return run


@pytest.mark.slow
def test_labels_with_the_stand_in(build_vasp, codes, mixed_frames, tiny_mace, tiny_potential):
    """The run uses VASP's files; the dataset names the stand-in and has the labeller's labels for each atom."""
    outputs, node = run_get_node(build_vasp())
    assert node.is_finished_ok, node.exit_message
    digest = hashlib.sha256(tiny_mace.read_bytes()).hexdigest()[:12]
    labelled = outputs['dataset']
    assert labelled.base.attributes.get('labelled_by') == f'standin:mace:{digest}'
    assert labelled.get_array('numbers').tolist() == mixed_frames.get_array('numbers').tolist()
    predictions, node = run_get_node(
        EvaluateCalculation,
        code=codes['python'],
        potential=tiny_potential,
        dataset=mixed_frames,
        parameters=orm.Dict({'dtype': 'float64', 'device': 'cpu'}),
    )
    assert node.is_finished_ok, node.exit_message
    for name, tolerance in (('energies', 1e-6), ('forces', 2e-6), ('stresses', 1e-7)):
        expected = predictions['predictions'].get_array(name)
        assert np.allclose(labelled.get_array(name), expected, rtol=0, atol=tolerance), name


def test_a_tag_that_the_stand_in_does_not_know(build_vasp):
    """The stand-in names the tag. All frames would fail alike, so nothing is tried again or launched."""
    outputs, node = run_get_node(build_vasp(lepsilon=True))
    assert node.exit_status == LabelWorkChain.exit_codes.ERROR_NO_FRAME_LABELLED.status
    assert '[213]' in node.exit_message
    assert 'LEPSILON' in node.exit_message
    assert '1 (not tried)' in node.exit_message
    assert 'dataset' not in outputs
    assert len([child for child in node.called if isinstance(child, orm.CalcJobNode)]) == 1
