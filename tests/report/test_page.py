"""The page is complete and self-contained, with each number beside its node."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser

import pytest
from aiida import orm
from plotly.offline import get_plotlyjs
from study_graph import Process

from aiida_mghdiff.report import study_results
from aiida_mghdiff.report.diffusion import interval
from aiida_mghdiff.report.page import render_page
from aiida_mghdiff.report.sections import drift_cells
from aiida_mghdiff.report.study import Study

VOID = {'meta', 'img', 'link', 'br'}


class Structure(HTMLParser):
    """Checks that tags are closed, and collects attributes and text."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.ids, self.text = [], [], [], ''

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parse(page):
    structure = Structure()
    structure.feed(page)
    assert structure.open == []
    return structure


@pytest.fixture(scope='module')
def page(folder):
    return (folder / 'report.html').read_text(encoding='utf-8')


def test_files(folder, graph):
    assert sorted(path.name for path in folder.iterdir()) == ['figures', 'report.html', 'results.json']
    assert json.loads((folder / 'results.json').read_text()) == study_results(graph.node)


def test_page_needs_nothing_else(page):
    structure = parse(page)
    references = [value for _, name, value in structure.attributes if name in ('src', 'href', 'srcset', 'data')]
    assert references
    assert all(value.startswith(('data:image/png;base64,', '#')) for value in references)
    assert '&' not in page[page.index('<style>') : page.index('</style>')]
    assert not re.search(r'url\(|@import|https?://', page)
    assert not [name for tag, name, _ in structure.attributes if tag == 'script' and name not in ('type', 'class')]
    anchors = {value for _, name, value in structure.attributes if name == 'id'}
    assert {value[1:] for value in references if value.startswith('#')} <= anchors


def test_the_turnable_figure_is_inside_once(page, study):
    plotly = gzip.decompress(base64.b64decode(re.search(r'class="library">([^<]*)<', page)[1])).decode()
    assert plotly == get_plotlyjs()
    assert page.count('class="library"') == 1
    assert json.loads(re.search(r'class="figure">([^<]*)<', page)[1])['data'][1]['mode'] == 'lines'
    assert len(page) < 8_000_000


def test_every_number_stands_beside_its_node(page, graph):
    rows = [row for rows in study_results(graph.node).values() for row in rows]
    text = parse(page).text
    assert rows
    assert all(row['uuid'] in text for row in rows)
    outputs = Study(graph.node).showcase.call.node.outputs
    assert all(outputs[name].uuid in text for name in ('sites', 'pairs', 'rdf', 'density'))
    for node in (graph.raw_file, graph.dataset, graph.training, graph.test, graph.code):
        assert node.uuid in text
    assert all(value for tag, name, value in parse(page).attributes if (tag, name) == ('img', 'alt'))


def test_sections_versions_seeds(page):
    text = parse(page).text
    for words in ('Diffusion of H in Mg', 'Limits of these diffusion coefficients', 'Energy conservation', '4.30'):
        assert words in text
    for words in ('2.13.0', 'symmetrix', '8501', 'queries.lineage', 'labels.extxyz', 'C. Nishimura'):
        assert words in text
    assert 'What failed' not in text


def test_estimators_directions_and_lines(page):
    text = parse(page).text
    for words in ('D by each estimator', 'least-squares', 'Haven ratio', 'D along c', 'D on the lines of the fits'):
        assert words in text


def test_failures_come_first(broken_study):
    text = parse(render_page(broken_study, {})).text
    assert 'ended with failures [620]' in text
    assert text.index('What failed') < text.index('Potentials')
    assert 'The temperature ran away: 5400 K at step 812' in text
    assert '< ' in text
    assert 'has no activation energy' not in text


def test_page_of_a_study_that_just_started():
    node = Process(orm.WorkChainNode, 'study', {}).node
    node.label = '<b>'
    text = parse(render_page(Study(node), {})).text
    assert '<b>' in text
    assert 'not finished' in text


def test_interval_hides_no_sign():
    assert interval([1e-9, 2e-9]) == '1.0×10⁻⁹ to 2.0×10⁻⁹'
    assert interval([-1e-9, 2e-9]) == '−1.0×10⁻⁹ to 2.0×10⁻⁹'
    assert interval(None) == '–'


@pytest.mark.parametrize(
    ('drift', 'error', 'expected'),
    [
        (0.5, 0.1, ('+0.50 ± 0.20', 'within')),
        (-3.0, 0.9, ('−3.00 ± 1.80', 'above')),
        (None, None, ('–', 'run too short')),
    ],
)
def test_drift_in_words(drift, error, expected):
    class Drift:
        results = {'energy_drift_mev_per_atom_ns': drift, 'energy_drift_error_mev_per_atom_ns': error}

    assert drift_cells(Drift) == expected
