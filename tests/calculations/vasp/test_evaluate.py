"""VASP's force field on the frames of a dataset: the files of the job, its loop over frames, refused inputs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from exit_codes import COMMON
from training_inputs import make_chgnet
from vasp_runs import make_force_field

from aiida_mghdiff.calculations.vasp.evaluate import VaspEvaluateCalculation, frames_of
from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.formats.poscar import read_poscar

ORDERS = ('Mg2H', 'HMg2', 'Mg2', 'MgHMg')


def make_frames(symbols=ORDERS):
    """Return a dataset with one frame for each order of the atoms."""
    frames, rng = [], np.random.default_rng(1)
    for formula in symbols:
        atoms = Atoms(formula, cell=np.diag([3.2, 5.5, 5.2]), pbc=True)
        atoms.positions = rng.uniform(0, 3, size=atoms.positions.shape)
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=rng.normal(size=atoms.positions.shape))
        frames.append(atoms)
    return DatasetData.from_frames(frames, labelled_by='vasp')


@pytest.fixture
def inputs(aiida_profile, aiida_code_installed, tmp_path):
    code = aiida_code_installed(default_calc_job_plugin='mghdiff.vasp.evaluate', filepath_executable='/bin/true')
    return {
        'code': code,
        'potential': make_force_field(tmp_path),
        'dataset': make_frames(),
        'potcars': placeholder_potcars(['Mg', 'H']),
    }


@pytest.fixture
def folder():
    with SandboxFolder() as sandbox:
        yield sandbox


def prepare(inputs, folder):
    process = instantiate_process(get_manager().get_runner(), VaspEvaluateCalculation, **inputs)
    return process.prepare_for_submission(folder)


def test_files(inputs, folder, file_regression):
    calcinfo = prepare(inputs, folder)
    root = Path(folder.abspath)
    files = sorted(str(path.relative_to(root)) for path in root.rglob('*') if path.is_file())
    assert files == [
        'INCAR',
        'KPOINTS',
        'frames/H-Mg/POSCAR_000001',
        'frames/H-Mg/POTCAR',
        'frames/Mg-H/POSCAR_000000',
        'frames/Mg-H/POSCAR_000003',
        'frames/Mg-H/POTCAR',
        'frames/Mg/POSCAR_000002',
        'frames/Mg/POTCAR',
    ]
    assert calcinfo.local_copy_list == [(inputs['potential'].uuid, 'potential.model', 'ML_FF')]
    assert sorted(calcinfo.provenance_exclude_list) == [name for name in files if name.endswith('POTCAR')]
    titles = [line.split()[3] for line in (root / 'frames/H-Mg/POTCAR').read_text().splitlines() if 'TITEL' in line]
    assert titles == ['H_standin', 'Mg_standin']
    poscar = read_poscar((root / 'frames/Mg-H/POSCAR_000003').read_text())
    assert (poscar.symbols, poscar.counts) == (['Mg', 'H'], [2, 1])
    assert np.abs(poscar.positions - inputs['dataset'].get_frames()[3].positions[[0, 2, 1]]).max() < 1e-13
    file_regression.check((root / 'INCAR').read_text(), extension='.INCAR')


#: Takes VASP's place: copies its input to OUTCAR, and fails if POSCAR has the words in BREAK.
VASP = (
    'if grep -q "$BREAK" POSCAR; then echo broken; else cat POSCAR POTCAR > OUTCAR; echo General timing >> OUTCAR; fi'
)


def run_script(inputs, folder, breaks_at):
    """Run the job script in bash, and return the folder."""
    calcinfo, root = prepare(inputs, folder), Path(folder.abspath)
    (root / 'vasp').write_text(VASP)
    script = f'{calcinfo.prepend_text}\n\nsh ./vasp > vasp_output 2>&1\n\n{calcinfo.append_text}\n'
    subprocess.run(['bash', '-c', script], cwd=root, env={'BREAK': breaks_at, 'PATH': '/usr/bin:/bin'}, check=True)
    return root


def test_every_frame_gets_its_run(inputs, folder):
    root = run_script(inputs, folder, 'nothing')
    for path, _ in frames_of(inputs['dataset']):
        found = (root / path.replace('POSCAR', 'OUTCAR')).read_text()
        assert found == (root / path).read_text() + (root / path).with_name('POTCAR').read_text() + 'General timing\n'
    lines = (root / 'vasp_last_lines').read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [['progress', f'{number}/4'] for number in range(1, 5)]


def test_the_first_frame_that_fails_ends_it(inputs, folder):
    """The loop takes the folders in bash's order: H-Mg, Mg, Mg-H."""
    root = run_script(inputs, folder, 'Mg2$')  # the title of the frame without H
    done = sorted(path.name for path in root.rglob('OUTCAR_*'))
    assert 'OUTCAR_000002' not in done
    assert len(done) < 4
    assert (root / 'vasp_last_lines').read_text().endswith('broken\n')


def test_refuses(inputs):
    def message(**changes):
        with pytest.raises(ValueError, match=r'.') as error:
            instantiate_process(get_manager().get_runner(), VaspEvaluateCalculation, **inputs | changes)
        return str(error.value)

    assert 'VASP runs vasp-mlff potentials, not chgnet' in message(potential=make_chgnet())
    assert 'potcars has no POTCAR for Mg' in message(potcars=placeholder_potcars(['H']))
    assert 'the potential does not know He' in message(dataset=make_frames(['MgHe']))


def test_dry_run_leaves_titles_and_hashes(inputs, tmp_path, monkeypatch):
    from aiida.engine import run_get_node

    monkeypatch.chdir(tmp_path)
    inputs['metadata'] = {'dry_run': True, 'store_provenance': False}
    run_get_node(VaspEvaluateCalculation, **inputs)
    potcars = sorted(tmp_path.glob('submit_test/*/frames/*/POTCAR'))
    assert len(potcars) == 3
    assert all('sha512' in path.read_text() and 'END of PSCTR' not in path.read_text() for path in potcars)


def test_equal_inputs_are_one_job(inputs, tmp_path):
    """Datasets and force fields of equal content have equal hashes, whatever their nodes."""
    (tmp_path / 'again').mkdir()
    again = inputs | {'potential': make_force_field(tmp_path / 'again'), 'dataset': make_frames()}
    for key in ('potential', 'dataset'):
        assert inputs[key].store().base.caching.get_hash() == again[key].store().base.caching.get_hash()


def test_exit_codes():
    codes = VaspEvaluateCalculation.exit_codes
    found = {code.status: code.invalidates_cache for code in codes.values() if code.status >= 200}
    assert found == COMMON | {217: True, 310: True}
    assert orm.Dict is VaspEvaluateCalculation.spec().outputs['results'].valid_type
