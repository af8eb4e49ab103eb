"""Report of a study: numbers, figures and one HTML page, all read from stored nodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from aiida import orm

from aiida_mghdiff.report.atomic_write import replacing
from aiida_mghdiff.report.figures import write_figures
from aiida_mghdiff.report.page import render_page
from aiida_mghdiff.report.results import StudyResults, result_table, results_of, study_results
from aiida_mghdiff.report.study import Study

__all__ = ('result_table', 'study_results', 'write_report')


def write_report(
    node: orm.WorkChainNode,
    directory: str | Path,
    references: Sequence[Path] = (),
    validations: Sequence[orm.Node] = (),
    barriers: Sequence[orm.Node] = (),
) -> StudyResults:
    """Write ``results.json``, ``report.html`` and ``figures/`` of a finished or running study; return its results.

    :param node: the process of a ``StudyWorkChain``.
    :param directory: made if it does not exist; files of an earlier report are replaced.
    :param references: the user's files of published values; see ``references``.
    :param validations: processes of ``mghdiff.validate`` whose errors are shown together with the study's errors.
    :param barriers: processes of ``mghdiff.neb`` whose barriers are shown together with the study's barriers.
    :raises ReferencesError: for a file of the wrong form.
    :raises ForeignNodeError: for a validation or a barrier that does not belong to the study.
    """
    folder, study = Path(directory), Study(node, references, validations, barriers)
    results, figures = results_of(study), write_figures(study, folder / 'figures')
    text = json.dumps(results, indent=2, allow_nan=False)
    for name, content in {'results.json': text + '\n', 'report.html': render_page(study, figures)}.items():
        with replacing(folder / name) as part:
            part.write_text(content, encoding='utf-8')
    return results
