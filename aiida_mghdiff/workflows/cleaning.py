"""Scratch folders that a WorkChain empties when it ends."""

from __future__ import annotations

from aiida import orm


class CleaningMixin:
    """Empties the scratch folders of all jobs below a WorkChain when it ends, where its ``clean_workdir`` asks it."""

    def on_terminated(self) -> None:
        """Empty the scratch folders where asked."""
        super().on_terminated()
        if self.inputs.clean_workdir:
            for node in self.node.called_descendants:
                if isinstance(node, orm.CalcJobNode) and 'remote_folder' in node.outputs:
                    node.outputs.remote_folder._clean()
