"""Scratch folders that a WorkChain empties when it ends."""

from __future__ import annotations

from aiida import orm

from aiida_mghdiff.workflows.survival import SurvivalMixin


class CleaningMixin(SurvivalMixin):
    """Empties the scratch folders of all jobs below a WorkChain when it ends, if its ``clean_workdir`` is true."""

    def on_terminated(self) -> None:
        """Empty the scratch folders if requested."""
        super().on_terminated()
        if self.inputs.clean_workdir:
            for node in self.node.called_descendants:
                if not isinstance(node, orm.CalcJobNode) or 'remote_folder' not in node.outputs:
                    continue
                if not node.outputs.remote_folder.is_cleaned:
                    node.outputs.remote_folder._clean()
