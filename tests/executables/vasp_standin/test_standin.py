"""Runs of the stand-in: its files, how runs join, and the state after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from models import make_multihead_mace
from standin_runs import (
    LANGEVIN,
    MD,
    NPT,
    NVE,
    PROGRAM,
    RUN,
    TRAIN,
    cell_of_the_paper,
    go_on,
    hydride,
    standin,
    standin_here,
    write_folder,
)

from aiida_mghdiff.executables.vasp_standin import standin as program
from aiida_mghdiff.executables.vasp_standin.force_field import ForceField
from aiida_mghdiff.executables.vasp_standin.labels import make_labeller
from aiida_mghdiff.formats.iconst import iconst_text
from aiida_mghdiff.formats.job_files import EXIT_STATUS
from aiida_mghdiff.formats.ml_ff import read_ml_ff_header, read_ml_ff_payload, write_ml_ff
from aiida_mghdiff.formats.ml_logfile import read_ml_logfile
from aiida_mghdiff.formats.mlab import read_mlab
from aiida_mghdiff.formats.oszicar import read_oszicar
from aiida_mghdiff.formats.outcar import OutcarReader
from aiida_mghdiff.formats.poscar import read_poscar
from aiida_mghdiff.formats.xdatcar import XdatcarReader


@pytest.mark.slow
def test_cell_of_the_paper(tmp_path):
    """136 atoms are learned, continued, refitted and run within the memory of a laptop."""
    atoms, npt = cell_of_the_paper(), NPT | {'TEBEG': 300}
    learned = write_folder(tmp_path / 'learned', npt | TRAIN | {'NSW': 8}, atoms)
    standin(learned)
    more = go_on(tmp_path / 'more', learned, npt | TRAIN | {'NSW': 4, 'ML_CTIFOR': 0.05})
    standin(more)
    refit = go_on(tmp_path / 'refit', more, TRAIN | {'ML_MODE': 'refit'})
    standin(refit)
    run = go_on(tmp_path / 'run', more, NVE | RUN | {'NSW': 50, 'TEBEG': 300}, learned=None)
    (run / 'ML_FF').write_bytes((refit / 'ML_FFN').read_bytes())
    standin(run)
    for folder, steps in ((learned, 8), (more, 4), (run, 50)):
        frames = list(XdatcarReader(folder / 'XDATCAR'))
        assert [len(frame.fractional) for frame in frames] == [136] * steps
        outcar = OutcarReader(folder / 'OUTCAR')
        assert len({step.index for step in outcar}) == steps
        assert outcar.finished
        assert outcar.max_memory_mb < 4000
    assert read_ml_ff_header(run / 'ML_FF').fast
    energies = read_oszicar(run / 'OSZICAR')['total_energy_ev']
    assert np.ptp(energies) < 0.01 * 136 * 0.0388  # kinetic energy at 300 K, eV/atom


@pytest.fixture(scope='module')
def force_field(learned):
    return (learned / 'ML_FFN').read_bytes()


def run_with(folder, tags, force_field, atoms=None, **files):
    write_folder(folder, RUN | tags, atoms or hydride(), ML_FF=force_field, **files)
    assert standin_here(folder) == 0
    return folder


def load(folder, name='ML_FFN'):
    return ForceField.from_bytes(read_ml_ff_payload(folder / name))


def test_version_and_help(capsys):
    for arguments, words in (
        (['--version'], ['mghdiff-vasp-standin 0.1.0 sources ']),
        (['-h'], ['MGHDIFF_STANDIN_LABELS']),
    ):
        with pytest.raises(SystemExit) as end:
            program.main(arguments)
        assert end.value.code == 0
        output = capsys.readouterr().out
        assert all(word in output for word in [*words, 'stand'])


def test_marks(learned):
    head = (learned / 'OUTCAR').read_text().splitlines()[:20]
    assert head[0] == f' {program.version()}'
    assert ' NOT VASP: stand-in, labels chgnet-r2scan' in head
    assert {frame.info['system_name'] for frame in read_mlab(learned / 'ML_ABN').frames} == {
        'stand-in chgnet-r2scan test'
    }
    header = read_ml_ff_header(learned / 'ML_FFN')
    assert (header.standin, header.elements, header.fast) == ('chgnet-r2scan', ['Mg', 'H'], False)
    assert '<i name="version" type="string">6.4.2-standin' in (learned / 'vasprun.xml').read_text()


def test_one_electronic_iteration_is_enough(tmp_path):
    """The stand-in's labels need no iterations, so NELM = 1 does not matter."""
    folder = write_folder(tmp_path, {'NSW': 0, 'NELM': 1, 'EDIFF': 1e-6}, hydride())
    assert standin_here(folder) == 0
    reader = OutcarReader(folder / 'OUTCAR')
    assert [step.scf_converged for step in reader] == [True]
    assert (reader.nelm, reader.ediff) == (1, 1e-6)


def test_files_of_a_run_on_the_fly_agree(learned):
    """This package's readers find equal steps and configurations in different files."""
    reader = OutcarReader(learned / 'OUTCAR')
    steps = list(reader)
    first = [step for step in steps if step.is_dft]
    log, mlab = read_ml_logfile(learned / 'ML_LOGFILE'), read_mlab(learned / 'ML_ABN')
    energies = read_oszicar(learned / 'OSZICAR')
    frames = list(XdatcarReader(learned / 'XDATCAR'))
    assert reader.finished
    assert log.truncated is None
    assert energies['truncated'] is None
    assert len(frames) == len(log.status['steps']) == len(energies['steps']) == 100
    assert np.flatnonzero(log.status['is_dft']).tolist() == [step.index - 1 for step in first]
    assert (
        len(first)
        == len(mlab.frames)
        == log.n_configurations['count'][-1]
        == read_ml_ff_header(learned / 'ML_FFN').n_configurations
    )
    for step, frame in zip(first, mlab.frames, strict=True):
        assert step.scf_converged
        assert frame.get_potential_energy() == pytest.approx(step.energy, abs=1e-7)
        np.testing.assert_allclose(frame.get_forces(), step.forces, atol=1e-6)
        np.testing.assert_allclose(frame.get_stress(), step.stress, atol=1e-7)
        shift = frame.get_scaled_positions() - frames[step.index - 1].fractional
        np.testing.assert_allclose(shift - np.round(shift), 0, atol=1e-7)
        assert energies['free_energy_ev'][step.index - 1] == pytest.approx(step.energy, abs=1e-7)
    assert mlab.masses == {'Mg': 24.305, 'H': 1.008}
    assert log.beef['threshold'][0] == 0.005
    assert log.err['rmse_force'][-1] < 0.1


def test_labels_are_those_of_the_labeller(learned):
    labeller = make_labeller('chgnet-r2scan', [12, 1], {})
    for frame in read_mlab(learned / 'ML_ABN').frames[::7]:
        labels = labeller.label(frame)
        assert frame.get_potential_energy() == pytest.approx(labels.energy, abs=1e-4)
        np.testing.assert_allclose(frame.get_forces(), labels.forces, atol=1e-4)


def test_references_of_the_force_field_are_the_basis(learned):
    basis = read_mlab(learned / 'ML_ABN').basis
    assert {number: len(part) for number, part in load(learned).references.items()} == {
        12: len(basis['Mg']),
        1: len(basis['H']),
    }


def test_two_runs_are_one(tmp_path, force_field):
    """400 steps of NVE in run mode equal twice 200 steps."""
    tags = NVE | {'ML_OUTBLOCK': 50}
    whole = run_with(tmp_path / 'whole', tags | {'NSW': 400}, force_field)
    first = run_with(tmp_path / 'first', tags | {'NSW': 200}, force_field)
    second = go_on(tmp_path / 'second', first, RUN | tags | {'NSW': 200})
    (second / 'ML_FF').write_bytes(force_field)
    assert standin_here(second) == 0
    one, two = read_poscar(whole / 'CONTCAR'), read_poscar(second / 'CONTCAR')
    np.testing.assert_allclose(one.positions, two.positions, atol=1e-6)
    np.testing.assert_allclose(one.velocities, two.velocities, atol=1e-8)
    energies = np.concatenate([read_oszicar(folder / 'OSZICAR')['total_energy_ev'] for folder in (first, second)])
    assert np.ptp(energies) < 2e-3
    np.testing.assert_allclose(energies, read_oszicar(whole / 'OSZICAR')['total_energy_ev'], atol=1e-6)


@pytest.mark.parametrize(
    'tags', [LANGEVIN, NPT, MD | {'MDALGO': 2, 'SMASS': 0}, MD | {'MDALGO': 1, 'ANDERSEN_PROB': 0.1}]
)
def test_thermostats_go_on_too(tmp_path, force_field, tags):
    """The second run takes the numbers at the end of REPORT as RANDOM_SEED."""
    files = {'ICONST': iconst_text(hydride().cell.array, 'free-c/a')} if tags is NPT else {}
    whole = run_with(tmp_path / 'whole', tags | {'NSW': 60}, force_field, **files)
    first = run_with(tmp_path / 'first', tags | {'NSW': 30}, force_field, **files)
    seed = (first / 'REPORT').read_text().split('RANDOM_SEED =')[-1].strip()
    second = go_on(tmp_path / 'second', first, RUN | tags | {'NSW': 30, 'RANDOM_SEED': seed})
    for name, content in {'ML_FF': force_field, **files}.items():
        (second / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert standin_here(second) == 0
    one, two = read_poscar(whole / 'CONTCAR'), read_poscar(second / 'CONTCAR')
    np.testing.assert_allclose(one.positions, two.positions, atol=1e-8)
    np.testing.assert_allclose(one.cell, two.cell, atol=1e-9)


def test_trajectory_is_unwrapped(tmp_path, force_field):
    """The atoms fly out of the cell; coordinates follow, and forces do not change."""
    atoms = hydride()
    atoms.set_velocities(np.full((17, 3), 3.0))
    folder = run_with(tmp_path, NVE | {'NSW': 40, 'ML_OUTBLOCK': 20}, force_field, atoms)
    frames = [frame.fractional for frame in XdatcarReader(folder / 'XDATCAR')]
    assert len(frames) == 2
    assert frames[-1].max() > 1.2
    assert np.ptp(read_oszicar(folder / 'OSZICAR')['free_energy_ev']) < 1e-3


def test_interval_of_the_output(tmp_path, force_field):
    """Files have every ML_OUTBLOCK-th step, XDATCAR max(ML_OUTBLOCK, NBLOCK); ML_OUTPUT_MODE = 0 shortens them."""
    folder = run_with(tmp_path, NVE | {'NSW': 40, 'ML_OUTBLOCK': 5, 'NBLOCK': 10, 'ML_OUTPUT_MODE': 0}, force_field)
    assert read_oszicar(folder / 'OSZICAR')['steps'].tolist() == list(range(5, 41, 5))
    assert [frame.configuration for frame in XdatcarReader(folder / 'XDATCAR')] == [10, 20, 30, 40]
    assert list(OutcarReader(folder / 'OUTCAR')) == []
    assert 'name="forces"' not in (folder / 'vasprun.xml').read_text()


def test_temperature_ramp(tmp_path, force_field):
    """The temperature rises linearly from 1 K."""
    folder = run_with(
        tmp_path, LANGEVIN | {'NSW': 300, 'TEBEG': 1, 'TEEND': 600, 'LANGEVIN_GAMMA': '100 100'}, force_field
    )
    series = read_oszicar(folder / 'OSZICAR')['temperature_k']
    assert series[0] == pytest.approx(1.0, abs=0.1)
    assert series[:50].mean() < 150
    assert 300 < series[-50:].mean() < 900
    targets = [float(line.split()[1]) for line in (folder / 'REPORT').read_text().splitlines() if 'tmprt>' in line]
    np.testing.assert_allclose(targets, np.linspace(1, 600, 300), atol=1e-3)


def test_constraints_of_a_cell_that_is_fixed_hold(tmp_path, force_field):
    folder = run_with(tmp_path, NVE | {'NSW': 2}, force_field, ICONST=iconst_text(hydride().cell.array, 'fixed'))
    np.testing.assert_allclose(read_poscar(folder / 'CONTCAR').cell, hydride().cell.array, atol=1e-12)


def test_shape_that_iconst_keeps(tmp_path, force_field):
    cell = hydride().cell
    folder = run_with(tmp_path, NPT | {'NSW': 50}, force_field, ICONST=iconst_text(cell.array, 'fixed'))
    moved = read_poscar(folder / 'CONTCAR')
    ratios = Atoms(cell=moved.cell).cell.cellpar() / cell.cellpar()
    np.testing.assert_allclose(ratios[:3], ratios[0], rtol=1e-9)
    np.testing.assert_allclose(ratios[3:], 1, rtol=1e-9)
    assert abs(ratios[0] - 1) > 1e-6
    assert len({tuple(frame.cell.ravel()) for frame in XdatcarReader(folder / 'XDATCAR')}) > 40
    assert moved.lattice_velocities is not None


def test_spilling_factors(tmp_path, force_field):
    folder = run_with(tmp_path / 'near', NVE | {'NSW': 20, 'ML_ESTBLOCK': 10}, force_field)
    near = read_ml_logfile(folder / 'ML_LOGFILE').sff
    hot = run_with(tmp_path / 'far', NVE | {'NSW': 20, 'ML_IERR': 20, 'TEBEG': 20000}, force_field)
    assert near['steps'].tolist() == [10, 20]
    assert near['sfmax'].max() < read_ml_logfile(hot / 'ML_LOGFILE').sff['sfmax'][0]


def test_training_goes_on_with_the_force_field_that_it_ended_with(tmp_path, learned):
    folder = go_on(tmp_path, learned, LANGEVIN | TRAIN | {'NSW': 1, 'ML_CTIFOR': 10, 'ML_ICRITERIA': 0})
    assert standin_here(folder) == 0
    ended, started = load(learned), load(folder)
    atoms = read(learned / 'POSCAR')
    atoms.rattle(0.1, seed=1)
    np.testing.assert_allclose(ended.evaluate(atoms).forces, started.evaluate(atoms).forces, atol=1e-7)
    assert (learned / 'ML_ABN').read_bytes() == (folder / 'ML_ABN').read_bytes()
    joined = [read_oszicar(part / 'OSZICAR') for part in (learned, folder)]
    assert abs(joined[1]['total_energy_ev'][0] - joined[0]['total_energy_ev'][-1]) < 0.1
    before = list(XdatcarReader(learned / 'XDATCAR'))[-1].fractional
    after = next(iter(XdatcarReader(folder / 'XDATCAR'))).fractional
    assert 0 < np.abs(after - before).max() < 0.02


def test_refit_gives_the_same_force_field(tmp_path, learned):
    folder = go_on(tmp_path, learned, TRAIN | {'ML_MODE': 'refit'})
    assert standin_here(folder) == 0
    atoms = read(learned / 'POSCAR')
    atoms.rattle(0.1, seed=1)
    one, two = load(learned).evaluate(atoms), load(folder).evaluate(atoms)
    np.testing.assert_allclose(one.forces, two.forces, atol=1e-7)
    log = read_ml_logfile(folder / 'ML_LOGFILE')
    assert log.n_configurations['count'].tolist() == [len(read_mlab(learned / 'ML_ABN').frames)]
    assert len(log.err['rmse_force']) == 1


def test_select_takes_what_is_new(tmp_path, learned):
    folder = go_on(tmp_path, learned, TRAIN | {'ML_MODE': 'select', 'ML_CTIFOR': 0.03, 'ML_ICRITERIA': 0})
    assert standin_here(folder) == 0
    all_frames, kept = (read_mlab(part / 'ML_ABN').frames for part in (learned, folder))
    assert 1 < len(kept) < len(all_frames)
    energies = {frame.get_potential_energy() for frame in all_frames}
    assert {frame.get_potential_energy() for frame in kept} < energies
    assert all(step.energy == 0 for step in OutcarReader(folder / 'OUTCAR'))


def test_limit_of_configurations_ends_the_run_and_keeps_them(tmp_path, capsys):
    folder = write_folder(tmp_path, LANGEVIN | TRAIN | {'NSW': 50, 'ML_MCONF': 3}, hydride())
    assert standin_here(folder) == EXIT_STATUS['MCONF_REACHED']
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith('ERROR: [MCONF_REACHED] ML_MCONF = 3 is reached in step')
    labelled = [step for step in OutcarReader(folder / 'OUTCAR') if step.is_dft]
    assert len(read_mlab(folder / 'ML_ABN').frames) == len(labelled) == 3
    assert read_ml_logfile(folder / 'ML_LOGFILE').truncated is None


def test_limit_of_references_that_must_not_be_discarded(tmp_path):
    tags = LANGEVIN | TRAIN | {'NSW': 50, 'ML_MB': 20, 'ML_LBASIS_DISCARD': '.FALSE.'}
    assert standin_here(write_folder(tmp_path, tags, hydride())) == EXIT_STATUS['MB_REACHED']
    assert len(read_mlab(tmp_path / 'ML_ABN').basis['Mg']) == 20


def start(folder):
    return subprocess.Popen([PROGRAM], cwd=folder, stdout=subprocess.DEVNULL, env=os.environ | {'OMP_NUM_THREADS': '1'})


def wait_for(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def n_labelled(folder):
    path = folder / 'OUTCAR'
    return path.read_text().count('free  energy   TOTEN') if path.exists() else 0


def test_killed_in_the_middle_and_gone_on_with(tmp_path):
    """No label is lost: each is in ML_ABN or in OUTCAR."""
    tags = LANGEVIN | TRAIN | {'NSW': 2000}
    folder = write_folder(tmp_path / 'killed', tags, hydride())
    process = start(folder)
    wait_for(lambda: n_labelled(folder) > 12, process)
    process.kill()
    process.wait()
    reader = OutcarReader(folder / 'OUTCAR')
    labelled = [step.energy for step in reader if step.is_dft]
    frames = read_mlab(folder / 'ML_ABN').frames
    assert not reader.finished
    assert len(labelled) >= 12
    assert 0 <= len(labelled) - len(frames) <= 6
    known = np.array([frame.get_potential_energy() for frame in frames])
    assert all(np.abs(np.array(labelled) - energy).min() < 1e-7 for energy in known)
    final = read_poscar(folder / 'CONTCAR')
    last = list(XdatcarReader(folder / 'XDATCAR'))[-1]
    shift = np.linalg.solve(final.cell.T, final.positions.T).T - last.fractional
    assert np.abs(shift).max() < 0.02
    second = go_on(tmp_path / 'second', folder, tags | {'NSW': 5})
    assert standin_here(second) == 0
    assert len(read_mlab(second / 'ML_ABN').frames) >= len(frames)


@pytest.mark.parametrize('how', ['STOPCAR', 'SIGTERM'])
def test_asked_to_end(tmp_path, how):
    folder = write_folder(tmp_path, LANGEVIN | TRAIN | {'NSW': 5000}, hydride())
    process = start(folder)
    wait_for(lambda: n_labelled(folder) > 3, process)
    if how == 'STOPCAR':
        (folder / 'STOPCAR').write_text('LSTOP = .TRUE.\n')
    else:
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    reader = OutcarReader(folder / 'OUTCAR')
    labelled = [step for step in reader if step.is_dft]
    assert reader.finished
    assert len(read_mlab(folder / 'ML_ABN').frames) == len(labelled)
    assert read_poscar(folder / 'CONTCAR').velocities is not None


def test_single_point(tmp_path):
    atoms = hydride()
    atoms.rattle(0.1, seed=1)
    folder = write_folder(tmp_path, {'ENCUT': 600, 'NSW': 0}, atoms)
    assert standin_here(folder) == 0
    (step,) = OutcarReader(folder / 'OUTCAR')
    labels = make_labeller('chgnet-r2scan', [12, 1], {}).label(atoms)
    assert step.energy == pytest.approx(labels.energy, abs=1e-4)
    np.testing.assert_allclose(step.forces, labels.forces, atol=1e-4)
    np.testing.assert_allclose(step.stress, labels.stress, atol=1e-6)
    assert '   ENCUT = 600' in (folder / 'OUTCAR').read_text().split('without effect')[1]


@pytest.mark.parametrize(('ibrion', 'isif'), [(1, 2), (2, 3)])
def test_relaxation(tmp_path, force_field, ibrion, isif):
    tags = {'IBRION': ibrion, 'ISIF': isif, 'NSW': 100, 'EDIFFG': -0.02, 'PSTRESS': 10 * (isif == 3)}
    atoms = hydride()
    atoms.rattle(0.05, seed=1)
    folder = run_with(tmp_path, tags, force_field, atoms)
    *_, last = OutcarReader(folder / 'OUTCAR')
    assert 'reached required accuracy' in (folder / 'OUTCAR').read_text()
    assert np.linalg.norm(last.forces, axis=1).max() < 0.02
    assert np.allclose(last.cell, atoms.cell.array) == (isif == 2)
    if isif == 3:
        assert -last.stress[:3].mean() == pytest.approx(0.1 * 10 / 160.2177, abs=0.02 * 17 / atoms.get_volume())
    relaxed = read_poscar(folder / 'CONTCAR')
    np.testing.assert_allclose(relaxed.positions, last.positions, atol=1e-5)


def test_relaxation_that_needs_more_steps(tmp_path, force_field):
    atoms = hydride()
    atoms.rattle(0.05, seed=1)
    folder = run_with(tmp_path, {'IBRION': 2, 'NSW': 3, 'EDIFFG': -1e-4}, force_field, atoms)
    assert len(list(OutcarReader(folder / 'OUTCAR'))) == 3
    assert 'reached required accuracy' not in (folder / 'OUTCAR').read_text()


def test_relaxation_to_an_energy(tmp_path, force_field):
    folder = run_with(tmp_path, {'IBRION': 2, 'NSW': 50, 'EDIFFG': 1e-3}, force_field)
    energies = read_oszicar(folder / 'OSZICAR')['free_energy_ev']
    assert abs(energies[-1] - energies[-2]) < 1e-3


def test_labels_of_the_environment(tmp_path, tiny_mace):
    """A Code's prepend_text chooses the labeller; its name has the digest of the file."""
    import hashlib

    folder = write_folder(tmp_path, {'NSW': 0}, hydride())
    environment = os.environ | {'MGHDIFF_STANDIN_LABELS': f'mace:{tiny_mace}'}
    subprocess.run([PROGRAM], cwd=folder, check=True, env=environment, capture_output=True)
    name = hashlib.sha256(Path(tiny_mace).read_bytes()).hexdigest()[:12]
    assert OutcarReader(folder / 'OUTCAR').standin == f'mace:{name}'


@pytest.mark.parametrize(
    ('heads', 'line'),
    [
        (['pt_head', 'Default'], 'come from its head Default'),
        (['A', 'B'], 'the model has the heads A and B and none is named'),
    ],
)
def test_labels_come_from_one_head(tmp_path, heads, line, capsys):
    folder = write_folder(tmp_path, {'NSW': 0}, hydride())
    status = standin_here(folder, f'mace:{make_multihead_mace(tmp_path / "some.model", heads)}')
    assert status == (0 if 'Default' in heads else EXIT_STATUS['INPUT_REFUSED'])
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ('labels', 'status'),
    [('pbe', 'INPUT_REFUSED'), ('mace:nowhere.model', 'POTENTIAL_UNREADABLE'), ('mace:INCAR', 'POTENTIAL_UNREADABLE')],
)
def test_labels_that_do_not_exist(tmp_path, labels, status, capsys):
    folder = write_folder(tmp_path, {'NSW': 0}, hydride())
    assert standin_here(folder, labels) == EXIT_STATUS[status]
    assert capsys.readouterr().out.splitlines()[-1].startswith(f'ERROR: [{status}] ')


def test_missing_engine(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'chgnet.model.model', None)
    assert standin_here(write_folder(tmp_path, {'NSW': 0}, hydride())) == EXIT_STATUS['ENGINE_MISSING']
    assert 'ERROR: [ENGINE_MISSING]' in capsys.readouterr().out


def test_forces_that_are_not_finite_end_the_run(tmp_path, learned, capsys):
    field, header = load(learned), read_ml_ff_header(learned / 'ML_FFN')
    field.weights[1][:] = np.nan
    folder = write_folder(tmp_path, NVE | RUN | {'NSW': 2}, hydride())
    write_ml_ff(folder / 'ML_FF', header, field.to_bytes())
    assert standin_here(folder) == EXIT_STATUS['NON_FINITE']
    assert 'ERROR: [NON_FINITE] step 1' in capsys.readouterr().out


def test_as_a_command(tmp_path, force_field):
    folder = write_folder(tmp_path, NVE | RUN | {'NSW': 3}, hydride(), ML_FF=force_field)
    status, output = standin(folder)
    assert status == 0
    assert output.splitlines()[0].strip() == program.version()


@pytest.mark.slow
def test_learns_on_the_fly(tmp_path):
    """Fewer than a tenth of the steps are labelled; the force error on another trajectory is below 60 meV/Å."""
    train = write_folder(tmp_path / 'train', LANGEVIN | TRAIN | {'NSW': 1000}, hydride())
    held_out = write_folder(tmp_path / 'test', LANGEVIN | {'NSW': 300, 'RANDOM_SEED': '99 0 0'}, hydride())
    standin(train)
    standin(held_out)
    field = load(train)
    errors = [
        field.evaluate(Atoms(hydride().numbers, step.positions, cell=step.cell, pbc=True)).forces - step.forces
        for step in list(OutcarReader(held_out / 'OUTCAR'))[100::10]
    ]
    assert n_labelled(train) < 100
    assert np.sqrt(np.mean(np.square(errors))) < 0.060
