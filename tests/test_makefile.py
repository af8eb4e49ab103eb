"""The steps that `make venv` repeats, according to `make -n`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
CPU = 'https://download.pytorch.org/whl/cpu'
#: Variables that this `make` would inherit from a `make` that runs the tests.
OF_MAKE = ('MAKEFLAGS', 'MAKELEVEL', 'MFLAGS', 'TORCH_INDEX', 'VENV')
#: Targets without `venv` and `demo`, which have their own tests.
TARGETS = (
    'test',
    'test-all',
    'test-cluster',
    'test-faults',
    'coverage',
    'lint',
    'docs',
    'bench',
    'clean',
    'clean-demo',
    'distclean',
    'intervals',
)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `make` in a folder as a user does, even if another `make` runs the tests."""
    environment = {key: value for key, value in os.environ.items() if key not in OF_MAKE}
    return subprocess.run(['make', *arguments], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def steps(tmp_path):
    """Return a function that returns the steps of `make venv` after torch came from an index."""
    for name in ('Makefile', 'constraints.txt', 'pyproject.toml'):
        shutil.copy(REPOSITORY / name, tmp_path)
    stamps = tmp_path / '.venv'
    stamps.mkdir()

    def plan(before, *variables):
        (stamps / '.created').touch()
        if before is not None:
            (stamps / '.torch').write_text(before)
            (stamps / '.installed').touch()
        done = make(tmp_path, '-n', 'venv', *variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return plan


def test_the_first_time_torch_comes_from_the_index(steps):
    assert f'--index-url {CPU} torch==' in steps(None, f'TORCH_INDEX={CPU}')


@pytest.mark.parametrize('before', ['', '\n', f'{CPU}\n'])
def test_nothing_is_done_again_without_another_index(steps, before):
    """A plain `make` keeps the given index, and does not fetch gigabytes of CUDA."""
    assert 'Nothing to be done' in steps(before)
    assert 'Nothing to be done' in steps(before, f'TORCH_INDEX={before.strip()}')


@pytest.mark.parametrize(('before', 'now'), [('', CPU), ('\n', CPU), (f'{CPU}\n', '')])
def test_another_index_brings_another_torch(steps, before, now):
    done = steps(before, f'TORCH_INDEX={now}')
    assert done.index('uninstall --yes torch') < done.index(' torch==')
    assert (f'--index-url {CPU}' in done) is bool(now)
    assert f"echo '{now}' > .venv/.torch" in done


@pytest.fixture
def checkout(tmp_path):
    """Return a function that calls `make` in a checkout with a given name, which has an environment."""

    def call(name, *arguments):
        folder = tmp_path / name
        (folder / '.venv').mkdir(parents=True)
        for file in ('Makefile', 'constraints.txt', 'pyproject.toml'):
            shutil.copy(REPOSITORY / file, folder)
        for stamp in ('.created', '.torch', '.installed'):
            (folder / '.venv' / stamp).touch()
        return make(folder, *arguments)

    return call


@pytest.mark.parametrize('name', ['my work', "it's", 'dol$lar', 'ü', 'a#b', 'semi;colon'])
@pytest.mark.parametrize('target', TARGETS)
def test_targets_do_not_name_the_checkout(checkout, name, target):
    """The shell gets only relative paths, so no blank or quote in the path can break a command."""
    done = checkout(name, '-n', target)
    assert done.returncode == 0, done.stderr
    assert name not in done.stdout


def test_every_target_is_phony_and_is_tested_here():
    makefile = (REPOSITORY / 'Makefile').read_text()
    targets = set(re.findall(r'^([a-z-]+):', makefile, re.MULTILINE))
    assert targets <= set(re.search(r'^\.PHONY: (.+)$', makefile, re.MULTILINE)[1].split())
    assert targets - {'venv', 'place', 'demo', 'always'} == set(TARGETS)


def test_programs_of_the_environment_are_found_in_a_checkout_with_blanks(checkout, tmp_path):
    """`lint` runs for real: it calls programs and needs no installation."""
    programs = tmp_path / 'my work' / '.venv' / 'bin'
    programs.mkdir(parents=True)
    for program in ('ruff', 'lint-imports', 'mypy'):
        (programs / program).write_text(f'#!/bin/sh\necho {program} "$@"; command -v {program}\n')
        (programs / program).chmod(0o755)
    programs.parent.rename(tmp_path / 'env')
    shutil.rmtree(tmp_path / 'my work')
    done = checkout('my work', 'lint', 'VENV=../env', '-o', '../env/.installed')
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f'{tmp_path}/env/bin/ruff') == 2


@pytest.mark.parametrize('name', ['my work', "it's", 'back\\slash', 'dol$lar'])
def test_demo_is_refused_before_anything_is_installed(checkout, name):
    """The daemon cannot start from such an environment; the message proposes another folder."""
    refused = checkout(name, 'demo')
    assert refused.returncode != 0
    assert refused.stdout == ''
    assert f'{name}/.venv, which has a blank, a quote, a backslash or a dollar sign in its path' in refused.stderr
    assert 'make VENV=/folder/without/them demo' in refused.stderr


def test_environment_with_a_blank_is_refused(checkout):
    refused = checkout('work', 'VENV=my env', 'venv')
    assert refused.returncode != 0
    assert 'VENV=my env has a blank in its path' in refused.stderr
