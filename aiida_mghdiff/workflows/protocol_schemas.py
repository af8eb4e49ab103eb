"""The schema of each protocol file (``protocols/<name>.yaml``): its keys, their checks, and the places of own keys.

Overrides of a protocol have the schema of its file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ase.data import chemical_symbols

from aiida_mghdiff.calculations import evaluate
from aiida_mghdiff.calculations.ase import neb, vibrations
from aiida_mghdiff.calculations.chgnet import train as chgnet
from aiida_mghdiff.calculations.functions import learning
from aiida_mghdiff.calculations.functions.hops import EXTRAPOLATION_SETTINGS
from aiida_mghdiff.calculations.functions.parameters import DIFFUSION_SETTINGS
from aiida_mghdiff.calculations.functions.paths import PATH_SETTINGS
from aiida_mghdiff.calculations.functions.sampling import SAMPLING_SETTINGS
from aiida_mghdiff.calculations.mace import train as mace
from aiida_mghdiff.calculations.md import BAROSTAT_KEYS, COMMON_KEYS, INCAR, THERMOSTAT_KEYS
from aiida_mghdiff.calculations.validation import (
    IS_BOOL,
    IS_COUNT,
    IS_NUMBER,
    IS_PART,
    IS_POSITIVE,
    IS_SEED,
    IS_STEP,
    IS_SYMBOL,
    IS_TEMPERATURES,
    IS_TEXT,
    Check,
    near_advice,
    one_of,
    optional,
    without,
)
from aiida_mghdiff.calculations.vasp import ionic, mlff, relax, singlepoint
from aiida_mghdiff.calculations.vasp import neb as vasp_neb
from aiida_mghdiff.data.architectures import architectures
from aiida_mghdiff.workflows import gpaw_schema
from aiida_mghdiff.workflows.engines import (
    VASP_TAGS,
    barrier_architectures,
    evaluated_architectures,
    trained_architectures,
)
from aiida_mghdiff.workflows.setting_checks import IS_NULL, Keys

IS_ARCHITECTURE = Check('an architecture', lambda key: key in architectures())
IS_EVALUATED = Check('an architecture whose evaluation runs in Python', lambda key: key in evaluated_architectures())
IS_LABEL = Check(
    'a label of letters, digits and single underscores',
    lambda key: re.fullmatch(r'[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*', key) is not None,
)
IS_TAG = Check(
    'a tag in lower case',
    lambda key: re.fullmatch(r'[a-z][a-z0-9_]*', key) is not None,
    lambda key: f': write {key.lower()}',
)


def _is_tag_value(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(any(check.holds(item) for check in (IS_TEXT, IS_BOOL, IS_NUMBER)) for item in items)


IS_TAG_VALUE = Check(
    'a number, a text, true or false, a list of these, or null, which leaves the tag out',
    lambda value: value is None or _is_tag_value(value),
)


def tags(
    closed: Mapping[str, str] | None = None, instead: Check | None = None, required: Mapping[str, Check] | None = None
) -> Keys:
    """Return the schema of INCAR tags.

    :param required: checks of the tags that the job requires; null cannot leave them out.
    """
    closed = closed or {}
    known = {tag: _required(check) for tag, check in (required or {}).items() if tag not in closed}
    return Keys(known, IS_TAG, '<tag>', IS_TAG_VALUE, closed=closed, instead=instead)


def _required(check: Check) -> Check:
    def advice(value: Any) -> str:
        return '; the job requires it, so null cannot leave it out' if value is None else check.advice(value)

    return replace(check, advice=advice)


def of_architectures(content: Any) -> Keys:
    """Return the schema of a place with keys for each architecture."""
    return Keys({}, IS_ARCHITECTURE, '<architecture>', content, architectures)


def file_of(known: Mapping[str, Any]) -> Keys:
    """Return the schema of a file. The options of jobs are a separate argument of builders."""
    return Keys(known, closed={'options': 'give options to the builder'})


def e0s(*names: str) -> Keys:
    """Return the schema of ``E0s``: energies by symbol, or one of the names."""
    instead = one_of(*names)
    return Keys(own=IS_SYMBOL, name='<symbol>', content=IS_NUMBER, near=lambda: chemical_symbols[1:], instead=instead)


def either(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of two schemas. If their checks of a key differ, the value must pass one of both."""
    both = {key: _either(first[key], second[key]) for key in first.keys() & second.keys()}
    return {**first, **second, **both}


def _either(first: Any, second: Any) -> Any:
    if not (isinstance(first, Check) and isinstance(second, Check)) or first is second:
        return first
    return Check(f'{first.words}, or {second.words}', lambda value: first.holds(value) or second.holds(value))


TAGS = tags()
EVALUATION = Keys({VASP_TAGS: TAGS}, IS_EVALUATED, '<architecture>', evaluate.KEYS, evaluated_architectures)
CLEANING = {'clean_workdir': IS_BOOL}

#: Times of a run become steps, see ``MolecularDynamicsWorkChain``.
_TIMES = ('duration_ps', 'tracer_interval_fs', 'thermo_interval_fs', 'frame_interval_fs')
_STEPS = ('ensemble', 'temperature_k', 'steps', 'first_step', 'seed', 'tracer_stride', 'thermo_stride', 'frame_stride')
RUN: dict[str, Any] = {**without(COMMON_KEYS, *_STEPS), **dict.fromkeys(_TIMES, IS_POSITIVE), INCAR: TAGS}
ENSEMBLES: dict[str, Any] = {'nve': {}, 'nvt': THERMOSTAT_KEYS, 'npt': THERMOSTAT_KEYS | BAROSTAT_KEYS}
MD = file_of(
    {
        'segment_steps': IS_COUNT,
        **CLEANING,
        'parameters': RUN,
        'ensembles': ENSEMBLES,
        'architectures': of_architectures(RUN | ENSEMBLES['npt']),
    }
)

_STAGES = {
    stage: Keys(RUN | keys).closing(tracer_element='set settings.supercell.tracer_element')
    for stage, keys in ENSEMBLES.items()
}
_SUPERCELL = {**DIFFUSION_SETTINGS['supercell'], 'tracer_count': IS_COUNT}  # type: ignore[dict-item]
DIFFUSION_KEYS: dict[str, Any] = {**DIFFUSION_SETTINGS, **_STAGES, 'supercell': _SUPERCELL}
DIFFUSION = file_of({'md': MD, 'settings': DIFFUSION_KEYS})

ARRHENIUS = file_of(
    {
        'temperatures_k': optional(IS_TEMPERATURES),
        'extrapolation': EXTRAPOLATION_SETTINGS,
        'max_in_flight': IS_COUNT,
        'diffusion': DIFFUSION,
    }
)

#: Parameters of vibrations that follow from the path.
_OF_PATH = {
    'tracer_element': 'the argument tracer_element sets it',
    'expected_imaginary_modes': 'it is always 0 at minima and 1 at the saddle point',
}
VIBRATIONS = file_of({**CLEANING, 'parameters': vibrations.KEYS})
VIBRATIONS_OF_PATH = {'parameters': Keys(vibrations.KEYS).closing(**_OF_PATH)}

#: Tags of a search for a barrier in VASP that follow from the parameters of all engines.
_BAND = {'images': 'n_images', 'lclimb': 'climb', 'ediffg': 'force_tolerance_ev_per_angstrom', 'nsw': 'max_steps'}
_BAND = {tag: f'set parameters.{key}' for tag, key in _BAND.items()}
_RELAXATION = {
    'ediffg': 'set parameters.endpoint_tolerance_ev_per_angstrom',
    'nsw': 'set parameters.endpoint_max_steps',
}
_IN_VASP = dict.fromkeys(('ibrion', 'potim'), 'set it in vasp.band or vasp.relaxation') | _BAND
_METHOD = {'mesh': learning.IS_MESH, 'parameters': tags(_IN_VASP, required=ionic.TAGS)}
_MOVES = {
    'relaxation': tags(_RELAXATION, required=relax.RELAXATION_TAGS),
    'band': tags(_BAND, required=vasp_neb.BAND_TAGS),
}
NEB = file_of(
    {
        **CLEANING,
        'parameters': neb.KEYS,
        'vasp': {'dft': _METHOD, 'force_field': _METHOD, **_MOVES},
        'vibrations': VIBRATIONS_OF_PATH,
    }
)

OTF = file_of(
    {
        **CLEANING,
        'settings': {
            **learning.SETTINGS,
            'stages': [learning.STAGE_KEYS],
            'electrons': tags(required=mlff.LEARNING_TAGS),
            'learning': tags(required=mlff.LEARNING_TAGS),
            'refit': tags(instead=IS_NULL),
        },
    }
)

_MESH = {'mesh': optional(learning.IS_MESH), 'spacing_per_angstrom': IS_POSITIVE}
_SINGLE_POINT = tags(required=singlepoint.KEYS)
_CALCULATOR = {'name': one_of('gpaw'), 'args': gpaw_schema.ARGUMENTS}
_GPAW = {'calculator': _CALCULATOR, 'kpoints_options': gpaw_schema.KPOINTS_OPTIONS}
LABEL = file_of(
    {
        'max_in_flight': IS_COUNT,
        'retries': IS_STEP,
        **CLEANING,
        'vasp': {'kpoints': _MESH, 'parameters': _SINGLE_POINT, 'retry_parameters': _SINGLE_POINT},
        'gpaw': {'kpoints': _MESH, 'parameters': _GPAW, 'retry_parameters': _GPAW},
    }
)

VALIDATE = file_of(
    {
        **CLEANING,
        'sampling': SAMPLING_SETTINGS,
        'evaluation': EVALUATION,
        'label': {'protocol': IS_TEXT, 'overrides': LABEL.closing(clean_workdir='set clean_workdir of the validation')},
    }
)

MACE_KEYS: dict[str, Any] = {
    **mace.KEYS,
    'E0s': e0s(*mace.E0S),
    'architecture': Keys(mace.ARCHITECTURE_KEYS, instead=IS_NULL),
    'stage_two': Keys(mace.STAGE_TWO_KEYS, instead=IS_NULL),
    'multihead': Keys(mace.MULTIHEAD_KEYS, instead=IS_NULL),
}
CHGNET_KEYS: dict[str, Any] = {**chgnet.KEYS, 'E0s': e0s(*chgnet.E0S)}

IS_TRAINED = Check(
    'an architecture that can be trained here',
    lambda value: value in trained_architectures(),
    lambda value: near_advice(value, trained_architectures()),
)
IS_POTENTIAL = Check('the label of a potential, or best:<architecture>', lambda value: isinstance(value, str))


def _advise_vibrating(names: Any) -> str:
    known = barrier_architectures()
    wrong = [name for name in names if name not in known] if isinstance(names, list) else []
    return near_advice(wrong[0], known) if wrong else ''


ARE_VIBRATING = Check(
    'a list of architectures whose barriers run in Python, such as [mace], or [] for none',
    lambda value: isinstance(value, list) and all(item in barrier_architectures() for item in value),
    _advise_vibrating,
)
#: Keys of runs in a study that jobs of all runs share.
_OF_STUDY = {key: f'all runs share it, so set md.{key}' for key in ('segment_steps', 'clean_workdir')}
_RUN_OF_STUDY = {
    'potential': IS_POTENTIAL,
    'temperatures_k': IS_TEMPERATURES,
    'overrides': {'settings': DIFFUSION_KEYS, 'md': MD.closing(**_OF_STUDY)},
}
_TRAINING = {
    'architecture': IS_TRAINED,
    'foundation': optional(IS_POTENTIAL),
    'parameters': either(MACE_KEYS, CHGNET_KEYS),
}


def labelled(content: Any) -> Keys:
    """Return the schema of entries with labels. Null removes an entry."""
    return Keys(own=IS_LABEL, name='<label>', content=content, removable=True)


_FROM_NOTHING = file_of(
    {
        'max_in_flight': IS_COUNT,
        'split': {
            'fractions': dict.fromkeys(('training', 'validation', 'test'), IS_PART),
            'seed': IS_SEED,
        },
        'training': labelled(_TRAINING),
        'evaluation': EVALUATION,
        'paths': labelled(PATH_SETTINGS),
        'neb': {'parameters': neb.KEYS, 'vibrations': VIBRATIONS_OF_PATH},
        'vibrations': ARE_VIBRATING,
        'arrhenius': {'extrapolation': EXTRAPOLATION_SETTINGS},
        'md': MD,
        'otf': OTF.closing(clean_workdir='set md.clean_workdir'),
        'diffusion': labelled(_RUN_OF_STUDY),
    }
).closing(repeats='give the supercells themselves, host and neb_host')

SCHEMAS: dict[str, Keys] = {
    'md': MD,
    'diffusion': DIFFUSION,
    'arrhenius': ARRHENIUS,
    'vibrations': VIBRATIONS,
    'neb': NEB,
    'otf': OTF,
    'label': LABEL,
    'validate': VALIDATE,
    'mace/train': file_of(dict.fromkeys(('parameters', 'scratch', 'naive', 'multihead'), MACE_KEYS)),
    'chgnet/train': file_of(dict.fromkeys(('parameters', 'fine-tune'), CHGNET_KEYS)),
    'study': Keys(
        {**_FROM_NOTHING.known, 'from_nothing': _FROM_NOTHING.closing(from_nothing='give its keys only once')},
        closed=_FROM_NOTHING.closed,
    ),
}
