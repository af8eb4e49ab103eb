"""When the learner asks for first principles, and how the threshold follows the errors."""

from __future__ import annotations

import pytest

from aiida_mghdiff.executables.vasp_standin.incar_tags import read_settings
from aiida_mghdiff.executables.vasp_standin.sampling import Sampler
from aiida_mghdiff.formats.ml_logfile import State


def sampler(**tags):
    raw = {'ML_LMLFF': 'T', 'ML_CTIFOR': '0.01'} | {name: str(value) for name, value in tags.items()}
    return Sampler(read_settings(raw).learning)


def test_states():
    this = sampler()
    assert this.decide(1, None, 0) is State.LEARNING
    assert this.decide(2, 0.005, 0) is State.ACCURATE
    assert this.decide(3, 0.015, 0) is State.ACCURATE  # too soon after the last sample
    assert this.decide(11, 0.015, 0) is State.THRESHOLD
    assert this.decide(12, 0.025, 1) is State.CRITICAL  # a critical step is never too soon
    assert this.decide(22, 0.015, 4) is State.LEARNING


def test_interval_and_factor_and_number_of_samples_are_settings():
    this = sampler(ML_NMDINT=2, ML_CDOUB=4, ML_MCONF_NEW=2)
    assert this.decide(1, 0.03, 0) is State.THRESHOLD
    assert this.decide(3, 0.03, 1) is State.LEARNING
    assert this.decide(4, 0.041, 0) is State.CRITICAL


def test_threshold_is_the_mean_of_errors_after_learning():
    this = sampler(ML_MHIS=3, ML_CX=0.5)
    changes = []
    for error in (0.01, 0.02, 0.03, 0.04):
        this.observe(1.0, learned=True)  # an error before learning does not count
        changes.append(this.observe(error, learned=False))
        assert not this.observe(9.0, learned=False)  # nor does a later error
    assert changes == [False, False, True, True]
    assert this.threshold == pytest.approx((0.02 + 0.03 + 0.04) / 3 * 1.5)


def test_constant_threshold():
    this = sampler(ML_MHIS=1, ML_ICRITERIA=0)
    this.observe(0.5, learned=True)
    assert not this.observe(0.5, learned=False)
    assert this.threshold == 0.01
