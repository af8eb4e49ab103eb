"""Helpers of all figures: sizes, grids of panels, bars, ticks and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, NullFormatter

from aiida_mghdiff.report.style import INK, Style

#: Widths in inches of a journal's column and page: 86 and 178 mm.
COLUMN, PAGE = 3.39, 7.0
#: Largest height in inches of all rows of panels: with legend and caption, a page.
HEIGHT = 8.4
#: White outline of text over lines.
HALO = withStroke(linewidth=2, foreground='white')


def new_figure(
    height: float, rows: int = 1, columns: int = 1, width: float = PAGE, **kwargs: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes [rows, columns]; width and height in inches."""
    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def new_grid(count: int, columns: int, height: float, **kwargs: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels; the other places stay empty."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = new_figure(min(height * rows, HEIGHT) + 0.3, rows, columns, **kwargs)
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])


def all_handles(axes: Iterable[Axes]) -> tuple[list[Any], list[str]]:
    """Return handles and labels for one legend of all panels, each label once."""
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    return list(handles.values()), list(handles)


def draw_bars(
    axis: Axes,
    values: Sequence[float | None],
    styles: Sequence[Style],
    spec: str,
    reach: Sequence[float] | None = None,
    marks: Sequence[str] | None = None,
) -> None:
    """Draw horizontal bars, followed by their values; no bar without a value.

    :param marks: text after each value.
    :param reach: extent of other marks along each bar; all values then stand in one column after these marks.
    """
    ends = [max(value or 0.0, far) for value, far in zip(values, reach or [0.0] * len(values), strict=True)]
    for place, (value, style) in enumerate(zip(values, styles, strict=True)):
        if value is None:
            continue
        axis.barh(place, value, 0.62, color=style.fill, edgecolor=INK, hatch=style.hatch, linewidth=0.7)
        offset = {'xytext': (4, 0), 'textcoords': 'offset points', 'va': 'center'}
        if reach is None:
            axis.annotate(format(value, spec) + (marks[place] if marks else ''), (value, place), **offset)
        else:
            axis.annotate(format(value, spec), (1, place), xycoords=('axes fraction', 'data'), ha='right', va='center')
    axis.set_xlim(0, 1.2 * max(ends) or 1)
    axis.grid(axis='y', visible=False)
    axis.tick_params(axis='y', length=0)


def plain_log_ticks(axis: Axes) -> None:
    """Write 0.5, 20, 300 beside a logarithmic axis instead of powers of ten."""
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    low, high = axis.get_ylim()
    few_decades = high / low < 100
    text = FuncFormatter(lambda value, _: f'{value:g}' if f'{value:e}'[0] in '25' else '')
    axis.yaxis.set_minor_formatter(text if few_decades else NullFormatter())


def scientific(value: float) -> str:
    """Return a number as ``2.3×10⁻⁹``, with a true minus sign."""
    digits, exponent = f'{value:.1e}'.split('e')
    return f'{digits}×10{superscript(int(exponent))}'.replace('-', '−')


def scientific_interval(limits: Sequence[float]) -> str:
    """Return an interval as ``1.9×10⁻⁹ to 2.8×10⁻⁹``."""
    return ' to '.join(map(scientific, limits))


def scientific_with_error(value: float, error: float) -> str:
    """Return a number with the error of its last digit in brackets: ``2.31(12)×10⁻⁹``, ``2.3(4)×10⁻⁹``.

    The error has two digits if it begins with 1, else one.
    """
    exponent = math.floor(math.log10(abs(value)))
    value, error = value / 10**exponent, error / 10**exponent
    first = math.floor(math.log10(error))
    digits = max(0, -first + (error / 10**first < 1.95))
    return f'{value:.{digits}f}({round(error * 10**digits)})×10{superscript(exponent)}'


def shared_exponent(value: float, limits: Sequence[float]) -> str:
    """Return the limits of an interval in the power of ten of its value, ``1.9 to 2.8``."""
    exponent = math.floor(math.log10(abs(value)))
    return ' to '.join(f'{limit / 10**exponent:#.2g}'.rstrip('.').replace('-', '−') for limit in limits)


def error_bars(values: np.ndarray, intervals: np.ndarray) -> list[np.ndarray]:
    """Return lengths [2][m] of the bars of values [m] with intervals [m,2] on a logarithmic axis.

    Results of older versions have intervals that reach zero or below; their bars leave the axis.
    """
    return [values - np.fmax(intervals[:, 0], 1e-3 * values), intervals[:, 1] - values]


def superscript(number: int) -> str:
    """Return a whole number in superscript digits."""
    return str(number).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))
