"""The node classes: round trips, hashes, validation, queries."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from models import make_multihead_mace, write_sealed
from program_runs import chgnet_file

from aiida_mghdiff.calculations.functions.replicas import check_run
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.data.stored_keys import FORMER_KEYS, stored_value
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.formats.frames import arrays_from_frames
from aiida_mghdiff.formats.ml_ff import MlFfHeader, write_ml_ff


def make_frames(count=4, seed=1):
    """Return rattled hcp cells with made-up labels; every second one has an H."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        atoms = bulk('Mg', 'hcp', a=3.2, c=5.19)
        if index % 2:
            atoms.append('H')
            atoms.positions[-1] = (0.0, 0.0, 2.6)
        atoms.rattle(0.05, rng=rng)
        results = {'energy': rng.normal(), 'forces': rng.normal(size=(len(atoms), 3))}
        results['stress'] = rng.normal(scale=0.05, size=6)
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


def make_state(**kwargs):
    """Return a state of two atoms."""
    arguments = {'numbers': [12, 1], 'cell': np.eye(3) * 5, 'positions': np.ones((2, 3)), 'velocities': np.ones((2, 3))}
    return MdStateData.from_arrays(**{**arguments, 'step': 3, **kwargs})


def make_tracers(**kwargs):
    """Return a trajectory of ten frames of two tracers."""
    arguments = {
        'tracer_positions': np.arange(60.0).reshape(10, 2, 3),
        'host_centre': np.zeros((10, 3)),
        'cell': np.eye(3) * 5,
        'first_step': 20,
        'stride': 10,
        'time_step_fs': 0.5,
        'tracer_element': 'H',
        'host_elements': ['Mg'],
        'ensemble': 'nve',
        'mean_temperature_k': 300.0,
    }
    return TracerTrajectoryData.from_arrays(**{**arguments, **kwargs})


def test_dataset_round_trip():
    frames = make_frames()
    node = DatasetData.from_frames(frames, labelled_by='gpaw', groups=[0, 0, 1, 1], group_names=['a', 'b']).store()
    loaded = orm.load_node(node.pk)
    for before, after in zip(frames, loaded.get_frames(), strict=True):
        assert after.get_potential_energy() == before.get_potential_energy()
        np.testing.assert_array_equal(after.get_forces(), before.get_forces())
        np.testing.assert_array_equal(after.get_stress(), before.get_stress())
        np.testing.assert_array_equal(after.positions, before.positions)
    assert loaded.base.attributes.get('formulas') == {'HMg2': 2, 'Mg2': 2}
    query = orm.QueryBuilder().append(DatasetData, filters={'attributes.labelled_by': 'gpaw', 'id': node.pk})
    assert query.count() == 1


def test_dataset_select_keeps_order_and_groups():
    node = DatasetData.from_frames(make_frames(), groups=[0, 0, 1, 1], group_names=['a', 'b'])
    selected = node.select([3, 0])
    assert [len(atoms) for atoms in selected.get_frames()] == [3, 2]
    assert selected.get_array('groups').tolist() == [1, 0]
    with pytest.raises(ValueError, match='index to select'):
        node.select([4])


def test_dataset_refuses_bad_labels():
    frames = make_frames()
    frames[2].calc.results['energy'] = np.nan
    with pytest.raises(ValueError, match=r'frame 2.*energy'):
        DatasetData.from_frames(frames)
    frames = make_frames()
    del frames[1].calc.results['forces']
    with pytest.raises(ValueError, match=r'frame 1.*forces'):
        DatasetData.from_frames(frames)
    frames = make_frames()
    frames[3].calc.results['forces'][1, 2] = -150.0
    with pytest.raises(ValueError, match=r'frame 3: the force on atom 1 \(Mg\) is 150 eV/Å.*allow_implausible\.'):
        DatasetData.from_frames(frames)
    assert DatasetData.from_frames(frames, allow_implausible=True).get_array('forces').min() == -150
    with pytest.raises(ValueError, match='energy_kind'):
        DatasetData.from_frames(make_frames(), energy_kind='total')
    with pytest.raises(ValueError, match='group'):
        DatasetData.from_frames(make_frames(), groups=[0, 0, 1, 2], group_names=['a', 'b'])


def isolated(energy, symbol='H', **keywords):
    """Return a frame of an isolated atom; by default it is marked, and has neither cell nor forces."""
    atoms = Atoms(symbol, **keywords or {'info': {'config_type': 'IsolatedAtom'}})
    atoms.calc = SinglePointCalculator(atoms, energy=energy, free_energy=None if energy is None else energy - 0.1)
    return atoms


@pytest.mark.parametrize(('kind', 'energy'), [('free', -1.1), ('sigma0', -1.0)])
@pytest.mark.parametrize('keywords', [{}, {'pbc': False}, {'pbc': True, 'cell': [12, 12, 12]}])
def test_isolated_atoms_are_no_configurations(keywords, kind, energy):
    """They do not enter a dataset's frames and groups."""
    frames, names = make_frames(), {'groups': [1, 0, 0, 1, 1], 'group_names': ['a', 'b'], 'energy_kind': kind}
    node = DatasetData.from_frames([isolated(-1.0, **keywords), *frames], **names, isolated_atoms={'Mg': -0.2})
    plain = DatasetData.from_frames(frames, **names | {'groups': [0, 0, 1, 1]})
    assert node.isolated_atoms == {'H': pytest.approx(energy), 'Mg': -0.2}
    for name, array in plain.get_arrays().items():
        np.testing.assert_array_equal(node.get_array(name), array)


def test_isolated_atoms_that_cannot_be_used_are_refused():
    frames = make_frames()
    with pytest.raises(ValueError, match='all frames are isolated atoms'):
        DatasetData.from_frames([isolated(-1.0)])
    with pytest.raises(ValueError, match='frame 4: an isolated atom without an energy'):
        DatasetData.from_frames([*frames, isolated(None)])
    with pytest.raises(ValueError, match=r'frames: an isolated H has -1\.1 eV, but -3\.0 eV before'):
        DatasetData.from_frames([*frames, isolated(-1.0)], isolated_atoms={'H': -3.0})
    with pytest.raises(ValueError, match='frame 1: no energy'):
        DatasetData.from_frames([isolated(-1.0), Atoms('H2', cell=[3, 3, 3], pbc=True)])
    frames[2].calc.results['forces'][0, 0] = 150
    with pytest.raises(ValueError, match='frame 3: '):
        DatasetData.from_frames([isolated(-1.0), *frames])


@pytest.mark.parametrize('labelled_by', [None, 3, '', ' '])
def test_labels_without_an_origin_are_refused(labelled_by):
    with pytest.raises(ValueError, match=r'labelled_by of a dataset is .*: name the origin of the labels'):
        DatasetData.from_frames(make_frames(), labelled_by=labelled_by)


@pytest.mark.parametrize(
    ('energies', 'words'),
    [
        ({'Xx': -1.0}, "'Xx' is no element"),
        ({'X': -1.0}, "'X' is no element"),
        ({1: -1.0}, '1 is no element'),
        ({'H': np.nan}, 'an isolated H has nan: give a finite energy'),
        ({'H': -np.inf}, 'an isolated H has -inf'),
        ({'H': '-1.0'}, "an isolated H has '-1.0'"),
        ({'H': None}, 'an isolated H has None'),
        ({'H': True}, 'an isolated H has True'),
    ],
)
def test_isolated_atoms_that_a_user_gives_are_elements_with_energies(energies, words):
    with pytest.raises(ValueError, match=f'isolated_atoms: {words}'):
        DatasetData.from_frames(make_frames(), isolated_atoms=energies)


def test_frames_may_come_from_a_generator():
    node = DatasetData.from_frames(atoms for atoms in [*make_frames(), isolated(-1.0)])
    assert node.base.attributes.get('n_configurations') == 4
    with pytest.raises(ValueError, match='no frames: a dataset needs at least one'):
        DatasetData.from_frames(iter([]))


@pytest.mark.parametrize(
    ('frames', 'options', 'words'),
    [
        (make_frames()[0], {}, r'a list of ase\.Atoms, not Atoms'),
        ([*make_frames(), 'POSCAR'], {}, r'a list of ase\.Atoms, not str'),
        (make_frames(), {'groups': [0, 0, 0], 'group_names': ['a']}, '4 whole numbers, one for each frame'),
        (make_frames(), {'groups': [0, 0, 0, 0.5], 'group_names': ['a']}, '4 whole numbers, one for each frame'),
    ],
)
def test_what_is_no_list_of_frames_is_refused(frames, options, words):
    with pytest.raises(ValueError, match=words):
        DatasetData.from_frames(frames, **options)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'energies': None}, 'arrays of a dataset lack energies'),
        ({'step': np.zeros(4)}, 'arrays of a dataset have step: known are'),
        ({'natoms': np.array([2, 3, 2, 0])}, 'natoms of a dataset must be positive, and sum to the length of numbers'),
        ({'natoms': np.array([2, 3, 2, 4])}, 'natoms of a dataset must be positive, and sum to the length of numbers'),
    ],
)
def test_arrays_that_are_no_dataset_are_refused(changes, words):
    arrays = DatasetData.from_frames(make_frames()).get_arrays() | changes
    arrays = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(ValueError, match=words):
        DatasetData.from_arrays(arrays, energy_kind='free', labelled_by='gpaw')


def with_lone_atom(energy=-1.0, count=1, **origin):
    """Return a dataset of arrays: crystals, then some atoms in a large box."""
    frames = make_frames(2)
    for _ in range(count):
        frames.append(Atoms('H', cell=[12, 12, 12], pbc=True))
        frames[-1].calc = SinglePointCalculator(frames[-1], energy=energy, forces=np.zeros((1, 3)))
    arrays = arrays_from_frames(frames) | {name: np.array(values) for name, values in origin.items()}
    return DatasetData.from_arrays(arrays, energy_kind='free', labelled_by='gpaw')


def test_isolated_atoms_among_arrays_are_no_configurations():
    node = with_lone_atom(count=2, steps=[4, 5, 6, 7])
    assert node.isolated_atoms == {'H': -1.0}
    assert node.base.attributes.get('formulas') == {'HMg2': 1, 'Mg2': 1}
    assert node.get_array('steps').tolist() == [4, 5]


def test_isolated_atoms_that_did_not_converge_give_no_energy():
    node = with_lone_atom(converged=[1, 1, 0])
    assert (node.isolated_atoms, node.base.attributes.get('n_configurations')) == ({}, 3)
    assert not node.are_converged[2]


def test_isolated_atoms_alone_are_configurations():
    """Such a dataset is the result of a single point."""
    frames = [Atoms(symbol, cell=[12, 12, 12], pbc=True) for symbol in ('H', 'Mg')]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((1, 3)))
    node = DatasetData.from_arrays(arrays_from_frames(frames), energy_kind='free', labelled_by='gpaw')
    assert (node.isolated_atoms, node.get_formulas()) == ({}, ['H', 'Mg'])


def test_dataset_keeps_where_its_configurations_are_from():
    arrays = DatasetData.from_frames(make_frames(3)).get_arrays()
    origin = {'steps': [4, -1, 9], 'temperatures_k': [300.0, np.nan, 310.0], 'learned': [True, True, False]}
    origin |= {'stages': [0, 0, 1], 'converged': [1, -1, 0]}
    options = {'energy_kind': 'free', 'labelled_by': 'vasp', 'stage_names': ['heating', 'hold']}
    dataset = DatasetData.from_arrays(arrays | origin, **options).select([2, 1])
    names = dataset.base.attributes.get('stage_names')
    assert [names[index] for index in dataset.get_array('stages')] == ['hold', 'heating']
    assert dataset.get_array('converged').tolist() == [0, -1]
    assert dataset.get_array('steps').tolist() == [9, -1]
    assert np.array_equal(dataset.get_array('temperatures_k'), [310.0, np.nan], equal_nan=True)
    assert dataset.get_array('learned').tolist() == [0, 1]
    with pytest.raises(ValueError, match='steps has shape'):
        DatasetData.from_arrays(arrays | origin | {'steps': [1]}, **options)
    with pytest.raises(ValueError, match='stages of a dataset must be indices into stage_names'):
        DatasetData.from_arrays(arrays | origin | {'stages': [0, 0, 2]}, **options)
    with pytest.raises(ValueError, match='stages and stage_names of a dataset go together'):
        DatasetData.from_arrays(arrays, **options)


def test_equal_content_hashes_equal(tmp_path):
    for name in ('one.model', 'two.model'):
        write_sealed(tmp_path / name)
    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    pairs = [
        [DatasetData.from_frames(make_frames()) for _ in range(2)],
        [PotentialData.from_file(tmp_path / name, **options) for name in ('one.model', 'two.model')],
        [make_state(), make_state(velocities=np.ones((3, 2)).T)],
        [make_tracers(), make_tracers(host_centre=np.zeros((10, 3), dtype='>f8'))],
    ]
    for first, second in pairs:
        assert first.store().base.caching.get_hash() == second.store().base.caching.get_hash()
    assert make_state(step=4).store().base.caching.get_hash() != pairs[2][0].base.caching.get_hash()


def test_potential_attributes_and_refusals(tmp_path):
    path = tmp_path / 'some.model'
    write_sealed(path)
    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    node = PotentialData.from_file(path, **options).store()
    assert (node.architecture, node.origin, node.elements) == ('mace', 'scratch', ['H', 'Mg'])
    for key, value in {'architecture': 'gap', 'origin': 'guess', 'elements': ['Xx'], 'dtype': 'int'}.items():
        with pytest.raises(ValueError, match=key):
            PotentialData.from_file(path, **{**options, key: value})
    path.write_bytes(b'')
    with pytest.raises(ValueError, match='empty'):
        PotentialData.from_file(path, **options)


@pytest.mark.parametrize('content', [b'this is no model', b'PK', b'#!/bin/sh\nexit\n'])
@pytest.mark.parametrize(('architecture', 'title'), [('mace', 'MACE'), ('chgnet', 'CHGNet')])
def test_a_file_that_is_plainly_no_model_is_refused(tmp_path, content, architecture, title):
    path = tmp_path / 'notes.txt'
    path.write_bytes(content)
    options = {'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float32'}
    with pytest.raises(ValueError, match=rf'notes\.txt is not a model of {title}, because torch did not write it'):
        PotentialData.from_file(path, architecture=architecture, **options)


def test_a_model_of_another_architecture_is_refused(tiny_mace):
    options = {'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float32'}
    with pytest.raises(ValueError, match=r'tiny\.model is a MACE model: set architecture to mace'):
        PotentialData.from_file(tiny_mace, architecture='chgnet', **options)
    with pytest.raises(ValueError, match=r'is a dictionary, such as the weights of CHGNet, not a MACE model'):
        PotentialData.from_file(chgnet_file(), architecture='mace', **options)
    assert PotentialData.from_file(chgnet_file(), architecture='chgnet', **options).heads is None


def test_files_of_old_torch_are_models(tiny_mace, tmp_path):
    import torch

    path = tmp_path / 'old.model'
    torch.save(torch.load(tiny_mace, weights_only=False), path, _use_new_zipfile_serialization=False)
    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    assert PotentialData.from_file(path, **options).heads == ['Default']


def test_force_field_of_vasp_is_what_its_header_says(tmp_path):
    path = tmp_path / 'ML_FFN'
    write_ml_ff(path, MlFfHeader('0.2.1', ['Mg', 'H'], False, standin='chgnet-r2scan'), b'content')
    options = {'architecture': 'vasp-mlff', 'origin': 'on-the-fly', 'dtype': 'float64'}
    attributes = PotentialData.from_file(path, elements=['H', 'Mg'], **options).base.attributes
    assert (attributes.get('version'), attributes.get('fast')) == ('0.2.1', False)
    assert attributes.get('labelled_by') == 'standin:chgnet-r2scan'
    with pytest.raises(ValueError, match='is of Mg, H, not of Mg'):
        PotentialData.from_file(path, elements=['Mg'], **options)
    path.write_bytes(b'old binary')
    with pytest.raises(ValueError, match='before 6'):
        PotentialData.from_file(path, elements=['Mg', 'H'], **options)


def test_state_round_trip_is_exact():
    positions = np.random.default_rng(2).normal(size=(2, 3)) * 100
    node = make_state(positions=positions, restart=b'\x00\x01', engine='lammps', ensemble='npt').store()
    atoms = node.get_atoms()
    np.testing.assert_array_equal(atoms.positions, positions)
    assert node.has_restart_file
    assert node.get_content()['positions'] == positions.tolist()
    assert not make_state().has_restart_file


def test_state_refuses_bad_arrays():
    with pytest.raises(ValueError, match='velocities'):
        make_state(velocities=np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match='shape'):
        make_state(positions=np.ones((3, 3)))
    with pytest.raises(ValueError, match='step'):
        make_state(step=-1)


def test_tracers_times_and_refusals():
    node = make_tracers()
    np.testing.assert_allclose(node.times_ps[:2], [0.01, 0.015])
    assert node.get_array('tracer_positions').dtype == np.float32
    with pytest.raises(ValueError, match='either one cell'):
        make_tracers(cells=np.zeros((10, 3, 3)))
    with pytest.raises(ValueError, match='stride'):
        make_tracers(stride=0)
    with pytest.raises(ValueError, match='tracer_positions'):
        make_tracers(tracer_positions=np.full((10, 2, 3), np.inf))


def test_heads_of_a_potential_are_found(tmp_path, aiida_profile_clean):
    options = {'architecture': 'mace', 'origin': 'pretrained', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    tuned = make_multihead_mace(tmp_path / 'tuned.model', ['pt_head', 'Default'])
    node = PotentialData.from_file(tuned, **options).store()
    assert (node.head, node.heads) == ('Default', ['pt_head', 'Default'])
    named = PotentialData.from_file(tuned, head='pt_head', **options)
    assert (named.head, named.description_for_program['head']) == ('pt_head', 'pt_head')
    query = orm.QueryBuilder().append(PotentialData, filters={'attributes.heads': {'contains': ['pt_head']}})
    assert query.one()[0].uuid == node.uuid
    single = PotentialData.from_file(make_multihead_mace(tmp_path / 'one.model', ['surface']), **options)
    assert (single.head, single.heads) == ('surface', ['surface'])


def test_heads_that_do_not_fit_are_refused(tmp_path):
    options = {'architecture': 'mace', 'origin': 'pretrained', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    two = make_multihead_mace(tmp_path / 'two.model', ['A', 'B'])
    with pytest.raises(ValueError, match="the model has no head 'nosuch': its heads are A and B"):
        PotentialData.from_file(two, head='nosuch', **options)
    with pytest.raises(ValueError, match='the model has the heads A and B and none is named'):
        PotentialData.from_file(two, **options)
    with pytest.raises(ValueError, match="head is 'A', but only a mace potential has heads"):
        PotentialData.from_file(chgnet_file(), head='A', **{**options, 'architecture': 'chgnet'})


@pytest.mark.parametrize('given', [['Default'], ['B', 'A'], ['A'], []])
def test_other_heads_than_the_file_has_are_refused(tmp_path, given):
    options = {'architecture': 'mace', 'origin': 'pretrained', 'elements': ['Mg', 'H'], 'dtype': 'float64', 'head': 'A'}
    two = make_multihead_mace(tmp_path / 'two.model', ['A', 'B'])
    with pytest.raises(ValueError, match=rf'heads are {", ".join(given)}, but two\.model has A, B: leave heads out'):
        PotentialData.from_file(two, heads=given, **options)
    assert PotentialData.from_file(two, heads=('A', 'B'), **options).heads == ['A', 'B']
    with pytest.raises(ValueError, match=r"heads is \['A'\], but only a mace potential has heads: leave heads out"):
        PotentialData.from_file(chgnet_file(), heads=['A'], **options | {'head': None, 'architecture': 'chgnet'})


@pytest.mark.parametrize(('share', 'is_zip'), [(0.02, True), (0.5, True), (0.999, True), (0.02, False)])
def test_a_model_file_that_was_cut_is_refused(tiny_mace, tmp_path, share, is_zip):
    import torch

    path = tmp_path / 'cut.model'
    torch.save(torch.load(tiny_mace, weights_only=False), path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    with pytest.raises(
        ValueError, match=r'cut\.model: the model file is damaged \(it is cut off\): copy or save it again'
    ):
        PotentialData.from_file(path, **options)


def test_a_model_file_with_other_bytes_is_refused(tiny_mace, tmp_path):
    content = bytearray(tiny_mace.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / 'changed.model').write_bytes(content)
    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    with pytest.raises(
        ValueError, match=r'damaged \(its part \S+ does not fit its checksum, .*\): copy or save it again'
    ):
        PotentialData.from_file(tmp_path / 'changed.model', **options)


def test_a_file_that_tells_no_heads_is_left_to_the_jobs(tmp_path):
    path = write_sealed(tmp_path / 'damaged.model')
    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    node = PotentialData.from_file(path, head='A', **options)
    assert (node.head, node.heads) == ('A', None)


def test_a_potential_stored_before_heads_were_looked_for_stays_readable(tmp_path):
    path = tmp_path / 'some.model'
    write_sealed(path)
    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    node = PotentialData.from_file(path, **options)
    for name in ('head', 'heads'):
        node.base.attributes.delete(name)
    node = orm.load_node(node.store().pk)
    assert (node.head, node.heads, node.description_for_program['head']) == (None, None, None)


def test_keys_of_nodes_stored_by_earlier_versions_are_read():
    """Earlier versions stored ``labels`` for ``labelled_by`` and ``n_tracers`` for ``tracer_count``."""
    dataset, tracers = DatasetData.from_frames(make_frames(2), labelled_by='gpaw'), make_tracers(first_step=120)
    for node, key in ((dataset, 'labelled_by'), (tracers, 'tracer_count')):
        node.base.attributes.set(FORMER_KEYS[key][0], node.base.attributes.get(key))
        node.base.attributes.delete(key)
        node.store()
    assert (dataset.labelled_by, dataset.select([1]).labelled_by) == ('gpaw', 'gpaw')
    check_run(1, [make_tracers(), tracers])
    assert stored_value(orm.Dict({'labels': 'vasp'}).store(), 'labelled_by') == 'vasp'
    assert stored_value({'training_rmse_stress_kbar': 20.0}, 'training_rmse_stress_gpa') == 2.0
    assert stored_value({}, 'labelled_by') is None
