"""Places of protocols at which keys are the user's own, or come from another protocol file.

Overrides of a protocol have the keys of its file (``protocols/<name>.yaml``). ``OPEN`` lists the exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from ase.data import chemical_symbols

from aiida_mghdiff.calculations import evaluate
from aiida_mghdiff.calculations.functions.learning import STAGE_KEYS
from aiida_mghdiff.calculations.validation import IS_SYMBOL, Check
from aiida_mghdiff.data.architectures import architectures
from aiida_mghdiff.workflows.engines import VASP_TAGS

#: Content of a place without keys, and of a place that another program checks.
VALUE, ANYTHING = 'a value', 'anything'


@dataclass(frozen=True)
class Of:
    """Keys of protocol files.

    :param places: places of the keys: ``('diffusion:settings',)``, ``('md:',)`` for a whole file.
    :param closed: keys that the user cannot set here, with the reason or an alternative.
    """

    places: tuple[str, ...]
    closed: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Close the options of jobs, which are a separate argument of builders."""
        object.__setattr__(self, 'closed', {'options': 'give options to the builder', **self.closed})


@dataclass(frozen=True)
class Open:
    """The user's own keys.

    :param key: requirement on each key; ``near``: known names, to find a misspelling.
    :param known: keys with their own content.
    :param name: name of any of them in messages.
    :param content: content of each key: ``VALUE``, ``ANYTHING``, ``Of``, ``Open``, or a dictionary of these.
    :param removable: whether null is allowed for a key, and removes it.
    :param instead: types of values that may replace all keys.
    :param closed: keys that the user cannot set here, with the reason or an alternative.
    """

    key: Check
    name: str
    content: Any = VALUE
    removable: bool = False
    instead: tuple[type, ...] = ()
    closed: Mapping[str, str] = field(default_factory=dict)
    near: Callable[[], Iterable[str]] = tuple
    known: Mapping[str, Any] = field(default_factory=dict)


IS_ARCHITECTURE = Check('an architecture', lambda key: key in architectures())
IS_LABEL = Check(
    'a label of letters, digits and single underscores',
    lambda key: re.fullmatch(r'[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*', key) is not None,
)
IS_TAG = Check(
    'a tag in lower case',
    lambda key: re.fullmatch(r'[a-z][a-z0-9_]*', key) is not None,
    lambda key: f': write {key.lower()}',
)


def of_architectures(content: Any, **known: Any) -> Open:
    """Return the content of a place with keys for each architecture."""
    return Open(IS_ARCHITECTURE, '<architecture>', content, near=architectures, known=known)


PER_ATOM = Open(IS_SYMBOL, '<symbol>', VALUE, instead=(str,), near=lambda: chemical_symbols[1:])
TAGS = Open(IS_TAG, '<tag>', ANYTHING)
OF_GPAW = Open(Check('a parameter of GPAW', str.isidentifier), '<parameter>', ANYTHING)
EVALUATION = of_architectures(dict.fromkeys(evaluate.KEYS, VALUE), **{VASP_TAGS: TAGS})

#: Tags of a search for a barrier in VASP that follow from the parameters of all engines.
_BAND = {'images': 'n_images', 'lclimb': 'climb', 'ediffg': 'force_tolerance_ev_per_angstrom', 'nsw': 'max_steps'}
_BAND = {tag: f'set parameters.{key}' for tag, key in _BAND.items()}
_RELAXATION = {
    'ediffg': 'set parameters.endpoint_tolerance_ev_per_angstrom',
    'nsw': 'set parameters.endpoint_max_steps',
}
_IN_VASP = dict.fromkeys(('ibrion', 'potim'), 'set it in vasp.band or vasp.relaxation') | _BAND
VIBRATIONS = {
    'parameters': Of(
        ('vibrations:parameters',),
        {
            'tracer_element': 'the argument tracer_element sets it',
            'expected_imaginary_modes': 'it is always 0 at minima and 1 at the saddle point',
        },
    )
}
_TRACER = {'tracer_element': 'set settings.supercell.tracer_element'}
_MD = ('md:parameters', 'md:ensembles.nvt', 'md:ensembles.npt')
_MACE = tuple(f'mace/train:{kind}' for kind in ('parameters', 'scratch', 'naive', 'multihead'))
_CHGNET = ('chgnet/train:parameters', 'chgnet/train:fine-tune')
#: Settings of the command ``demo``, from which it makes the hosts.
_HOSTS = {'repeats': 'give the supercells themselves, host and neb_host'}
#: Keys of runs in a study that jobs of all runs share.
_OF_STUDY = {key: f'all runs share it, so set md.{key}' for key in ('segment_steps', 'clean_workdir')}

OPEN: dict[str, Any] = {
    'md:parameters.incar': TAGS,
    'md:architectures': of_architectures(Of(_MD)),
    'diffusion:md': Of(('md:',)),
    'diffusion:settings.npt': Of(('md:parameters', 'md:ensembles.npt'), _TRACER),
    'diffusion:settings.nvt': Of(('md:parameters', 'md:ensembles.nvt'), _TRACER),
    'diffusion:settings.nve': Of(('md:parameters', 'md:ensembles.nve'), _TRACER),
    'arrhenius:diffusion': Of(('diffusion:',)),
    'neb:vasp.dft.parameters': Open(IS_TAG, '<tag>', ANYTHING, closed=_IN_VASP),
    'neb:vasp.force_field.parameters': Open(IS_TAG, '<tag>', ANYTHING, closed=_IN_VASP),
    'neb:vasp.relaxation': Open(IS_TAG, '<tag>', ANYTHING, closed=_RELAXATION),
    'neb:vasp.band': Open(IS_TAG, '<tag>', ANYTHING, closed=_BAND),
    'neb:vibrations': VIBRATIONS,
    'otf:settings.stages': [dict.fromkeys(STAGE_KEYS, VALUE)],
    'otf:settings.electrons': TAGS,
    'otf:settings.learning': TAGS,
    'otf:settings.refit': Open(IS_TAG, '<tag>', ANYTHING, instead=(NoneType,)),
    'label:vasp.parameters': TAGS,
    'label:vasp.retry_parameters': TAGS,
    'label:gpaw.parameters.calculator.args': OF_GPAW,
    'label:gpaw.parameters.kpoints_options': OF_GPAW,
    'label:gpaw.retry_parameters': Of(('label:gpaw.parameters',)),
    'validate:evaluation': EVALUATION,
    'validate:label.overrides': Of(('label:',)),
    **{f'mace/train:{kind}': Of(_MACE) for kind in ('parameters', 'scratch', 'naive', 'multihead')},
    'chgnet/train:fine-tune': Of(_CHGNET),
    **{f'{place}.E0s': PER_ATOM for place in (*_MACE, *_CHGNET)},
    'study:evaluation': EVALUATION,
    'study:training': Open(
        IS_LABEL,
        '<label>',
        {'architecture': VALUE, 'foundation': VALUE, 'parameters': Of((*_MACE, *_CHGNET))},
        removable=True,
    ),
    'study:paths': Open(IS_LABEL, '<label>', {'path': VALUE, 'tracer_element': VALUE}, removable=True),
    'study:neb': {'parameters': Of(('neb:parameters',)), 'vibrations': VIBRATIONS},
    'study:arrhenius': {'extrapolation': Of(('arrhenius:extrapolation',))},
    'study:md': Of(('md:',)),
    'study:otf': Of(('otf:',), {'clean_workdir': 'set md.clean_workdir'}),
    'study:': Of(('study:',), _HOSTS),
    'study:from_nothing': Of(('study:',), _HOSTS | {'from_nothing': 'give its keys only once'}),
    'study:diffusion': Open(
        IS_LABEL,
        '<label>',
        {
            'potential': VALUE,
            'temperatures_k': VALUE,
            'overrides': {'settings': Of(('diffusion:settings',)), 'md': Of(('md:',), _OF_STUDY)},
        },
        removable=True,
    ),
}
