"""Names of inputs that a WorkChain does not have are refused, with the nearest one that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiida.engine import ProcessSpec, WorkChain
from aiida.engine.processes.ports import PortNamespace
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from plumpy.ports import Port, PortValidationError, breadcrumbs_to_port

from aiida_mghdiff.calculations.validation import unknown_message

_TOP = ProcessSpec.NAME_INPUTS_PORT_NAMESPACE

if TYPE_CHECKING:
    Base = WorkChain  # AiiDA lets no subclass of it change how it is loaded; a class before it in the order may
else:
    Base = object


class Ports(PortNamespace):
    """A namespace of ports; where it is not dynamic, it refuses an unknown name with the nearest known one."""

    def __getitem__(self, key: str) -> Port | PortNamespace:
        """Return the port of a name.

        :raises KeyError: with the nearest name, which a builder gives as the cause of its own error.
        """
        if not self.dynamic and (message := unknown_message([key], self, '' if self.name == _TOP else self.name)):
            raise KeyError(message)
        return super().__getitem__(key)

    def validate(
        self, port_values: Mapping[str, Any] | None = None, breadcrumbs: Sequence[str] = ()
    ) -> PortValidationError | None:
        """Return the first error of the values: an unknown name first, which may stand for what is missing."""
        path = (*breadcrumbs, self.name)
        if not self.dynamic and isinstance(port_values, Mapping):
            place = breadcrumbs_to_port(path[path[0] == _TOP :])
            if message := unknown_message(port_values, self, place):
                return PortValidationError(message, breadcrumbs_to_port(path))
        return super().validate(port_values, breadcrumbs)


class Spec(WorkChainSpec):
    """A spec whose namespaces are :class:`Ports`."""

    PORT_NAMESPACE_TYPE = Ports


class PortsMixin(Base):
    """Keeps the inputs of a WorkChain closed, also where another one exposes them."""

    _spec_class = Spec

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Take AiiDA's type from the inputs: a namespace that takes it over with them is opened to any name."""
        super().define(spec)
        spec.inputs.valid_type = None
