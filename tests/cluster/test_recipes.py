"""Recipes of the manual at small sizes, taken from their pages, through the daemon, SSH and Slurm."""

from __future__ import annotations

import pytest
from cluster import COMPUTERS, filled, page_blocks, submit_scripts
from training_inputs import make_dataset

MINUTES = 60.0
PLACEHOLDERS = {"'PBE', {'Mg': 'Mg_pv', 'H': 'H'}": "'mghdiff-standin', {'Mg': 'Mg_standin', 'H': 'H_standin'}"}


@pytest.fixture
def hydride(cluster):
    """Mg16H, stored."""
    from aiida import orm
    from standin_runs import hydride

    return orm.StructureData(ase=hydride()).store()


@pytest.fixture(scope='module')
def host(cluster):
    """Mg16, stored."""
    from aiida import orm
    from ase.build import bulk

    return orm.StructureData(ase=bulk('Mg', 'hcp', a=3.20, c=5.19).repeat(2)).store()


@pytest.fixture(scope='module')
def potential(cluster):
    """The tiny model, stored."""
    from aiida_mghdiff import PotentialData

    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    return PotentialData.from_file(cluster.home / 'tiny.model', **options).store()


def options_of_the_page():
    """Return the options of all kinds of jobs on the page on clusters, with two ranks for VASP."""
    (block,) = [text for text in page_blocks('cluster', 'python') if text.startswith('options = ')]
    ranks = {
        "{'num_machines': 4, 'num_mpiprocs_per_machine': 48}": "{'num_machines': 1, 'num_mpiprocs_per_machine': 2}"
    }
    return filled(block, ranks).removeprefix('options = ')


def failures(node, entry_point):
    """Return the exit statuses of all failed jobs of an entry point below a process."""
    jobs = [job for job in node.called_descendants if job.process_type == f'aiida.calculations:{entry_point}']
    return [job.exit_status for job in jobs if not job.is_finished_ok]


@pytest.mark.parametrize('is_killed', [False, True], ids=['undisturbed', 'killed'])
def test_learn(cluster, hydride, is_killed):
    """Learning on the fly, with the options of all kinds of jobs and two ranks of VASP; or a job is cancelled."""
    places = PLACEHOLDERS | {
        '1234': hydride.pk,
        "protocol='paper'": "protocol='smoke'",
        "{'default': {'resources': {'num_machines': 4, 'num_mpiprocs_per_machine': 48}}}": options_of_the_page(),
        'mycluster': 'mycluster-async' if is_killed else 'mycluster',
    }
    (pk,) = cluster.submit_page('learn', places)
    if is_killed:
        cluster.kill_a_job()
    node = cluster.wait(pk, 8 * MINUTES)
    assert len(failures(node, 'mghdiff.vasp.mlff')) == is_killed
    assert node.outputs.dataset.base.attributes.get('n_configurations') > 0
    for script in submit_scripts(node, 'mghdiff.vasp.mlff'):
        assert f"'srun' '-n' '2' '{cluster.home}/vasp_std'" in script
        assert {'#SBATCH --account=my_project', '#SBATCH --ntasks-per-node=2'} <= set(script.splitlines())


@pytest.mark.parametrize('computer', COMPUTERS)
def test_doctor(cluster, computer):
    """The command of the page, through SSH."""
    (line,) = [line for line in page_blocks('cluster', 'bash')[1].splitlines() if ' doctor ' in line]
    output = cluster.run(*filled(line, {'mycluster': computer}).split())
    assert f'python@{computer}' in output
    assert f'mghdiff-lmp@{computer}' in output
    assert 'mace-torch' in output


@pytest.fixture(scope='module')
def dataset(cluster, example_data):
    """The dataset of the page's second recipe; all recipes of the page run."""
    from aiida import orm

    from aiida_mghdiff import DatasetData
    from aiida_mghdiff.formats.extxyz import read_extxyz
    from aiida_mghdiff.formats.mlab import write_mlab

    labels = example_data / 'mgh_pbe.extxyz'
    write_mlab(cluster.here / 'ML_ABN', read_extxyz(labels).frames[:3])
    cluster.submit_page('data', {'/path/to/ML_ABN': cluster.here / 'ML_ABN', '/path/to/labels.extxyz': labels})
    found = orm.QueryBuilder().append(DatasetData).all(flat=True)
    return max(found, key=lambda node: node.base.attributes.get('n_configurations'))


def test_train(cluster, potential, dataset):
    """The training asks for a partition and a GPU, the evaluation for none, all jobs of the study for an account."""
    training, validation = make_dataset(4).store(), make_dataset(2, start=2).store()
    places = {
        '1300': dataset.pk,
        '1301': training.pk,
        '1302': validation.pk,
        '1303': validation.pk,
        '1400': potential.pk,
        'foundation.model': cluster.home / 'tiny.model',
        "dtype='float32'": "dtype='float64'",
        "protocol='balanced'": "protocol='smoke'",
        "'repeats': [4, 4, 4]": "'repeats': [2, 2, 2]",
        "'device': 'cuda'": "'device': 'cpu', 'default_dtype': 'float64'",
    }
    train, evaluate, study = cluster.submit_page('train', places)
    node = cluster.wait(train, 4 * MINUTES)
    assert node.outputs.potential.base.attributes.get('origin') == 'fine-tuned'
    (script,) = submit_scripts(node, 'mghdiff.mace.train')
    assert {'#SBATCH --partition=gpu', '#SBATCH --gpus=1'} <= set(script.splitlines())
    evaluation = cluster.wait(evaluate, 2 * MINUTES)
    assert 'predictions' in evaluation.outputs
    (script,) = submit_scripts(evaluation, 'mghdiff.evaluate')
    assert '--partition' not in script
    study = cluster.wait(study, 15 * MINUTES)
    assert set(study.outputs.diffusion) == {'best_mace_h1'}
    for script in submit_scripts(study, 'mghdiff.mace.train'):
        assert {'#SBATCH --partition=gpu', '#SBATCH --account=my_project'} <= set(script.splitlines())
    assert '#SBATCH --account=my_project' in submit_scripts(study, 'mghdiff.lammps.md')[0]


def small_series(cluster):
    """Replacements that make a page's series of temperatures small."""
    return {
        'my.model': cluster.home / 'tiny.model',
        "'repeats': [4, 4, 4]": "'repeats': [2, 2, 2]",
        "protocol='balanced'": "protocol='smoke'",
        '86400': '900',
    }


def test_cluster(cluster):
    """D at two temperatures, with the account for all jobs and the partition of MD."""
    (pk,) = cluster.submit_page('cluster', small_series(cluster), only=1)
    node = cluster.wait(pk, 10 * MINUTES)
    assert set(node.outputs.diffusion) == {'t600k', 't800k'}  # runs this short have no Arrhenius fit
    expected = {'#SBATCH --partition=long', '#SBATCH --account=my_project', '#SBATCH --time=00:15:00'}
    for script in submit_scripts(node, 'mghdiff.lammps.md'):
        assert expected <= set(script.splitlines())


def test_readme_with_a_killed_job(cluster):
    """A job of MD is cancelled; the workflow runs this part once more."""
    (pk,) = cluster.submit_page('../../README', small_series(cluster))
    cluster.kill_a_job()
    node = cluster.wait(pk, 10 * MINUTES)
    assert set(node.outputs.diffusion) == {'t600k', 't800k'}
    assert len(failures(node, 'mghdiff.lammps.md')) == 1


@pytest.fixture(scope='module')
def diffusion(cluster, potential, host):
    """The finished recipe of the page on diffusion."""
    times = {'24000.0': '0.4', "{'lag_ps': 20.0}": "{'lag_ps': 0.01}"}
    smoke = {'temperature_k=480.0,': "temperature_k=480.0, protocol='smoke',"}
    (pk,) = cluster.submit_page('diffusion', {'1234': potential.pk, '1250': host.pk} | times | smoke)
    return cluster.wait(pk, 10 * MINUTES)


def test_diffusion(diffusion):
    """No run this short reaches the target, so all the time is used."""
    assert diffusion.outputs.diffusion['target_reached'] is False
    assert diffusion.outputs.diffusion['n_replicas'] == 4


def test_validate(cluster, potential, diffusion):
    runs = {'2100': diffusion.pk, '2300': diffusion.pk, '1234': potential.pk, '1250': potential.pk}
    here = {"protocol='paper'": "protocol='smoke'", 'python@mghdiff-localhost': 'python@mycluster'}
    (pk,) = cluster.submit_page('validate', PLACEHOLDERS | runs | here)
    metrics = cluster.wait(pk, 8 * MINUTES).outputs.metrics
    assert set(metrics) == {'mace_ft', 'chgnet_ft'}
    assert metrics['mace_ft']['force_rmse_mev_per_angstrom'] < 1.0  # the labels are from the same model


def test_barrier(cluster, host):
    """Both codes of VASP run with two ranks."""
    places = {'1234': host.pk, "protocol='paper'": "protocol='smoke'"}
    ranks = {"'num_machines': 2, 'num_mpiprocs_per_machine': 40": "'num_machines': 1, 'num_mpiprocs_per_machine': 2"}
    (pk,) = cluster.submit_page('barrier', PLACEHOLDERS | places | ranks, only=1)
    node = cluster.wait(pk, 8 * MINUTES)
    assert node.outputs.barrier['forward_barrier_ev'] > 0
    scripts = submit_scripts(node, 'mghdiff.vasp.neb') + submit_scripts(node, 'mghdiff.vasp.relax')
    assert all("'srun' '-n' '2'" in script for script in scripts)


def test_label(cluster):
    """One frame with GPAW and with VASP."""
    frames = make_dataset(1).store()
    places = {
        '1234': frames.pk,
        'gpaw@mghdiff-localhost': 'gpaw@mycluster',
        "protocol='pbe'": "protocol='smoke'",
        "protocol='paper'": "protocol='smoke'",
    }
    nodes = [cluster.wait(pk, 8 * MINUTES) for pk in cluster.submit_page('label', PLACEHOLDERS | places)]
    origins = [node.outputs.dataset.base.attributes.get('labelled_by') for node in nodes]
    assert origins[0] == 'gpaw'
    assert origins[1].startswith('standin:mace:')
