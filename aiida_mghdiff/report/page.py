"""The report as one self-contained HTML page: styles, figures and plotly.js are inside, nothing is loaded."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from aiida_mghdiff import __version__
from aiida_mghdiff.report.captions import CAPTIONS
from aiida_mghdiff.report.interactive import library, track_figure
from aiida_mghdiff.report.sections import headlines, sections
from aiida_mghdiff.report.study import Study
from aiida_mghdiff.report.style import RC
from aiida_mghdiff.report.tracks import read_track


def render_page(study: Study, figures: dict[str, Path]) -> str:
    """Return the page.

    :param figures: PNG files by the name of the figure.
    """
    loader = PackageLoader('aiida_mghdiff', 'report')
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page = environment.get_template('page.html').render(
        title=title_of(study),
        css=loader.get_source(environment, 'page.css')[0],
        script=loader.get_source(environment, 'page.js')[0],
        study={'uuid': study.node.uuid, 'started': f'{study.node.ctime:%d %B %Y}', 'state': state_of(study)},
        headlines=headlines(study),
        sections=sections(study),
        figures={
            name: {'source': embedded(path), 'caption': CAPTIONS[name], 'width': f'{width_of(path):.2f}in'}
            for name, path in figures.items()
        },
        turnable=turnable(study) if 'track' in figures else {},
        version=__version__,
    )
    return page + '\n'


def title_of(study: Study) -> str:
    """Return the title of the page: the label of the study or, without a label, its systems."""
    names = ' and '.join(study.systems)
    return study.node.label or (f'Diffusion of {names} with machine-learning potentials' if names else 'Study')


def state_of(study: Study) -> str:
    """Return the state of the study in words."""
    node = study.node
    if not node.is_terminated:
        return f'not finished: {node.process_state.value if node.process_state else "created"}'
    if node.is_finished_ok:
        return 'finished'
    if node.is_excepted:
        return f'ended in an exception: {node.exception}'
    return (
        f'ended with failures [{node.exit_status}]'
        if node.exit_status
        else f'{node.process_state and node.process_state.value}'
    )


def turnable(study: Study) -> dict[str, dict[str, str]]:
    """Return the rotatable figures by the name of the static picture that each replaces."""
    track = read_track(study)
    return {'track': {'figure': track_figure(track), 'library': library()}} if track else {}


def width_of(path: Path) -> float:
    """Return the width of a PNG file on the screen in inches, a sixth larger than on paper."""
    (pixels,) = struct.unpack('>I', path.read_bytes()[16:20])
    return 7 / 6 * pixels / RC['savefig.dpi']


def embedded(path: Path) -> str:
    """Return a PNG file as a data URI."""
    return f'data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}'
