"""The temperature above which a run has run away."""

from __future__ import annotations

from aiida_mghdiff.science.runaway import runaway_limit


def test_limit_is_far_above_the_target_and_above_any_melting_point():
    assert runaway_limit(300.0) == runaway_limit(10.0) == 3000.0
    assert runaway_limit(800.0) == 8000.0
