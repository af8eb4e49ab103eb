"""The path of one tracer as a rotatable figure, drawn by plotly inside the page."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import plotly.graph_objects as go
from matplotlib.colors import to_hex
from plotly.offline import get_plotlyjs

from aiida_mghdiff.report.figures.scene import radius_of
from aiida_mghdiff.report.style import ELEMENT_COLOURS, GUIDE, TIME_COLOURS
from aiida_mghdiff.report.tracks import Track

#: Diameter in pixels of a sphere of 1 Å: plotly does not scale markers with the scene.
PIXELS = 9


def library() -> str:
    """Return plotly.js, compressed by gzip to a third of its size and encoded as base64; the browser unpacks it.

    Equal versions of plotly give equal bytes.
    """
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def track_figure(track: Track) -> str:
    """Return the figure of a path as JSON for ``Plotly.newPlot``."""
    axis = {'showbackground': False, 'gridcolor': '#dddddd', 'zeroline': False}
    scene = {f'{name}axis': axis | {'title': {'text': f'{name} (Å)'}} for name in 'xyz'}
    layout = {
        'template': 'none',
        'scene': scene | {'aspectmode': 'data', 'camera': {'eye': {'x': 0.8, 'y': -1.9, 'z': 0.6}}},
        'margin': {'l': 0, 'r': 0, 't': 0, 'b': 0},
        'legend': {'x': 0, 'y': 1},
        'autosize': True,
    }
    return go.Figure([host_trace(track), path_trace(track), *end_traces(track)], layout).to_json()


def host_trace(track: Track) -> go.Scatter3d:
    """Return the mean places of the host atoms."""
    symbol = track.run.outputs('tracers')[0].base.attributes.get('host_elements')[0]
    marker = {'size': PIXELS * radius_of(symbol), 'color': ELEMENT_COLOURS.get(symbol, GUIDE), 'opacity': 0.55}
    return scatter(track.host, 'markers', name=symbol, marker=marker, hoverinfo='skip')


def path_trace(track: Track) -> go.Scatter3d:
    """Return the path, coloured by time."""
    steps = [index / 10 for index in range(11)]
    scale = [[step, to_hex(TIME_COLOURS(step))] for step in steps]
    bar = {'title': {'text': 'time (ps)'}, 'thickness': 12, 'len': 0.7}
    line = {'color': track.times_ps.round(4), 'colorscale': scale, 'width': 4, 'showscale': True, 'colorbar': bar}
    hover = '%{text} ps<extra></extra>'
    text = [f'{time:.3g}' for time in track.times_ps]
    return scatter(track.positions, 'lines', showlegend=False, line=line, text=text, hovertemplate=hover)


def end_traces(track: Track) -> list[go.Scatter3d]:
    """Return marks of start and end."""
    looks = {'start': (0, 'circle'), 'end': (-1, 'square')}
    return [
        scatter(
            track.positions[[index]], 'markers', name=name, marker={'size': 6, 'symbol': symbol, 'color': '#222222'}
        )
        for name, (index, symbol) in looks.items()
    ]


def scatter(points: Any, mode: str, **options: Any) -> go.Scatter3d:
    """Return points [n,3] in Å, to a hundredth of one."""
    x, y, z = points.round(2).astype('float32').T
    return go.Scatter3d(x=x, y=y, z=z, mode=mode, **options)
