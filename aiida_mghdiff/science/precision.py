"""When to stop a measurement of D: its interval is narrow enough, and still covers the true D.

A rule that checks the interval again and again, and stops as soon as it is narrow, stops by luck: three replicas that
agree by chance have a narrow interval and a wrong D. Instead the looks are few and fixed beforehand, each at double the
time of the last, and each interval has the confidence 1 - a/K for K looks. All K intervals together cover the true D
with at least 1 - a (Bonferroni), so the interval at the last look does, whatever the reason to stop.

The width is half the width of the interval, divided by D: sinh(w) if the interval of ln D is 2 w wide. A width of 0.15
means an interval from 0.86 D to 1.16 D, a width of 1 from 0.41 D to 2.41 D.

The time doubles first with twice as many replicas, then with runs twice as long, and so on: more replicas give the
error more degrees of freedom (4.30 standard errors for three, 2.57 for six), longer runs show slower tracers. Replicas
that start from one run only grow longer.
"""

from __future__ import annotations

import math

from aiida_mghdiff.science.intervals import check_confidence


def count_looks(first: float, most: float) -> int:
    """Return the number of looks if the time doubles from look to look, including the first look."""
    return 1 + max(0, math.floor(math.log2(most / first) + 1e-9))


def confidence_of_look(looks: int, confidence: float = 0.95) -> float:
    """Return the confidence of the interval at each of several looks."""
    return 1 - (1 - check_confidence(confidence)) / looks


def growth(look: int, independent: bool) -> tuple[int, int]:
    """Return the factors of the number of replicas and of their length at a look, relative to the first look.

    :param look: counted from 0.
    :param independent: whether each replica has a separate start.
    """
    return (2 ** ((look + 1) // 2), 2 ** (look // 2)) if independent else (1, 2**look)
