"""The architectures of potentials: their names, floating-point types, elements, files and calculators.

``workflows/engines.py`` has the engines of each architecture. Other packages add architectures by the entry point
group :data:`GROUP`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from aiida_mghdiff.formats.mace_heads import choose_head, damage, is_dictionary, is_torch_file, read_heads
from aiida_mghdiff.formats.ml_ff import read_ml_ff_header

GROUP = 'aiida_mghdiff.architectures'
#: Forbidden names of architectures: roles of codes, the learned force field, and modules beside the calculators.
RESERVED = ('python', 'lammps', 'convert', 'vasp', 'vasp_neb', 'reduce', 'gpaw', 'vasp_mlff', 'base', 'loading')

_CALCULATORS = 'aiida_mghdiff.programs.calculators'


@dataclass(frozen=True)
class ModelFile:
    """A model file, with the user's information about it."""

    path: Path
    elements: Sequence[str]
    head: str | None
    heads: Sequence[str] | None


def no_attributes(file: ModelFile) -> dict[str, Any]:
    """Return no attributes, for files that contain none.

    :raises ValueError: for a head or heads, which such a potential cannot have.
    """
    for name, value in (('head', file.head), ('heads', file.heads)):
        if value is not None:
            raise ValueError(f'{name} is {value!r}, but only a mace potential has heads: leave {name} out.')
    return {'head': None}


def mace_attributes(file: ModelFile) -> dict[str, Any]:
    """Return the head that every program evaluates, and all heads of a MACE model.

    :raises ValueError: for a file that is damaged or not a MACE model, other heads than it has, a head that the model
        does not have, or several heads without a choice.
    """
    _require_torch(file.path, 'MACE')
    if is_dictionary(file.path):
        raise ValueError(
            f'{file.path.name} is a dictionary, such as the weights of CHGNet, not a MACE model: name the file that '
            'MACECalculator loads, or another architecture.'
        )
    found = read_heads(file.path)
    heads = found if file.heads is None else list(file.heads)
    if found is not None and found != heads:
        raise ValueError(
            f'heads are {", ".join(map(str, heads or []))}, but {file.path.name} has {", ".join(found) or "none"}: '
            'leave heads out, which are read from the file.'
        )
    return {'head': file.head if heads is None else choose_head(heads, file.head), 'heads': heads}


def chgnet_attributes(file: ModelFile) -> dict[str, Any]:
    """Return no attributes, since a file of CHGNet contains none.

    :raises ValueError: for a file that is plainly not of CHGNet.
    """
    _require_torch(file.path, 'CHGNet')
    if read_heads(file.path) is not None:
        raise ValueError(f'{file.path.name} is a MACE model: set architecture to mace.')
    return no_attributes(file)


def _require_torch(path: Path, title: str) -> None:
    """Refuse a file that torch did not write, or not so: its first job would fail. The node refuses an empty file."""
    if reason := damage(path):
        raise ValueError(f'{path.name}: {reason}')
    if path.stat().st_size and not is_torch_file(path):
        raise ValueError(f'{path.name} is not a model of {title}, because torch did not write it: name another file.')


def ml_ff_attributes(file: ModelFile) -> dict[str, Any]:
    """Return the attributes in the header of an ML_FF.

    :raises ValueError: for a file without the header that VASP writes since 6.4, or with other elements in it.
    """
    header = read_ml_ff_header(file.path)
    if set(header.elements) != set(file.elements):
        raise ValueError(f'the ML_FF is of {", ".join(header.elements)}, not of {", ".join(file.elements)}.')
    labelled_by = 'vasp' if header.standin is None else f'standin:{header.standin}'
    return no_attributes(file) | {'version': header.version, 'fast': header.fast, 'labelled_by': labelled_by}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Properties that all potentials of one architecture share."""

    name: str
    title: str  # name in messages and figures
    dtypes: tuple[str, ...] = ('float64', 'float32')  # types in which its engines compute, the usual one first
    elements: tuple[str, ...] | None = None  # elements that every potential knows; None if they differ between files
    attributes_of: Callable[[ModelFile], dict[str, Any]] = no_attributes  # further attributes of a potential
    calculator: str | None = None  # full name of the module with the ASE calculator; None without a calculator

    def dtype_message(self, dtype: str) -> str | None:
        """Return why its engines cannot compute in a floating-point type, or None."""
        if dtype in self.dtypes:
            return None
        types = ' or '.join(self.dtypes)
        return f'parameters: {self.title} computes only in {types}: set dtype to {types}.'

    @property
    def calculator_source(self) -> bytes:
        """Return the source of the calculator's module, without importing it."""
        spec = find_spec(str(self.calculator))
        if spec is None or spec.origin is None:
            raise ValueError(f'architecture {self.name!r}: there is no module {self.calculator} with its calculator.')
        return Path(spec.origin).read_bytes()

    @property
    def calculator_digest(self) -> str | None:
        """Return the SHA-256 of another package's calculator; None for our own, which ``CACHE_VERSION`` covers."""
        if self.calculator is None or self.calculator.startswith(f'{_CALCULATORS}.'):
            return None
        return hashlib.sha256(self.calculator_source).hexdigest()


MACE = Architecture(name='mace', title='MACE', attributes_of=mace_attributes, calculator=f'{_CALCULATORS}.mace')
CHGNET = Architecture(
    name='chgnet',
    title='CHGNet',
    dtypes=('float32',),
    elements=tuple(chemical_symbols[1:95]),  # up to Pu
    attributes_of=chgnet_attributes,
    calculator=f'{_CALCULATORS}.chgnet',
)
VASP_MLFF = Architecture(name='vasp-mlff', title='VASP MLFF', dtypes=('float64',), attributes_of=ml_ff_attributes)

_OURS = {architecture.name: architecture for architecture in (MACE, CHGNET, VASP_MLFF)}


def architectures() -> dict[str, Architecture]:
    """Return all architectures by name, ours first."""
    return _OURS | {name: record.architecture for name, record in plugin_records().items()}


def architecture_of(name: str) -> Architecture:
    """Return the architecture with a name.

    :raises ValueError: for an unknown name.
    """
    if name not in architectures():
        raise ValueError(f'there is no architecture {name!r}: it must be one of {", ".join(architectures())}.')
    return architectures()[name]


@functools.cache
def plugin_records() -> dict[str, Any]:
    """Return the records that other packages register, by name: ``workflows.engines.Engines``.

    :raises ValueError: if a record cannot be loaded, or its name cannot be used.
    """
    return {point.name: _load(point) for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def _load(point: EntryPoint) -> Any:
    try:
        record = point.load()
        name = record.architecture.name
    except Exception as error:
        raise ValueError(
            f'the entry point {point.name} of {GROUP} cannot be loaded ({error}): mend {point.value}, or uninstall its '
            'package.'
        ) from error
    if name != point.name or not name.isidentifier() or name in (*_OURS, *RESERVED):
        raise ValueError(
            f'the entry point {point.name} of {GROUP} gives the architecture {name!r}: both need the same name, of '
            f'letters, digits and underscores, and none of {", ".join((*_OURS, *RESERVED))}.'
        )
    return record
