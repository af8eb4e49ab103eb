"""Labels that the loss of a MACE training contains, for the job and its program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOSSES_WITH_STRESS = ('universal', 'stress', 'huber')
#: Labels, and their name in the weights of the loss.
WEIGHTS = {'energy': 'energy_weight', 'force': 'forces_weight', 'stress': 'stress_weight'}


def trained_labels(parameters: Mapping[str, Any]) -> set[str]:
    """Return which of ``energy``, ``force`` and ``stress`` have a weight in the loss of any stage."""
    second = parameters['stage_two'] or {}
    weights = {label: max(parameters[key], second.get(f'stage_two_{key}', 0)) for label, key in WEIGHTS.items()}
    if parameters['loss'] not in LOSSES_WITH_STRESS:
        weights['stress'] = 0
    return {label for label, weight in weights.items() if weight > 0}
