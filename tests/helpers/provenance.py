"""The origin of the data below a process."""

from __future__ import annotations

from aiida import orm
from aiida.common.links import LinkType

TAKEN = (LinkType.INPUT_CALC, LinkType.INPUT_WORK)
GIVEN = (LinkType.CREATE, LinkType.RETURN)


def nodes_without_origin(top: orm.WorkChainNode) -> list[str]:
    """Return the data nodes at and below a process that are neither its inputs nor made by a process.

    Each is named by the label of its process, the label of its link, and its kind.
    """
    inputs = {node.pk for node in top.base.links.get_incoming(link_type=LinkType.INPUT_WORK).all_nodes()}
    found = []
    for process in (top, *top.called_descendants):
        links = process.base.links
        for link in (*links.get_incoming(link_type=TAKEN).all(), *links.get_outgoing(link_type=GIVEN).all()):
            if link.node.pk not in inputs and link.node.creator is None:
                found.append(f'{process.process_label}: {link.link_label} ({type(link.node).__name__})')
    return sorted(set(found))
