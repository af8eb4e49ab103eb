"""What calcfunctions refuse, and the exit status of each refusal.

A calcfunction that cannot do what is asked ends in an exit code with one clear sentence, never in an exception: the
sentence is then in ``verdi process list`` and reaches the WorkChain that called it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.engine.processes.functions import FunctionProcess

from aiida_mghdiff.calculations.validation import Check, complete_message
from aiida_mghdiff.formats.errors import FormatError
from aiida_mghdiff.science.arrhenius import TooFewTemperaturesError
from aiida_mghdiff.science.lattice.geometry import LatticeError, PlacementError, SitesError
from aiida_mghdiff.science.lattice.network import NetworkError
from aiida_mghdiff.science.positions import PositionsError, TooShortError
from aiida_mghdiff.science.sampling import TooFewFramesError
from aiida_mghdiff.science.splits import SplitError
from aiida_mghdiff.science.transition_state import NoSaddleError


class SettingsError(ValueError):
    """Settings that are incomplete or wrong."""


class NotFiniteError(ValueError):
    """Numbers that are not finite."""


class SegmentsError(ValueError):
    """Segments that do not make up whole runs of one system."""


class MismatchError(ValueError):
    """Nodes that do not belong together."""


class EndsError(ValueError):
    """End points between which there is no path."""


class FramesError(ValueError):
    """Frames that are no arrangement of atoms."""


REFUSALS: dict[type[ValueError], tuple[int, str, str]] = {
    SettingsError: (220, 'SETTINGS_INVALID', 'The settings are incomplete or wrong: {message}'),
    NotFiniteError: (221, 'NOT_FINITE', 'An input holds numbers that are not finite: {message}'),
    LatticeError: (222, 'HOST_NOT_HCP', 'The host is no hcp crystal: {message}'),
    PlacementError: (223, 'TRACERS_DO_NOT_FIT', 'The tracers cannot be placed as asked: {message}'),
    TooShortError: (224, 'RUN_TOO_SHORT', 'The run is too short for the analysis: {message}'),
    TooFewFramesError: (225, 'TOO_FEW_FRAMES', 'There are not enough frames to choose from: {message}'),
    SegmentsError: (226, 'SEGMENTS_DO_NOT_JOIN', 'The segments do not make up whole runs: {message}'),
    TooFewTemperaturesError: (227, 'TOO_FEW_TEMPERATURES', 'There is no line to fit: {message}'),
    MismatchError: (228, 'NODES_DO_NOT_MATCH', 'The inputs do not belong together: {message}'),
    EndsError: (229, 'ENDS_COINCIDE', 'There is no path between the end points: {message}'),
    FormatError: (230, 'FILE_REFUSED', 'The file cannot be read: {message}'),
    SplitError: (231, 'SPLIT_IMPOSSIBLE', 'The dataset cannot be split as asked: {message}'),
    FramesError: (232, 'FRAMES_INVALID', 'A frame is no arrangement of atoms: {message}'),
    PositionsError: (233, 'POSITIONS_INVALID', 'There is no D in these positions: {message}'),
    SitesError: (234, 'SITES_DO_NOT_FIT', 'The tracers do not sit on the sites of the host: {message}'),
    NetworkError: (240, 'NO_NETWORK', 'The hops make up no network: {message}'),
    NoSaddleError: (241, 'NO_SADDLE_POINT', 'The path has no minima with a saddle point between: {message}'),
}


def refusing(*refusals: type[ValueError]) -> Callable[[Any], Any]:
    """Return a decorator that makes a calcfunction end in an exit code where its body raises one of these.

    The exit codes go into the function's process specification. The function itself stays as it is, so that the node
    of a call keeps its source file.

    Its calls are never taken from the cache: AiiDA's hash has the file of the function, not the modules that it calls,
    so that a changed estimator would give its old results. All of them are quick.
    """

    def decorate(function: Any) -> Any:
        run = function.process_class.run

        async def refusing_run(process: FunctionProcess) -> ExitCode | None:
            try:
                return await run(process)
            except refusals as error:
                return ExitCode(REFUSALS[type(error)][0], str(error))

        function.process_class.run = refusing_run
        function.is_valid_cache = never
        for status, name, message in map(REFUSALS.get, refusals):
            function.spec().exit_code(status, f'ERROR_{name}', message=message)
        return function

    return decorate


def never(_: orm.ProcessNode) -> bool:
    """Return False: the node of a call is no valid source of the cache."""
    return False


def read_settings(settings: orm.Dict, keys: Mapping[str, Check]) -> dict[str, Any]:
    """Return the settings.

    :raises SettingsError: for a missing, unknown or invalid key.
    """
    values = settings.get_dict()
    if message := complete_message(values, keys, f'give each of {", ".join(keys)}'):
        raise SettingsError(message.replace('parameters', 'settings', 1))
    return values


def require_finite(**arrays: np.ndarray) -> None:
    """Refuse arrays that hold NaN or infinity.

    :raises NotFiniteError: with the name of the array.
    """
    for name, values in arrays.items():
        bad = np.count_nonzero(~np.isfinite(values))
        if bad:
            raise NotFiniteError(f'{name} has {bad} of {np.size(values)}; look at the run that made it.')
