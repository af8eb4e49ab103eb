"""Base of the calculation jobs that compute with a potential through its ASE calculator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida.common.exceptions import InputValidationError

from aiida_mghdiff.calculations.program import ProgramCalculation, zipapp_bytes
from aiida_mghdiff.calculations.validation import complete_message
from aiida_mghdiff.data.architectures import Architecture, architecture_of, architectures


def architecture_message(name: str, dtype: str) -> str | None:
    """Return why ASE cannot run potentials of an architecture in a floating-point type."""
    known = {known: architecture for known, architecture in sorted(architectures().items()) if architecture.calculator}
    if name not in known:
        return f'ASE runs {" and ".join(known)} potentials, not {name}.'
    return known[name].dtype_message(dtype)


class CalculatorCalculation(ProgramCalculation):
    """Runs a program that computes with the input ``potential``, and adds the calculator of its architecture.

    The cache does not see the added files. ``CACHE_VERSION`` changes with our own calculators. For another package's
    calculator the node stores a digest, which is part of the hash of the job.
    """

    @classmethod
    def parameters_message(cls, parameters: Mapping[str, Any], architecture: str) -> str | None:
        """Return a message about a fault in the parameters, for potentials of an architecture."""
        return complete_message(parameters, cls._PARAMETERS) or architecture_message(architecture, parameters['dtype'])

    @property
    def architecture(self) -> Architecture:
        """Return the architecture of the potential."""
        return architecture_of(self.inputs.potential.architecture)

    def _setup_version_info(self) -> dict[str, Any]:
        version_info = super()._setup_version_info()
        if digest := self.architecture.calculator_digest:
            attributes = self.node.base.attributes
            attributes.set(self.KEY_CACHE_VERSION, attributes.get(self.KEY_CACHE_VERSION) | {'calculator': digest})
        return version_info

    def zipapp(self) -> bytes:
        """Return the program with the calculator of the potential.

        :raises InputValidationError: if the calculator changed after the job was made.
        """
        name, recorded = self.architecture.name, self.node.base.attributes.get(self.KEY_CACHE_VERSION).get('calculator')
        if self.architecture.calculator_digest != recorded:
            raise InputValidationError(f'the calculator of {name} changed since this job was made: submit it again.')
        return zipapp_bytes(self._PROGRAM, (name, self.architecture.calculator_source))

    def program_inputs(self) -> dict[str, Any]:
        """Return the description with which the program loads the potential."""
        return {'potential': self.inputs.potential.description_for_program}

    def input_files(self) -> list[tuple[str, str, str]]:
        """Return the model file."""
        return [self.inputs.potential.copy_entry()]
