"""Report of a study: numbers, figures and one HTML page, all read from stored nodes."""

from __future__ import annotations

import json
from pathlib import Path

from aiida import orm

from aiida_mghdiff.report.figures import write_figures
from aiida_mghdiff.report.page import render_page
from aiida_mghdiff.report.results import result_table, results_of, study_results
from aiida_mghdiff.report.study import Study

__all__ = ('result_table', 'study_results', 'write_report')


def write_report(node: orm.WorkChainNode, directory: str | Path) -> dict[str, Path]:
    """Write ``results.json``, ``report.html`` and ``figures/`` of a study, finished or not; return their paths.

    :param node: of a ``StudyWorkChain``.
    :param directory: made where it does not exist; files of an earlier report are replaced.
    """
    folder, study = Path(directory), Study(node)
    paths = {'results': folder / 'results.json', 'report': folder / 'report.html', 'figures': folder / 'figures'}
    figures = write_figures(study, paths['figures'])
    paths['results'].write_text(json.dumps(results_of(study), indent=2, allow_nan=False) + '\n', encoding='utf-8')
    paths['report'].write_text(render_page(study, figures), encoding='utf-8')
    return paths
