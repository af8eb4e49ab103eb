"""The parser of LAMMPS runs: outputs of a recorded run, and each exit code."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from exit_codes import MD, forgotten
from lammps_runs import hydride
from md_parameters import md_parameters
from parsing import parse_job

from aiida_mghdiff.data.md_state import MdStateData

RECORDED = Path(__file__).parent / 'recorded'


@pytest.fixture
def finish(aiida_profile, aiida_localhost, tmp_path):
    """Return a function that parses a job whose files lie in ``tmp_path / 'files'``."""
    (tmp_path / 'files').mkdir()

    def parse(stdout, values=None, stderr='', converts=False):
        atoms = hydride()
        velocities = np.zeros(atoms.positions.shape)
        state = MdStateData.from_arrays(atoms.numbers, atoms.cell.array, atoms.positions, velocities, 0)
        inputs = {'parameters': orm.Dict(values or md_parameters()), 'state': state}
        if converts:
            inputs['convert_code'] = orm.InstalledCode(computer=aiida_localhost, filepath_executable='/bin/true')
        kept = {'stderr.txt': stderr} | ({} if stdout is None else {'lammps.out': stdout})
        options = {'kept': kept, 'output_filename': 'lammps.out'}
        return parse_job('mghdiff.lammps.md', aiida_localhost, tmp_path / 'files', inputs, **options)

    return parse


@pytest.fixture
def recorded(tmp_path, finish):
    """Copy the files of the recorded run and return its output."""
    for path in RECORDED.iterdir():
        shutil.copy(path, tmp_path / 'files' / path.name)
    return (RECORDED / 'lammps.out').read_text()


def test_recorded_run(finish, recorded, data_regression):
    code, outputs = finish(recorded)
    assert code is None
    thermo, state, tracers = (outputs[name] for name in ('thermo', 'state', 'tracers'))
    assert thermo.get_array('steps').tolist() == list(range(0, 42, 2))
    assert tracers.steps.tolist() == list(range(0, 44, 4))
    assert np.allclose(tracers.get_array('cell'), hydride().cell.array)
    assert np.array_equal(state.get_array('cell'), hydride().cell.array)
    assert np.allclose(outputs['trajectory'].get_positions()[-1], state.get_array('positions'), atol=1e-12)
    results = outputs['results'].get_dict()
    results = {key: round(value, 6) if isinstance(value, float) else value for key, value in results.items()}
    data_regression.check(results)


def test_first_frame_belongs_to_the_segment_before(finish, recorded):
    """With first_step = 20 the parser drops all rows up to step 20, except step 0."""
    code, outputs = finish(recorded, md_parameters(first_step=20, steps=20))
    assert code is None
    assert outputs['thermo'].get_array('steps').tolist() == [0, *range(22, 42, 2)]
    assert outputs['trajectory'].get_stepids().tolist() == [0, 30, 40]


def test_out_of_walltime_has_outputs(finish, recorded):
    code, outputs = finish(recorded, md_parameters(steps=1000))
    assert code.status == 400
    assert outputs['results'].get_dict()['completed'] is False
    assert outputs['state'].step == 40


def test_a_real_lmp_has_no_line_of_the_launcher(finish, recorded):
    own = '\n'.join(line for line in recorded.splitlines() if not line.startswith('mghdiff-lmp'))
    _, outputs = finish(own)
    assert outputs['results'].get_dict()['evaluator'] == 'pair_style mace'
    assert list(outputs['results'].get_dict()['versions']) == ['LAMMPS']


def test_runaway_that_was_halted_has_outputs(finish, recorded):
    line = 'Fix halt condition for fix-id runaway met on step 40 with value 3912.2 (src/fix_halt.cpp:306)'
    code, outputs = finish(f'{recorded}\n{line}\n', md_parameters(steps=1000))
    assert (code.status, code.message) == (520, f'The temperature ran away: {line}')
    assert 'state' in outputs


def test_damaged_output(finish, recorded, tmp_path):
    (tmp_path / 'files' / 'thermo.txt').write_text('# now temp\nbroken line\n')
    code, outputs = finish(recorded)
    assert code.status == 304
    assert 'thermo.txt' in code.message
    assert not outputs


@pytest.mark.parametrize(
    ('stdout', 'stderr', 'status', 'message'),
    [
        (None, '', 300, 'final.dump'),
        ('LAMMPS (x)\n', 'slurmstepd: killed\n', 300, 'slurmstepd: killed'),
        ('ERROR: [ENGINE_MISSING] no mace', '', 210, 'no mace'),
        ('ERROR: [POTENTIAL_UNREADABLE] damaged', '', 211, 'damaged'),
        ('ERROR: [ELEMENT_UNKNOWN] Ti', '', 212, 'Ti'),
        ('ERROR: [INPUT_REFUSED] hybrid', '', 213, 'hybrid'),
        ('ERROR: [NON_FINITE] at step 3', '', 420, 'at step 3'),
        ('ERROR: [OUT_OF_MEMORY] none left', '', 410, 'none left'),
        ('', "terminate called after throwing an instance of 'std::bad_alloc'", 410, 'bad_alloc'),
        ('ERROR: Failed to reallocate 10 bytes', '', 410, 'Failed to reallocate'),
        ('ERROR: Lost atoms: original 17 current 16 (src/thermo.cpp:530)', '', 520, 'Lost atoms'),
        ('ERROR on proc 0: Non-numeric positions', '', 520, 'Non-numeric'),
        ('ERROR: Unknown pair style mace', '', 311, 'Unknown pair style mace'),
        ('', 'Traceback (most recent call last):\n  ...\nValueError: broken\n', 303, 'ValueError: broken'),
    ],
)
def test_failures(finish, stdout, stderr, status, message):
    code, outputs = finish(stdout, stderr=stderr)
    assert code.status == status
    assert message in code.message
    assert not outputs


def test_which_failures_are_cached():
    assert forgotten('mghdiff.lammps.md') == MD | {212: False, 311: True}


def test_head_that_the_launcher_printed(finish, recorded):
    _, outputs = finish(recorded.replace('mghdiff-lmp: evaluator', 'mghdiff-lmp: head Default\nmghdiff-lmp: evaluator'))
    assert outputs['results']['head'] == 'Default'


@pytest.mark.parametrize(
    ('reason', 'status'),
    [
        ("ModuleNotFoundError: No module named 'mace'", 210),
        ('ImportError: libcudart.so.12: cannot open shared object file', 210),
        ('RuntimeError: CUDA error', 303),
        ('MemoryError', 410),
    ],
)
def test_model_that_was_not_converted(finish, reason, status):
    """LAMMPS lacks the model, but the converter failed; another environment may mend the same job."""
    stderr = f'Traceback (most recent call last):\n  ...\n{reason}\n'
    code, outputs = finish('ERROR: Cannot open potential.model-lammps.pt', stderr=stderr, converts=True)
    assert (code.status, code.invalidates_cache, outputs) == (status, True, {})
    assert reason in code.message


@pytest.mark.parametrize('reason', ['EOFError: EOF when reading a line', "ValueError: 'nosuch' is not in list"])
def test_converter_that_was_not_told_the_head(finish, reason):
    """The cause may be a potential that an earlier version stored without its head."""
    stderr = f'Traceback (most recent call last):\n  ...\n{reason}\n'
    code, outputs = finish('ERROR: Cannot open potential.model-lammps.pt', stderr=stderr, converts=True)
    assert (code.status, outputs) == (213, {})
    assert code.invalidates_cache is False
    assert 'make the potential again with PotentialData.from_file' in code.message
    assert reason in code.message
