"""Refuse unknown names of inputs of a WorkChain, and give the nearest known name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiida.engine import CalcJob, ProcessSpec, WorkChain
from aiida.engine.processes.ports import PortNamespace
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from plumpy.ports import Port, PortValidationError, breadcrumbs_to_port

from aiida_mghdiff.calculations.validation import unknown_message

_TOP = ProcessSpec.NAME_INPUTS_PORT_NAMESPACE

if TYPE_CHECKING:
    Base = WorkChain  # AiiDA lets none of its subclasses change how it is loaded, but an earlier base class may
else:
    Base = object


class Ports(PortNamespace):
    """A namespace of ports; if it is not dynamic, it refuses an unknown name and gives the nearest known one."""

    def __getitem__(self, key: str) -> Port | PortNamespace:
        """Return the port with a name.

        :raises KeyError: gives the nearest name; a builder shows this as the cause of its own error.
        """
        if not self.dynamic and (message := unknown_message([key], self, '' if self.name == _TOP else self.name)):
            raise KeyError(message)
        return super().__getitem__(key)

    def validate(
        self, port_values: Mapping[str, Any] | None = None, breadcrumbs: Sequence[str] = ()
    ) -> PortValidationError | None:
        """Return the first error of the values; unknown names come first, since one may be a misspelt required name."""
        path = (*breadcrumbs, self.name)
        if not self.dynamic and isinstance(port_values, Mapping):
            place = breadcrumbs_to_port(path[path[0] == _TOP :])
            if message := unknown_message(port_values, self, place):
                return PortValidationError(message, breadcrumbs_to_port(path))
        return super().validate(port_values, breadcrumbs)


class Spec(WorkChainSpec):
    """A spec whose namespaces are :class:`Ports`."""

    PORT_NAMESPACE_TYPE = Ports


def expose_job(spec: ProcessSpec, job: type[CalcJob], *names: str) -> None:
    """Expose inputs of a job; the inputs of the WorkChain stay closed, and are checked by its own validator."""
    spec.expose_inputs(job, include=names, namespace_options={'valid_type': None, 'validator': None})


class PortsMixin(Base):
    """Keeps the inputs of a WorkChain closed, also if another WorkChain exposes them."""

    _spec_class = Spec

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Remove AiiDA's type from the inputs: it would open an exposing namespace to any name."""
        super().define(spec)
        spec.inputs.valid_type = None
