"""Checks of settings against a schema: unknown keys, with the nearest known key, and wrong values.

A schema is a tree. Each place has a ``Check`` of a value, ``Keys`` or a plain dictionary of known keys, or a list with
the schema of each item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from aiida import orm

from aiida_mghdiff.calculations.validation import Check, joined, joined_place, nearest

ANYTHING = Check('anything', lambda _: True)
IS_NULL = Check('null', lambda value: value is None)
IS_NAME = Check('a text', lambda value: isinstance(value, str))


@dataclass(frozen=True)
class Keys:
    """Keys of a dictionary.

    :param known: known keys, each with its own schema.
    :param own: check of the user's own keys; ``name``: name of such a key in messages; ``content``: its schema.
    :param near: further known names, to find a misspelling.
    :param removable: whether null is allowed for a key, and removes it.
    :param instead: check of a value that may replace the dictionary.
    :param closed: keys that the user cannot set here, with the reason or an alternative.
    """

    known: Mapping[str, Any] = field(default_factory=dict)
    own: Check | None = None
    name: str = ''
    content: Any = ANYTHING
    near: Callable[[], Iterable[str]] = tuple
    removable: bool = False
    instead: Check | None = None
    closed: Mapping[str, str] = field(default_factory=dict)

    def closing(self, **closed: str) -> Keys:
        """Return the keys with some of them closed."""
        left = {key: node for key, node in self.known.items() if key not in closed}
        return replace(self, known=left, closed={**self.closed, **closed})


def is_node(*classes: type) -> Check:
    """Return the check that a value is a node of one of some classes."""
    names = ' or '.join(node_class.__name__ for node_class in classes)
    return Check(f'a {names} node', lambda value: isinstance(value, classes))


def by_name(content: Any, instead: Check | None = None) -> Keys:
    """Return the schema of a dictionary with the user's own names."""
    return Keys(own=IS_NAME, name='<name>', content=content, instead=instead)


IS_CODE = Check('a code', lambda value: isinstance(value, orm.AbstractCode))


def plain(value: Any) -> Any:
    """Return settings in Python's own types: values of numpy and AiiDA, sequences as lists. Other nodes stay."""
    if isinstance(value, orm.BaseType):
        return value.value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, orm.Dict):
        return plain(value.get_dict())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple | range | orm.List) else value


def without_null(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Return INCAR tags without the tags that are null."""
    return {tag: value for tag, value in tags.items() if value is not None}


def settings_message(values: Any, schema: Any, place: str = '') -> str | None:
    """Return all faults of settings, one line for each; None without faults.

    :param place: place of the settings, as the user writes it; empty for overrides.
    """
    return joined(_messages(values, schema, place, (place, schema)))


def _messages(values: Any, node: Any, place: str, root: tuple[str, Any]) -> Iterator[str]:
    """Yield messages about faults of the settings at a place.

    :param root: place and schema of all settings, in which a key may belong to another place.
    """
    if isinstance(node, Check):
        yield from _value_messages(values, node, place)
    elif isinstance(node, list):
        yield from _list_messages(values, node[0], place, root)
    elif isinstance(values, Mapping):
        for key, value in values.items():
            if isinstance(key, str):
                yield from _key_messages(key, value, _keys(node), place, root)
            else:
                yield f'{joined_place(place, key)}: the key {key!r} is not a text: write {str(key)!r}.'
    elif (instead := _keys(node).instead) is None or not instead.holds(values):
        words = f'{instead.words}, or ' if instead else ''
        advice = instead.advice(values) if instead else ''
        yield f'{place or "overrides"} = {values!r}: give {words}a dictionary here{advice}.'


def _value_messages(value: Any, check: Check, place: str) -> Iterator[str]:
    if check.holds(value):
        return
    if isinstance(value, Mapping):
        yield f'{place}: give a value here, not keys ({", ".join(map(str, value))}).'
    else:
        yield f'{place} = {value!r} is not {check.words}{check.advice(value)}.'


def _list_messages(values: Any, node: Any, place: str, root: tuple[str, Any]) -> Iterator[str]:
    if not isinstance(values, list) or not values:
        yield f'{place} = {values!r}: give a list here, not empty.'
        return
    for index, item in enumerate(values):
        yield from _messages(item, node, f'{place}[{index}]', root)


def _key_messages(key: str, value: Any, keys: Keys, place: str, root: tuple[str, Any]) -> Iterator[str]:
    """Yield messages about faults of one key and of all keys below it."""
    where = joined_place(place, key)
    if key in keys.closed:
        yield f'{where}: it cannot be set here; {keys.closed[key]}.'
    elif key in keys.known or (keys.own is not None and keys.own.holds(key)):
        if value is not None or not keys.removable:
            yield from _messages(value, keys.known.get(key, keys.content), where, root)
    elif keys.own is not None:
        near, advice = [*keys.near(), *keys.known], keys.own.advice(key)
        own = f'{key!r} is not {keys.own.words}{advice}.'
        yield f'{where}: {f"no such key; {nearest(key, near)}" if near and not advice else own}'
    else:
        fitting = (other for other, it in _places(key, root[1]) if not any(_messages(value, it, '', root)))
        other, words = next(fitting, None), nearest(key, keys.known, keys.closed)
        yield f'{where}: no such key' + (
            f' here; did you mean {joined_place(root[0], other)}?' if other else f'; {words}'
        )


def _keys(node: Any) -> Keys:
    return node if isinstance(node, Keys) else Keys(node)


def _below(node: Any) -> dict[str, Any]:
    """Return the schemas below a place, by key."""
    if isinstance(node, Check | list):
        return {}
    keys = _keys(node)
    return {**keys.known, **({} if keys.own is None else {keys.name: keys.content})}


def _places(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield all places of a key below a node, with their schemas; the outermost first."""
    level: list[tuple[str, Any]] = [('', node)]
    while level:
        level = [(joined_place(place, name), it) for place, above in level for name, it in _below(above).items()]
        yield from ((place, it) for place, it in level if place.rpartition('.')[2] == key)
