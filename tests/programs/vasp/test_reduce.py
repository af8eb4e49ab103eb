"""The reducing program in the folder of a run, as a zipapp in a separate Python."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from vasp_files import dft_step, ml_step, outcar_end, outcar_head

from aiida_mghdiff.calculations.program import zipapp_bytes
from aiida_mghdiff.formats.outcar import OutcarSummary, summarise_outcar
from aiida_mghdiff.formats.xdatcar import XdatcarReader, xdatcar_frame, xdatcar_header
from aiida_mghdiff.science.trajectory_reduction import ReductionPlan, reduce_trajectory

CELL = np.eye(3) * 8.0
START = np.array([[0.5, 0.5, 0.5], [4.0, 4.0, 4.0], [6.0, 1.0, 2.0]])
STEP = {
    'cell': CELL,
    'positions': START,
    'forces': np.zeros((3, 3)),
    'stress': np.array([10.0, 20.0, 30.0, 0.0, 0.0, 0.0]),
    'energy': -3.0,
    'sigma0': -3.0,
}
PLAN = ReductionPlan(
    cell=CELL.tolist(),
    positions=START.tolist(),
    tracers=[2],
    host_weights=[0.5, 0.5, 0.0],
    first_step=0,
    block=1,
    tracer_stride=2,
    frame_stride=4,
    time_step_fs=1.0,
    moving_cell=False,
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'mghdiff.pyz').write_bytes(zipapp_bytes('vasp.reduce'))
    (tmp_path / 'input.json').write_text(json.dumps(PLAN.to_json()))
    (tmp_path / 'OUTCAR').write_text(outcar_head(['Mg', 'H'], [2, 1]) + ml_step(STEP) + ml_step(STEP) + outcar_end())
    return tmp_path


def fractional(step):
    return (START + np.array([[0.0], [0.01], [0.3]]) * step) / 8.0


def write_xdatcar(folder, steps=20):
    text = xdatcar_header('Mg2H', CELL, ['Mg', 'H'], [2, 1])
    (folder / 'XDATCAR').write_text(text + ''.join(xdatcar_frame(i + 1, fractional(i)) for i in range(steps)))


def write_hdf5(folder, steps=20):
    with h5py.File(folder / 'vaspout.h5', 'w') as file:
        ions = file.create_group('intermediate/ion_dynamics')
        ions['scale'] = 1.0
        ions['lattice_vectors'] = np.tile(CELL, (steps, 1, 1))
        ions['position_ions'] = np.array([fractional(i) for i in range(steps)])
        file['results/positions/ion_types'] = np.array([b'Mg', b'H '])
        file['results/positions/number_ion_types'] = [2, 1]
        file['input/potcar/content'] = b'a licensed potential'


def run(folder):
    command = [sys.executable, 'mghdiff.pyz']
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize('write', [write_xdatcar, write_hdf5])
def test_trajectory(folder, write):
    write(folder)
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == '20 steps, 10 tracer frames\n'
    with np.load(folder / 'reduced.npz') as arrays:
        assert str(arrays['truncated']) == ''
        assert arrays['tracer_steps'].tolist() == list(range(1, 21, 2))
        expected = [fractional(i)[2] * 8.0 for i in range(0, 20, 2)]
        assert np.abs(arrays['tracer_positions'][:, 0] - expected).max() < 2e-6
        outcar = OutcarSummary.from_arrays(arrays)
        assert (outcar.labelled_by, outcar.finished, outcar.truncated) == ('vasp', True, None)
        assert outcar.steps.tolist() == [1, 2]
        assert np.allclose(outcar.pressures, 2.0)
        assert np.abs(arrays['frame_velocities'][1:-1, 2] - 0.3).max() < 1e-6
    assert b'licensed' not in (folder / 'reduced.npz').read_bytes()


def test_same_as_where_it_is_retrieved(folder):
    write_xdatcar(folder)
    run(folder)
    directly = reduce_trajectory(XdatcarReader(folder / 'XDATCAR.reduced'), PLAN)
    of_outcar = summarise_outcar(folder / 'OUTCAR.reduced').to_arrays()
    with np.load(folder / 'reduced.npz') as arrays:
        assert set(arrays) == {*directly, *of_outcar, 'truncated'}
        for name, values in directly.items():
            assert np.array_equal(arrays[name], values, equal_nan=True)


def test_cut_trajectory_keeps_what_is_whole(folder):
    write_xdatcar(folder)
    text = (folder / 'XDATCAR').read_text()
    (folder / 'XDATCAR').write_text(text[:-20])
    assert run(folder).stdout == '19 steps, 10 tracer frames\n'
    with np.load(folder / 'reduced.npz') as arrays:
        assert 'the file ends within' in str(arrays['truncated'])


def test_steps_of_dft_are_kept_to_the_digit(folder):
    """Only OUTCAR has the steps that VASP did not learn, and OUTCAR is not retrieved."""
    write_xdatcar(folder)
    other = STEP | {'energy': -2.5, 'forces': np.arange(9.0).reshape(3, 3) / 7}
    steps = ml_step(STEP) + dft_step(2, STEP, converged=False) + dft_step(3, other)
    (folder / 'OUTCAR').write_text(outcar_head(['Mg', 'H'], [2, 1]) + steps + outcar_end())
    assert run(folder).returncode == 0
    directly = summarise_outcar(folder / 'OUTCAR.reduced')
    with np.load(folder / 'reduced.npz') as arrays:
        reduced = OutcarSummary.from_arrays(arrays)
    assert [step.index for step in reduced.dft_steps] == [2, 3]
    assert [step.scf_converged for step in reduced.dft_steps] == [False, True]
    for one, two in zip(reduced.dft_steps, directly.dft_steps, strict=True):
        assert all(np.array_equal(value, vars(two)[name]) for name, value in vars(one).items())


def test_what_was_not_reduced_is_retrieved(folder):
    """The job asks for OUTCAR and XDATCAR: a reduced file has another name, any other file is whole."""
    write_xdatcar(folder)
    (folder / 'OUTCAR').write_text('torn')
    done = run(folder)
    assert done.returncode == 13
    assert 'OUTCAR, line 1' in done.stdout.splitlines()[-1]
    assert (folder / 'XDATCAR').is_file()
    assert not (folder / 'reduced.npz').exists()
    (folder / 'OUTCAR').unlink()
    assert 'OUTCAR is missing' in run(folder).stdout.splitlines()[-1]
    (folder / 'OUTCAR').write_text(outcar_head(['Mg', 'H'], [2, 1]) + ml_step(STEP) + outcar_end())
    assert run(folder).returncode == 0
    assert not {'OUTCAR', 'XDATCAR'} & {path.name for path in folder.iterdir()}


def test_size_of_a_nanosecond(folder):
    """Retrieved data of Mg128H8 at 1 fs stay below 30 MB for 1 ns (tracers every 10 fs, frames every 1 ps)."""
    rng = np.random.default_rng(1)
    n, frames = 136, 100
    with (folder / 'XDATCAR').open('w') as handle:
        handle.write(xdatcar_header('Mg128H8', CELL, ['Mg', 'H'], [128, 8]))
        handle.write(''.join(xdatcar_frame(10 * (i + 1), rng.uniform(size=(n, 3))) for i in range(frames)))
    plan = replace(
        PLAN,
        positions=rng.uniform(size=(n, 3)).tolist(),
        tracers=list(range(128, n)),
        host_weights=[1 / 128] * 128 + [0.0] * 8,
        block=10,
        tracer_stride=10,
        frame_stride=1000,
    )
    (folder / 'input.json').write_text(json.dumps(plan.to_json()))
    assert run(folder).returncode == 0
    with np.load(folder / 'reduced.npz') as arrays:
        grown = [name for name, values in arrays.items() if len(np.shape(values)) and len(values) == frames]
        per_frame = sum(arrays[name].nbytes for name in grown) / frames
        full_frame = sum(arrays[name].nbytes for name in arrays if name.startswith('frame_'))
        assert len(arrays['frame_steps']) == 1
    assert per_frame * 100_000 + full_frame * 1000 < 30e6


def test_nothing_to_reduce(folder):
    done = run(folder)
    assert done.returncode == 13
    assert done.stdout.splitlines()[-1].startswith('ERROR: [INPUT_REFUSED] XDATCAR and vaspout.h5 are missing')
