"""A machine-learning potential."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.orm.pydantic import OrmMetadataField
from ase.data import atomic_numbers

from aiida_mghdiff.data.architectures import ModelFile, architecture_of
from aiida_mghdiff.formats.job_files import POTENTIAL_FILE

ORIGINS = ('pretrained', 'fine-tuned', 'scratch', 'on-the-fly')
DTYPES = ('float32', 'float64')
#: Label of the force field that a study without a dataset learns.
LEARNED = 'vasp_mlff'


class PotentialData(orm.SinglefileData):
    """A potential as one file: a MACE ``.model``, a CHGNet checkpoint, VASP's ML_FF, or a file of another architecture.

    MACE and CHGNet files are pickles: loading one runs code, so load only files that you trust.
    """

    class AttributesModel(orm.SinglefileData.AttributesModel):
        """Attributes of a potential that queries can use."""

        architecture: str = OrmMetadataField(description='mace, chgnet, vasp-mlff, or one of another package')
        origin: str = OrmMetadataField(description=f'one of {", ".join(ORIGINS)}')
        elements: list[str] = OrmMetadataField(description='symbols of the elements that the potential knows')
        dtype: str = OrmMetadataField(description='floating-point type of the parameters')
        head: str | None = OrmMetadataField(None, description='head of a MACE model that every program evaluates')
        heads: list[str] | None = OrmMetadataField(None, description='all heads of a MACE model; null if unknown')
        sha256: str = OrmMetadataField(description='digest of the file')
        version: str | None = OrmMetadataField(None, description='version of the file format of an ML_FF')
        fast: bool | None = OrmMetadataField(None, description='whether an ML_FF has the fast prediction mode')
        labelled_by: str | None = OrmMetadataField(None, description='labels of an ML_FF: vasp or standin:<labeller>')

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        architecture: str,
        origin: str,
        elements: Sequence[str] | None = None,
        dtype: str,
        head: str | None = None,
        heads: Sequence[str] | None = None,
    ) -> PotentialData:
        """Return an unstored potential.

        :param path: the model file; its name does not matter for the node.
        :param elements: symbols; may be left out if every potential of the architecture knows the same elements.
        :param head: head of a MACE model with several heads; by default
            :func:`~aiida_mghdiff.formats.mace_heads.choose_head` chooses.
        :param heads: of a MACE model, to be compared with the file, from which
            they are read. No code of the file runs for that.
        :raises ValueError: for an unknown architecture, origin, dtype or element, an empty or damaged file, a head that
            the model does not have, other ``heads`` than the file has, several heads without a choice, a file of
            another architecture, or an ML_FF with other elements or without the header that VASP writes since 6.4.
        """
        path = Path(path)
        kind = architecture_of(architecture)
        elements = list(kind.elements or []) if elements is None else elements
        node = cls(path.absolute(), filename=POTENTIAL_FILE)
        attributes: dict[str, Any] = {
            'architecture': architecture,
            'origin': origin,
            'elements': sorted(elements, key=lambda symbol: atomic_numbers.get(symbol, 0)),
            'dtype': dtype,
            **kind.attributes_of(ModelFile(path, elements, head, heads)),
            'sha256': hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        node.base.attributes.set_many(attributes)
        node._validate()
        return node

    def _validate(self) -> bool:
        super()._validate()
        attributes = self.base.attributes.all
        architecture_of(attributes.get('architecture', ''))
        for key, known in (('origin', ORIGINS), ('dtype', DTYPES)):
            if attributes.get(key) not in known:
                raise ValueError(
                    f'{key} of a potential is {attributes.get(key)!r}: it must be one of {", ".join(known)}.'
                )
        unknown = [symbol for symbol in attributes['elements'] if symbol not in atomic_numbers]
        if unknown or not attributes['elements']:
            raise ValueError(f'elements of a potential are {attributes["elements"]}: give known chemical symbols.')
        if not self.base.repository.get_object_size(POTENTIAL_FILE):
            raise ValueError('the model file is empty.')
        return True

    @property
    def architecture(self) -> str:
        """Return the name of the architecture, such as ``mace``."""
        return self.base.attributes.get('architecture')

    @property
    def origin(self) -> str:
        """Return the origin, one of ``pretrained``, ``fine-tuned``, ``scratch``, ``on-the-fly``."""
        return self.base.attributes.get('origin')

    @property
    def elements(self) -> list[str]:
        """Return the symbols of the elements that the potential knows."""
        return self.base.attributes.get('elements')

    def unknown_message(self, symbols: Iterable[str]) -> str | None:
        """Return which of some elements the potential does not know, or None."""
        if unknown := sorted(set(symbols) - set(self.elements)):
            known = ', '.join(self.elements)
            return f'the potential does not know {", ".join(unknown)}; it knows {known}: take or train another.'
        return None

    @property
    def head(self) -> str | None:
        """Return the head of a MACE model that every program evaluates; None if the model has no named heads."""
        return self.base.attributes.get('head', None)

    @property
    def heads(self) -> list[str] | None:
        """Return all heads of a MACE model; None for other potentials, and if they are unknown."""
        return self.base.attributes.get('heads', None)

    @property
    def description_for_program(self) -> dict[str, object]:
        """Return the description with which a program loads the file."""
        return {
            key: self.base.attributes.get(key, None) for key in ('architecture', 'elements', 'dtype', 'head', 'sha256')
        }

    def copy_entry(self, name: str = POTENTIAL_FILE) -> tuple[str, str, str]:
        """Return the entry of a ``local_copy_list`` that copies the model file into a job's folder."""
        return (self.uuid, POTENTIAL_FILE, name)
