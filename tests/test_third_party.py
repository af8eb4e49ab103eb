"""An architecture of another package, from installation to report: one record and one calculator.

``docs/developer/add_an_architecture.md`` explains it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.exceptions import InputValidationError
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_mghdiff.calculations.evaluate import EvaluateCalculation
from aiida_mghdiff.cli.potentials import PotentialError, import_potential
from aiida_mghdiff.data.architectures import GROUP, architectures, plugin_records
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.report import write_report
from aiida_mghdiff.workflows.engines import EVALUATE, LAMMPS_MD, barrier_job, engines_of, evaluation, md_engine
from aiida_mghdiff.workflows.neb import BarrierWorkChain
from aiida_mghdiff.workflows.study import StudyWorkChain
from aiida_mghdiff.workflows.train import TrainWorkChain

FILES = Path(__file__).parent / 'third_party'
ENTRY_POINTS = f'[{GROUP}]\nemt = emt_architecture:RECORD\n'
#: Lattice constants of hcp aluminium in EMT, Å.
A_ALUMINIUM = 2.78


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Return a function that installs the package with the architecture, and returns its folder."""
    folder = tmp_path / 'site-packages'
    shutil.copytree(FILES, folder)
    information = folder / 'emt_architecture-1.0.dist-info'
    information.mkdir()
    (information / 'METADATA').write_text('Metadata-Version: 2.1\nName: emt-architecture\nVersion: 1.0\n')
    monkeypatch.syspath_prepend(folder)

    def make(text=ENTRY_POINTS):
        (information / 'entry_points.txt').write_text(text)
        plugin_records.cache_clear()
        return folder

    yield make
    plugin_records.cache_clear()
    sys.modules.pop('emt_architecture', None)


@pytest.fixture
def calculator(install):
    """The file of the installed calculator."""
    return install() / 'emt_calculator.py'


@pytest.fixture
def emt(aiida_profile, calculator, tmp_path):
    """An imported potential of the architecture."""
    (tmp_path / 'emt.json').write_text('{"asap_cutoff": false}')
    return import_potential(tmp_path / 'emt.json', 'emt')


def make_host():
    return bulk('Al', 'hcp', a=A_ALUMINIUM, c=A_ALUMINIUM * np.sqrt(8 / 3)).repeat(2)


@pytest.fixture
def dataset(aiida_profile):
    """Rattled hcp aluminium with one H on an octahedral site, labelled by EMT."""
    rng, frames = np.random.default_rng(1), []
    for _ in range(10):
        atoms = make_host()
        atoms.append('H')
        atoms.positions[-1] = np.dot([1 / 3, 1 / 6, 1 / 8], atoms.cell)
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        atoms.calc = EMT()
        atoms.get_stress()
        frames.append(atoms)
    return DatasetData.from_frames(frames, labelled_by='emt')


def test_the_file_becomes_a_potential(emt):
    assert (emt.architecture, emt.origin, emt.base.attributes.get('dtype')) == ('emt', 'pretrained', 'float64')
    assert emt.elements == ['H', 'C', 'N', 'O', 'Al', 'Ni', 'Cu', 'Pd', 'Ag', 'Pt', 'Au']
    assert list(architectures()) == ['mace', 'chgnet', 'vasp-mlff', 'emt']


def test_a_damaged_file_is_told_in_one_sentence(aiida_profile, calculator, tmp_path):
    (tmp_path / 'emt.json').write_text('{"asap_cutoff": ')
    with pytest.raises(PotentialError, match=r'^.*emt\.json cannot be loaded as a model \(.*\): export it again\.$'):
        import_potential(tmp_path / 'emt.json', 'emt')
    with pytest.raises(ValueError, match='only a mace potential has heads: leave head out'):
        PotentialData.from_file(calculator, architecture='emt', origin='scratch', dtype='float64', head='a')


def test_a_code_of_its_own_wins(emt, codes):
    own = codes['python']
    other = orm.InstalledCode(label='other', computer=own.computer, filepath_executable='/bin/true').store()
    given = {'python': other, 'emt': own}
    parameters = {'emt': orm.Dict({})}
    assert md_engine(emt, given)[1] is own
    assert md_engine(emt, {'python': other})[1] is other
    assert evaluation(emt, {'codes': given, 'evaluation': parameters})[1]['code'] is own
    assert barrier_job(emt).code('emt', given) is own
    assert engines_of('mace').training.code('mace', given) is other
    assert engines_of('mace').training.code('mace', given | {'mace': own}) is own
    assert LAMMPS_MD.key('mace', {'mace': own}) == 'lammps'
    assert EVALUATE.key('mace', {'mace': own}) == 'mace'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('mace = emt_architecture:RECORD', "gives the architecture 'emt': both need the same name"),
        (
            'emt = emt_architecture:NOTHING',
            r'cannot be loaded \(.*NOTHING.*\): mend emt_architecture:NOTHING',
        ),
        ('emt = no_such_module:RECORD', r'cannot be loaded \(No module named .*\): mend no_such_module:RECORD'),
    ],
)
def test_a_record_that_cannot_be_used_is_named(install, text, message):
    install(f'[{GROUP}]\n{text}\n')
    with pytest.raises(ValueError, match=message):
        architectures()


def test_names_of_codes_and_of_our_architectures_are_taken(install):
    folder = install()
    path = folder / 'emt_architecture.py'
    for name in ('chgnet', 'python', 'loading', 'e-mt'):
        path.write_text((FILES / 'emt_architecture.py').read_text().replace("'emt'", f"'{name}'"))
        sys.modules.pop('emt_architecture', None)
        install(f'[{GROUP}]\n{name} = emt_architecture:RECORD\n')
        with pytest.raises(ValueError, match=f'gives the architecture .{name}.: both need the same name'):
            architectures()


def test_a_potential_whose_package_is_gone_is_named(emt, codes, generate_workchain, install):
    """The node of the potential stays readable."""
    host = orm.StructureData(ase=make_host())
    builder = BarrierWorkChain.get_builder_from_protocol(codes, emt, host, path='O-T', protocol='smoke')
    install('')
    assert list(architectures()) == ['mace', 'chgnet', 'vasp-mlff']
    assert orm.load_node(emt.pk).elements == emt.elements
    with pytest.raises(ValueError, match='nothing here runs emt potentials: install the package that brings them'):
        generate_workchain(BarrierWorkChain, builder._inputs(prune=True))


def test_another_calculator_is_another_job_for_the_cache(emt, codes, dataset, calculator):
    """The hash of a job has the calculator's digest, so a changed calculator runs again."""
    dataset = dataset.select([0, 1]).store()
    inputs = {'code': codes['python'], 'potential': emt, 'dataset': dataset}
    inputs['parameters'] = orm.Dict({'dtype': 'float64', 'device': 'cpu'})
    with enable_caching(identifier='aiida.calculations:mghdiff.evaluate'):
        first, second = (run_get_node(EvaluateCalculation, **inputs)[1] for _ in range(2))
        source = calculator.read_text()
        calculator.write_text(source.replace('return EMT(', 'return Doubled(') + DOUBLED)
        third = run_get_node(EvaluateCalculation, **inputs)[1]
    assert first.is_finished_ok, first.exit_message
    assert second.base.caching.is_created_from_cache
    assert not third.base.caching.is_created_from_cache
    energies, doubled = (node.outputs.predictions.get_array('energies') for node in (first, third))
    np.testing.assert_allclose(energies, dataset.get_array('energies'), atol=1e-9)
    np.testing.assert_allclose(doubled, 2 * energies)


def test_a_job_does_not_run_with_a_calculator_that_changed_after_it_was_made(
    emt, codes, dataset, calculator, generate_workchain
):
    inputs = {'code': codes['python'], 'potential': emt, 'dataset': dataset}
    inputs['parameters'] = orm.Dict({'dtype': 'float64', 'device': 'cpu'})
    job = generate_workchain(EvaluateCalculation, inputs)
    assert job.zipapp()
    calculator.write_text(calculator.read_text() + DOUBLED)
    with pytest.raises(InputValidationError, match='the calculator of emt changed since this job was made'):
        job.zipapp()


DOUBLED = """

class Doubled(EMT):
    def get_potential_energy(self, *args, **options):
        return 2 * super().get_potential_energy(*args, **options)
"""


def test_a_training_needs_the_parameters_of_its_own(install):
    path = install() / 'emt_architecture.py'
    record = "RECORD = Engines(RECORD.architecture, training=Job('python', 'mghdiff.mace.train'))"
    path.write_text(path.read_text() + f'\nfrom aiida_mghdiff.workflows.engines import Job\n\n{record}\n')
    with pytest.raises(ValueError, match='trainings of emt have no protocol: give their complete parameters'):
        TrainWorkChain.get_parameters('emt', 'scratch')


@pytest.mark.slow
def test_study(emt, codes, dataset, tmp_path):
    """MD, barrier, evaluation and report run in their own environment; ``codes.python`` can run no job."""
    host = orm.StructureData(ase=make_host())
    runs = dict.fromkeys(('best_mace_h1', 'chgnet_ft_h1', 'vasp_mlff_h1'))
    runs['emt_h1'] = {'potential': 'emt', 'temperatures_k': [600.0]}
    useless = orm.InstalledCode(label='useless', computer=codes['python'].computer, filepath_executable='/bin/true')
    trainings = dict.fromkeys(('mace_ft', 'mace_tr', 'chgnet_ft'))
    builder = StudyWorkChain.get_builder_from_protocol(
        {'emt': codes['python'], 'python': useless},
        dataset,
        host,
        host,
        potentials={'emt': emt},
        protocol='smoke',
        overrides={'training': trainings, 'diffusion': runs, 'vibrations': ['emt']},
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    jobs = {job.process_type.partition(':')[2] for job in node.called_descendants if isinstance(job, orm.CalcJobNode)}
    assert not useless.base.links.get_outgoing(node_class=orm.CalcJobNode).all()
    assert jobs == {'mghdiff.ase.md', 'mghdiff.ase.neb', 'mghdiff.ase.vibrations', 'mghdiff.evaluate'}
    assert node.outputs.metrics.emt['energy_rmse_mev_per_atom'] < 1e-6
    assert node.outputs.barriers.emt.o_t['forward_barrier_ev'] > 0
    folder = tmp_path / 'report'
    write_report(node, folder)
    assert json.loads((folder / 'results.json').read_text())['potentials'][0]['architecture'] == 'emt'
    assert (folder / 'report.html').is_file()
