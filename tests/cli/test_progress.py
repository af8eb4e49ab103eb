"""The progress of a study's jobs, and the time left."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.common.links import LinkType

from aiida_mghdiff.cli import progress
from aiida_mghdiff.cli.progress import Job, Watch, last_progress, news, render
from aiida_mghdiff.data.potential import LEARNED

STAGES = {'npt': {'steps': 100}, 'nvt': {'steps': 200}, 'nve': {'steps': 1000}}


def link(node, inputs, kind):
    for name, data in inputs.items():
        node.base.links.add_incoming(data.store(), kind, name)


@pytest.fixture
def inputs(aiida_profile, tiny_potential):
    """Inputs of a study from nothing, with a given and a trained MACE, barriers, and runs at two temperatures.

    One more run uses the force field that the study learns.
    """
    settings = orm.Dict(STAGES | {'n_replicas': 3, 'independent_replicas': False})
    inputs = {'potentials__mace_mp': tiny_potential, 'otf__settings': orm.Dict()}
    inputs |= {'training__mace_tr__architecture': orm.Str('mace')}
    inputs |= {f'{name}__mace': orm.Dict() for name in ('evaluation', 'neb', 'vibrations')}
    inputs |= {f'paths__{name}': orm.Dict() for name in ('o_t', 't_t')}
    for key, label, temperatures in (('a', 'mace_mp', (600.0, 800.0)), ('b', LEARNED, (800.0,))):
        inputs |= {f'diffusion__{key}__potential': orm.Str(label), f'diffusion__{key}__settings': settings}
        inputs |= {f'diffusion__{key}__temperatures__t{int(t)}k': orm.Float(t) for t in temperatures}
    return inputs


@pytest.fixture
def make_watch(inputs):
    """Return a function that watches a study with the inputs whose names begin with given words."""

    def make(*words):
        node = orm.WorkChainNode(process_type='aiida.workflows:mghdiff.study')
        link(node, {name: value for name, value in inputs.items() if name.startswith(words)}, LinkType.INPUT_WORK)
        return Watch(node.store(), slots=2)

    return make


@pytest.fixture
def make_job(aiida_computer_local, tmp_path):
    """Return a function that makes the node of a job that runs in ``tmp_path``."""

    def make(entry_point, output_filename, **inputs):
        node = orm.CalcJobNode(computer=aiida_computer_local(), process_type=f'aiida.calculations:{entry_point}')
        node.set_options({'resources': {'num_machines': 1}, 'output_filename': output_filename})
        link(node, inputs, LinkType.INPUT_CALC)
        node.store().set_remote_workdir(str(tmp_path))
        return node

    return make


def test_plan(make_watch):
    watch = make_watch('')
    assert watch.planned_steps == {'mace': 2 * (100 + 200 + 3000), 'vasp-mlff': 100 + 200 + 3000}
    assert watch.planned_jobs == {
        'mghdiff.mace.train': 1,
        'mghdiff.evaluate': 2,
        'mghdiff.ase.neb': 4,
        'mghdiff.ase.vibrations': 12,
    }


def test_time_left_of_md_is_a_lower_bound_until_every_architecture_has_shown_its_pace(
    make_watch, make_job, tiny_potential
):
    """VASP's own force field counts as an architecture."""
    node = make_job('mghdiff.lammps.md', 'out', potential=tiny_potential, parameters=orm.Dict({'steps': 1000}))
    jobs, watch = [Job('nve', node, 'done')], make_watch('potentials', 'diffusion', 'otf')
    watch.learns = False
    assert watch.left(jobs) == (0, False)
    watch.step_seconds = {'mace': 0.01}
    assert watch.left(jobs) == (pytest.approx(5600 * 0.01 / 2), False)
    watch.step_seconds |= {'vasp-mlff': 0.1}
    assert watch.left(jobs) == (pytest.approx((5600 * 0.01 + 3300 * 0.1) / 2), True)


def test_time_left_of_what_waits_is_its_count_times_the_mean_of_its_kind(make_watch, make_job):
    """Nothing is known of the four barriers before one has ended."""
    watch = make_watch('potentials', 'training__', 'evaluation', 'neb', 'paths')
    names = {'training': 'mghdiff.mace.train', 'evaluation': 'mghdiff.evaluate', 'barrier': 'mghdiff.ase.neb'}
    nodes = {name: make_job(entry_point, 'out') for name, entry_point in names.items()}
    jobs = [Job('training', nodes['training'], 'running', done=0.5, left=30.0)]
    assert watch.left(jobs) == (30.0, False)
    watch.durations = {'mghdiff.evaluate': {1: 10.0, 2: 20.0}}
    jobs = [Job('training', nodes['training'], 'done'), Job('evaluation', nodes['evaluation'], 'cached')]
    assert watch.left(jobs) == (15.0 / 2, False)
    watch.durations |= {'mghdiff.ase.neb': {3: 40.0}}
    assert watch.left(jobs) == ((15.0 + 4 * 40.0) / 2, True)
    jobs += [Job('barrier', nodes['barrier'], 'running'), Job('barrier', nodes['barrier'], 'queued')]
    assert watch.left(jobs) == ((15.0 + 4 * 40.0) / 2, True)
    jobs[2].left = 100.0
    assert watch.left(jobs) == ((15.0 + 100.0 + 3 * 40.0) / 2, True)


def test_the_mean_is_that_of_the_jobs_that_were_seen_to_run_and_end(make_watch, make_job, monkeypatch):
    watch, node = make_watch('potentials', 'evaluation'), make_job('mghdiff.evaluate', 'out')
    clock = iter([100.0, 130.0, 999.0])
    monkeypatch.setattr(progress.time, 'monotonic', lambda: next(clock))
    states = iter(['queued', 'running', 'done', 'done'])
    monkeypatch.setattr(progress, 'job_state', lambda _: next(states))
    for _ in range(4):
        watch._job('evaluate', node)
    assert watch.durations == {'mghdiff.evaluate': {node.pk: 30.0}}


def test_time_left_is_a_lower_bound_while_a_study_learns(make_watch, make_job):
    watch = make_watch('otf', 'potentials', 'evaluation')
    watch.durations = {'mghdiff.evaluate': {1: 10.0}}
    jobs = [Job('otf', make_job('mghdiff.vasp.mlff', 'out'), 'running', done=0.5, left=8.0)]
    assert watch.left(jobs) == ((8.0 + 10.0) / 2, False)
    jobs = [Job('otf', jobs[0].node, 'done'), Job('evaluate', make_job('mghdiff.evaluate', 'out'), 'queued')]
    assert watch.left(jobs) == (5.0, True)


@pytest.mark.parametrize(
    ('left', 'words'),
    [
        ((90.0, True), 'about 1:30 left'),
        ((0.0, True), 'about 0:00 left'),
        ((90.0, False), 'at least 1:30 left'),
        ((0.0, False), 'time left not known yet'),
    ],
)
def test_time_left_in_words(make_watch, monkeypatch, left, words):
    watch = make_watch('potentials')
    monkeypatch.setattr(Watch, 'left', lambda *_: left)
    assert words in render(watch, []).renderables[0].plain


def test_progress_of_a_program(make_job, tmp_path):
    node = make_job('mghdiff.ase.md', 'output.txt')
    assert last_progress(node) == (0, 1, 'starting')
    (tmp_path / 'output.txt').write_text('progress 10/200 t=0.01ps\nprogress 20/200 t=0.02ps T=301.2K\nother\n')
    assert last_progress(node) == (20, 200, 't=0.02ps T=301.2K')


@pytest.mark.parametrize(('entry_point', 'tag'), [('mghdiff.vasp.mlff', 'nsw'), ('mghdiff.vasp.md', 'steps')])
def test_progress_of_vasp(make_job, tmp_path, entry_point, tag):
    """VASP prints a line for each step; at its end the last lines go into the output file."""
    node = make_job(entry_point, 'vasp_last_lines', parameters=orm.Dict({tag: 400}))
    line = '    {} T=   {:.1f} E= -0.24E+02 F= -0.25E+02 E0= -0.25E+02 EK= 0.1E+01 SP= 0.0E+00 SK= 0.0E+00\n'
    (tmp_path / 'vasp_output').write_text(' vasp.6.4.2\n' + line.format(39, 512.3) + line.format(40, 498.7))
    assert last_progress(node) == (40, 400, 'T=   498.7')


def test_a_job_that_ended_or_was_paused_is_told_once(make_job):
    runs, ended, paused = (Job('md', make_job('mghdiff.ase.md', 'output.txt'), 'running') for _ in range(3))
    ended.node.set_process_state('finished')
    ended.node.set_exit_status(303)
    ended.state = 'failed'
    paused.node.pause()
    paused.node.set_process_status('Pausing after failed transport task: submit_calculation failed 5 times')
    told = set()
    lines = [str(line) for line in news([runs, ended, paused], told)]
    assert len(lines) == 2
    assert '[303]' in lines[0]
    assert 'is paused: Pausing after failed transport task: submit_calculation failed 5 times. ' in lines[1]
    assert f'then continue with `verdi process play {paused.node.pk}`.' in lines[1]
    assert list(news([runs, ended, paused], told)) == []
