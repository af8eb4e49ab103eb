"""The baseline with which diffusion coefficients are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aiida_mghdiff.report.figures.arrhenius import EXPERIMENT, experiment, fitted
from aiida_mghdiff.report.study import Diffusion, Study
from aiida_mghdiff.science.arrhenius import arrhenius_design, on_line


@dataclass(frozen=True)
class Baseline:
    """Name of the baseline, and its diffusion coefficients in m²/s."""

    name: str
    coefficient: Callable[[Diffusion], float | None]

    def deviation(self, item: Diffusion) -> float | None:
        """Return log10 of the ratio of a diffusion coefficient to the baseline."""
        value = self.coefficient(item)
        return None if value is None else math.log10(item.results['diffusion_coefficient_m2_s'] / value)


def read_baseline(study: Study) -> Baseline | None:
    """Return the published line if there is one, else the best potential; see the two functions below."""
    return published_baseline(study) or best_baseline(study)


def published_baseline(study: Study) -> Baseline | None:
    """Return a line through published experimental D; None without published D.

    For one temperature the line has the slope of the measured activation energy. Published D come only from the user's
    own files.
    """
    values = [value for value in study.published('diffusion_coefficient_m2_s') if value.label == EXPERIMENT]
    points = {value.temperature_k: value for value in values if value.temperature_k is not None}
    energy = experiment(study)
    if not points:
        return None
    x = arrhenius_design(list(points))[:, 1]
    ln_d = np.log([point.value for point in points.values()])
    slope = np.polyfit(x, ln_d, 1)[0] if len(points) > 1 else None if energy is None else energy.value
    if slope is None:
        return None
    line = float(np.mean(ln_d - slope * x)), float(slope)
    name = f'{EXPERIMENT}, {next(iter(points.values())).short}'
    return Baseline(name, lambda item: float(on_line(item.results['temperature_k'], line)))


def best_baseline(study: Study) -> Baseline | None:
    """Return the best potential's Arrhenius line or, without a line, its D at the same target temperature.

    The line is taken at the measured temperature, since runs with the same target temperature differ in their measured
    temperature. None if no potential was evaluated, or the best potential did not run.
    """
    if study.showcase is None or study.showcase.label != study.best_label:
        return None
    series = study.showcase.series
    fit = next((fit.results for fit in study.arrhenius if fit.series == series), None)
    if fit is not None:
        return Baseline(f'fit of {series}', lambda item: fitted(fit, np.array([item.results['temperature_k']]))[0][0])
    values = {item.target_temperature_k: item.results['diffusion_coefficient_m2_s'] for item in study.series[series]}
    return Baseline(series, lambda item: values.get(item.target_temperature_k))
