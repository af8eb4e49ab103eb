from __future__ import annotations

import pytest

from aiida_mghdiff.science.rates import attempt_frequency


def test_vineyard():
    assert attempt_frequency([20.0, 30.0, 25.0], [50.0, -12.0, 30.0]) == pytest.approx(20 * 30 * 25 / (50 * 30))


@pytest.mark.parametrize('saddle', [[50.0, 12.0, 30.0], [-50.0, -12.0, 30.0], [-12.0, 30.0]])
def test_refuses_what_is_no_saddle_point(saddle):
    with pytest.raises(ValueError, match='saddle point'):
        attempt_frequency([20.0, 30.0, 25.0], saddle)
