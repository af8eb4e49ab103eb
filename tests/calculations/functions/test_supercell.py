"""Supercells with tracers."""

import host_datasets
import numpy as np
import pytest
from aiida import orm

from aiida_mghdiff.calculations.functions.supercell import build_hcp, build_host, build_supercell
from aiida_mghdiff.calculations.validation import self_diffusion_message

HCP = {'element': 'Mg', 'a': 3.20, 'c': 5.19, 'repeats': [3, 3, 2]}
TRACERS = {'tracer_element': 'H', 'tracer_count': 4, 'seed': 1, 'minimum_distance': 2.6}


@pytest.fixture(scope='module')
def host():
    return build_hcp(orm.Dict(HCP))


def test_hcp_has_its_atoms_and_density(host):
    assert host.get_formula() == 'Mg36'
    assert host.get_cell_volume() == pytest.approx(18 * np.sqrt(3) / 2 * 3.2**2 * 5.19)
    assert host.pbc == (True, True, True)


def test_tracers_are_behind_an_unchanged_host(host):
    atoms = build_supercell(host, orm.Dict(TRACERS)).get_ase()
    assert atoms.get_chemical_symbols() == ['Mg'] * 36 + ['H'] * 4
    np.testing.assert_allclose(atoms.positions[:36], host.get_ase().positions)
    distances = atoms.get_all_distances(mic=True)
    assert distances[36:, 36:][np.triu_indices(4, 1)].min() >= 2.6
    assert distances[36:, :36].min() > 1.9


def test_seed_is_reproducible(host):
    first, again, other = (
        build_supercell(host, orm.Dict(TRACERS | {'seed': seed})).get_ase().positions for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ('changes', 'status', 'words'),
    [
        ({'tracer_count': 0}, 223, '0 tracers are requested'),
        ({'tracer_count': 109}, 223, 'room for 1 to 108'),
        ({'minimum_distance': 9.0}, 223, 'thin'),
        ({'tracer_count': 40, 'minimum_distance': 4.0}, 223, 'do not fit'),
        ({'tracer_element': 'Xx'}, 220, 'tracer_element'),
        ({'tracer_element': 'D'}, 220, "'D' is not a chemical symbol but an isotope of H: atoms here have the mass"),
        ({'tracer_element': 'Mg'}, 220, self_diffusion_message('Mg', ['Mg'])),
        ({'seed': None}, 220, 'seed'),
    ],
)
def test_what_cannot_be_placed(host, changes, status, words):
    _, node = build_supercell.run_get_node(host, orm.Dict(TRACERS | changes))
    assert node.exit_status == status
    assert words in node.exit_message
    assert list(node.outputs) == []


def test_host_with_tracers_is_refused(host):
    filled = build_supercell(host, orm.Dict(TRACERS))
    _, node = build_supercell.run_get_node(filled, orm.Dict(TRACERS))
    assert node.exit_status == 220
    assert 'without tracers' in node.exit_message


def test_missing_settings_of_a_crystal_are_named():
    _, node = build_hcp.run_get_node(orm.Dict({key: value for key, value in HCP.items() if key != 'c'}))
    assert node.exit_status == 220
    assert node.exit_message.endswith('settings lack c: give each of element, a, c, repeats.')


@pytest.mark.parametrize('changes', [{'repeats': [3, 3]}, {'repeats': [3, 3, 0]}, {'a': -1.0}, {'element': 'Q'}])
def test_crystals_that_make_no_sense(changes):
    _, node = build_hcp.run_get_node(orm.Dict(HCP | changes))
    assert node.exit_status == 220
    assert next(iter(changes)) in node.exit_message


def test_host_of_a_dataset(aiida_profile):
    dataset = host_datasets.make_dataset('Ti', host_datasets.TITANIUM, ['H', '', 'HH'])
    settings = {'element': 'Ti', 'tracer_element': 'H', 'repeats': [3, 3, 2]}
    host, node = build_host.run_get_node(dataset, orm.Dict(settings))
    assert host.get_formula() == 'Ti36'
    assert host.get_cell_volume() == pytest.approx(18 * np.sqrt(3) / 2 * 2.94**2 * 4.65, rel=1e-3)
    assert host.creator.inputs.dataset.uuid == dataset.uuid
    assert node.is_finished_ok


@pytest.mark.parametrize(
    ('element', 'status', 'words'), [('Pd', 222, 'is fcc, which is not supported yet'), ('Xx', 220, 'chemical symbol')]
)
def test_host_that_cannot_be_treated(aiida_profile, element, status, words):
    dataset = host_datasets.make_dataset('Pd', host_datasets.PALLADIUM, ['H'])
    settings = {'element': element, 'tracer_element': 'H', 'repeats': [2, 2, 2]}
    _, node = build_host.run_get_node(dataset, orm.Dict(settings))
    assert node.exit_status == status
    assert words in node.exit_message
