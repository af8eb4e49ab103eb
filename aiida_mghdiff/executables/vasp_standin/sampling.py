"""Decide when to call first principles: the Bayesian error exceeds a threshold that follows its history, as in VASP.

Jinnouchi, Karsai and Kresse, Phys. Rev. B 100, 014105 (2019), doi:10.1103/PhysRevB.100.014105, and the VASP wiki
(ML_CTIFOR, ML_ICRITERIA, ML_CX, ML_MHIS, ML_CDOUB, ML_NMDINT, ML_MCONF_NEW). Above the threshold a configuration is
labelled and waits to be learned, at most once in ML_NMDINT steps; when ML_MCONF_NEW wait, they are learned together.
Above ML_CDOUB times the threshold it is learned at once. With ML_ICRITERIA = 1 the threshold is the mean of the errors
in the first step after each of the last ML_MHIS times that the force field learned, times 1 + ML_CX.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from aiida_mghdiff.executables.vasp_standin.incar_tags import Learning
from aiida_mghdiff.formats.ml_logfile import State


class Sampler:
    """Decides for each step whether to sample it, and adapts the threshold."""

    def __init__(self, settings: Learning) -> None:
        """:param settings: the ML_* tags of INCAR."""
        self.settings = settings
        self.threshold = settings.ctifor
        self.history: deque[float] = deque(maxlen=settings.history)
        self._last_sample: int | None = None
        self._has_learned = False

    def decide(self, step: int, error: float | None, waiting: int) -> State:
        """Return the state of a step.

        :param error: largest Bayesian error of a force, eV/Å; None without a force field.
        :param waiting: number of labelled configurations that are not learned yet.
        """
        if error is None:
            state = State.LEARNING
        elif error > self.settings.cdoub * self.threshold:
            state = State.CRITICAL
        elif error > self.threshold and self._may_sample(step):
            state = State.LEARNING if waiting + 1 >= self.settings.new_configurations else State.THRESHOLD
        else:
            state = State.ACCURATE
        if state is not State.ACCURATE:
            self._last_sample = step
        return state

    def _may_sample(self, step: int) -> bool:
        return self._last_sample is None or step - self._last_sample >= self.settings.least_interval

    def observe(self, error: float | None, learned: bool) -> bool:
        """Record the error of a step, and whether the force field learned in this step.

        :returns: whether the threshold changed.
        """
        follows, self._has_learned = self._has_learned, learned
        if self.settings.criteria == 0 or not follows or error is None:
            return False
        self.history.append(error)
        if len(self.history) < self.settings.history:
            return False
        self.threshold = float(np.mean(self.history)) * (1 + self.settings.cx)
        return True
