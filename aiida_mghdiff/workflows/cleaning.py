"""Scratch folders that a WorkChain empties when it ends."""

from __future__ import annotations

from aiida import orm
from aiida.engine import BaseRestartWorkChain

from aiida_mghdiff.workflows.survival import SurvivalMixin


class CleaningMixin:
    """Empties the scratch folders of all jobs below a WorkChain when it ends, where its ``clean_workdir`` asks it."""

    def on_terminated(self) -> None:
        """Empty the scratch folders where asked."""
        super().on_terminated()
        if self.inputs.clean_workdir:
            for node in self.node.called_descendants:
                if isinstance(node, orm.CalcJobNode) and 'remote_folder' in node.outputs:
                    node.outputs.remote_folder._clean()


class RestartWorkChain(SurvivalMixin, BaseRestartWorkChain):
    """Base of the WorkChains that heal one job; one that is not to clean says nothing about it.

    AiiDA's reports it at its end, a line for each job of a study.
    """

    def on_terminated(self) -> None:
        """Empty the scratch folders where asked."""
        if self.inputs.clean_workdir:
            super().on_terminated()
        else:
            super(BaseRestartWorkChain, self).on_terminated()
