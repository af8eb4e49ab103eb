"""The table of all exit codes, and the decorator with which calcfunctions refuse inputs.

A number has one meaning in all jobs, calcfunctions and workflows. Each of them selects rows of the table by name.

A calcfunction that refuses its inputs ends with an exit code and one clear sentence, never with an exception. The
sentence is in ``verdi process list`` and reaches the WorkChain that called the calcfunction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiida import orm
from aiida.engine import ExitCode, ExitCodesNamespace, ProcessSpec
from aiida.engine.processes.functions import FunctionProcess

from aiida_mghdiff.calculations.validation import Check, complete_message
from aiida_mghdiff.data.arrays import NotFiniteError
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.science.arrhenius import TooFewTemperaturesError
from aiida_mghdiff.science.lattice.geometry import LatticeError, PlacementError, SitesError
from aiida_mghdiff.science.lattice.network import NetworkError
from aiida_mghdiff.science.positions import PositionsError, TooShortError
from aiida_mghdiff.science.sampling import TooFewFramesError
from aiida_mghdiff.science.splits import SplitError
from aiida_mghdiff.science.transition_state import NoSaddleError


class Failure(NamedTuple):
    """One row of the table of exit codes."""

    status: int
    name: str
    #: Message of the node. The process that ends with this code fills in the words in braces.
    message: str
    cure: str
    #: Whether the cache forgets such a job, so that the same inputs run again. Failures of a machine or an environment
    #: are forgotten; failures that follow from the inputs are kept.
    invalidates_cache: bool = False


# 200s: an input is refused. 300s: outputs are missing or incomplete. 400s: a restart with more time, memory or steps
# helps. 500s: the program ended with an unusable result. 600s: a workflow stopped because a step or child failed.
# fmt: off
TABLE = (
    Failure(210, 'ENGINE_MISSING', 'The environment of the job lacks a package: {message}',
            'Install the package in the environment of the code.', True),
    Failure(211, 'POTENTIAL_UNREADABLE', 'The file of the potential cannot be read: {message}',
            'Export the potential again, or install the version that can read the potential.', True),
    Failure(212, 'ELEMENT_UNKNOWN', 'The potential does not know an element: {message}',
            'Choose a potential that knows all elements of the structure.'),
    Failure(213, 'INPUT_REFUSED', 'The program refused its input: {message}',
            'Change the input that the message names.'),
    Failure(214, 'LABELS_DIFFER', 'A force field needs labels of one origin: {message}',
            'Learn from labels of one origin.'),
    Failure(215, 'EXECUTABLE_MISSING', 'An executable of the job is missing: {message}',
            'Correct the path of the code, or load the module of the executable in the prepend text.', True),
    Failure(216, 'VTST_MISSING', 'The VASP of this code was built without VTST, which {tags} need: {message}',
            'Choose a code of a VASP with VTST, or build VTST into this VASP.', True),
    Failure(217, 'CODE_LACKS_ELEMENT', 'The code of the job does not know an element: {message}',
            'Install the PAW datasets of GPAW, or choose other labels of the stand-in of VASP.', True),
    Failure(218, 'ENDS_OF_OTHER_LABELS', 'The end points cannot be compared with the images: {message}',
            'Relax the end points with the code and the potential of the images.'),
    Failure(219, 'SEVERAL_RANKS', 'A program of one process was started several times: {message}',
            'Leave with_mpi out of the code, and withmpi out of the options.', True),
    Failure(220, 'SETTINGS_INVALID', 'The settings are incomplete or wrong: {message}',
            'Change the key that the message names.'),
    Failure(221, 'NOT_FINITE', 'An input contains numbers that are not finite: {message}',
            'Look at the run that made the input.'),
    Failure(222, 'HOST_NOT_HCP', 'The host is no hcp crystal: {message}',
            'Give a host that is hcp.'),
    Failure(223, 'TRACERS_DO_NOT_FIT', 'The tracers cannot be placed as requested: {message}',
            'Ask for fewer tracers, or for a larger supercell.'),
    Failure(224, 'RUN_TOO_SHORT', 'The run is too short for the analysis: {message}',
            'Run longer, or ask for a shorter window.'),
    Failure(225, 'TOO_FEW_FRAMES', 'There are not enough frames to choose from: {message}',
            'Ask for fewer frames, or record more often.'),
    Failure(226, 'SEGMENTS_DO_NOT_JOIN', 'The segments do not form complete runs: {message}',
            'Give each segment of each run once.'),
    Failure(227, 'TOO_FEW_TEMPERATURES', 'There are too few temperatures for a fit: {message}',
            'Give results at two temperatures or more.'),
    Failure(228, 'NODES_DO_NOT_MATCH', 'The inputs do not belong together: {message}',
            'Give inputs of one system and one run.'),
    Failure(229, 'ENDS_COINCIDE', 'There is no path between the end points: {message}',
            'Choose another path, or a host in which both ends are minima.'),
    Failure(230, 'FILE_REFUSED', 'The file cannot be read: {message}',
            'Correct the file at the place that the message names.'),
    Failure(231, 'SPLIT_IMPOSSIBLE', 'The dataset cannot be split as requested: {message}',
            'Change the fractions, or give more configurations.'),
    Failure(232, 'FRAMES_INVALID', 'A frame is not a valid structure: {message}',
            'Leave the frame out, or correct the file with the frame.'),
    Failure(233, 'POSITIONS_INVALID', 'The positions give no D: {message}',
            'Give unwrapped positions of a run.'),
    Failure(234, 'SITES_DO_NOT_FIT', 'The tracers do not sit on the sites of the host: {message}',
            'Give the host of the run, and smaller cores of the sites.'),
    Failure(240, 'NO_NETWORK', 'The hops form no network: {message}',
            'Give the hops that the message names.'),
    Failure(241, 'NO_SADDLE_POINT', 'The path has no saddle point between two minima: {message}',
            'Choose a path that leads over a saddle point.'),
    Failure(300, 'OUTPUT_MISSING', 'Output is missing: {message}; look at the output of the scheduler.',
            'Run the job once more; workflows do.', True),
    Failure(303, 'PROGRAM_CRASHED', 'The program ended unexpectedly: {message}',
            'Run the job once more; workflows do.', True),
    Failure(304, 'OUTPUT_INVALID', 'An output file cannot be read: {message}',
            'Run the job once more; workflows do.', True),
    Failure(310, 'OUTPUT_TRUNCATED', 'Files are truncated; complete parts were kept: {message}',
            'Continue from the outputs; workflows do.', True),
    Failure(311, 'LAMMPS_ERROR', 'LAMMPS stopped with an error: {message}',
            'Look at the output of LAMMPS.', True),
    Failure(400, 'OUT_OF_WALLTIME', 'The job stopped before or at its wall time; its outputs, if any, continue it.',
            'Continue from the outputs; workflows do. Without outputs ask for more time.'),
    Failure(410, 'OUT_OF_MEMORY', 'The job ran out of memory: {message}',
            'Ask for more memory, or for more machines.', True),
    Failure(420, 'NON_FINITE', 'Energies or forces are no finite numbers: {message}',
            'Look at the start, or choose a better potential.'),
    Failure(430, 'SCF_NOT_CONVERGED', 'The SCF did not converge: {message}',
            'Raise NELM or change ALGO (VASP), change mixer or occupations (GPAW).'),
    Failure(431, 'LABEL_IMPLAUSIBLE', 'The label cannot be right: {message}',
            'Look at the structure and the parameters of the single point.'),
    Failure(440, 'MCONF_REACHED', 'There is no room for more configurations (ML_MCONF): {message}',
            'Raise ML_MCONF; workflows do.'),
    Failure(442, 'MB_REACHED', 'There is no room for more local reference configurations (ML_MB): {message}',
            'Raise ML_MB; workflows do.'),
    Failure(500, 'E0S_IGNORED', 'The model does not have the requested energies per element (E0s): {message}',
            'Give E0s in a form that the program accepts.'),
    Failure(501, 'FINETUNING_MODE_CHANGED', 'MACE changed mode or settings of the training by itself: {message}',
            'Ask for the mode and the settings that MACE chose, or change the inputs that made MACE choose them.'),
    Failure(502, 'STRUCTURES_REPLACED', 'The program left out or replaced structures: {message}',
            'Leave these structures out of the dataset.'),
    Failure(503, 'TRAINING_DIVERGED', 'The training diverged: {message}',
            'Lower the learning rate, or look at the labels.'),
    Failure(510, 'NEB_NOT_CONVERGED', 'The path did not converge: {message}',
            'Continue from the path, or allow more steps.'),
    Failure(511, 'ENDPOINT_NOT_CONVERGED', 'An end point did not relax: {message}',
            'Allow more steps, or start nearer to the minimum.'),
    Failure(512, 'ENDPOINT_COLLAPSED', 'Both end points relaxed to the same place: {message}',
            'Choose another path: an end of this one is no minimum.'),
    Failure(513, 'RELAXATION_NOT_CONVERGED', 'The relaxation did not converge: {message}',
            'Continue from the structure, or allow more steps.'),
    Failure(520, 'TEMPERATURE_RUNAWAY', 'The temperature ran away: {message}',
            'Shorten the time step, or choose a better potential.'),
    Failure(530, 'WRONG_NUMBER_OF_IMAGINARY_MODES', 'The structure is not the requested stationary point: {message}',
            'Converge the structure further; its vibrations are in the outputs.'),
    Failure(531, 'SPILLING_FACTOR', 'The run left the configurations that the force field knows: {message}',
            'Learn at these conditions, too.'),
    Failure(532, 'FORCE_FIELD_UNLEARNED', 'The run ended without a force field: {message}',
            'Run longer, or lower ML_CTIFOR.'),
    Failure(610, 'NO_PROGRESS', 'A job made no progress before its wall time: raise max_wallclock_seconds.',
            'Raise max_wallclock_seconds.'),
    Failure(611, 'UNPHYSICAL', 'The trajectory became unphysical: {message}',
            'Shorten the time step, look at the start, or choose a better potential.'),
    Failure(612, 'LATTICE_CHANGED', 'A length of the cell changed by {change:.0%} within {steps} steps, more than the '
            'plane waves of one job describe: look at the start, or heat more slowly.',
            'Look at the start, or heat more slowly.'),
    Failure(613, 'BROKEN', 'Two jobs in a row crashed without progress: {message}',
            'Look at the output of the last job.'),
    Failure(620, 'CHILDREN_FAILED', 'These children failed: {failed}; left out: {left_out}.',
            'Look at the children; all others have their outputs.'),
    Failure(621, 'SEGMENT_FAILED', 'Segment {name} failed: {message}', 'Look at the segment.'),
    Failure(622, 'RUN_FAILED', 'Run {name} failed: {message}', 'Look at the run.'),
    Failure(623, 'ANALYSIS_FAILED', 'Step {name} failed: {message}', 'Change the settings of the step.'),
    Failure(624, 'FIT_FAILED', 'There is no Arrhenius fit: {message}',
            'Look at the coefficients of diffusion.'),
    Failure(630, 'ENDPOINTS_FAILED', 'The end points cannot be placed: {message}',
            'Choose another path or host.'),
    Failure(631, 'ENDS_NOT_RELAXED', 'The end points are not two different minima: {message}',
            'Choose another path, or allow more steps.'),
    Failure(632, 'NEB_FAILED', 'The ciNEB run failed: {message}', 'Look at the ciNEB job.'),
    Failure(633, 'VIBRATIONS_FAILED', 'Vibrations of {name} failed: {message}', 'Look at the job of the vibrations.'),
    Failure(640, 'LABELS_FAILED', 'Not all frames have a label: {message}',
            'Look at the single points; the other frames have their labels.'),
    Failure(641, 'NO_FRAME_LABELLED', 'No frame could be labelled: {message}', 'Look at the single points.'),
    Failure(642, 'FRAMES_REFUSED', 'The frames cannot be labelled: {message}', 'Leave out the named frame.'),
    Failure(643, 'LABELS_DO_NOT_MATCH', 'The labels cannot be joined: {message}',
            'Label all frames with one code and one set of parameters.'),
    Failure(650, 'LEARNING_FAILED', 'On-the-fly learning failed: {message}', 'Look at the learning workflow.'),
    Failure(651, 'REFIT_FAILED', 'The refit failed: {message}', 'Look at the job of the refit.'),
    Failure(652, 'NOTHING_LEARNED', 'No configuration has a usable label: {message}',
            'Lower ML_CTIFOR, or let the SCF converge.'),
    Failure(660, 'SPLIT_FAILED', 'The dataset cannot be split: {message}', 'Change the settings of the split.'),
    Failure(661, 'TRAINING_REFUSED', 'No potential can be trained on the sets of the dataset: {message}',
            'Change the settings of the training, or give more configurations.'),
    Failure(670, 'SAMPLING_FAILED', 'Frames of {run} cannot be sampled: {message}', 'Change the settings of sampling.'),
    Failure(671, 'EVALUATIONS_FAILED', 'These potentials were not evaluated: {failed}',
            'Look at the evaluations; all other potentials were evaluated.'),
)
# fmt: on

#: Statuses of exit codes of other packages that our processes or their base classes inherit. No row of the table
#: uses one of them with another meaning.
INHERITED = {
    'aiida-core': (0, 1, 2, 10, 11, 100, 110, 120, 131, 140, 150, 160),
    "AiiDA's restart loop": (301, 302, 401, 402),
    'aiida-lammps': (309, 351, 1001),
    'aiida-vasp': (333, 350, 351, 352, 700, 701, 702, 703, 704, 1002, 1004, 1005),
}

#: The exit codes of the table by label, ``ERROR_<name>``; handlers of restart loops use these.
EXIT_CODES = ExitCodesNamespace(
    {f'ERROR_{row.name}': ExitCode(row.status, row.message, row.invalidates_cache) for row in TABLE}
)

#: Every job can end with these codes, but single points have fewer failures.
JOB_FAILURES = (
    'ENGINE_MISSING',
    'POTENTIAL_UNREADABLE',
    'INPUT_REFUSED',
    'EXECUTABLE_MISSING',
    'SEVERAL_RANKS',
    'OUTPUT_MISSING',
    'PROGRAM_CRASHED',
    'OUTPUT_INVALID',
    'OUT_OF_WALLTIME',
    'OUT_OF_MEMORY',
    'NON_FINITE',
)
#: A repeated job would end with the same code.
JOB_REFUSALS = (
    'ENGINE_MISSING',
    'POTENTIAL_UNREADABLE',
    'ELEMENT_UNKNOWN',
    'INPUT_REFUSED',
    'LABELS_DIFFER',
    'EXECUTABLE_MISSING',
    'SEVERAL_RANKS',
    'VTST_MISSING',
    'CODE_LACKS_ELEMENT',
)


def exit_codes(*names: str) -> list[ExitCode]:
    """Return the exit codes of these rows of the table."""
    return [EXIT_CODES[f'ERROR_{name}'] for name in names]


def define_exit_codes(spec: ProcessSpec, *names: str) -> None:
    """Define the exit codes of these rows of the table in a specification."""
    for name, code in zip(names, exit_codes(*names), strict=True):
        spec.exit_code(
            code.status, f'ERROR_{name}', message=str(code.message), invalidates_cache=code.invalidates_cache
        )


def has_ended_with(node: orm.ProcessNode, *names: str) -> bool:
    """Return whether a process ended with one of these exit codes."""
    return node.exit_status in {code.status for code in exit_codes(*names)}


class SettingsError(ValueError):
    """Settings are incomplete or wrong."""


class SegmentsError(ValueError):
    """Segments do not form complete runs of one system."""


class MismatchError(ValueError):
    """Nodes do not belong together."""


class EndsError(ValueError):
    """End points are not joined by a path."""


class FramesError(ValueError):
    """Frames are not valid structures."""


#: Row of the table by the exception that a calcfunction raises.
REFUSALS: dict[type[ValueError], str] = {
    SettingsError: 'SETTINGS_INVALID',
    NotFiniteError: 'NOT_FINITE',
    LatticeError: 'HOST_NOT_HCP',
    PlacementError: 'TRACERS_DO_NOT_FIT',
    TooShortError: 'RUN_TOO_SHORT',
    TooFewFramesError: 'TOO_FEW_FRAMES',
    SegmentsError: 'SEGMENTS_DO_NOT_JOIN',
    TooFewTemperaturesError: 'TOO_FEW_TEMPERATURES',
    MismatchError: 'NODES_DO_NOT_MATCH',
    EndsError: 'ENDS_COINCIDE',
    FormatError: 'FILE_REFUSED',
    SplitError: 'SPLIT_IMPOSSIBLE',
    FramesError: 'FRAMES_INVALID',
    PositionsError: 'POSITIONS_INVALID',
    SitesError: 'SITES_DO_NOT_FIT',
    NetworkError: 'NO_NETWORK',
    NoSaddleError: 'NO_SADDLE_POINT',
}


def refusing(*refusals: type[ValueError]) -> Callable[[Any], Any]:
    """Return a decorator: if the body of a calcfunction raises one of these exceptions, it ends with an exit code.

    The exit codes are in the function's process specification. The function itself is unchanged, so that the node of a
    call keeps its source file.

    Calls are never taken from the cache. AiiDA's hash includes the file of the function, but not the modules that it
    calls, so a changed estimator would return its old results. All calcfunctions are quick.
    """

    def decorate(function: Any) -> Any:
        run = function.process_class.run

        async def refusing_run(process: FunctionProcess) -> ExitCode | None:
            try:
                return await run(process)
            except refusals as error:
                (code,) = exit_codes(REFUSALS[type(error)])
                return ExitCode(code.status, str(error))

        function.process_class.run = refusing_run
        function.is_valid_cache = never
        define_exit_codes(function.spec(), *(REFUSALS[refusal] for refusal in refusals))
        return function

    return decorate


def never(_: orm.ProcessNode) -> bool:
    """Return False: the cache must not take the node of a call."""
    return False


def read_settings(settings: orm.Dict, keys: Mapping[str, Check]) -> dict[str, Any]:
    """Return the settings.

    :raises SettingsError: for a missing, unknown or invalid key.
    """
    values = settings.get_dict()
    if message := complete_message(values, keys, 'settings', f'give each of {", ".join(keys)}'):
        raise SettingsError(message)
    return values
