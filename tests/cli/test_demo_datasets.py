"""The demo on a user's dataset takes its host and tracer, or refuses it before anything is stored."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import engine, orm
from aiida.orm import CalcFunctionNode, QueryBuilder
from click.testing import CliRunner
from host_datasets import MAGNESIUM, PALLADIUM, TITANIUM, ZIRCONIUM, make_frame, write_chgnet_labels, write_labels
from training_inputs import make_chgnet

from aiida_mghdiff.calculations.functions.dataset import EXTXYZ_SETTINGS
from aiida_mghdiff.cli import demo as module
from aiida_mghdiff.cli.demo import Choices, demo, find_or_submit
from aiida_mghdiff.cli.inputs import InputsError
from aiida_mghdiff.cli.option_names import READING
from aiida_mghdiff.data.dataset import DatasetData

COMMAND = Path(sys.executable).with_name('aiida-mghdiff')
REPOSITORY = Path(__file__).parents[2]

#: Prints the numbers of processes, datasets, structures, files and dictionaries in a profile.
COUNT = """
from aiida import load_profile, orm
from aiida_mghdiff.data.dataset import DatasetData
load_profile()
for cls in (orm.ProcessNode, DatasetData, orm.StructureData, orm.SinglefileData, orm.Dict):
    print(orm.QueryBuilder().append(cls, subclassing=cls is orm.ProcessNode).count())
"""


@pytest.fixture
def make_file(tmp_path):
    """Return a function that writes a dataset with one host and several sets of tracers."""

    def make(symbol, lattice, tracers, write=write_labels):
        frames = [make_frame(symbol, lattice, one, seed=seed) for seed, one in enumerate(tracers)]
        return write(tmp_path / 'mine.extxyz', frames)

    return make


@pytest.mark.usefixtures('daemon_environment')
def test_fcc_host_is_refused_in_one_sentence_and_nothing_is_stored(make_file, tmp_path):
    file, folder = make_file('Pd', PALLADIUM, ['', 'H', 'HH'] * 2, write_chgnet_labels), tmp_path / 'demo'
    assert 'labels=CHGNet-0.3.0' in file.read_text()
    environment = {key: value for key, value in os.environ.items() if key != 'AIIDA_PATH'}
    command = [COMMAND, 'demo', '--protocol', 'smoke', '--directory', folder, '--dataset', file]
    options = {'cwd': REPOSITORY, 'capture_output': True, 'text': True, 'check': False}
    result = subprocess.run(command, env=environment, **options)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        'Error: Pd, the host of the dataset, is fcc, which is not supported yet: interstitial sites and paths are '
        'known only for hcp hosts.'
    )
    assert 'Traceback' not in result.stderr
    assert 'Submitted' not in result.stdout
    count = subprocess.run([sys.executable, '-c', COUNT], env=environment | {'AIIDA_PATH': str(folder)}, **options)
    assert count.stdout.split() == ['0'] * 5, count.stderr


@pytest.fixture
def submit(aiida_profile_clean, codes, monkeypatch):
    """Return a function that asks for the smoke study of a file, and returns the builder to be submitted."""
    submitted = []

    def keep(builder):
        submitted.append(builder)
        return orm.WorkChainNode(process_type='aiida.workflows:mghdiff.study').store()

    monkeypatch.setattr(engine, 'submit', keep)
    monkeypatch.setattr(
        module, 'load_potentials', lambda _, elements, head: {'chgnet_mp': make_chgnet(sorted(elements))}
    )

    def ask(file, **options):
        find_or_submit(codes, Choices('smoke', file, **options))
        return submitted[-1]

    return ask


@pytest.mark.parametrize(
    ('symbol', 'lattice', 'tracer'), [('Ti', TITANIUM, 'H'), ('Zr', ZIRCONIUM, 'O'), ('Mg', MAGNESIUM, 'H')]
)
def test_an_hcp_host_is_the_host_of_the_study(submit, make_file, capsys, symbol, lattice, tracer):
    builder = submit(make_file(symbol, lattice, ['', tracer, 2 * tracer] * 14))
    assert builder.metadata.label == f'Diffusion of {tracer} in {symbol}, smoke'
    assert f': {tracer} in {symbol}; chgnet_mp; protocol smoke.' in capsys.readouterr().out
    for host in (builder.host, builder.neb_host):
        assert host.get_formula() == f'{symbol}16'
        lengths = np.linalg.norm(host.cell, axis=1) / 2
        np.testing.assert_allclose(lengths, [lattice['a'], lattice['a'], lattice['c']], atol=2e-3)
        assert host.creator.inputs.dataset.uuid == builder.dataset.uuid
    assert {path['tracer_element'] for path in builder.paths.values()} == {tracer}
    settings = [run['settings'].get_dict() for run in builder.diffusion.values()]
    assert {values['supercell']['tracer_element'] for values in settings} == {tracer}


def test_the_example_data_keep_their_host(submit, example_data):
    """The host has the lattice constants of the README; the demo's numbers rest on them."""
    builder = submit(example_data / 'mgh_pbe.extxyz')
    assert builder.metadata.label == 'Diffusion of H in Mg, smoke'
    for host in (builder.host, builder.neb_host):
        np.testing.assert_allclose(np.linalg.norm(host.cell, axis=1) / 2, [3.20, 3.20, 5.19])


def test_the_user_chooses_between_two_tracers(submit, make_file):
    file = make_file('Zr', ZIRCONIUM, ['', 'H', 'O', 'HO'] * 10)
    with pytest.raises(InputsError, match=r'mine\.extxyz may be about H in Zr or O in Zr: choose with --tracer\.'):
        submit(file)
    assert submit(file, tracer='O').metadata.label == 'Diffusion of O in Zr, smoke'


def test_a_pure_host_and_one_configuration_are_refused(submit, make_file):
    with pytest.raises(InputsError, match=r'has only Ti atoms, .* name it with --tracer\.'):
        submit(make_file('Ti', TITANIUM, [''] * 4))
    with pytest.raises(InputsError, match=r'training\.mace_tr has no configurations with H'):
        submit(make_file('Ti', TITANIUM, [''] * 4), tracer='H')
    with pytest.raises(InputsError, match=r'split: 3 sets need as many groups of frames, but the dataset has 2'):
        submit(make_file('Ti', TITANIUM, ['H', '']))
    with pytest.raises(
        InputsError, match=r'training\.chgnet_ft: .* batch_size = 4 is larger than the training set \(3\)'
    ):
        submit(make_file('Ti', TITANIUM, ['', 'H', 'HH'] * 4))
    with pytest.raises(InputsError, match=r'training\.chgnet_ft: .* larger than the training set \(1\)'):
        submit(make_file('Ti', TITANIUM, ['H']))
    nodes = [QueryBuilder().append(cls).count() for cls in (CalcFunctionNode, DatasetData, orm.StructureData)]
    assert nodes == [0, 0, 0]


def test_host_and_tracer_are_elements_of_a_dataset(tmp_path):
    def refuse(*options):
        result = CliRunner().invoke(demo, ['--directory', str(tmp_path / 'demo'), *options])
        assert result.exit_code == 1
        return result.output

    assert '--host chooses an element of a dataset, but --from otf studies H in Mg.' in refuse(
        '--from', 'otf', '--host', 'Ti'
    )
    file = tmp_path / 'mine.extxyz'
    file.touch()
    assert '--tracer Xy is not a chemical symbol: name an element' in refuse('--dataset', str(file), '--tracer', 'Xy')
    assert not (tmp_path / 'demo').exists()


def test_a_tracer_that_the_dataset_lacks(submit, make_file):
    with pytest.raises(InputsError) as refusal:
        submit(make_file('Ti', TITANIUM, ['', 'H', 'HH'] * 14), tracer='O')
    assert str(refusal.value) == (
        'mine.extxyz has no O: its elements are H, Ti. Choose the tracer among these with --tracer, or name the host '
        'of O with --host.'
    )


class TestKeysOfTheFile:
    """Keys of another program; messages name the options of the command line."""

    @pytest.fixture
    def file(self, make_file):
        path = make_file('Ti', TITANIUM, ['', 'H', 'HH'] * 14)
        path.write_text(path.read_text().replace('REF_', 'dft_'))
        return path

    def test_are_options(self, submit, file):
        keys = {f'{name}_key': f'dft_{name}' for name in ('energy', 'forces', 'stress')}
        with pytest.raises(InputsError, match=r"no energy: no key 'REF_energy' .*name its key"):
            submit(file)
        dataset = submit(file, reading=keys).dataset
        assert dataset.base.attributes.get('has_stress')
        assert dataset.creator.inputs.settings.get_dict() == {'labelled_by': 'unknown', **keys}
        assert submit(file, reading=keys).dataset.uuid == dataset.uuid

    def test_a_stress_under_another_key_is_told(self, submit, file, capsys):
        submit(file, reading={'energy_key': 'dft_energy', 'forces_key': 'dft_forces'})
        assert capsys.readouterr().err == (
            "Warning: no frame of mine.extxyz has 'REF_stress': stresses are not read. Name one of the keys that they "
            'have as --stress-key: dft_stress.\n'
        )

    def test_are_for_a_dataset(self, tmp_path):
        options = ['--directory', str(tmp_path / 'demo'), '--from', 'otf', '--energy-key', 'dft_energy']
        result = CliRunner().invoke(demo, options)
        assert '--energy-key names a key of a dataset, but a study --from otf reads no dataset.' in result.output

    def test_every_setting_of_the_reader_is_an_option_or_a_fact_of_the_file(self):
        options = {option for parameter in demo.params for option in parameter.opts}
        assert set(READING.values()) <= options
        assert set(READING) == set(EXTXYZ_SETTINGS) - {'labelled_by', 'energy_kind'}


def test_messages_name_options(submit, make_file):
    file = make_file('Ti', TITANIUM, ['', 'H', 'HH'] * 14)
    lines = file.read_text().splitlines()
    lines[2] = lines[2].rsplit(None, 1)[0] + ' 170.0'
    file.write_text('\n'.join(lines) + '\n')
    with pytest.raises(InputsError, match=r'to take all labels as they are, set --allow-implausible') as refusal:
        submit(file)
    assert 'allow_implausible' not in str(refusal.value)
    assert submit(file, reading={'allow_implausible': True}).dataset.get_array('forces').max() == 170.0
