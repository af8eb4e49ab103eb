"""Labels that the loss of MACE contains."""

import pytest

from aiida_mghdiff.formats.mace_loss import trained_labels

WEIGHTS = {'energy_weight': 1.0, 'forces_weight': 10.0, 'stress_weight': 1.0}


@pytest.mark.parametrize(
    ('changes', 'labels'),
    [
        ({}, {'energy', 'force', 'stress'}),
        ({'energy_weight': 0.0}, {'force', 'stress'}),
        ({'forces_weight': 0.0, 'stress_weight': 0.0}, {'energy'}),
        ({'loss': 'weighted'}, {'energy', 'force'}),
        ({'energy_weight': 0.0, 'stage_two': {'stage_two_energy_weight': 1.0}}, {'energy', 'force', 'stress'}),
    ],
)
def test_labels_with_a_weight_are_trained(changes, labels):
    assert trained_labels({'loss': 'universal', 'stage_two': None, **WEIGHTS, **changes}) == labels
