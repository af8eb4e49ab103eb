"""Potentials are compared on frames of their own runs; a failure is named and stops nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from ase.build import bulk
from models import make_tiny_mace
from vasp_runs import make_force_field, standin_code

from aiida_mghdiff.calculations.vasp.placeholders import placeholder_potcars
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.workflows import validate
from aiida_mghdiff.workflows.engines import evaluation
from aiida_mghdiff.workflows.label import LabelWorkChain
from aiida_mghdiff.workflows.validate import ValidationWorkChain, run_trajectories

COUNT = 6


def make_run(seed, hydrogen=1, amplitude=0.05):
    """Return full frames of a run: hcp Mg with hydrogen, every atom displaced."""
    rng = np.random.default_rng(seed)
    atoms = bulk('Mg', 'hcp', a=3.20, c=5.19).repeat(2)
    for index in range(hydrogen):
        atoms.append('H')
        atoms.positions[-1] = (1.6, 0.92 + 2.77 * index, 1.3)
    node = orm.TrajectoryData()
    node.set_trajectory(
        symbols=atoms.get_chemical_symbols(),
        positions=atoms.positions + amplitude * rng.normal(size=(COUNT, len(atoms), 3)),
        cells=np.tile(atoms.cell.array, (COUNT, 1, 1)),
        stepids=np.arange(COUNT),
        times=0.25 * np.arange(COUNT),
        pbc=[True, True, True],
    )
    return node


@pytest.fixture
def vasp(codes, tiny_mace):
    """The stand-in for VASP, with labels of the tiny MACE."""
    return standin_code(codes['python'].computer, tiny_mace)


@pytest.fixture
def build(codes, vasp, tiny_potential):
    """Return a function that makes the inputs of a validation, with some changed."""

    def make(runs=None, given=None, **changes):
        builder = ValidationWorkChain.get_builder_from_protocol(
            codes | {'vasp': vasp},
            given or {'mace_tr': tiny_potential},
            runs or {'t300k': {'nve0': make_run(1)}, 't600k': {'nve0': make_run(2), 'nve1': make_run(3)}},
            engine='vasp',
            potcars=placeholder_potcars(['Mg', 'H']),
            protocol='smoke',
        )
        return builder._inputs(prune=True) | changes

    return make


@pytest.fixture
def chain(generate_workchain, build):
    """A validation after its setup; it launches nothing."""
    return generate_workchain(ValidationWorkChain, build())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'potentials': {}}, 'there is no potential'),
        ({'trajectories': {}}, 'there are no frames'),
        ({'trajectories': {'t300k': {}}}, 'there are no frames'),
        ({'codes': {}}, r'codes\.python is missing: it evaluates mace_tr'),
        ({'evaluation': {}}, 'no parameters for mace potentials'),
        (
            {'sampling': {'count': COUNT + 1, 'seed': 1}},
            rf'trajectories\.t300k: {COUNT + 1} frames are requested, but there are {COUNT}',
        ),
        ({'sampling': {'cont': 9, 'seed': 1}}, r'sampling\.cont: no such key; did you mean count\?'),
        ({'sampling': {'count': 0, 'seed': 1}}, 'sampling: count = 0 is not a positive whole number'),
    ],
)
def test_refuses(generate_workchain, build, changes, message):
    with pytest.raises(ValueError, match=message):
        generate_workchain(ValidationWorkChain, build(**changes))


def test_labels_and_evaluations_leave_scratch_as_the_whole_says(generate_workchain, codes, vasp, tiny_potential):
    given = ({'mace_tr': tiny_potential}, {'t': {'nve0': make_run(1)}})
    options = {'engine': 'vasp', 'potcars': placeholder_potcars(['Mg', 'H']), 'protocol': 'smoke'}
    for cleans in (True, False):
        builder = ValidationWorkChain.get_builder_from_protocol(
            codes | {'vasp': vasp}, *given, **options, overrides={'clean_workdir': cleans}
        )
        process = generate_workchain(ValidationWorkChain, builder._inputs(prune=True))
        assert process.inputs.clean_workdir.value is cleans
        assert process.exposed_inputs(LabelWorkChain, 'label')['clean_workdir'].value is cleans


def test_refuses_runs_of_different_atoms(generate_workchain, build):
    with pytest.raises(ValueError, match=r'trajectories\.t300k: the trajectories are of different atoms'):
        generate_workchain(
            ValidationWorkChain, build(trajectories={'t300k': {'a': make_run(1), 'b': make_run(2, hydrogen=2)}})
        )


def test_refuses_what_labelling_would_refuse(generate_workchain, build):
    with pytest.raises(ValueError, match=r'label: potcars has no POTCAR for H'):
        generate_workchain(ValidationWorkChain, build(potcars=placeholder_potcars(['Mg'])))


def test_refuses_a_potential_that_does_not_know_the_frames(generate_workchain, build, tiny_potential):
    """Else every frame is labelled before the evaluation fails. All reasons come at once."""
    tiny_potential.base.attributes.set('elements', ['Mg'])
    with pytest.raises(ValueError, match=r'potentials\.mace_tr does not know H, which the frames contain') as refusal:
        generate_workchain(ValidationWorkChain, build(codes={}))
    assert 'codes.python is missing' in str(refusal.value)


def test_refuses_labels_without_a_code(generate_workchain, codes, tiny_potential):
    builder = ValidationWorkChain.get_builder_from_protocol(
        {'python': codes['python']}, {'a': tiny_potential}, {'t': {'nve0': make_run(1)}}, engine='gpaw'
    )
    with pytest.raises(ValueError, match=r'label: codes\.gpaw is missing: it labels'):
        generate_workchain(ValidationWorkChain, builder._inputs(prune=True))


def test_tags_of_the_user_reach_evaluations_in_vasp(generate_workchain, build, tmp_path):
    inputs = build(given={'vasp_mlff': make_force_field(tmp_path)}, potcars=placeholder_potcars(['Mg', 'H']))
    tagged = inputs | {'evaluation': dict(inputs['evaluation']) | {'vasp_mlff': orm.Dict({'ncore': 8})}}
    process = generate_workchain(ValidationWorkChain, tagged)
    _, own = evaluation(tagged['potentials']['vasp_mlff'], process.inputs)
    assert own['parameters'].get_dict() == {'ncore': 8}
    wrong = inputs | {'evaluation': dict(inputs['evaluation']) | {'vasp_mlff': orm.Dict({'nsw': 8})}}
    with pytest.raises(ValueError, match=r'evaluation\.vasp_mlff: nsw cannot be given, because the job sets it'):
        generate_workchain(ValidationWorkChain, wrong)


def test_samples_each_run_by_itself(chain):
    assert chain.sample() is None
    assert {run: node.numsteps for run, node in chain.ctx.frames.items()} == {'t300k': 2, 't600k': 2}


def test_run_of_too_few_frames(generate_workchain, build, monkeypatch):
    """A run with too few frames is refused before the start; if only the run shows it, an exit code tells it."""
    monkeypatch.setattr(validate, '_sampling_messages', lambda _: [])
    process = generate_workchain(ValidationWorkChain, build(sampling={'count': 9, 'seed': 1}))
    code = process.sample()
    assert code.status == 670
    assert 't300k cannot be sampled: 9 frames are requested, but there are 6' in code.message


def test_no_label_ends_it_and_some_labels_go_on(chain, generate_job_node, tiny_potential):
    chain.ctx.label = generate_job_node('mghdiff.label', 641, exit_message='No frame could be labelled')
    assert chain.inspect_labels().status == 640
    frames = make_run(1)
    labels = {'energies': np.zeros(1), 'forces': np.zeros((17, 3)), 'stresses': np.full((1, 6), np.nan)}
    dataset = DatasetData.from_arrays(
        labels
        | {
            'natoms': np.array([17]),
            'numbers': np.array([12] * 16 + [1]),
            'cells': frames.get_cells()[:1],
            'positions': frames.get_positions()[0],
        },
        energy_kind='free',
        labelled_by='vasp',
    )
    chain.ctx.label = generate_job_node(
        'mghdiff.label', 640, {'dataset': dataset}, 'Not all frames have a label: 3 of 4'
    )
    assert chain.inspect_labels() is None
    predictions = orm.ArrayData({'energies': np.zeros(1), 'forces': np.full((17, 3), 0.1)})
    chain.ctx.evaluate_mace_tr = generate_job_node('mghdiff.evaluate', 0, {'predictions': predictions})
    code = chain.results()
    assert code.status == 640
    assert code.message == 'Not all frames have a label: 3 of 4'
    assert chain.outputs['metrics']['mace_tr']['force_rmse_mev_per_angstrom'] == pytest.approx(100)
    chain.ctx.evaluate_mace_tr = generate_job_node('mghdiff.evaluate', 310, exit_message='a model that is none')
    code = chain.results()
    assert code.status == 671
    assert 'mace_tr (a model that is none)' in code.message


def test_trajectories_of_a_diffusion_run(aiida_profile, generate_job_node):
    run = orm.WorkChainNode(process_type='aiida.workflows:mghdiff.diffusion').store()
    for label in ('npt', 'nve0', 'nve1'):
        child = orm.WorkChainNode(process_type='aiida.workflows:mghdiff.md')
        child.base.links.add_incoming(run, LinkType.CALL_WORK, label)
        child.store()
        frames = make_run(1).store()
        frames.base.links.add_incoming(child, LinkType.RETURN, 'trajectory__seg000_part0')
    assert set(run_trajectories(run)) == {'nve0_seg000_part0', 'nve1_seg000_part0'}
    with pytest.raises(ValueError, match='has no frames of NVE runs'):
        run_trajectories(orm.WorkChainNode(process_type='aiida.workflows:mghdiff.diffusion').store())
    with pytest.raises(ValueError, match='is no DiffusionWorkChain'):
        run_trajectories(orm.WorkChainNode(process_type='aiida.workflows:mghdiff.md').store())


@pytest.mark.slow
def test_the_potential_that_labels_has_no_error(build, tiny_potential, tmp_path):
    """The tiny MACE gives the labels through VASP's files, so its only error is their rounding."""
    other = make_tiny_mace(tmp_path / 'other.model', channels=8)
    options = {'architecture': 'mace', 'origin': 'scratch', 'elements': ['Mg', 'H'], 'dtype': 'float64'}
    potentials = {'mace_tr': tiny_potential, 'mace_ft': PotentialData.from_file(other, **options)}
    runs = {
        'h1': {'nve0': make_run(1), 'nve1': make_run(2)},
        'h2': {'nve0': make_run(3, hydrogen=2)},
    }
    outputs, node = run_get_node(ValidationWorkChain, **build(runs, potentials))
    assert node.is_finished_ok, node.exit_message
    dataset = outputs['dataset']
    assert dataset.base.attributes.get('formulas') == {'HMg16': 2, 'H2Mg16': 2}
    assert dataset.base.attributes.get('group_names') == ['h1', 'h2']
    assert dataset.base.attributes.get('labelled_by').startswith('standin:mace:')
    exact, poor = (outputs['metrics'][label].get_dict() for label in ('mace_tr', 'mace_ft'))
    assert exact['force_rmse_mev_per_angstrom'] < 0.01
    assert exact['energy_rmse_mev_per_atom'] < 0.001
    assert poor['force_rmse_mev_per_angstrom'] > 10
    for name in ('HMg16', 'H2Mg16'):
        assert poor['by_composition'][name]['n_configurations'] == 2
        assert poor['by_composition'][name]['force_rmse_mev_per_angstrom'] > 10
