"""A study made by hand: nodes and links as in a real one, numbers from hops on the hcp network and noise.

Results of calcfunctions come from their real bodies.
"""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path

import hops
import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from models import write_sealed
from structure_runs import SETTINGS

from aiida_mghdiff.calculations.functions.arrhenius import arrhenius_fit
from aiida_mghdiff.calculations.functions.density import tracer_density
from aiida_mghdiff.calculations.functions.diffusion import diffusion_coefficient
from aiida_mghdiff.calculations.functions.hops import barrier_diffusion, hop
from aiida_mghdiff.calculations.functions.metrics import error_metrics
from aiida_mghdiff.calculations.functions.pairs import tracer_pairs
from aiida_mghdiff.calculations.functions.paths import interpolate_path, path_endpoints
from aiida_mghdiff.calculations.functions.rdf import radial_distributions
from aiida_mghdiff.calculations.functions.sites import site_statistics
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.data.tracers import TracerTrajectoryData
from aiida_mghdiff.science.lattice import geometry
from aiida_mghdiff.workflows.arrhenius import temperature_label

#: The function of each structural output of a run.
STRUCTURE = {'sites': site_statistics, 'rdf': radial_distributions, 'pairs': tracer_pairs, 'density': tracer_density}
FIT = {
    'method': 'least-squares',
    'fit_start_ps': 0.5,
    'fit_end_ps': 4.0,
    'lag_ps': None,
    'c_axis': 'c',
    'jump_threshold': 1.63,
    'jump_length': 1.96,
    'jump_averaging_ps': 0.1,
    'start_spacing_ps': None,
    'target_relative_interval': None,
    'looks': 1,
}
KINDS = {orm.CalcJobNode: 'calculations', orm.CalcFunctionNode: 'calculations', orm.WorkChainNode: 'workflows'}
VERSIONS = {'mace-torch': '0.3.16', 'torch': '2.13.0', 'ase': '3.29.0', 'lammps': '20250722'}
#: Frequencies in THz of each path at its first end, its saddle point and its last end.
OCTAHEDRAL, TETRAHEDRAL = [18.0, 18.0, 20.0], [30.0, 30.0, 36.0]
FREQUENCIES = {
    'O-T': (OCTAHEDRAL, [-15.0, 28.0, 32.0], TETRAHEDRAL),
    'T-T': (TETRAHEDRAL, [-20.0, 31.0, 33.0], TETRAHEDRAL),
}
#: Force error in eV/Å and shift of the barriers in eV of each potential.
QUALITY = {'mace_mp': (0.071, -0.09), 'mace_ft': (0.019, 0.01), 'mace_tr': (0.042, 0.03)} | {
    'chgnet_mp': (0.164, -0.12),
    'chgnet_ft': (0.034, -0.02),
}


class Process:
    """A process node with its links: open until its children are made, then closed with its outputs."""

    def __init__(self, node_class, entry_point, inputs, caller=None, label=None, computer=None):
        is_job = node_class is orm.CalcJobNode
        process_type = f'aiida.{KINDS[node_class]}:mghdiff.{entry_point}'
        self.node = node_class(process_type=process_type, **({'computer': computer} if is_job else {}))
        if is_job:
            self.node.set_option('resources', {'num_machines': 1, 'num_mpiprocs_per_machine': 1})
        self.is_calculation = node_class is not orm.WorkChainNode
        self.node.set_process_label(entry_point)
        self.node.set_process_state('running')
        self.node.base.attributes.set('version', {'core': '2.9.4', 'plugin': '0.1.0'})
        link = LinkType.INPUT_CALC if self.is_calculation else LinkType.INPUT_WORK
        for name, data in inputs.items():
            self.node.base.links.add_incoming(data.store(), link, name)
        if caller is not None:
            call = LinkType.CALL_CALC if self.is_calculation else LinkType.CALL_WORK
            self.node.base.links.add_incoming(caller.node, call, label)
        self.node.store()

    def close(self, outputs, exit_status=0, message=None):
        link = LinkType.CREATE if self.is_calculation else LinkType.RETURN
        for name, data in outputs.items():
            data.base.links.add_incoming(self.node, link, name)
            data.store()
        self.node.set_process_state('finished')
        self.node.set_exit_status(exit_status)
        if message:
            self.node.set_exit_message(message)
        self.node.seal()
        return self.node


def make_validation(potentials, dataset, label=''):
    """Return a finished validation of potentials, by label, on a dataset."""
    process = Process(orm.WorkChainNode, 'validate', {f'potentials__{key}': node for key, node in potentials.items()})
    process.node.label = label
    outputs, labels, rng = {'dataset': dataset.store()}, dataset.get_arrays(), np.random.default_rng(5)
    for key in potentials:
        noisy = {name: values + rng.normal(scale=0.02, size=values.shape) for name, values in labels.items()}
        arrays = {name: noisy[name] for name in ('energies', 'forces')}
        predictions = orm.ArrayData(arrays | {'stresses': np.zeros((len(labels['natoms']), 6))}).store()
        metrics = computed(error_metrics, dataset, predictions)['result'].store()
        outputs |= {f'predictions__{key}': predictions, f'metrics__{key}': metrics}
    return process.close(outputs)


def make_barrier(host, path, barriers, potential=None, modes=None):
    """Return a finished search for a path in a host, by DFT if there is no potential.

    :param modes: numbers of imaginary modes at ``initial``, ``saddle``, ``final``, if vibrations were computed.
    """
    inputs = {'host': host, 'path': orm.Dict({'tracer_element': 'H', 'path': path})}
    inputs |= {} if potential is None else {'potential': potential}
    process = Process(orm.WorkChainNode, 'neb', inputs)
    forward, reverse = barriers
    energies = [0.0, forward, forward - reverse]
    coordinate = [0.0, 1.0, 2.0]
    values = {'forward_barrier_ev': forward, 'reverse_barrier_ev': reverse}
    values |= {'energies_ev': energies, 'reaction_coordinate_angstrom': coordinate}
    counts = {
        f'vibrations__{name}': orm.Dict({'n_imaginary_modes': count}).store() for name, count in (modes or {}).items()
    }
    return process.close({'barrier': orm.Dict(values).store()} | counts)


def get_computer():
    """Return the computer of the jobs."""
    arguments = {'label': 'by-hand', 'hostname': 'localhost', 'workdir': '/tmp'}
    _, computer = orm.Computer.collection.get_or_create(
        **arguments, transport_type='core.local', scheduler_type='core.direct'
    )
    return computer.store()


def make_potential(label, folder):
    """Return an unstored potential whose content is its label."""
    architecture, _, kind = label.partition('_')
    path = write_sealed(Path(folder) / label, label)
    origin = {'mp': 'pretrained', 'ft': 'fine-tuned', 'tr': 'scratch'}[kind]
    return PotentialData.from_file(
        path, architecture=architecture, origin=origin, elements=['Mg', 'H'], dtype='float64'
    )


def make_dataset(count, seed):
    """Return an unstored dataset of rattled Mg16H and Mg16H2."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        host = make_host((2, 2, 2)).get_ase()
        for hydrogen in range(1 + index % 2):
            host.append('H')
            host.positions[-1] = (1.6, 0.92 + 3 * hydrogen, 1.3)
        host.rattle(0.05, rng=rng)
        forces = rng.normal(scale=0.4, size=(len(host), 3))
        host.calc = SinglePointCalculator(host, energy=-1.5 * len(host) + rng.normal(scale=0.3), forces=forces)
        frames.append(host)
    return DatasetData.from_frames(frames, labelled_by='gpaw')


def make_host(repeats):
    """Return an unstored supercell of hcp Mg."""
    cell, positions = geometry.hcp_supercell(3.2, 5.19, repeats)
    return orm.StructureData(ase=Atoms('Mg' * len(positions), positions, cell=cell, pbc=True))


def make_tracers(temperature, seed, frames, activation=0.25, attempt=12.0, tracer_count=2, time_step_fs=1.0):
    """Return an unstored trajectory of tracers that hop with an Arrhenius rate; attempt frequency in 1/ps."""
    rate = attempt * np.exp(-activation / (8.617e-5 * temperature))
    rates = {hops.T_T: rate * 4, hops.T_O: rate, hops.O_T: rate, hops.O_O: rate / 2}
    interval = 0.02
    cell, host = geometry.hcp_supercell(3.2, 5.19, (2, 2, 2))
    positions, _ = hops.trajectory(rates, frames, interval, tracer_count, seed, kind='O')
    return TracerTrajectoryData.from_arrays(
        positions,
        np.tile(host.mean(axis=0), (frames, 1)),
        cell=cell,
        first_step=0,
        stride=round(1e3 * interval / time_step_fs),
        time_step_fs=time_step_fs,
        tracer_element='H',
        host_elements=['Mg'],
        ensemble='nve',
        mean_temperature_k=temperature * (1 + 0.02 * np.random.default_rng(seed).normal()),
    )


def make_frames(tracers, seed, every=25):
    """Return unstored full frames of a run: the vibrating host, then the tracers."""
    positions = tracers.get_array('tracer_positions')[::every].astype(float)
    cell, host = geometry.hcp_supercell(3.2, 5.19, (2, 2, 2))
    vibrating = host + np.random.default_rng(seed).normal(scale=0.1, size=(len(positions), *host.shape))
    vibrating -= (vibrating - host).mean(axis=1, keepdims=True)
    node, steps = orm.TrajectoryData(), tracers.steps[::every]
    node.set_trajectory(
        symbols=['Mg'] * len(host) + ['H'] * positions.shape[1],
        positions=np.concatenate([vibrating, positions], axis=1),
        stepids=steps,
        cells=np.repeat(cell[None], len(positions), axis=0),
        times=tracers.times_ps[::every],
        pbc=[True, True, True],
    )
    return node


def make_thermo(temperature, seed, steps, n_atoms=18):
    """Return unstored thermodynamics of a run that conserves its energy to 0.1 meV/atom."""
    rng = np.random.default_rng(seed)
    kinetic = 1.5 * n_atoms * 8.617e-5 * temperature * (1 + rng.normal(size=len(steps)) / np.sqrt(1.5 * n_atoms))
    noise = 1e-4 * n_atoms * rng.normal(size=len(steps))
    arrays = {
        'steps': steps,
        'temperature_k': kinetic / (1.5 * n_atoms * 8.617e-5),
        'kinetic_energy_ev': kinetic,
        'potential_energy_ev': -27.0 - kinetic + noise,
        'pressure_gpa': rng.normal(size=len(steps)),
        'volume_a3': np.full(len(steps), 370.0),
    }
    return orm.ArrayData(arrays)


def settings_of_run(inputs):
    """Return the number of tracers and the time step in fs of the inputs of a diffusion run."""
    settings = inputs['settings']
    return settings['supercell']['tracer_count'], settings['nve']['time_step_fs']


def computed(function, *args, **kwargs):
    """Return the results of a calcfunction's body as unstored nodes, by output."""
    result = inspect.unwrap(function)(*args, **kwargs)
    return result if isinstance(result, dict) else {'result': result}


class StudyGraph:
    """Builds the study; ``node`` is the study, and tests look for ``raw_file`` and ``potentials``.

    :param labels: potentials; labels that end in ``_mp`` are given, the others are trained.
    :param runs: temperatures by label of the potential (2 H, 1 fs), or by label, number of H and time step in fs.
    :param broken: call labels of children that fail.
    :param frozen: temperatures in K at which nothing diffuses.
    """

    def __init__(self, labels=tuple(QUALITY), runs=None, broken=(), frozen=(), frames=600, configurations=8):
        self.folder = tempfile.mkdtemp()
        self.computer, self.broken, self.frozen, self.frames = get_computer(), broken, frozen, frames
        self.metrics = {}
        runs = {'mace_ft': (600.0, 700.0, 850.0), 'chgnet_ft': (850.0,)} if runs is None else runs
        self.code = orm.InstalledCode(
            label='python', computer=self.computer, filepath_executable='/opt/engines/bin/python'
        ).store()
        self.make_datasets(configurations)
        self.given = {label: make_potential(label, self.folder).store() for label in labels if label.endswith('_mp')}
        self.potentials = dict(self.given)
        self.host, self.neb_host = make_host((2, 2, 2)).store(), make_host((2, 2, 2)).store()
        self.study = Process(orm.WorkChainNode, 'study', self.study_inputs())
        self.split_dataset(configurations)
        for label in labels:
            if label not in self.given:
                self.train(label)
        known = [label for label in labels if label in self.potentials]
        for index, label in enumerate(known):
            self.evaluate(label, index)
            self.barriers(label)
        for key, temperatures in runs.items():
            label, tracer_count, time_step_fs = (key, 2, 1.0) if isinstance(key, str) else key
            if label in self.potentials:
                self.diffusion(label, temperatures, tracer_count, time_step_fs)
        status = (620, 'These children failed: ' + ', '.join(broken)) if broken else (0, None)
        self.node = self.study.close({}, *status)

    def study_inputs(self):
        inputs = {'dataset': self.dataset, 'split': orm.Dict({'seed': 11}), 'codes__python': self.code}
        return inputs | {f'potentials__{label}': node for label, node in self.given.items()}

    def make_datasets(self, configurations):
        path = Path(self.folder) / 'labels.extxyz'
        path.write_text('raw')
        self.raw_file = orm.SinglefileData(path).store()
        self.dataset = make_dataset(2 * configurations, 1)
        read = Process(orm.CalcFunctionNode, 'dataset_from_extxyz', {'file': self.raw_file})
        read.close({'result': self.dataset})

    def split_dataset(self, configurations):
        inputs = {'dataset': self.dataset, 'settings': orm.Dict({'seed': 11})}
        split = Process(orm.CalcFunctionNode, 'split_dataset', inputs, self.study, 'split_dataset')
        half = range(configurations)
        self.training = self.dataset.select(list(half))
        self.test = self.dataset.select([configurations + index for index in half])
        split.close({'training': self.training, 'test': self.test})

    def job(self, entry_point, inputs, caller, label):
        inputs = {'code': self.code, **inputs}
        return Process(orm.CalcJobNode, entry_point, inputs, caller, label, computer=self.computer)

    def fails(self, process, label, status=303, message='The program ended unexpectedly: MemoryError'):
        """Close a process if it is to fail, and return whether it failed."""
        if label in self.broken:
            process.close({}, status, message)
        return label in self.broken

    def train(self, label):
        architecture, name = label.split('_')[0], f'train_{label}'
        parameters = orm.Dict({'seed': 123, 'max_num_epochs': 40})
        inputs = {'training': self.training, 'parameters': parameters}
        if not label.endswith('_tr') and f'{architecture}_mp' in self.given:
            inputs['potential'] = self.given[f'{architecture}_mp']
        chain = Process(orm.WorkChainNode, 'train', inputs, self.study, name)
        job = self.job(f'{architecture}.train', inputs, chain, 'iteration_01')
        if self.fails(job, name):
            chain.close({}, 402, 'The maximum number of failures was exceeded')
            return
        epochs = np.arange(40.0)
        rng = np.random.default_rng(len(label))
        decay = QUALITY[label][0] * (1 + 4 * np.exp(-epochs / 6))
        noise = lambda: 1 + 0.04 * rng.normal(size=40)  # noqa: E731
        curves = orm.ArrayData(
            {
                'epoch': epochs,
                'stage': np.zeros(40),
                'loss_train': decay**2 * noise(),
                'loss_valid': 1.2 * decay**2 * noise(),
                'energy_rmse_valid': decay * 0.1 * noise(),
                'force_rmse_valid': decay * noise(),
            }
        )
        results = orm.Dict({'versions': VERSIONS, 'best_epoch': 37, 'n_epochs': 40, 'mode': 'naive'})
        potential = make_potential(label, self.folder)
        outputs = {'potential': potential, 'learning_curves': curves, 'results': results}
        job.close(outputs)
        chain.close(outputs)
        self.potentials[label] = potential

    def evaluate(self, label, seed):
        name, rng = f'evaluate_{label}', np.random.default_rng(seed)
        inputs = {'potential': self.potentials[label], 'dataset': self.test, 'parameters': orm.Dict({'device': 'cpu'})}
        job = self.job('evaluate', inputs, self.study, name)
        if self.fails(job, name):
            return
        labels, sigma = self.test.get_arrays(), QUALITY[label][0]
        arrays = {
            'energies': labels['energies'] + rng.normal(scale=sigma, size=len(labels['natoms'])),
            'forces': labels['forces'] + rng.normal(scale=sigma, size=labels['forces'].shape),
            'stresses': np.zeros((len(labels['natoms']), 6)),
        }
        predictions = orm.ArrayData(arrays)
        job.close({'predictions': predictions, 'results': orm.Dict({'versions': VERSIONS})})
        inputs = {'dataset': self.test, 'predictions': predictions}
        compare = Process(orm.CalcFunctionNode, 'error_metrics', inputs, self.study, f'metrics_{label}')
        outputs = computed(error_metrics, self.test, predictions)
        compare.close(outputs)
        self.metrics[label] = outputs['result']

    def barriers(self, label):
        """Find the barriers of both paths of a network, and D from them."""
        hops = {}
        for path in FREQUENCIES:
            hops[path.lower().replace('-', '_')] = found = self.barrier(label, path)
            if found is None:
                return
        settings, metrics = orm.Dict({'temperatures_k': [300.0, 600.0, 850.0]}).store(), self.metrics[label]
        inputs = {'host': self.neb_host, 'settings': settings, 'metrics': metrics, **hops}
        join = Process(orm.CalcFunctionNode, 'barrier_diffusion', inputs, self.study, f'barrier_diffusion_{label}')
        join.close(computed(barrier_diffusion, self.neb_host, settings, metrics, **hops))

    def barrier(self, label, name):
        """Return the hop along a path, or None if it failed."""
        key, path = f'barrier_{label}_{name.lower().replace("-", "_")}', orm.Dict({'tracer_element': 'H', 'path': name})
        inputs = {'potential': self.potentials[label], 'host': self.neb_host, 'path': path}
        chain = Process(orm.WorkChainNode, 'neb', inputs, self.study, key)
        inputs = {'potential': self.potentials[label], 'parameters': orm.Dict({'n_images': 10})}
        job = self.job('ase.neb', inputs, chain, 'neb')
        if self.fails(job, key, 510, 'The band did not converge in 200 steps'):
            chain.close({}, 451, 'The ciNEB run failed')
            return None
        s, shift = np.linspace(0, 1, 12), QUALITY[label][1]
        height, step = {'O-T': (0.24 + shift, 0.06), 'T-T': (0.08 + shift / 4, 0.0)}[name]
        energies = height * np.sin(np.pi * s) ** 2 + step * s**2 * (3 - 2 * s)
        results = orm.Dict(
            {
                'forward_barrier_ev': float(energies.max() - energies[0]),
                'reverse_barrier_ev': float(energies.max() - energies[-1]),
                'energies_ev': (energies - energies[0]).tolist(),
                'reaction_coordinate_angstrom': (1.9 * s).tolist(),
                'versions': VERSIONS,
            }
        )
        ends = computed(path_endpoints, self.neb_host, path)
        settings = {'n_images': 10, 'interpolation': 'linear', 'minimum_endpoint_distance_angstrom': 0.5}
        images = computed(interpolate_path, ends['initial'], ends['final'], orm.Dict(settings))['images']
        job.close({'results': results, 'path': images})
        found = self.hop(path, results, name, chain)
        chain.close({'barrier': results, 'images': images, 'hop': found})
        return found

    def hop(self, path, results, name, caller):
        """Return the hop of a path, with the vibrations at its stationary points."""
        points = zip(('initial', 'saddle', 'final'), FREQUENCIES[name], strict=True)
        modes = {point: orm.Dict({'frequencies_thz': values}).store() for point, values in points}
        inputs = {'path': path, 'barrier': results, **modes}
        process = Process(orm.CalcFunctionNode, 'hop', inputs, caller, 'hop')
        outputs = computed(hop, path, results, **modes)
        process.close(outputs)
        return outputs['result']

    def diffusion(self, label, temperatures, tracer_count, time_step_fs):
        name = f'diffusion_best_{label}_h{tracer_count}' + ('' if time_step_fs == 1.0 else '_short_step')
        supercell = {'tracer_element': 'H', 'tracer_count': tracer_count}
        settings = orm.Dict({'seed': 7, 'supercell': supercell, 'nve': {'time_step_fs': time_step_fs}}).store()
        common = {'potential': self.potentials[label], 'host': self.host, 'settings': settings, 'codes__x': self.code}
        if len(temperatures) == 1:
            self.one_temperature(label, temperatures[0], common, self.study, name)
            return
        chain = Process(orm.WorkChainNode, 'arrhenius', common, self.study, name)
        found = {}
        for temperature in temperatures:
            key = temperature_label(temperature)
            found[key] = self.one_temperature(label, temperature, common, chain, key)
        found = {key: node for key, node in found.items() if node is not None}
        fit = Process(orm.CalcFunctionNode, 'arrhenius_fit', found, chain, 'arrhenius_fit')
        outputs = {}
        if sum(node['diffusing'] for node in found.values()) > 1:
            outputs = computed(arrhenius_fit, **found)
            fit.close(outputs)
        else:
            fit.close({}, 227, 'an Arrhenius fit needs diffusion coefficients at two distinct temperatures')
        failed = len(found) < len(temperatures)
        status = (620, 'These children failed') if failed else (0, None)
        chain.close({'arrhenius': outputs['result']} if outputs else {}, *status)

    def one_temperature(self, label, temperature, common, caller, name):
        """Return the diffusion Dict."""
        inputs = common | {'temperature': orm.Float(temperature)}
        chain = Process(orm.WorkChainNode, 'diffusion', inputs, caller, name)
        segments = {}
        for replica in range(3):
            numbers = (temperature, replica, *settings_of_run(common))
            segments[f'r{replica}_s000'] = self.replica(label, *numbers, chain, f'{name}_nve{replica}')
        if None in segments.values():
            chain.close({}, 440, 'Run nve failed')
            return None
        settings = orm.Dict(FIT)
        outputs = computed(diffusion_coefficient, settings, **segments)
        fit = Process(
            orm.CalcFunctionNode,
            'diffusion_coefficient',
            {'settings': settings, **segments},
            chain,
            'diffusion_coefficient',
        )
        fit.close(outputs)
        chain.close(outputs | self.structure(chain, segments))
        return outputs['diffusion']

    def structure(self, chain, segments):
        """Return the structural results of the runs, by output."""
        frames = {key.replace('_s', '_f'): node.creator.outputs.trajectory for key, node in segments.items()}
        settings, found = orm.Dict(SETTINGS | {'random_arrangements': 1000}), {}
        for name, function in STRUCTURE.items():
            inputs = {'settings': settings, 'host': self.host, **segments, **frames}
            process = Process(orm.CalcFunctionNode, function.__name__, inputs, chain, function.__name__)
            outputs = computed(function, **inputs)
            process.close(outputs)
            found[name] = outputs['result']
        return found

    def replica(self, label, temperature, replica, tracer_count, time_step_fs, caller, broken_name):
        """Return the tracers of an NVE run, or None if it failed."""
        engine = 'lammps.md' if label.startswith('mace') else 'ase.md'
        seed = int(temperature) * 10 + replica
        parameters = orm.Dict(
            {
                'ensemble': 'nve',
                'temperature_k': temperature,
                'seed': seed,
                'time_step_fs': time_step_fs,
                'steps': 12000,
            }
        )
        potential = {'potential': self.potentials[label], 'parameters': parameters}
        run = Process(orm.WorkChainNode, 'md', potential, caller, f'nve{replica}')
        segment = Process(orm.WorkChainNode, 'segment', potential, run, 'seg000')
        job = self.job(engine, potential, segment, 'iteration_01')
        if self.fails(job, broken_name, 520, 'The temperature ran away: 5400 K at step 812'):
            segment.close({}, 611, 'The trajectory became unphysical')
            run.close({}, 430, 'Segment 0 failed')
            return None
        activation = 9.0 if temperature in self.frozen else 0.25
        options = {'activation': activation, 'tracer_count': tracer_count, 'time_step_fs': time_step_fs}
        tracers = make_tracers(temperature, seed, self.frames, **options)
        drift = np.random.default_rng(seed).normal(scale=0.3)
        results = orm.Dict(
            {
                'completed': True,
                'first_step': 0,
                'ensemble': 'nve',
                'n_atoms': 16 + tracer_count,
                'mean_temperature_k': tracers.base.attributes.get('mean_temperature_k'),
                'energy_drift_mev_per_atom_ns': drift if engine == 'lammps.md' else 4.1,
                'energy_drift_error_mev_per_atom_ns': 0.4,
                'evaluator': 'symmetrix' if engine == 'lammps.md' else 'torch',
                'dtype': 'float64',
                'versions': VERSIONS,
            }
        )
        frames, thermo = make_frames(tracers, seed), make_thermo(temperature, seed, tracers.steps, 16 + tracer_count)
        job.close({'results': results, 'tracers': tracers, 'trajectory': frames, 'thermo': thermo})
        segment.close({'results__part0': results})
        run.close({'results__seg000_part0': results})
        return tracers
