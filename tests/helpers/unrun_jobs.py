"""WorkChains run for real, but their jobs do not: each job writes its script and ends with made-up outputs."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine import CalcJob
from ase.calculators.singlepoint import SinglePointCalculator
from training_inputs import make_chgnet
from vasp_md_runs import START, learned_dataset, learning_state, state_of
from vasp_runs import end_results, hydride, make_force_field, straight_path

from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData

#: Configurations of a learning job, one in each group, so any split has some of each stage.
LABELLED = 4


def learned_configurations(stage, first_step):
    """Return the labelled configurations of a learning job."""
    node = learned_dataset(stage, count=LABELLED)
    own = {'groups': np.arange(LABELLED), 'steps': first_step + np.arange(LABELLED)}
    kept = {name: node.base.attributes.get(name) for name in ('energy_kind', 'labelled_by', 'stage_names')}
    names = [f'{stage}, step {step}' for step in own['steps']]
    return DatasetData.from_arrays(node.get_arrays() | own, group_names=names, **kept)


class UnrunJobs:
    """Takes the place of ``CalcJob.run``, and keeps the scripts of all jobs by entry point.

    If no other job needs its outputs, a job ends as if its executable were missing.
    """

    def __init__(self, monkeypatch, model, folder):
        """Let no job run from now on.

        :param model: file of a MACE potential, used for each trained one.
        :param folder: for files.
        """
        self.model, self.folder, self.scripts = model, folder, {}
        self.outputs = {
            'mghdiff.mace.train': lambda _: self.trained(self.mace()),
            'mghdiff.chgnet.train': lambda _: self.trained(make_chgnet()),
            'mghdiff.evaluate': self.predicted,
            'mghdiff.vasp.evaluate': self.predicted,
            'mghdiff.vasp.mlff': self.learned,
            'mghdiff.vasp.singlepoint': self.labelled,
            'mghdiff.gpaw.singlepoint': self.labelled,
            'mghdiff.vasp.relax': self.relaxed,
            'mghdiff.ase.neb': self.found,
            'mghdiff.vasp.neb': self.found,
        }

        async def run(job):
            return self.end(job)

        monkeypatch.setattr(CalcJob, 'run', run)

    def end(self, job):
        """Keep the script of a job, store its outputs, and return its exit code."""
        entry_point = job.node.process_type.partition(':')[2]
        with SandboxFolder() as folder:
            job.presubmit(folder)
            script = folder.get_abs_path(job.options.submit_script_filename)
            with open(script) as handle:
                self.scripts.setdefault(entry_point, []).append(handle.read().splitlines())
        if entry_point not in self.outputs:
            return job.exit_codes.ERROR_EXECUTABLE_MISSING
        own = {'remote_folder': orm.RemoteData('/scratch', computer=job.node.computer), 'retrieved': orm.FolderData()}
        for name, node in (own | self.outputs[entry_point](job.inputs)).items():
            job.out(name, node)
        return None

    def mace(self):
        return PotentialData.from_file(
            self.model, architecture='mace', origin='fine-tuned', elements=['Mg', 'H'], dtype='float64'
        )

    @staticmethod
    def trained(potential):
        curves = orm.ArrayData({'epoch': np.arange(2)})
        return {'potential': potential, 'learning_curves': curves, 'results': orm.Dict({'warnings': []})}

    @staticmethod
    def predicted(inputs):
        arrays = {name: inputs.dataset.get_array(name) for name in ('energies', 'forces', 'stresses')}
        return {'predictions': orm.ArrayData(arrays), 'results': orm.Dict({})}

    def learned(self, inputs):
        """Return the outputs of a learning job or a refit that came to its end."""
        results = {'first_step': inputs.settings['first_step'], 'stage': inputs.settings['stage'], 'n_dft_steps': 1}
        results |= {f'n_{kind}_configurations': 0 for kind in ('unlearned', 'unconverged', 'unjudged', 'implausible')}
        force_field = {'force_field': make_force_field(self.folder)}
        if inputs.parameters['ml_mode'] == 'refit':
            return force_field | {'results': orm.Dict(results)}
        step = results['first_step'] + inputs.parameters['nsw']
        known = LABELLED * (1 + len(inputs.get('configurations', {})))
        state = learning_state(list(range(known)))
        state.set_array('ctifor', np.full(known, 0.02))
        return force_field | {
            'results': orm.Dict(results | {'last_step': step, 'labelled_by': 'vasp'}),
            'dataset': learned_configurations(results['stage'], results['first_step']),
            'learning_state': state,
            'state': state_of(START, step),
        }

    @staticmethod
    def labelled(inputs):
        atoms = inputs.structure.get_ase()
        atoms.calc = SinglePointCalculator(atoms, energy=-1.5 * len(atoms), forces=np.zeros((len(atoms), 3)))
        return {'dataset': DatasetData.from_frames([atoms], labelled_by='vasp'), 'results': orm.Dict({})}

    @staticmethod
    def relaxed(inputs):
        return {'structure': inputs.structure.clone(), 'results': end_results()}

    @staticmethod
    def found(_):
        ends = hydride()
        structures = {'initial_relaxed': ends[0], 'saddle': ends[1], 'final_relaxed': ends[1]}
        nodes = {name: orm.StructureData(ase=atoms) for name, atoms in structures.items()}
        return nodes | {'path': straight_path(ends, 1), 'results': orm.Dict({})}
