"""Bad input: one clear sentence at the end of stdout and in OUTCAR, an exit status, and nothing computed."""

from __future__ import annotations

import numpy as np
import pytest
from standin_runs import LANGEVIN, MD, NPT, NVE, RUN, TRAIN, hydride, standin_here, write_folder

from aiida_mghdiff.formats.iconst import iconst_text
from aiida_mghdiff.formats.job_files import EXIT_STATUS
from aiida_mghdiff.formats.outcar import OutcarReader

SHORT = LANGEVIN | {'NSW': 2}


def refuse(tmp_path, capsys, tags, atoms=None, prepare=lambda folder: None, **files):
    """Return the sentence that refuses a folder, from stdout and OUTCAR."""
    folder = write_folder(tmp_path / 'job', tags, atoms or hydride(), **files)
    prepare(folder)
    capsys.readouterr()
    assert standin_here(folder) == EXIT_STATUS['INPUT_REFUSED']
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith('ERROR: [INPUT_REFUSED] ')
    sentence = line.removeprefix('ERROR: [INPUT_REFUSED] ')
    boxed = (folder / 'OUTCAR').read_text()
    assert without_bars(sentence) in without_bars(boxed)
    reader = OutcarReader(folder / 'OUTCAR')
    assert (reader.standin, list(reader), reader.finished) == ('chgnet-r2scan', [], False)
    return sentence


def without_bars(text):
    return ' '.join(text.replace('|', ' ').split())


@pytest.mark.parametrize('tag', ['INCAR', 'POSCAR', 'POTCAR'])
def test_missing_file(tmp_path, capsys, tag):
    assert (
        refuse(tmp_path, capsys, SHORT, prepare=lambda folder: (folder / tag).unlink())
        == f'{tag} is missing: write it into this folder.'
    )


@pytest.mark.parametrize(
    ('tags', 'words'),
    [
        ({'TEBEG': 0}, 'TEBEG = 0: below 0.1 K'),
        ({'TEEND': 0.05}, 'TEEND = 0.05: below 0.1 K'),
        ({'LANGEVIN_GAMMA': '10'}, 'LANGEVIN_GAMMA = 10: give 2 frictions, one for each species (Mg H)'),
        ({'LANGEVIN_GAMMA': '10 -1'}, 'a friction must not be below 0'),
        ({'MDALGO': 1, 'ISIF': 3}, 'ISIF = 3: VASP moves the cell only in Langevin dynamics'),
        ({'MDALGO': 2, 'SMASS': -1}, 'SMASS = -1'),
        ({'POTIM': 0}, 'POTIM = 0: a time step must be above 0'),
        ({'POMASS': '24'}, 'POMASS = 24: give 2 masses, one for each species'),
        ({'TYPO': 1}, 'the stand-in does not know TYPO'),
        (RUN, 'ML_FF is missing: ML_MODE = run needs a force field'),
        (RUN | {'ML_MODE': 'refit'}, 'ML_AB is missing: ML_MODE = refit works on its configurations'),
        (RUN | {'ML_MODE': 'select'}, 'ML_AB is missing: ML_MODE = select'),
        (TRAIN | {'IMAGES': 1}, '00/POSCAR is missing'),
    ],
)
def test_settings(tmp_path, capsys, tags, words):
    assert words in refuse(tmp_path, capsys, SHORT | tags)


def test_temperature_that_is_not_given(tmp_path, capsys):
    tags = {tag: value for tag, value in SHORT.items() if tag != 'TEBEG'}
    assert 'TEBEG = 0 (its default)' in refuse(tmp_path, capsys, tags)


def replaced(folder, name, old, new):
    content = (folder / name).read_text()
    assert old in content
    (folder / name).write_text(content.replace(old, new))


@pytest.mark.parametrize(
    ('name', 'old', 'new', 'words'),
    [
        ('POSCAR', '   Mg    H\n    16     1', '   Mg    H   Mg\n    8     1     8', 'species are not grouped'),
        ('POSCAR', '   Mg    H', '    H   Mg', 'the potentials are of Mg H, but POSCAR has H Mg'),
        ('POSCAR', 'Direct', 'Direct\n  x y z', 'POSCAR, line 9: three numbers must stand here'),
        ('KPOINTS', '0\nGamma', '5\nGamma', 'KPOINTS: '),
        ('KPOINTS', '1 1 1', '1 1', 'KPOINTS: '),
        ('INCAR', 'NSW = 2', 'NSW 2', 'INCAR, line'),
    ],
)
def test_damaged_file(tmp_path, capsys, name, old, new, words):
    assert words in refuse(tmp_path, capsys, SHORT, prepare=lambda folder: replaced(folder, name, old, new))


def test_block_of_another_ensemble(tmp_path, capsys):
    def prepare(folder):
        velocities = '\n'.join(['0.0 0.0 0.0'] * 17)
        with (folder / 'POSCAR').open('a') as handle:
            handle.write(f'\n{velocities}\n\n1\n1.0\n0 0 0 0\n')

    assert 'predictor-corrector block is of another ensemble' in refuse(tmp_path, capsys, SHORT, prepare=prepare)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda text: 'R 1 40 0\n', 'atom 40 does not exist'),
        (lambda text: 'LR 1 0\n', 'angles'),
        (lambda text: text + 'S 0 0 0 1.4 0 -1 0\n', 'give the ratio of the cell'),
    ],
)
def test_iconst(tmp_path, capsys, change, words):
    text = change(iconst_text(hydride().cell.array, 'free-c/a'))
    assert words in refuse(tmp_path, capsys, NPT | {'NSW': 2}, ICONST=text)


@pytest.mark.parametrize('tags', [LANGEVIN, NVE])
@pytest.mark.parametrize(
    ('text', 'words'), [('R 1 17 0\n', 'R with status 0'), ('R 1 40 0\n', 'atom 40 does not exist')]
)
def test_atoms_are_not_held_where_the_cell_is_fixed(tmp_path, capsys, tags, text, words):
    """Constraints are obeyed or refused, never ignored."""
    assert words in refuse(tmp_path, capsys, tags | {'NSW': 2}, ICONST=text)


def test_labels_of_another_standin(tmp_path, capsys, learned):
    stored = (learned / 'ML_ABN').read_bytes().replace(b'stand-in chgnet-r2scan', b'stand-in gpaw         ')
    words = 'ML_AB is labelled by standin:gpaw, this run by standin:chgnet-r2scan'
    for mode in ('train', 'refit', 'select'):
        assert words in refuse(tmp_path, capsys, SHORT | TRAIN | {'ML_MODE': mode}, ML_AB=stored)


def test_learned_files(tmp_path, capsys, learned):
    stored, field = ((learned / name).read_bytes() for name in ('ML_ABN', 'ML_FFN'))
    mg = hydride()[:-1]
    train, run = SHORT | TRAIN, SHORT | RUN
    one = {'LANGEVIN_GAMMA': 10}

    def said(tags, atoms=None, **files):
        for name in ('ML_AB', 'ML_FF'):
            (tmp_path / 'job' / name).unlink(missing_ok=True)
        return refuse(tmp_path, capsys, tags, atoms, **files)

    assert 'ML_AB has configurations of H, but POSCAR has only Mg' in said(train | one, mg, ML_AB=stored)
    assert 'ML_MCONF = 3: ML_AB has' in said(train | {'ML_MCONF': 3}, ML_AB=stored)
    assert 'ML_MB = 3: ML_AB has' in said(train | {'ML_MB': 3}, ML_AB=stored)
    assert 'ML_AB, line' in said(train, ML_AB=stored[:-400])
    assert 'its version is 0.9.0' in said(run, ML_FF=field.replace(b'ML_FF 0.2.1', b'ML_FF 0.9.0', 1))
    assert 'VASP itself wrote it' in said(run, ML_FF=field.replace(b' standin {', b' binary  {', 1))
    assert 'the file is truncated' in said(run, ML_FF=field[:-100])
    assert 'ML_FF' in said(run, ML_FF=field[:5000])
    other = hydride()
    other.numbers[-1] = 3
    assert 'it knows only Mg, H, not Li' in said(run, other, ML_FF=field)


def test_band_of_different_structures(tmp_path, capsys):
    def prepare(folder, change):
        for index in range(3):
            (folder / f'{index:02d}').mkdir(exist_ok=True)
            (folder / f'{index:02d}' / 'POSCAR').write_text((folder / 'POSCAR').read_text())
        change(folder)

    band = {'IBRION': 3, 'IMAGES': 1, 'NSW': 2, 'EDIFFG': -0.1}

    def said(change):
        return refuse(tmp_path, capsys, band, prepare=lambda folder: prepare(folder, change))

    assert 'another cell than 00/POSCAR: give all images the same cell' in said(
        lambda folder: replaced(folder, '02/POSCAR', '10.3', '10.4')
    )
    assert 'other atoms than 00/POSCAR: give all images the same atoms' in said(
        lambda folder: replaced(folder, '01/POSCAR', '   Mg    H', '   Mg   Li')
    )


def test_gpaw_needs_a_mesh(tmp_path, capsys):
    folder = write_folder(tmp_path, SHORT, hydride())
    (folder / 'KPOINTS').unlink()
    assert standin_here(folder, 'gpaw') == EXIT_STATUS['INPUT_REFUSED']
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == 'ERROR: [INPUT_REFUSED] KPOINTS is missing: write it into this folder.'
    )


def test_mdalgo_0_is_nose_hoover(tmp_path):
    """SMASS decides, as for MDALGO = 2."""
    from aiida_mghdiff.executables.vasp_standin.folder import has_nose_thermostat
    from aiida_mghdiff.executables.vasp_standin.incar_tags import read_settings

    raw = {tag: str(value) for tag, value in MD.items()}
    assert not has_nose_thermostat(read_settings(raw))
    assert has_nose_thermostat(read_settings(raw | {'SMASS': '0'}))
    assert not np.isnan(read_settings(raw).smass)
