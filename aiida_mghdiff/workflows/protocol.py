"""Protocols: named sets of settings in ``workflows/protocols``, one YAML file for each process.

Overrides have the shape of the file, see ``protocol_schemas``. The arguments of builders are checked here, too.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar

import yaml
from aiida import orm
from aiida_vasp.data.potcar import PotcarData

from aiida_mghdiff.calculations.functions.paths import PATH_SETTINGS
from aiida_mghdiff.calculations.md import IS_ENSEMBLE
from aiida_mghdiff.calculations.validation import (
    IS_BOOL,
    IS_SEED,
    IS_SYMBOL,
    IS_TEMPERATURE,
    IS_TEMPERATURES,
    Check,
    joined,
    joined_place,
    nearest,
)
from aiida_mghdiff.data.dataset import DatasetData
from aiida_mghdiff.data.md_state import MdStateData
from aiida_mghdiff.data.potential import PotentialData
from aiida_mghdiff.workflows.protocol_schemas import SCHEMAS
from aiida_mghdiff.workflows.setting_checks import IS_CODE, IS_NAME, by_name, is_node, plain, settings_message

FOLDER = Path(__file__).parent / 'protocols'
P = ParamSpec('P')
R = TypeVar('R')

IS_DICTIONARY = Check('a dictionary', lambda value: isinstance(value, Mapping))
#: Schemas of the arguments of builders. A name means the same in all builders.
ARGUMENTS: dict[str, Any] = {
    'codes': by_name(IS_CODE),
    'potential': is_node(PotentialData),
    'potentials': by_name(is_node(PotentialData)),
    'potcars': by_name(is_node(PotcarData)),
    'host': is_node(orm.StructureData),
    'neb_host': is_node(orm.StructureData),
    'start': is_node(orm.StructureData, MdStateData),
    'dataset': is_node(DatasetData, orm.StructureData),
    'training': is_node(DatasetData),
    'validation': is_node(DatasetData),
    'replay': is_node(DatasetData),
    'frames': by_name(is_node(orm.StructureData, orm.TrajectoryData), is_node(DatasetData)),
    'runs': by_name(by_name(is_node(orm.TrajectoryData), is_node(orm.ProcessNode))),
    'ensemble': IS_ENSEMBLE,
    'temperature_k': IS_TEMPERATURE,
    'temperatures_k': IS_TEMPERATURES,
    'seed': IS_SEED,
    'path': PATH_SETTINGS['path'],
    'tracer_element': IS_SYMBOL,
    'vibrations': IS_BOOL,
    'engine': IS_NAME,
    'architecture': IS_NAME,
    'protocol': IS_NAME,
    'overrides': IS_DICTIONARY,
    'options': IS_DICTIONARY,
}


def checks_arguments(build: Callable[P, R]) -> Callable[P, R]:
    """Return a builder's method that refuses wrong arguments, all at once.

    An argument may be None if its annotation allows None. The method gets Python's own types, see :func:`plain`.
    """
    signature = inspect.signature(build)

    @functools.wraps(build)
    def checked_build(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        given = {name: plain(value) for name, value in bound.arguments.items() if name in ARGUMENTS}
        messages = [
            settings_message(value, ARGUMENTS[name], name)
            for name, value in given.items()
            if not (value is None and 'None' in str(signature.parameters[name].annotation))
        ]
        if message := joined(messages):
            raise ValueError(message)
        bound.arguments.update(given)
        return build(*bound.args, **bound.kwargs)

    return checked_build


@functools.cache
def load_protocol_file(name: str) -> dict[str, Any]:
    """Return the content of ``protocols/<name>.yaml``: ``default_inputs``, ``default_protocol``, ``protocols``."""
    return yaml.safe_load((FOLDER / f'{name}.yaml').read_text())


def has_protocols(name: str) -> bool:
    """Return whether there is a protocol file."""
    return (FOLDER / f'{name}.yaml').is_file()


def protocol_inputs(
    name: str, protocol: str | None = None, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the settings of a protocol: the defaults of the file, updated by the protocol, then by the overrides.

    :raises ValueError: for an unknown protocol, or an unknown key of the overrides.
    """
    content = load_protocol_file(name)
    protocol = content['default_protocol'] if protocol is None else protocol
    if protocol not in content['protocols']:
        raise ValueError(f'{name} has no protocol {protocol!r}; {nearest(protocol, content["protocols"])}')
    own = _without_description(content['protocols'][protocol])
    return merge(merge(content['default_inputs'], own), checked(name, overrides or {}))


def checked(name: str, overrides: Mapping[str, Any], place: str = '') -> Mapping[str, Any]:
    """Return overrides of a protocol file, if they are correct.

    :param overrides: in Python's own types, see :func:`checks_arguments`.
    :param place: place of the overrides, as the user writes it.
    :raises ValueError: for all unknown keys and all wrong values; gives the nearest known keys.
    """
    if message := settings_message(overrides, SCHEMAS[name], place):
        raise ValueError(message)
    return overrides


def refuse_unchosen(
    overrides: Mapping[str, Any] | None, chosen: str, place: str = '', alternatives: Iterable[str] | None = None
) -> None:
    """Refuse overrides of alternatives that are not chosen, since nothing would use them.

    :param chosen: the chosen alternative, such as an ensemble.
    :param place: place of the alternatives in the overrides, as the user writes it: ``md.architectures``.
    :param alternatives: keys of the alternatives at this place; by default all its keys.
    :raises ValueError: names the place where the overrides are used.
    """
    values: Mapping[str, Any] = overrides or {}
    for key in place.split('.') if place else ():
        values = values.get(key) or {}
    for name in values if alternatives is None else alternatives:
        if name != chosen and values.get(name):
            raise ValueError(
                f'{joined_place(place, name)}: nothing would use it, because {chosen} is chosen: set '
                f'{joined_place(place, chosen)}, or leave it out.'
            )


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base updated by the changes, including nested dictionaries."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if both else copy.deepcopy(value)
    return result


def _without_description(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in protocol.items() if key != 'description'}


class ProtocolMixin:
    """Gives a process access to its protocols."""

    _PROTOCOL_FILE: ClassVar[str]

    @classmethod
    def get_available_protocols(cls) -> dict[str, dict[str, str]]:
        """Return the description of each protocol."""
        protocols = load_protocol_file(cls._PROTOCOL_FILE)['protocols']
        return {name: {'description': content['description']} for name, content in protocols.items()}

    @classmethod
    def get_default_protocol(cls) -> str:
        """Return the name of the default protocol."""
        return load_protocol_file(cls._PROTOCOL_FILE)['default_protocol']

    @classmethod
    def get_protocol_inputs(cls, protocol: str | None = None, overrides: dict | None = None) -> dict[str, Any]:
        """Return the settings of a protocol, updated by the overrides."""
        return protocol_inputs(cls._PROTOCOL_FILE, protocol, overrides)
