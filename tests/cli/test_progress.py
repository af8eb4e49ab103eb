"""How far the jobs of a study are, and the time that is left."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.common.links import LinkType

from aiida_mghdiff.cli.progress import Job, Watch, last_progress, planned_steps
from aiida_mghdiff.data.potential import LEARNED

STAGES = {'npt': {'steps': 100}, 'nvt': {'steps': 200}, 'nve': {'steps': 1000}}


def link(node, inputs, kind):
    for name, data in inputs.items():
        node.base.links.add_incoming(data.store(), kind, name)


@pytest.fixture
def study(aiida_profile, tiny_potential):
    """A study from nothing, with runs of a given MACE at two temperatures and of the force field that it learns."""
    node = orm.WorkChainNode(process_type='aiida.workflows:mghdiff.study')
    settings = orm.Dict(STAGES | {'n_replicas': 3, 'independent_replicas': False})
    inputs = {'potentials__mace_mp': tiny_potential, 'otf__settings': orm.Dict()}
    for key, label, temperatures in (('a', 'mace_mp', (600.0, 800.0)), ('b', LEARNED, (800.0,))):
        inputs |= {f'diffusion__{key}__potential': orm.Str(label), f'diffusion__{key}__settings': settings}
        inputs |= {f'diffusion__{key}__temperatures__t{int(t)}k': orm.Float(t) for t in temperatures}
    link(node, inputs, LinkType.INPUT_WORK)
    return node.store()


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


def test_steps_are_planned_for_each_architecture(study):
    assert planned_steps(study) == {'mace': 2 * (100 + 200 + 3000), 'vasp-mlff': 100 + 200 + 3000}


def test_time_left_waits_for_the_pace_of_every_architecture(study, make_job, tiny_potential):
    """A run of VASP's own force field is one of them."""
    node = make_job('mghdiff.lammps.md', 'out', potential=tiny_potential, parameters=orm.Dict({'steps': 1000}))
    jobs, watch = [Job('nve', node, 'done')], Watch(study, slots=2)
    assert watch.left(jobs) is None
    watch.step_seconds = {'mace': 0.01, 'vasp-mlff': 0.1}
    assert watch.left(jobs) == pytest.approx((5600 * 0.01 + 3300 * 0.1) / 2)


def test_progress_of_a_program(make_job, tmp_path):
    node = make_job('mghdiff.ase.md', 'output.txt')
    assert last_progress(node) == (0, 1, 'starting')
    (tmp_path / 'output.txt').write_text('progress 10/200 t=0.01ps\nprogress 20/200 t=0.02ps T=301.2K\nother\n')
    assert last_progress(node) == (20, 200, 't=0.02ps T=301.2K')


@pytest.mark.parametrize(('entry_point', 'tag'), [('mghdiff.vasp.mlff', 'nsw'), ('mghdiff.vasp.md', 'steps')])
def test_progress_of_vasp(make_job, tmp_path, entry_point, tag):
    """VASP prints a line a step, and its last lines go into the output file when it has ended."""
    node = make_job(entry_point, 'vasp_last_lines', parameters=orm.Dict({tag: 400}))
    line = '    {} T=   {:.1f} E= -0.24E+02 F= -0.25E+02 E0= -0.25E+02 EK= 0.1E+01 SP= 0.0E+00 SK= 0.0E+00\n'
    (tmp_path / 'vasp_output').write_text(' vasp.6.4.2\n' + line.format(39, 512.3) + line.format(40, 498.7))
    assert last_progress(node) == (40, 400, 'T=   498.7')
