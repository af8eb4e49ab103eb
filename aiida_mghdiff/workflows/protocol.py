"""Protocols: named sets of settings in ``workflows/protocols``, one YAML file for each process.

Overrides have the shape of the file. An unknown key is refused with its place and the nearest known key;
``open_keys`` lists the places at which keys are the user's own.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from aiida import orm

from aiida_mghdiff.calculations.validation import Check, joined, joined_place, nearest
from aiida_mghdiff.workflows.open_keys import ANYTHING, OPEN, VALUE, Of, Open

FOLDER = Path(__file__).parent / 'protocols'


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
    protocol = protocol or content['default_protocol']
    if protocol not in content['protocols']:
        raise ValueError(f'{name} has no protocol {protocol!r}: choose one of {", ".join(content["protocols"])}.')
    own = _without_description(content['protocols'][protocol])
    return merge(merge(content['default_inputs'], own), checked(name, overrides or {}))


def checked(name: str, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return overrides of a protocol file.

    :raises ValueError: for all unknown keys; gives the nearest known keys.
    """
    root = OPEN.get(f'{name}:', Of((f'{name}:',)))
    if message := joined(_messages(overrides, root, '', root)):
        raise ValueError(message)
    return overrides


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base updated by the changes, including nested dictionaries."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if both else copy.deepcopy(value)
    return result


def setting(inputs: Mapping[str, Any], key: str, check: Check) -> orm.Data:
    """Return the node of a setting outside a Dict.

    :raises ValueError: for a value that AiiDA would change: 'no' into true, 1.5 into 1.
    """
    if not check.holds(inputs[key]):
        raise ValueError(f'{key} = {inputs[key]!r} is not {check.words}.')
    return orm.to_aiida_type(inputs[key])


def _messages(changes: Any, node: Any, place: str, root: Of) -> Iterator[str]:
    """Yield messages about faults of the keys of overrides.

    :param node: content of the place, see ``open_keys``.
    :param root: the whole file, in which a key may belong to another place.
    """
    if isinstance(node, list):
        for index, item in enumerate(changes if isinstance(changes, list) else ()):
            yield from _messages(item, node[0], f'{place}[{index}]', root)
    elif not isinstance(changes, Mapping):
        if not _may_be(changes, node):
            yield f'{place or "overrides"} = {changes!r}: give a dictionary here.'
    elif node == VALUE:
        yield f'{place}: give a value here, not keys ({", ".join(map(str, changes))}).'
    elif node != ANYTHING:
        for key, value in changes.items():
            yield from _messages_of_key(str(key), value, node, place, root)


def _messages_of_key(key: str, value: Any, node: Any, place: str, root: Of) -> Iterator[str]:
    """Yield messages about faults of one key of overrides and of all keys below it."""
    where = joined_place(place, key)
    if key in getattr(node, 'closed', ()):
        yield f'{where}: it cannot be set here; {node.closed[key]}.'
    elif isinstance(node, Open) and key not in node.known and not node.key.holds(key):
        near = [*node.near(), *node.known]
        yield f'{where}: {f"no such key; {nearest(key, near)}" if near else _words(key, node.key)}'
    elif not isinstance(node, Open) and key not in _known(node):
        fitting = (other for other, it in _places(key, root) if not any(_messages(value, it, '', root)))
        other, words = next(fitting, None), nearest(key, _known(node), getattr(node, 'closed', ()))
        yield f'{where}: no such key{f" here; did you mean {other}?" if other else f"; {words}"}'
    elif value is not None or not getattr(node, 'removable', False):
        yield from _messages(value, _known(node).get(key, getattr(node, 'content', VALUE)), where, root)


def _words(key: str, check: Check) -> str:
    return f'{key!r} is not {check.words}{check.advice(key)}.'


def _known(node: Any) -> dict[str, Any]:
    """Return the keys that are allowed at a place, each with its content."""
    if isinstance(node, Open):
        return {**node.known, node.name: node.content}
    if not isinstance(node, Of):
        return node if isinstance(node, dict) else {}
    places: dict[str, list[str]] = {}
    for place in node.places:
        keys = [key for value in _values_at(place) if isinstance(value, dict) for key in value]
        prefix = place if place.endswith(':') else f'{place}.'
        keys += [other.removeprefix(prefix) for other in OPEN if re.fullmatch(rf'{re.escape(prefix)}\w+', other)]
        for key in dict.fromkeys(keys):
            places.setdefault(key, []).append(f'{prefix}{key}')
    return {key: _standing_at(tuple(found)) for key, found in places.items() if key not in node.closed}


def _standing_at(places: tuple[str, ...]) -> Any:
    """Return the content of one place that several files or sections have."""
    for place in places:
        if place in OPEN:
            return OPEN[place]
    has_keys = any(isinstance(value, dict) for place in places for value in _values_at(place))
    return Of(places) if has_keys else VALUE


def _values_at(place: str) -> list[Any]:
    """Return the values of a file at a place, such as ``diffusion:settings.fit``: of its defaults and protocols."""
    name, _, path = place.partition(':')
    content = load_protocol_file(name)
    values = [content['default_inputs'], *map(_without_description, content['protocols'].values())]
    for key in path.split('.') if path else ():
        values = [value[key] for value in values if isinstance(value, dict) and key in value]
    return values


def _may_be(value: Any, node: Any) -> bool:
    """Return whether a value is allowed at a place instead of keys."""
    if isinstance(node, Of):
        return any(type(value) is type(other) for place in node.places for other in _values_at(place))
    return isinstance(value, node.instead) if isinstance(node, Open) else node in (VALUE, ANYTHING)


def _places(key: str, root: Of) -> Iterator[tuple[str, Any]]:
    """Yield all places of a key in a file, with their content; the outermost first."""
    level: list[tuple[str, Any]] = [('', root)]
    while level:
        level = [(joined_place(place, name), it) for place, node in level for name, it in _known(node).items()]
        yield from ((place, it) for place, it in level if place.rpartition('.')[2] == key)


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
