"""The command line of the launcher and each of its failures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lammps_runs import HEADER, Bench, hydride, write_start

from aiida_mghdiff.executables.lmp import launcher
from aiida_mghdiff.formats.job_files import EXIT_STATUS
from aiida_mghdiff.programs.job import RANKS

PROGRAM = Path(sys.executable).with_name('mghdiff-lmp')
SCRIPT = '# mghdiff evaluator=torch\n' + HEADER.format(model='potential.model') + 'run 0\n'


@pytest.fixture
def bench(tmp_path, tiny_mace, capfd, monkeypatch):
    return Bench(tmp_path, tiny_mace, capfd, monkeypatch)


def failure(bench, text=SCRIPT, atoms=None, prepare=lambda folder: None):
    folder = bench.folder()
    write_start(folder, atoms or hydride())
    prepare(folder)
    status, output = bench.launch(folder, text)
    return status, output.splitlines()[-1]


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as end:
        launcher.main(['-h'])
    output = capsys.readouterr().out
    assert end.value.code == 0
    assert all(word in output for word in ('pair_style mace', '# mghdiff evaluator=auto', 'POTENTIAL_UNREADABLE'))


def test_version_has_a_digest_of_the_sources(capsys):
    with pytest.raises(SystemExit) as end:
        launcher.main(['-v'])
    assert end.value.code == 0
    assert re.fullmatch(r'mghdiff-lmp 0\.1\.0 sources [0-9a-f]{16}\n', capsys.readouterr().out)


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['-in', 'x'], ('x', [])),
        (['-i', 'x', '-log', 'none', '-v', 'a', '1', '2'], ('x', ['-log', 'none', '-v', 'a', '1', '2'])),
        (['-k', 'on', 'g', '1', '-sf', 'kk', '-pk', 'kokkos', 'newton', 'on', '-in', 'x'], ('x', [])),
        (['-sf', 'omp'], (None, ['-sf', 'omp'])),
        (['-in', 'none'], (None, [])),
    ],
)
def test_arguments(arguments, expected):
    assert launcher.read_arguments(arguments) == expected


def test_statuses_are_distinct():
    statuses = launcher.launcher_failures().values()
    assert len(set(statuses)) == len(statuses)
    assert 0 not in statuses


def test_missing_script(capfd):
    assert launcher.run(['-in', 'nowhere.in']) == EXIT_STATUS['INPUT_REFUSED']
    assert capfd.readouterr().out.splitlines()[-1].startswith('ERROR: [INPUT_REFUSED] ')


def test_input_refused(bench):
    status, line = failure(bench, SCRIPT.replace('mace no', 'hybrid/overlay mace no'))
    assert (status, line[:23]) == (EXIT_STATUS['INPUT_REFUSED'], 'ERROR: [INPUT_REFUSED] ')


@pytest.mark.parametrize('variable', RANKS)
def test_more_than_one_rank(bench, monkeypatch, variable):
    """Ranks are counted before the script is read."""
    monkeypatch.setenv(variable, '2')
    status, line = failure(bench, 'units metal\n')
    assert status == EXIT_STATUS['SEVERAL_RANKS']
    assert 'is one process, but MPI started 2 of it' in line


def test_walls(bench):
    cubic = hydride()
    cubic.set_cell(np.diag(cubic.cell.lengths()), scale_atoms=True)
    cubic.wrap()
    status, line = failure(bench, 'boundary p p f\n' + SCRIPT, cubic)
    assert status == EXIT_STATUS['INPUT_REFUSED']
    assert 'not periodic along all axes' in line


def test_wrong_number_of_types(bench):
    status, line = failure(bench, SCRIPT.replace(' Mg H', ' Mg'))
    assert status == EXIT_STATUS['INPUT_REFUSED']
    assert '1 elements for 2 atom types' in line


def test_corrupt_model(bench):
    def corrupt(folder):
        (folder / 'potential.model').unlink()
        (folder / 'potential.model').write_bytes(b'PK\x03\x04 cut off')

    status, line = failure(bench, prepare=corrupt)
    assert status == EXIT_STATUS['POTENTIAL_UNREADABLE']
    assert line.startswith('ERROR: [POTENTIAL_UNREADABLE] potential.model ')


def test_missing_model(bench):
    status, line = failure(bench, SCRIPT.replace('potential.model', 'none.model'))
    assert status == EXIT_STATUS['POTENTIAL_UNREADABLE']
    assert 'none.model' in line


def test_unknown_element(bench):
    status, line = failure(bench, SCRIPT.replace(' Mg H', ' Ti H'))
    assert status == EXIT_STATUS['ELEMENT_UNKNOWN']
    assert line.startswith('ERROR: [ELEMENT_UNKNOWN] ')
    assert 'Ti' in line


@pytest.mark.parametrize('module', ['mace.calculators', 'lammps'])
def test_missing_engine(bench, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    status, line = failure(bench)
    assert status == EXIT_STATUS['ENGINE_MISSING']
    assert line.startswith('ERROR: [ENGINE_MISSING] ')


def test_the_head_is_said(bench):
    status, output = failure(bench, SCRIPT)
    assert status == 0, output
    assert 'mghdiff-lmp: head Default\n' in bench.output


def test_a_head_that_the_model_lacks(bench):
    status, line = failure(bench, SCRIPT.replace('evaluator=torch', 'evaluator=auto head=nosuch'))
    assert status == EXIT_STATUS['INPUT_REFUSED']
    assert line.endswith("potential.model: the model has no head 'nosuch': its only head is Default.")


def test_error_of_lammps(bench):
    status, line = failure(bench, SCRIPT + 'no_such_command\n')
    assert status == 1
    assert line.startswith('ERROR: Unknown command: no_such_command')


def test_forces_that_are_not_finite_end_the_process(bench):
    import torch

    folder = bench.folder()
    model = torch.load(bench.model, weights_only=False)
    with torch.no_grad():
        model.readouts[0].linear.weight.fill_(float('nan'))
    (folder / 'potential.model').unlink()
    torch.save(model, folder / 'potential.model')
    write_start(folder, hydride())
    (folder / 'input.in').write_text(SCRIPT.replace('evaluator=torch', 'evaluator=auto'))
    job_run = subprocess.run([PROGRAM, '-in', 'input.in'], cwd=folder, capture_output=True, text=True, check=False)
    assert job_run.returncode == EXIT_STATUS['NON_FINITE']
    assert job_run.stdout.splitlines()[-1].startswith('ERROR: [NON_FINITE] ')
    assert 'Setting up Verlet run' in job_run.stdout


def test_failing_callback_ends_the_process_with_its_reason(bench):
    folder = bench.folder()
    write_start(folder, hydride())
    (folder / 'input.in').write_text(SCRIPT)
    code = (
        'import sys\nfrom aiida_mghdiff.executables.lmp import driver, launcher\n'
        'def fail(*_): raise ValueError("broken")\n'
        'driver.Evaluator.__call__ = fail\nsys.exit(launcher.run(["-in", "input.in"]))'
    )
    job_run = subprocess.run([sys.executable, '-c', code], cwd=folder, capture_output=True, text=True, check=False)
    assert job_run.returncode == 1
    assert job_run.stdout.splitlines()[-1] == 'ERROR: the evaluator failed at step 0: broken'
    assert 'ValueError: broken' in job_run.stderr


def test_a_library_that_does_not_load(tmp_path, tiny_mace):
    """An incomplete copy of an environment, or a module with other libraries of the same names, gives such a LAMMPS."""
    (tmp_path / 'libfabric.so.1').write_text('no library')
    (tmp_path / 'in.lmp').write_text(SCRIPT.replace('potential.model', str(tiny_mace)))
    write_start(tmp_path, hydride())
    environment = os.environ | {'LD_LIBRARY_PATH': str(tmp_path)}
    command = [PROGRAM, '-in', 'in.lmp']
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_STATUS['ENGINE_MISSING'], done.stdout + done.stderr
    line = done.stdout.splitlines()[-1]
    assert line.startswith('ERROR: [ENGINE_MISSING] lammps of ')
    assert 'libfabric.so.1: file too short' in line
