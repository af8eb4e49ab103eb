"""Validation of complete parameter Dicts: every key is present, no other key, and each value is valid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from aiida import orm
from ase.data import atomic_numbers


@dataclass(frozen=True)
class Check:
    """Requirement on a value: in words, and as a test."""

    words: str
    holds: Callable[[Any], bool]
    advice: Callable[[Any], str] = lambda _: ''  # remedy for a wrong value


#: Required content of a dictionary of settings: the check of each key, or the schema of a nested dictionary.
Schema = Mapping[str, 'Check | Schema']


#: Least similarity of a key that is proposed for an unknown key, and of one that begins with the same letters:
#: ``max_walltime`` means ``max_wallclock_seconds``.
_LEAST_SIMILAR, _LEAST_IF_ALIKE = 0.6, 0.5
_FIRST_LETTERS = 3
#: Of numbers in settings: neither infinity nor NaN, nor a whole number that no floating-point number holds.
_LARGEST = 1e300


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def isotope_advice(symbol: Any) -> str:
    """Return advice for the symbol of a hydrogen isotope."""
    if symbol not in ('D', 'T'):
        return ''
    return ' but an isotope of H: atoms here have the mass of the natural element, so name H'


IS_NUMBER = Check('a number', _is_number)
IS_POSITIVE = Check('a positive number', lambda value: _is_number(value) and value > 0)
IS_NEGATIVE = Check('a negative number', lambda value: _is_number(value) and value < 0)
IS_NOT_NEGATIVE = Check('a number of at least 0', lambda value: _is_number(value) and value >= 0)
IS_FRACTION = Check('a number between 0 and 1', lambda value: _is_number(value) and 0 <= value < 1)
IS_PART = Check('a number from 0 to 1', lambda value: _is_number(value) and 0 <= value <= 1)
IS_TEMPERATURE = Check('a temperature of at least 1 K', lambda value: _is_number(value) and value >= 1)
IS_COUNT = Check('a positive whole number', lambda value: _is_whole(value) and value > 0)
IS_STEP = Check('a whole number of at least 0', lambda value: _is_whole(value) and value >= 0)
IS_SEED = Check('a whole number between 1 and 900000000', lambda value: _is_whole(value) and 0 < value <= 900_000_000)
IS_BOOL = Check('true or false', lambda value: isinstance(value, bool))
IS_SYMBOL = Check(
    'a chemical symbol',
    lambda value: isinstance(value, str) and value in atomic_numbers and value != 'X',
    isotope_advice,
)
IS_TEXT = Check('a text that is not empty', lambda value: isinstance(value, str) and value.strip() != '')


def one_of(*values: Any) -> Check:
    """Return the check that a value is one of the given values."""
    return Check(
        f'one of {", ".join(map(str, values))}',
        lambda value: value in values and not isinstance(value, bool),
        lambda value: near_advice(value, values),
    )


def near_advice(value: Any, known: Iterable[Any]) -> str:
    """Return the nearest known value as advice in brackets; an empty text if none is near."""
    names = {str(one).lower(): one for one in known}
    close = get_close_matches(value.lower(), names, n=1) if isinstance(value, str) else []
    return f' (did you mean {names[close[0]]}?)' if close else ''


def optional(check: Check) -> Check:
    """Return the check that also accepts null."""
    return Check(f'{check.words} or null', lambda value: value is None or check.holds(value))


def three_of(check: Check, words: str) -> Check:
    """Return the check that a value is a list of three values that pass another, which the words name."""
    return Check(
        f'a list of three {words}', lambda value: isinstance(value, list) and [*map(check.holds, value)] == [True] * 3
    )


def list_of(check: Check) -> Check:
    """Return the check that a value is a list, not empty, of values that pass another."""
    return Check(
        f'a non-empty list, each item {check.words}',
        lambda value: isinstance(value, list) and bool(value) and all(map(check.holds, value)),
    )


IS_TEMPERATURES = Check(
    'a list, not empty, of different temperatures of at least 1 K',
    lambda value: list_of(IS_TEMPERATURE).holds(value) and len(set(value)) == len(value),
)


def complete_message(
    values: Any,
    keys: Schema,
    place: str = 'parameters',
    remedy: str = 'a protocol (get_builder_from_protocol) fills in every key',
) -> str | None:
    """Return a message about an unknown, missing or invalid key in the values, or None.

    :param keys: the check of each key; a nested dictionary for a value with keys of its own.
    :param place: where the values are, as the user writes it.
    :param remedy: advice for a missing key.
    """
    if not isinstance(values, Mapping):
        return f'{place} = {values!r} is not a dictionary.'
    if message := unknown_message(values, keys, place):
        return message
    if missing := sorted(set(keys) - set(values)):
        return f'{place} {"lack" if place.endswith("s") else "lacks"} {", ".join(missing)}: {remedy}.'
    for key, check in keys.items():
        if isinstance(check, Mapping):
            if message := complete_message(values[key], check, f'{place}.{key}', remedy):
                return message
        elif not check.holds(values[key]):
            return f'{place}: {key} = {values[key]!r} is not {check.words}{check.advice(values[key])}.'
    return None


def without(keys: Schema, *names: str) -> Schema:
    """Return a schema without some of its keys."""
    return {key: check for key, check in keys.items() if key not in names}


def keys_help(words: str, keys: Schema) -> str:
    """Return the help of a port: some words, and its keys with the requirement on each value."""
    return f'{words} Keys: {_listed(keys)}.'


def _listed(keys: Schema) -> str:
    checks = {key: _listed(check) if isinstance(check, Mapping) else check.words for key, check in keys.items()}
    return ', '.join(f'``{key}`` ({words})' for key, words in checks.items())


def unknown_message(given: Iterable[str], known: Iterable[str], place: str) -> str | None:
    """Return a message on the first unknown key, with the nearest known key; None if all are known.

    :param place: where the keys are, as the user writes it: ``settings.supercell``; empty at the top.
    """
    known = list(known)
    unknown = (key for key in given if key not in known)
    return next((f'{joined_place(place, key)}: no such key; {nearest(key, known)}' for key in unknown), None)


def joined_place(place: str, key: str) -> str:
    """Return the place of a key: ``settings.supercell``."""
    return f'{place}.{key}' if place else str(key)


def at_least(name: str, least: int) -> Callable[[Any, Any], str | None]:
    """Return the validator of a port for whole numbers with a lower limit."""

    def message(node: orm.Int, _: Any = None) -> str | None:
        return None if node.value >= least else f'{name} = {node.value}: it must be at least {least}.'

    return message


def nearest(key: str, known: Iterable[str], refused: Iterable[str] = ()) -> str:
    """Return in words the known key that an unknown key probably means; all known keys if none is similar.

    :param refused: similar keys that get an answer of their own.
    """
    known, key = list(known), str(key)
    names = [*known, *refused]
    alike = [name for name in names if name[:_FIRST_LETTERS] == key[:_FIRST_LETTERS]]
    close = get_close_matches(key, names, 1, _LEAST_SIMILAR) or get_close_matches(key, alike, 1, _LEAST_IF_ALIKE)
    if close:
        return f'did you mean {close[0]}?'
    return f'known are {", ".join(sorted(known))}.' if known else 'there are no keys here.'


def self_diffusion_message(tracer: str, host: Iterable[str]) -> str | None:
    """Return why a tracer cannot be an element of its host.

    :param host: symbols of the atoms of the host.
    """
    symbols = set(host)
    if tracer not in symbols:
        return None
    return (
        f'the tracer {tracer} is an element of the host ({", ".join(sorted(symbols))}): self-diffusion is not '
        'supported, since a tracer looks like an atom of the host; name a tracer of another element, and give '
        'the host without tracers.'
    )


def joined(messages: Iterable[str | None]) -> str | None:
    """Return different messages as one text, a line for each; None without messages."""
    return '\n'.join(dict.fromkeys(filter(None, messages))) or None
