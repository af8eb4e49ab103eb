"""The demo at smoke size, interrupted once: daemon, engines, report, archive; then the content of the archive."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name('aiida-mghdiff')
#: Variables that point to folders of the user who runs the tests.
OWN_FOLDERS = ('AIIDA_PATH', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'MPLCONFIGDIR', 'TORCHINDUCTOR_CACHE_DIR')

#: Imports an archive into an empty profile; prints the nodes of all UUIDs in the results, and the origin of each D.
ASK = """
import json, sys
from pathlib import Path
from aiida_mghdiff.cli import environment

folder, archive, results = (Path(word) for word in sys.argv[1:4])
environment.make_profile(folder)
from aiida import orm
from aiida.tools.archive import import_archive

import_archive(archive)
from aiida_mghdiff.queries import lineage

rows = json.loads(results.read_text())
uuids = {row['uuid'] for group in rows.values() for row in group}
found = [lineage(orm.load_node(row['uuid'])) for row in rows['diffusion']]
print('ANSWER', json.dumps({
    'loadable': [orm.load_node(uuid).uuid for uuid in sorted(uuids)] == sorted(uuids),
    'raw': [[file.get_content() == Path(sys.argv[4]).read_text() for file in each.raw_files] for each in found],
    'potentials': [each.potentials[0].uuid for each in found],
    'datasets': [len(each.datasets) for each in found],
    'seeds': [len(each.seeds) for each in found],
    'versions': [each.versions for each in found],
}))
"""


#: Jobs of the newest study that were not taken from the cache.
COUNT_NEW_JOBS = """
from aiida import orm
studies = orm.QueryBuilder().append(orm.WorkChainNode, filters={'attributes.process_label': 'StudyWorkChain'}, tag='s')
newest = studies.order_by({'s': {'id': 'desc'}}).first(flat=True)
jobs = [node for node in newest.called_descendants if isinstance(node, orm.CalcJobNode)]
print(sum(not node.base.caching.is_created_from_cache for node in jobs) if jobs else 'no jobs')
"""

#: Prints the number of studies that the demo made.
COUNT_STUDIES = """
from aiida import orm
print(orm.QueryBuilder().append(orm.WorkChainNode, filters={'description': {'like': '%demo, key%'}}).count())
"""

#: Prints the output of `verdi calcjob inputcat` and `outputcat` for one job of each type.
CAT = """
import json
from aiida import orm
from aiida.cmdline.commands.cmd_calcjob import calcjob_inputcat, calcjob_outputcat
from click.testing import CliRunner

filters = {'description': {'like': '%demo, key%'}}
study = orm.QueryBuilder().append(orm.WorkChainNode, filters=filters).first(flat=True)
jobs = {node.process_label: node for node in study.called_descendants if isinstance(node, orm.CalcJobNode)}
commands = (calcjob_inputcat, calcjob_outputcat)
results = {label: [CliRunner().invoke(command, [str(node.pk)]) for command in commands] for label, node in jobs.items()}
print(json.dumps({label: [[each.exit_code, each.output] for each in both] for label, both in results.items()}))
"""

#: The study of the demo.
STUDY_PK = """
from aiida import orm
filters = {'attributes.process_label': 'StudyWorkChain'}
print(orm.QueryBuilder().append(orm.WorkChainNode, filters=filters, project='id').first(flat=True))
"""

#: Prints the data below the demo's study that are neither its inputs nor made by a process.
WITHOUT_ORIGIN = """
import json, sys
sys.path.append({helpers!r})
from aiida import orm
from provenance import nodes_without_origin
filters = {{'description': {{'like': '%demo, key%'}}}}
study = orm.QueryBuilder().append(orm.WorkChainNode, filters=filters).first(flat=True)
print(json.dumps([len(study.called_descendants), nodes_without_origin(study)]))
"""

#: Writes the demo's foundation model to a file, if the demo found one.
WRITE_FOUNDATION = """
from pathlib import Path
from aiida import orm
from aiida_mghdiff.data.potential import PotentialData
filters = {{'attributes.architecture': 'mace', 'attributes.origin': 'pretrained'}}
node = orm.QueryBuilder().append(PotentialData, filters=filters).first(flat=True)
if node is not None:
    Path('{model}').write_bytes(node.get_content(mode='rb'))
"""


def ask(folder: Path, script: str) -> str:
    """Run a few lines in the profile of a study and return the last line that they print."""
    environment = os.environ | {'AIIDA_PATH': str(folder)}
    command = [sys.executable, '-c', 'from aiida import load_profile\nload_profile()\n' + script]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return (process.stdout.strip().splitlines() or [''])[-1]


def demo_call(folder: Path, outside: Path) -> dict:
    """Return the arguments of `subprocess` that call the command as a user does, without AIIDA_PATH.

    :param outside: has the user's home and folder of temporary files.
    """
    environment = {key: value for key, value in os.environ.items() if key not in OWN_FOLDERS}
    environment |= {'HOME': str(outside / 'home'), 'TMPDIR': str(outside / 'tmp')}
    command = [COMMAND, 'demo', '--protocol', 'smoke', '--directory', folder]
    return {'args': command, 'cwd': REPOSITORY, 'env': environment, 'text': True}


def run_demo(folder: Path, outside: Path) -> subprocess.CompletedProcess:
    """Run the demo to its end."""
    return subprocess.run(**demo_call(folder, outside), capture_output=True, check=False)


def interrupt_demo(folder: Path, outside: Path) -> tuple[int, str]:
    """Start the demo, press Ctrl-C when its first job runs, and return exit status and output."""
    process = subprocess.Popen(
        **demo_call(folder, outside),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a terminal sends Ctrl-C to all processes of its session
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore it
    )
    while process.poll() is None and not list((folder / '.aiida' / 'scratch').rglob('output.txt')):
        time.sleep(0.5)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate()
    return process.returncode, output


def run_example(folder: Path, name: str, *options: str | Path) -> str:
    """Run an example script in the profile of a study and return its output."""
    environment = os.environ | {'AIIDA_PATH': str(folder)}
    command = [COMMAND.with_name('verdi'), 'run', f'examples/{name}.py', '--protocol', 'smoke', *options]
    process = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope='module')
def outside():
    """Folder with an empty home and an empty folder of temporary files; sockets need its short path."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ('home', 'tmp'):
            (folder / part).mkdir()
        yield folder


@pytest.fixture(scope='module')
def interrupted(daemon_environment, tmp_path_factory, outside) -> tuple[Path, int, str]:
    """Folder, exit status and output of a smoke study that was interrupted."""
    folder = tmp_path_factory.mktemp('study') / 'demo'
    return folder, *interrupt_demo(folder, outside)


@pytest.fixture(scope='module')
def demo(interrupted, outside) -> tuple[Path, str]:
    """Folder and output of the same study, started again and finished."""
    folder = interrupted[0]
    process = run_demo(folder, outside)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder, process.stdout


@pytest.fixture(scope='module')
def results(demo) -> dict:
    """Results of the study."""
    return json.loads((demo[0] / 'results.json').read_text())


def test_interrupted_it_goes_on_where_it_stopped(interrupted, demo):
    _, status, output = interrupted
    assert status == 1
    assert output.endswith('Call the same command to continue.\n')
    (study,) = re.findall(r'Submitted study ([0-9a-f-]{36})', output)
    assert f'Going on with study {study}.' in demo[1]
    assert 'Submitted' not in demo[1]
    assert ask(demo[0], COUNT_STUDIES) == '1'


def test_nothing_is_left_outside_of_the_folder(demo, outside):
    """Caches and sockets lie in the folder, too, though the demo was interrupted."""
    assert [str(path) for folder in outside.iterdir() for path in folder.rglob('*')] == []


def test_files_and_table(demo):
    folder, output = demo
    for name in ('results.json', 'report.html', 'study.aiida'):
        assert (folder / name).stat().st_size > 0
        assert str(folder / name) in output
    assert 'Diffusion coefficients' in output


def test_every_trained_and_given_potential_has_its_rows(results):
    labels = {row['label'] for row in results['potentials']}
    assert {'mace_tr', 'chgnet_mp', 'chgnet_ft'} <= labels
    assert {row['potential'] for row in results['rmse']} == labels
    paths = {(row['potential'], row['path']) for row in results['barriers']}
    assert paths == {(label, path) for label in labels for path in ('O->T', 'T->O')}


def test_diffusion_rows_are_physical(results):
    assert len(results['diffusion']) == 3
    for row in results['diffusion']:
        value, bound = row['diffusion_coefficient_m2_s'], row['upper_bound_m2_s']
        assert row['diffusing'] == (value is not None) == (bound is None)
        assert 0 < (value or bound) < 1e-6


def test_what_verdi_tells_of_the_study(demo):
    """Each child has a clear label; the report has a line for each launch and no noise.

    The line that the demo printed asks for the state.
    """
    environment = {key: value for key, value in os.environ.items() if key != 'AIIDA_PATH'}
    (line,) = re.findall('For more, call in another terminal: (.*)', demo[1])
    status, report = (
        subprocess.run(
            words, shell=True, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
        ).stdout
        for words in (line, line.replace('status -c', 'report'))
    )
    rows = status.splitlines()[1:]
    assert len(rows) > 50
    assert [row for row in rows if ' | ' not in row] == []
    for label in ('train_chgnet_ft', 'evaluate_chgnet_mp', 'barrier_mace_tr_o_t', 'nve0', 'seg000'):
        assert f' | {label}>' in status
    assert 'launched evaluate_chgnet_mp: EvaluateCalculation<' in report
    assert 'will not be cleaned' not in report


def test_every_node_is_an_input_of_the_study_or_made_by_a_process(demo):
    helpers = str(Path(__file__).parent / 'helpers')
    n_processes, without_origin = json.loads(ask(demo[0], WITHOUT_ORIGIN.format(helpers=helpers)))
    assert n_processes > 50
    assert without_origin == []


def test_dump_of_the_study(demo, tmp_path):
    """The dump has a folder for each child, by label, with the input and output files of each job."""
    pk, environment = ask(demo[0], STUDY_PK), os.environ | {'AIIDA_PATH': str(demo[0])}
    command = [COMMAND.with_name('verdi'), 'process', 'dump', '--path', tmp_path / 'dump', pk]
    subprocess.run(command, env=environment, capture_output=True, check=True)
    (evaluation,) = (tmp_path / 'dump').glob('*-evaluate_chgnet_mp-*')
    assert json.loads((evaluation / 'inputs' / 'input.json').read_text())['parameters']['dtype'] == 'float32'
    assert 'progress' in (evaluation / 'outputs' / 'output.txt').read_text()
    assert list((tmp_path / 'dump').glob('*-train_mace_tr-*/*/inputs/input.json'))


def test_inputcat_and_outputcat_of_each_type_of_job(demo):
    texts = json.loads(ask(demo[0], CAT))
    programs = {f'{name}Calculation' for name in ('MaceTrain', 'ChgnetTrain', 'Evaluate', 'AseNeb', 'AseMd')}
    assert set(texts) == programs | {'LammpsMdCalculation'}
    for label, ((input_status, input_text), (output_status, output_text)) in texts.items():
        assert (input_status, output_status) == (0, 0), label
        assert ('"parameters": {' if label in programs else 'pair_style') in input_text
        assert output_text.strip()


def test_a_finished_study_is_only_reported_again(demo, outside):
    process = run_demo(demo[0], outside)
    assert process.returncode == 0
    assert 'Report of study' in process.stdout
    assert 'Submitted' not in process.stdout


def test_archive_leads_from_any_d_back_to_everything(demo, results, tmp_path):
    folder = demo[0]
    raw = REPOSITORY / 'examples' / 'data' / 'mgh_pbe.extxyz'
    command = [sys.executable, '-c', ASK, tmp_path / 'empty', folder / 'study.aiida', folder / 'results.json', raw]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout.partition('ANSWER ')[2])
    assert answer['loadable']
    assert all(raw == [True] for raw in answer['raw'])
    labels = {row['uuid']: row['label'] for row in results['potentials']}
    expected = [row['potential'] for row in results['diffusion']]
    assert [labels[uuid] for uuid in answer['potentials']] == expected
    assert min(answer['datasets']) >= 3
    assert min(answer['seeds']) >= 5
    for versions in answer['versions']:
        assert {'aiida-core', 'aiida-mghdiff', 'torch', 'ase'} <= set(versions)


def test_the_same_study_again_takes_every_job_from_the_cache(demo, results, tmp_path):
    folder = demo[0]
    model = tmp_path / 'foundation.model'
    ask(folder, WRITE_FOUNDATION.format(model=str(model)))
    foundation = ['--foundation', model] if model.exists() else []
    run_example(folder, 'study', '--report', tmp_path / 'report', *foundation)
    again = json.loads((tmp_path / 'report' / 'results.json').read_text())
    for group, keys in {'rmse': ['force_mev_per_angstrom'], 'diffusion': ['upper_bound_m2_s']}.items():
        assert [[row[key] for key in keys] for row in again[group]] == [
            [row[key] for key in keys] for row in results[group]
        ]
    assert ask(folder, COUNT_NEW_JOBS) == '0'


@pytest.mark.parametrize('name', ['train', 'md', 'neb'])
def test_example(demo, name):
    assert 'verdi process show' in run_example(demo[0], name)
