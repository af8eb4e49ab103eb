"""Stops of an on-the-fly learning segment, on recorded files in VASP's place: handlers from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms
from vasp_md_runs import (
    EinsteinCrystal,
    contcar_text,
    frame_of,
    logfile,
    mlff_inputs,
    mlff_settings,
    mlff_tags,
    write_learned,
)

from aiida_mghdiff.calculations.functions.merge import merge_datasets
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.formats.incar import read_incar
from aiida_mghdiff.formats.mlab import read_mlab
from aiida_mghdiff.workflows.learning_segment import LearningSegmentWorkChain

#: Plays the next recorded run at each call.
REPLAY = """\
#!/bin/sh
n=$(cat {folder}/next 2> /dev/null || echo 0)
echo $((n + 1)) > {folder}/next
cp {folder}/$n/* .
cat said 2> /dev/null || true
"""


@pytest.fixture
def records(tmp_path):
    """Folder of recorded runs."""
    folder = tmp_path / 'records'
    folder.mkdir()
    (folder / 'vasp').write_text(REPLAY.format(folder=folder))
    (folder / 'vasp').chmod(0o755)
    return folder


@pytest.fixture
def run_segment(codes, records):
    """Return a function that runs a segment on the recorded runs."""

    def run(**tags):
        code = orm.InstalledCode(
            label='replay', computer=codes['python'].computer, filepath_executable=str(records / 'vasp')
        ).store()
        inputs = {name: mlff_inputs(code)[name] for name in ('structure', 'kpoints')}
        inputs |= {'codes': {'vasp': code}, 'potcars': placeholder_potcars(['Mg', 'H'])}
        inputs |= {'parameters': orm.Dict(mlff_tags(**tags)), 'settings': orm.Dict(mlff_settings())}
        options = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'withmpi': False}
        return run_get_node(LearningSegmentWorkChain, **inputs, options={'learn': orm.Dict(options)})

    return run


def after(run: EinsteinCrystal) -> EinsteinCrystal:
    """Return a run that continues another one."""
    positions, velocities = run.final
    state = MdStateData.from_arrays(run.numbers, run.cell, positions, velocities, run.state.step + len(run.steps))
    return EinsteinCrystal(state)


def at_rest(state: MdStateData | None = None) -> EinsteinCrystal:
    """Return a run that stays cold, because its wells do not move."""
    run = EinsteinCrystal(state)
    run.drift = np.zeros(3)
    return run


def record(
    records: Path, run: EinsteinCrystal, dft: tuple[int, ...], before: list[Atoms], said: str = ''
) -> tuple[Path, list[Atoms]]:
    """Record a run that learned all its DFT steps; return its folder and all known configurations.

    :param said: output of VASP.
    """
    folder = records / str(len(list(records.glob('[0-9]*'))))
    folder.mkdir()
    run.write(folder, dft=dft)
    known = before + [frame_of(run, step) for step in dft]
    write_learned(folder, known)
    (folder / 'ML_LOGFILE').write_text(logfile(len(run.steps), dft))
    (folder / 'said').write_text(said)
    return folder, known


def jobs_of(node):
    """Return the jobs of a segment in order."""
    return sorted((job for job in node.called if isinstance(job, orm.CalcJobNode)), key=lambda job: job.pk)


def file_of(job, name):
    return Path(job.outputs.remote_folder.get_remote_path()) / name


def test_wall_time_with_electrons_that_did_not_converge(records, run_segment):
    """The next job has more electronic steps and an ML_AB without the label; all labels are kept."""
    run = EinsteinCrystal().run(12)
    folder, known = record(records, run, (1, 3, 8), [])
    text = (folder / 'OUTCAR').read_text()
    at = text.index('Iteration      3(')
    (folder / 'OUTCAR').write_text(
        text[:at] + text[at:].replace('EDIFF is reached', 'EDIFF was not reached (unconverged)', 1)
    )
    record(records, after(run).run(28), (1, 20), [known[0], known[2]])
    outputs, node = run_segment()
    assert node.is_finished_ok, node.exit_message
    first, second = jobs_of(node)
    assert (first.exit_status, second.exit_status) == (400, 0)
    learned = read_mlab(file_of(second, 'ML_AB')).frames
    assert [frame.get_potential_energy() for frame in learned] == [known[i].get_potential_energy() for i in (0, 2)]
    assert read_incar(file_of(second, 'INCAR'))['NELM'] == '120'
    assert outputs['datasets']['part0000'].get_array('converged').tolist() == [1, 0, 1]
    merged = merge_datasets(**outputs['datasets'])
    assert merged.get_array('steps').tolist() == [0, 7, 12, 31]
    assert outputs['state'].step == 40
    assert outputs['learning_state'].get_array('order').tolist() == [0, 2, 3, 4]
    assert outputs['last_parameters']['nelm'] == 120


def test_no_room_for_more_configurations(records, run_segment):
    run = EinsteinCrystal().run(12)
    _, known = record(records, run, (1, 3), [], said='ERROR: [MCONF_REACHED] ML_MCONF = 2 is reached')
    record(records, after(run).run(28), (9,), known)
    outputs, node = run_segment(ml_mconf=2)
    assert node.is_finished_ok, node.exit_message
    first, second = jobs_of(node)
    assert first.exit_status == 440
    assert read_incar(file_of(second, 'INCAR'))['ML_MCONF'] == '4'
    assert merge_datasets(**outputs['datasets']).get_array('steps').tolist() == [0, 2, 20]


def test_cell_that_changes_too_much(records, run_segment):
    """Two jobs repeat the run, each with the plane waves of its own cell; nothing comes from the first job."""
    whole = at_rest().run(120)
    folder, _ = record(records, whole, (1, 90), [])
    positions, velocities = whole.final
    stretched = Atoms(whole.numbers, 1.2 * positions, cell=1.2 * whole.cell, pbc=True)
    (folder / 'CONTCAR').write_text(contcar_text(stretched, velocities=velocities))
    half = at_rest().run(60)
    _, known = record(records, half, (1, 50), [])
    record(records, at_rest(after(half).state).run(60), (30,), known)
    outputs, node = run_segment(nsw=120)
    assert node.is_finished_ok, node.exit_message
    assert [job.outputs.results['lattice_change'] > 0.1 for job in jobs_of(node)] == [True, False, False]
    assert [part['last_step'] for part in outputs['results'].values()] == [60, 120]
    assert merge_datasets(**outputs['datasets']).get_array('steps').tolist() == [0, 49, 89]


def test_temperature_that_runs_away(records, run_segment):
    """The outputs have the earlier learning and all labels until the failure."""
    run = EinsteinCrystal().run(12)
    _, known = record(records, run, (1, 3), [])
    hot = after(run).run(28)
    hot.temperature = lambda _: 5000.0
    record(records, hot, (2,), known)
    outputs, node = run_segment()
    assert (node.exit_status, jobs_of(node)[-1].exit_status) == (611, 520)
    assert '5000 K' in node.exit_message
    assert merge_datasets(**outputs['datasets']).get_array('steps').tolist() == [0, 2, 13]
    assert outputs['state'].step == 12
    assert list(outputs['configurations']) == ['part0000']
