"""Extra validations and barriers: shown with the study's own, or refused if they do not fit."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import matplotlib as mpl
import pytest
from aiida import orm
from click.testing import CliRunner
from figure_texts import misplaced_texts
from study_graph import Process, make_barrier, make_dataset, make_potential, make_validation

from aiida_mghdiff.cli import main
from aiida_mghdiff.report.figures.barriers import barrier_groups, draw_barriers, draw_paths
from aiida_mghdiff.report.figures.errors import draw_content_errors, draw_errors, draw_parity
from aiida_mghdiff.report.page import render_page
from aiida_mghdiff.report.results import result_table, results_of
from aiida_mghdiff.report.sections import headlines
from aiida_mghdiff.report.study import ForeignNodeError, Study
from aiida_mghdiff.report.style import RC


@pytest.fixture(scope='module')
def validation(graph):
    """Return a validation of both potentials on frames of two contents, with other labels than in the study."""
    potentials = {'a': graph.potentials['mace_ft'], 'b': graph.potentials['chgnet_mp']}
    return make_validation(potentials, make_dataset(6, 3), 'NVE frames')


@pytest.fixture(scope='module')
def dft(graph):
    """Return a DFT barrier."""
    return make_barrier(graph.neb_host, 'O-T', (0.21, 0.15))


def test_errors_of_a_validation_stand_beside_those_of_the_study(graph, validation):
    study = Study(graph.node, validations=[validation])
    names = ['mace_ft', 'mace_ft, NVE frames', 'chgnet_mp', 'chgnet_mp, NVE frames']
    assert [errors.name for errors in study.errors] == names
    assert study.errors[1].metrics.uuid == validation.outputs.metrics['a'].uuid
    with mpl.rc_context(RC):
        contents, bars, parity = draw_content_errors(study), draw_errors(study), draw_parity(study)
    titles = [axis.get_title(loc='left') for axis in contents.axes[::2]]
    assert titles == ['Mg16H (2 held-out)', 'Mg16H (3 NVE frames)', 'Mg16H2 (2 held-out)', 'Mg16H2 (3 NVE frames)']
    assert [label.get_text() for label in bars.axes[0].get_yticklabels()] == names
    assert [misplaced_texts(figure) for figure in (contents, bars, parity)] == [[], [], []]
    table = result_table(results_of(study))
    assert '6 NVE frames' in table
    assert validation.outputs.metrics['a'].uuid in render_page(study, {})


def test_bars_by_content_are_those_of_the_validation(graph, validation):
    study = Study(graph.node, validations=[validation])
    with mpl.rc_context(RC):
        axis = draw_content_errors(study).axes[3]
    found = validation.outputs.metrics
    by_formula = [found[key]['by_composition'] for key in ('a', 'b')]
    formula = next(name for name in by_formula[0] if '2' not in name)
    expected = [values[formula]['force_rmse_mev_per_angstrom'] for values in by_formula]
    assert [bar.get_width() for bar in axis.patches] == expected


def test_the_best_potential_is_that_of_the_held_out_configurations(graph, validation):
    best = Study(graph.node).best_label
    study = Study(graph.node, validations=[validation])
    assert study.best_label == best
    assert study.best_errors.source == 'held-out'


def test_a_validation_without_a_name_goes_by_its_pk(graph):
    node = make_validation({'a': graph.potentials['mace_ft']}, make_dataset(2, 4))
    assert Study(graph.node, validations=[node]).errors[1].name == f'mace_ft, validation {node.pk}'


def test_a_barrier_of_dft_stands_beside_those_of_potentials(graph, dft):
    study = Study(graph.node, barriers=[dft])
    assert barrier_groups(study.barriers)['O->T']['DFT']['barrier_ev'] == 0.21
    assert results_of(study)['barriers'][-1]['uuid'] == dft.outputs.barrier.uuid
    with mpl.rc_context(RC):
        bars, paths = draw_barriers(study), draw_paths(study)
    assert [label.get_text() for label in bars.axes[0].get_yticklabels()][-1] == 'DFT'
    assert [bar.get_width() for bar in bars.axes[0].patches][-1] == 0.21
    assert 'DFT' in paths.axes[0].get_legend_handles_labels()[1]
    assert misplaced_texts(bars) == misplaced_texts(paths) == []


def test_a_barrier_of_a_potential_of_the_study(graph):
    node = make_barrier(graph.neb_host, 'O-O c', (0.3, 0.3), graph.potentials['mace_ft'])
    study = Study(graph.node, barriers=[node])
    group = barrier_groups(study.barriers)['O->O c']
    assert {label: row['barrier_ev'] for label, row in group.items()} == {'mace_ft': 0.3}


@pytest.mark.parametrize(
    ('reverse', 'modes'), [(0.0, {}), (0.1, {'final': 1}), (0.1, {'initial': 0, 'saddle': 1, 'final': 2})]
)
def test_direction_without_a_barrier(graph, reverse, modes):
    """Energies and vibrations decide, not a number from an earlier version; every place says 'none'."""
    study = Study(graph.node, barriers=[make_barrier(graph.neb_host, 'O-T', (0.2, reverse), modes=modes)])
    rows = results_of(study)
    forward, back = rows['barriers'][-2:]
    assert (forward['barrier_ev'], back['barrier_ev']) == (0.2, None)
    assert 'the final end is no minimum of this potential' in back['reason']
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    table = result_table(rows)
    assert re.search(r'DFT +T->O +none', table)
    assert 'DFT, T->O: the final end is no minimum' in table
    assert max(map(len, table.splitlines())) <= 100
    page = render_page(study, {})
    assert back['reason'] in page
    assert '<td>none</td>' in re.sub(r'<td[^>]*>', '<td>', page)
    with mpl.rc_context(RC):
        bars, paths = draw_barriers(study), draw_paths(study)
    assert [text.get_text() for text in bars.axes[1].texts][-1] == 'none'
    assert bars.axes[0].texts[-1].get_text() == ('0.200*' if forward['reason'] else '0.200')
    assert misplaced_texts(bars) == misplaced_texts(paths) == []


def test_study_whose_only_path_is_flat(graph):
    """Bars, headline and page work without any number."""
    study = Study(graph.node)
    flat = orm.Dict({'energies_ev': [0.0, 0.0, 0.0], 'reaction_coordinate_angstrom': [0.0, 1.0, 2.0]}).store()
    study.barriers = [replace(study.barriers[0], results=flat)]
    with mpl.rc_context(RC):
        assert misplaced_texts(draw_barriers(study)) == []
    assert [item['value'] for item in headlines(study) if item['name'] == 'Barrier O → T'] == ['none']
    assert 'changes by less than 5 meV' in render_page(study, {})


def test_what_does_not_fit_is_refused(graph, dft, tmp_path):
    foreign = make_potential('mace_tr', tmp_path).store()
    unfinished = Process(orm.WorkChainNode, 'validate', {}).node
    own = graph.potentials['mace_ft']
    cases = [
        ({'validations': [orm.Int(1).store()]}, 'Int<.*> is not a process of mghdiff.validate'),
        ({'validations': [graph.node]}, 'study<.*> is not a process of mghdiff.validate'),
        ({'validations': [unfinished]}, 'validate<.*> has no metrics: running'),
        (
            {'validations': [make_validation({'x': foreign}, make_dataset(2, 5))]},
            'which is not in the study.*mace_ft<',
        ),
        ({'barriers': [make_barrier(graph.neb_host, 'O-T', (0.2, 0.2), foreign)]}, 'which is not in the study'),
    ]
    for given, message in cases:
        with pytest.raises(ForeignNodeError, match=message):
            Study(graph.node, **given)
    twice = [dft, make_barrier(graph.neb_host, 'O-T', (0.2, 0.2))]
    with pytest.raises(ForeignNodeError, match='there is already a barrier of DFT along O-T'):
        _ = Study(graph.node, barriers=twice).barriers
    with pytest.raises(ForeignNodeError, match='there is already a barrier of mace_ft along O-T'):
        _ = Study(graph.node, barriers=[make_barrier(graph.neb_host, 'O-T', (0.2, 0.2), own)]).barriers


def test_command_line(graph, validation, dft, aiida_profile, tmp_path, monkeypatch):
    monkeypatch.setattr('aiida_mghdiff.report.write_figures', lambda study, folder: folder.mkdir(parents=True) or {})
    command = ['report', graph.node.uuid, '-p', aiida_profile.name, '--directory', str(tmp_path / 'x')]
    refused = CliRunner().invoke(main, [*command, '--validation', dft.uuid])
    assert (refused.exit_code, 'is not a process of mghdiff.validate' in refused.output) == (1, True)
    missing = CliRunner().invoke(main, [*command, '--barrier', 'abcdef01'])
    assert (missing.exit_code, 'is no node of this profile' in missing.output) == (1, True)
    assert not (tmp_path / 'x').exists()
    done = CliRunner().invoke(main, [*command, '--validation', validation.uuid, '--barrier', str(dft.pk)])
    assert done.exit_code == 0, done.output
    assert 'DFT' in done.output
    assert 'NVE frames' in (tmp_path / 'x' / 'report.html').read_text(encoding='utf-8')
