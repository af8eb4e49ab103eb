"""One part of a job writes these files, and another part reads them."""

from __future__ import annotations

import pytest

from aiida_mghdiff.formats import job_files

VERSIONS = {'python': '3.11.7', 'mace-torch': '0.3.16'}
NOISE = 'LAMMPS (22 Jul 2025)\n{}\nLoop time of 1.2 on 1 procs\n'


def test_statuses_are_distinct():
    statuses = job_files.EXIT_STATUS.values()
    assert len(set(statuses)) == len(statuses)
    assert all(1 < status < 126 for status in statuses)


@pytest.mark.parametrize('name', job_files.EXIT_STATUS)
def test_failure(name):
    line = job_files.failure_line(name, 'head [1]: 2 of 3.')
    assert job_files.read_failure(NOISE.format(line)) == (name, 'head [1]: 2 of 3.')


def test_the_last_failure_counts():
    lines = [job_files.failure_line('NON_FINITE', 'first'), job_files.failure_line('INPUT_REFUSED', 'last'), 'done']
    assert job_files.read_failure('\n'.join(lines)) == ('INPUT_REFUSED', 'last')
    # a progress bar ends without a line feed
    assert job_files.read_failure('epoch 1\r' + lines[0]) == ('NON_FINITE', 'first')
    assert job_files.read_failure('ERROR: Lost atoms\n') is None


def test_progress():
    lines = [job_files.progress_line(done, 20, t=0.5 * done, T='300K') for done in (1, 2)]
    assert lines[0] == 'progress 1/20 t=0.5 T=300K'
    assert job_files.read_progress('\n'.join(lines)) == (2, 20, 't=1 T=300K')
    assert job_files.read_progress('no line') is None


@pytest.mark.parametrize('head', ['Default', 'a head', "it's"])
def test_launcher_comment(head):
    comment = job_files.launcher_comment(evaluator='auto', head=head)
    words = job_files.read_launcher_comments(f'units metal\n{comment}\n# mghdiff is a name\nrun 1\n')
    assert words == ['evaluator=auto', f'head={head}']


@pytest.mark.parametrize(
    ('line', 'read', 'value'),
    [
        (job_files.launcher_line('0.1.0', '0a1b'), job_files.read_launcher, '0.1.0 sources 0a1b'),
        (job_files.head_line('two words'), job_files.read_head, 'two words'),
        (
            job_files.evaluator_line('torch', '0.3.16', 'float64', 'device cpu, symmetrix not used: f(x)'),
            job_files.read_evaluator,
            ('torch', 'device cpu, symmetrix not used: f(x)'),
        ),
        (job_files.versions_line(VERSIONS), job_files.read_versions, VERSIONS),
    ],
)
def test_lines_of_the_launcher(line, read, value):
    assert read(NOISE.format(line)) == value
    assert not read(NOISE.format(''))


def test_digest_of_the_sources_comes_off():
    assert job_files.without_sources(job_files.with_sources('0.1.0', '0123456789abcdef') + ' torch 2.13') == (
        '0.1.0 torch 2.13'
    )
