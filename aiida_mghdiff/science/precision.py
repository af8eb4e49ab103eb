"""When to stop a measurement of D: its interval is narrow enough, and covers the truth all the same.

A rule that looks at the interval again and again and stops as soon as it is narrow stops on luck: three replicas that
happen to agree have a narrow interval and a wrong D. The looks are few and fixed beforehand instead, each at double the
time of the last, and each interval has the confidence 1 - a/K for K looks. All K cover the truth together with at least
1 - a (Bonferroni), so that the one at which the rule stops does, whatever made it stop.

The width is half the width of the interval, over D: sinh(w) where the interval of ln D is 2 w wide. A width of 0.15 is
an interval from 0.86 D to 1.16 D, a width of 1 from 0.41 D to 2.41 D.

The time doubles first by twice as many replicas, then by runs twice as long, and so on: more replicas give the error
more degrees of freedom (4.30 standard errors for three, 2.57 for six), longer runs see slower tracers. Replicas that
start from one run grow longer alone.
"""

from __future__ import annotations

import math

from aiida_mghdiff.science.intervals import check_confidence


def count_looks(first: float, most: float) -> int:
    """Return how many looks a time that doubles from look to look has, the first one counted."""
    return 1 + max(0, math.floor(math.log2(most / first) + 1e-9))


def confidence_of_look(looks: int, confidence: float = 0.95) -> float:
    """Return the confidence that the interval of each of several looks must have."""
    return 1 - (1 - check_confidence(confidence)) / looks


def growth(look: int, independent: bool) -> tuple[int, int]:
    """Return how many times the replicas, and how many times the length of the first look, there are at a look.

    :param look: counted from 0.
    :param independent: whether each replica has a start of its own.
    """
    return (2 ** ((look + 1) // 2), 2 ** (look // 2)) if independent else (1, 2**look)
