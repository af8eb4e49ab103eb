"""Learning modes without motion: ``refit`` fits all of ML_AB again, ``select`` learns only its new configurations.

Select shows the configurations to the force field one by one, as on the fly, and chooses the references anew. Labels
come from ML_AB only; no first-principles calculation runs, and steps have no energies.
"""

from __future__ import annotations

import numpy as np

from aiida_mghdiff.executables.vasp_standin.folder import Inputs
from aiida_mghdiff.executables.vasp_standin.force_field import Labels
from aiida_mghdiff.executables.vasp_standin.learner import Configuration
from aiida_mghdiff.executables.vasp_standin.outputs import Outputs
from aiida_mghdiff.executables.vasp_standin.potentials import Memory, stored_configurations
from aiida_mghdiff.executables.vasp_standin.sampling import Sampler
from aiida_mghdiff.executables.vasp_standin.step import Step
from aiida_mghdiff.formats import ml_logfile
from aiida_mghdiff.formats.ml_logfile import State
from aiida_mghdiff.programs.job import ProgramError


def run(inputs: Inputs, outputs: Outputs, labelled_by: str) -> None:
    """Refit or select, depending on ML_MODE.

    :param labelled_by: origin of the labels of ML_AB.
    :raises ProgramError: INPUT_REFUSED without an ML_AB.
    """
    mode = inputs.learning.mode
    memory = Memory(inputs, outputs, labelled_by, loads=mode == 'refit')
    if memory.stored is None:
        raise ProgramError(
            'INPUT_REFUSED', f'ML_AB is missing: ML_MODE = {mode} works on its configurations, copy ML_ABN to it.'
        )
    if mode == 'select':
        _select(memory, stored_configurations(memory.stored), outputs, Sampler(inputs.learning))
    else:
        sizes = {symbol: (0, size) for symbol, size in memory.sizes().items()}
        n = len(memory.learner.configurations)
        lines = [ml_logfile.status(1, State.LEARNING, False, True, 0, 1)]
        lines += ml_logfile.learned(1, memory.learner.training_errors, sizes, (0, n))
        outputs.write('ML_LOGFILE', ml_logfile.block(lines))
    atoms = inputs.atoms()
    outputs.write_contcar(atoms)
    nothing = Labels(0.0, 0.0, np.zeros((len(atoms), 3)), np.zeros(6))
    outputs.write_step(Step(1, atoms, nothing, None))
    memory.finish()
    outputs.finish()


def _select(memory: Memory, stored: list[Configuration], outputs: Outputs, sampler: Sampler) -> None:
    waiting: list[Configuration] = []
    interval = sampler.settings.least_interval
    for number, item in enumerate(stored, 1):
        learner = memory.learner
        errors = None if learner.force_field is None else learner.predict(item.atoms)[1]
        threshold, error = sampler.threshold, None if errors is None else errors.max_force
        # the configurations are not successive steps of one run, so the least interval between samples does not apply
        state = sampler.decide(number * interval, error, len(waiting))
        waiting += [item] * (state is not State.ACCURATE)
        lines = [ml_logfile.status(number, state, False, errors is not None, len(waiting), number)]
        lines += [] if errors is None else [ml_logfile.bayesian_errors(number, errors, threshold)]
        learns = state in (State.LEARNING, State.CRITICAL)
        if learns:
            _check_room(memory, waiting)
            lines += memory.learn(number, waiting)
            waiting = []
        if sampler.observe(error, learns):
            lines += ml_logfile.threshold_update(number, threshold, sampler.threshold, list(sampler.history))
        outputs.write('ML_LOGFILE', ml_logfile.block(lines))
    if waiting:
        _check_room(memory, waiting)
        outputs.write('ML_LOGFILE', ml_logfile.block(memory.learn(number, waiting)))


def _check_room(memory: Memory, waiting: list[Configuration]) -> None:
    limit = memory.max_configurations
    if len(memory.learner.configurations) + len(waiting) > limit:
        raise ProgramError('MCONF_REACHED', f'ML_MCONF = {limit} is reached: increase ML_MCONF.')
