"""The figures of a study, as PNG, PDF and SVG.

Only figures with content are drawn. If a figure needs more than the stored numbers (fits, bands), ``science`` computes
it from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from aiida_mghdiff.report.atomic_write import replacing
from aiida_mghdiff.report.figures.arrhenius import draw_activation_energies, draw_arrhenius, draw_rates
from aiida_mghdiff.report.figures.barriers import draw_barriers, draw_paths
from aiida_mghdiff.report.figures.coefficients import draw_coefficients, draw_contents
from aiida_mghdiff.report.figures.displacements import draw_displacements, draw_windows
from aiida_mghdiff.report.figures.errors import draw_content_errors, draw_errors, draw_learning_curves, draw_parity
from aiida_mghdiff.report.figures.lattice import draw_sites
from aiida_mghdiff.report.figures.runs import draw_conservation, draw_frame, draw_track
from aiida_mghdiff.report.figures.structure import (
    draw_density,
    draw_pairs,
    draw_radial_distributions,
    draw_site_distributions,
)
from aiida_mghdiff.report.figures.workflow import draw_workflow
from aiida_mghdiff.report.study import Study
from aiida_mghdiff.report.style import RC

#: No dates in the files: the same study gives the same bytes.
METADATA = {'png': {}, 'pdf': {'CreationDate': None}, 'svg': {'Date': None}}


def write_figures(study: Study, folder: Path) -> dict[str, Path]:
    """Write each figure as PNG, PDF and SVG; return the PNG files by the name of the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(RC):
        figures = draw_figures(study)
        for name, figure in figures.items():
            for suffix, metadata in METADATA.items():
                with replacing(folder / f'{name}.{suffix}') as part:
                    figure.savefig(part, format=suffix, metadata=metadata)
    return {name: folder / f'{name}.png' for name in figures}


def draw_figures(study: Study) -> dict[str, Figure]:
    """Return the figures of a study by name, in the order of the page."""
    makers: dict[str, tuple[Callable[[Study], Figure | None], Sequence[Any]]] = {
        'workflow': (draw_workflow, study.calls),
        'learning_curves': (draw_learning_curves, study.trainings),
        'rmse': (draw_errors, study.errors),
        'rmse_contents': (draw_content_errors, study.errors),
        'parity': (draw_parity, study.errors),
        'sites': (draw_sites, study.barriers),
        'barriers': (draw_barriers, study.barriers),
        'paths': (draw_paths, study.barriers),
        'frame': (draw_frame, study.diffusion),
        'coefficients': (draw_coefficients, study.diffusion),
        'msd': (draw_displacements, study.diffusion),
        'windows': (draw_windows, study.diffusion),
        'arrhenius': (draw_arrhenius, study.diffusion),
        'rates': (draw_rates, study.rate_diffusion),
        'activation_energies': (draw_activation_energies, study.arrhenius),
        'contents': (draw_contents, study.diffusion),
        'track': (draw_track, study.diffusion),
        'rdf': (draw_radial_distributions, study.diffusion),
        'rdf_sites': (draw_site_distributions, study.diffusion),
        'density': (draw_density, study.diffusion),
        'pairs': (draw_pairs, study.diffusion),
        'conservation': (draw_conservation, study.runs),
    }
    figures = {name: make(study) for name, (make, items) in makers.items() if items}
    return {name: laid_out(figure) for name, figure in figures.items() if figure is not None}


def laid_out(figure: Figure) -> Figure:
    """Fix the positions of all axes once; otherwise each format repeats the layout, which takes longer than drawing.

    Panels of fixed aspect move in the first pass, so only the second pass places their titles.
    """
    for _ in range(2):
        figure.draw_without_rendering()
    figure.set_layout_engine('none')
    return figure
