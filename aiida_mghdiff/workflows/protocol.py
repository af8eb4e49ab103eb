"""Protocols: named sets of settings, one YAML file a process, below ``workflows/protocols``."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any, ClassVar

import yaml

FOLDER = Path(__file__).parent / 'protocols'


@functools.cache
def load_protocol_file(name: str) -> dict[str, Any]:
    """Return the content of ``protocols/<name>.yaml``: ``default_inputs``, ``default_protocol``, ``protocols``."""
    return yaml.safe_load((FOLDER / f'{name}.yaml').read_text())


def protocol_inputs(name: str, protocol: str | None = None, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings of a protocol: the file's defaults, updated by the protocol's, updated by the overrides.

    :raises ValueError: for a protocol that the file does not have.
    """
    content = load_protocol_file(name)
    protocol = protocol or content['default_protocol']
    if protocol not in content['protocols']:
        raise ValueError(f'{name} has no protocol {protocol!r}: choose one of {", ".join(content["protocols"])}.')
    own = {key: value for key, value in content['protocols'][protocol].items() if key != 'description'}
    return merge(merge(content['default_inputs'], own), overrides or {})


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the base updated by the changes, dictionaries within dictionaries included."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if both else copy.deepcopy(value)
    return result


class ProtocolMixin:
    """Gives a process its protocols."""

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
