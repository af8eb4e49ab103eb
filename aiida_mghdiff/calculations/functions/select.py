"""Select the best of several potentials."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_mghdiff.calculations.exit_codes import refusing


@refusing()
@calcfunction
def select_best(**metrics: orm.Dict) -> orm.Str:
    """Return the label of the potential with the smallest force error on the same configurations.

    :param metrics: results of ``error_metrics`` by the label of the potential, at least one.
    """
    return orm.Str(min(sorted(metrics), key=lambda label: metrics[label]['force_rmse_mev_per_angstrom']))
