"""The parser of elastic bands in VASP: a real run, whole and damaged, and synthetic bands."""

from __future__ import annotations

import functools
import shutil

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from parsing import parse_job
from vasp_runs import end_results, hydride, make_force_field, outcar_text, straight_path, vasp_inputs

from aiida_mghdiff.calculations.vasp.job import poscar_text
from aiida_mghdiff.formats.poscar import Poscar, read_poscar

ENDS = ('initial_results', 'final_results')


@pytest.fixture
def finish(aiida_localhost, tmp_path):
    """Return a function that parses a job whose files lie in ``tmp_path / 'files'``."""
    return functools.partial(parse_job, 'mghdiff.vasp.neb', aiida_localhost, tmp_path / 'files')


# ---- the real run: inversion of NH3, three images ------------------------------------------------------------------


def as_atoms(poscar: Poscar) -> Atoms:
    return Atoms(poscar.numbers, poscar.positions, cell=poscar.cell, pbc=True)


@pytest.fixture
def nh3(shared_data, tmp_path):
    """Copy the files of the real run; return the inputs of its job without the results of the end points."""
    source = shared_data / 'vasp' / 'neb-nh3'
    for name in ('01', '02', '03'):
        (tmp_path / 'files' / name).mkdir(parents=True)
        for file in ('OUTCAR', 'CONTCAR'):
            shutil.copyfile(source / name / file, tmp_path / 'files' / name / file)
    ends = [as_atoms(read_poscar(source / name / 'POSCAR')) for name in ('00', '04')]
    tags = {'images': 3, 'spring': -5, 'ediffg': -0.03, 'nsw': 50, 'iopt': 1, 'ibrion': 3, 'potim': 0.0}
    return {'parameters': orm.Dict(tags), 'images': straight_path(ends, 3)}


def internal_distances(positions):
    return np.linalg.norm(positions[:, None] - positions[None], axis=2)


def test_barrier_of_the_real_run(nh3, finish):
    """VASP ran only the images, so the energies of the end points are unknown.

    Images 1 and 3 slid down into the pyramid. They are copies of the end points, shifted through the vacuum: their
    distances agree to 1e-3 Å. So the end points have their energy, and the barrier is 0.216 eV.
    """
    minimum = -19.49164066
    code, outputs = finish(nh3 | {name: end_results(minimum) for name in ENDS})
    assert code is None
    results, path = outputs['results'].get_dict(), outputs['path']
    assert results['energies_ev'] == pytest.approx([minimum, minimum, -19.27591934, -19.49164203, minimum], abs=1e-8)
    assert results['forward_barrier_ev'] == pytest.approx(0.2157, abs=1e-4)
    assert results['reverse_barrier_ev'] == pytest.approx(0.2157, abs=1e-4)
    assert results['converged']
    assert (results['saddle_image'], results['n_steps'], results['labelled_by']) == (2, 23, 'vasp')
    assert results['max_force_ev_per_angstrom'] == pytest.approx(0.010712)
    assert results['versions']['vasp'].startswith('vasp.5.4.4')
    assert '3.2' in results['versions']['vtst']
    positions = path.get_positions()
    for end, image in ((0, 1), (4, 3)):
        np.testing.assert_allclose(*map(internal_distances, (positions[end], positions[image])), atol=1e-3)
        assert 0.1 < np.abs(positions[end] - positions[image]).max() < 0.3


def test_positions_of_the_real_run_have_the_digits_of_contcar(nh3, finish, tmp_path):
    _, outputs = finish(nh3 | {name: end_results() for name in ENDS})
    path = outputs['path']
    for image in (1, 2, 3):
        exact = read_poscar(tmp_path / 'files' / f'0{image}' / 'CONTCAR').positions
        np.testing.assert_allclose(path.get_positions()[image], exact, atol=1e-12)
    forces = path.get_array('forces_ev_per_angstrom')
    assert np.isnan(forces[[0, 4]]).all()
    np.testing.assert_allclose(forces[1, 0], [0.008815, 0.005492, -0.000661])
    np.testing.assert_allclose(outputs['saddle'].get_ase().positions, path.get_positions()[2])


def cut_in_step(path, number):
    content = path.read_text()
    path.write_text(content[: content.index(f'Iteration {number:6d}(   2)')])


def test_real_run_cut_at_its_wall_time(nh3, finish, tmp_path):
    for name, number in (('01', 12), ('02', 13), ('03', 12)):
        cut_in_step(tmp_path / 'files' / name / 'OUTCAR', number)
    inputs = nh3 | {name: end_results() for name in ENDS}
    code, outputs = finish(inputs, scheduler_status=120)
    assert code.status == 400
    assert outputs['results']['n_steps'] == 11
    assert outputs['results']['converged'] is False
    assert outputs['results']['max_force_ev_per_angstrom'] == 4.024696
    assert outputs['path'].numsteps == 5
    code, _ = finish(inputs, stdout='running\nforrtl: killed\n')
    assert code.status == 310
    assert 'OUTCAR' in code.message
    assert 'killed' in code.message


# ---- synthetic bands -----------------------------------------------------------------------------------------------


@pytest.fixture
def band(aiida_profile, tmp_path):
    """Return a function that writes the folders of a band of three images and returns the inputs of its job."""

    def write(counts=(2, 2, 2), images=None, **changes):
        first = hydride()[0]
        path = images or straight_path(hydride(), 3)
        for index, count in enumerate(counts, start=1):
            folder = tmp_path / 'files' / f'{index:02d}'
            folder.mkdir(parents=True, exist_ok=True)
            target, forces = path.get_positions()[index], np.full((17, 3), 0.001 * index)
            steps = [(target + 0.01 * number, -25.0 - 0.1 * number - index, forces) for number in range(count)]
            (folder / 'OUTCAR').write_text(outcar_text(first, steps, **changes))
            last = Atoms(first.numbers, target + 0.01 * (count - 1) + 1e-6, cell=first.cell, pbc=True)
            last.wrap()
            (folder / 'CONTCAR').write_text(poscar_text(last, None))
        ends = {'initial_results': end_results(-28.5), 'final_results': end_results(-28.3)}
        return {'images': path, 'parameters': vasp_inputs(parameters={'n_images': 3})['parameters']} | ends

    return write


def test_band(band, finish):
    inputs = band()
    code, outputs = finish(inputs)
    assert code is None
    results = outputs['results'].get_dict()
    assert results['energies_ev'] == pytest.approx([-28.5, -26.1, -27.1, -28.1, -28.3])
    assert results['forward_barrier_ev'] == pytest.approx(2.4)
    assert results['reverse_barrier_ev'] == pytest.approx(2.2)
    assert results['reaction_energy_ev'] == pytest.approx(0.2)
    assert results['saddle_image'] == 1
    assert results['evaluator'] == 'dft'
    start, found = inputs['images'].get_positions(), outputs['path'].get_positions()
    np.testing.assert_allclose(found[[0, -1]], start[[0, -1]])
    np.testing.assert_allclose(found[1:-1], start[1:-1] + 0.01 + 1e-6, atol=1e-10)  # CONTCAR is wrapped
    assert results['path_length_angstrom'] == results['reaction_coordinate_angstrom'][-1]
    np.testing.assert_allclose(outputs['path'].get_array('energies_ev'), results['energies_ev'])


@pytest.mark.parametrize(
    ('ends', 'missing', 'present', 'rise'),
    [((-28.5, -26.0), 'reverse', 'forward', 2.5), ((-26.0, -28.5), 'forward', 'reverse', 2.5)],
)
def test_end_that_is_no_minimum(band, finish, ends, missing, present, rise):
    """A relaxed end lies above all images, so there is no saddle point and no barrier from this end."""
    inputs = band() | {name: end_results(energy) for name, energy in zip(ENDS, ends, strict=True)}
    code, outputs = finish(inputs)
    assert code is None
    results = outputs['results'].get_dict()
    assert results[f'{missing}_barrier_ev'] is results['saddle_image'] is None
    name = {'forward': 'initial', 'reverse': 'final'}[missing]
    assert f'the {name} end is no minimum of this potential' in results[f'{missing}_barrier_reason']
    assert results[f'{present}_barrier_ev'] == pytest.approx(rise)
    assert set(outputs) == {'path', 'results'}
    assert outputs['path'].numsteps == 5


def test_same_results_as_from_ase(band, finish):
    """Reports and studies read the same keys from VASP's results and from ASE's."""
    ase = {
        'converged',
        'forward_barrier_ev',
        'forward_barrier_reason',
        'reverse_barrier_ev',
        'reverse_barrier_reason',
        'reaction_energy_ev',
        'energies_ev',
        'reaction_coordinate_angstrom',
        'path_length_angstrom',
        'saddle_image',
        'max_force_ev_per_angstrom',
        'n_steps',
        'initial_displacement_angstrom',
        'final_displacement_angstrom',
        'dtype',
        'versions',
    }
    _, outputs = finish(band())
    assert ase <= set(outputs['results'].get_dict())


def test_force_field(band, finish, tmp_path):
    force_field = make_force_field(tmp_path)
    _, outputs = finish(band(is_dft=False) | {'potential': force_field})
    results = outputs['results'].get_dict()
    assert results['evaluator'] == f'vasp-mlff {force_field.base.attributes.get("sha256")[:12]}'
    assert results['energies_ev'][1] == pytest.approx(-26.1)


def test_vasp_without_vtst(band, finish):
    code, outputs = finish(band(band_force=None))
    assert code.status == 216
    assert 'IOPT, ICHAIN, LCLIMB' in code.message
    assert 'vasp.6.4.2' in code.message
    assert outputs == {}


def test_missing_image(band, finish, tmp_path):
    inputs = band()
    (tmp_path / 'files' / '02' / 'OUTCAR').unlink()
    code, outputs = finish(inputs)
    assert (code.status, outputs) == (300, {})
    assert '02/OUTCAR' in code.message


def test_program_that_crashed(band, finish, tmp_path):
    inputs = band()
    (tmp_path / 'files' / '01' / 'OUTCAR').unlink()
    code, _ = finish(inputs, stdout='Traceback (most recent call last):\n  ...\nImportError: no featomic\n')
    assert code.status == 303
    assert 'no featomic' in code.message


def test_not_converged_with_all_steps_taken(band, finish):
    inputs = band(converged=False, band_force=0.4)
    inputs['parameters'] = orm.Dict(inputs['parameters'].get_dict() | {'nsw': 2})
    code, outputs = finish(inputs)
    assert code.status == 510
    assert 'forces of 0.400 eV/Å after 2 steps; ediffg = -0.1' in code.message
    assert outputs['path'].numsteps == 5


def test_stopped_before_its_wall_time(band, finish):
    code, outputs = finish(band(converged=False, band_force=0.4))
    assert code.status == 400
    assert outputs['results']['n_steps'] == 2


def test_images_that_stopped_one_step_apart(band, finish):
    """Energies, forces and positions come from the last step of all images."""
    inputs = band(counts=(3, 2, 3), converged=False, finished=False)
    code, outputs = finish(inputs, scheduler_status=120)
    assert code.status == 400
    results, start = outputs['results'].get_dict(), inputs['images'].get_positions()
    assert results['n_steps'] == 2
    assert results['energies_ev'][1:-1] == pytest.approx([-26.1, -27.1, -28.1])
    np.testing.assert_allclose(outputs['path'].get_positions()[1:-1], start[1:-1] + 0.01, atol=1e-5)


def test_images_that_do_not_make_a_band(band, finish):
    code, outputs = finish(band(counts=(3, 0, 3), converged=False, finished=False))
    assert code.status == 310
    assert '3, 0, 3 complete steps; 01/OUTCAR, line' in code.message
    assert 'path' not in outputs


def test_electrons_that_did_not_converge(band, finish):
    code, outputs = finish(band(scf_converged=False))
    assert code.status == 430
    assert 'image 1, 2, 3' in code.message
    assert 'path' in outputs


def test_electrons_that_ended_at_nelm(band, finish, caplog):
    """VASP 5 words: only the last step of an image must have converged."""
    code, outputs = finish(band(counts=(3, 3, 3), at_nelm=[3]))
    assert (code.status, 'path' in outputs) == (430, True)
    code, _ = finish(band(counts=(3, 3, 3), at_nelm=[1, 2]))
    assert code is None
    assert 'image 02: OUTCAR does not show that the SCF converged at 2 of 3 steps (1, 2)' in caplog.text


def test_ends_of_other_labels(band, finish):
    inputs = band() | {'final_results': end_results(labelled_by='standin:chgnet-r2scan')}
    code, _ = finish(inputs)
    assert code.status == 218
    assert 'final_results is labelled by standin:chgnet-r2scan, the images by vasp' in code.message


def test_out_of_memory(band, finish):
    code, _ = finish(band(converged=False, finished=False), stdout='slurmstepd: oom-kill event(s)\n')
    assert code.status == 410


def test_image_cut_behind_its_energy(band, finish, tmp_path):
    """Without the force of the band a step is not whole."""
    inputs = band(counts=(2, 2, 2), converged=False, finished=False)
    path = tmp_path / 'files' / '02' / 'OUTCAR'
    path.write_text(path.read_text()[:-40])
    code, outputs = finish(inputs, scheduler_status=120)
    assert code.status == 400
    assert outputs['results']['n_steps'] == 1
    assert outputs['results']['energies_ev'][1:-1] == pytest.approx([-26.0, -27.0, -28.0])


def test_file_that_ends_in_its_head(band, finish, tmp_path):
    """Such a file does not show whether VASP has VTST."""
    inputs = band(converged=False, finished=False)
    path = tmp_path / 'files' / '02' / 'OUTCAR'
    path.write_text(path.read_text()[:40])
    code, _ = finish(inputs)
    assert code.status == 310


def test_words_of_vasp(band, finish):
    box = ' -----\n|  ERROR: POTCAR of H is damaged,  |\n|  take another one.  |\n -----\n'
    code, _ = finish(band(converged=False, finished=False), stdout=box)
    assert code.status == 303
    assert 'POTCAR of H is damaged' in code.message


def test_damaged_outcar(band, finish, tmp_path):
    inputs = band()
    path = tmp_path / 'files' / '03' / 'OUTCAR'
    path.write_text(
        path.read_text().replace('FORCES: max atom, RMS     0.010000', 'FORCES: max atom, RMS     ********')
    )
    code, _ = finish(inputs)
    assert code.status == 304
    assert 'no number' in code.message
