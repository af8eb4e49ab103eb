"""Pictures of the manual that are made from the code: the rooms of the package, and the logic of each workflow."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import grimp
from aiida.engine import WorkChain
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

REPOSITORY = Path(__file__).parents[1]
PACKAGE = 'aiida_mghdiff'
#: Inches of one row of text and of one level of nesting, and characters of a line.
ROW, INDENT, WIDTH = 0.24, 0.3, 108
BLUE, GREY = '#1f4e79', '#888888'
CONDITIONS = {'while': 'repeat while', 'if': 'if', 'elif': 'or if'}
#: What plumpy names the condition of `else_`, which always holds.
ALWAYS = '<lambda>'


def draw_rooms(path: Path) -> None:
    """Draw the layers of the import contract, and an arrow for each room that another one imports."""
    layers = import_layers()
    places = dict(_places(layers))
    figure = Figure(figsize=(8, 1.1 * len(layers)))
    axes = _canvas(figure, (0, 8), (0, len(layers)))
    style = {'ha': 'center', 'va': 'center', 'color': BLUE, 'bbox': {'boxstyle': 'round', 'fc': 'white', 'ec': BLUE}}
    boxes = {room: axes.text(*place, room, **style).get_bbox_patch() for room, place in places.items()}
    graph = grimp.build_graph(PACKAGE)
    for room, other in permutations(places, 2):
        if graph.direct_import_exists(importer=f'{PACKAGE}.{room}', imported=f'{PACKAGE}.{other}', as_packages=True):
            arrow = {'arrowstyle': '->', 'color': GREY, 'patchA': boxes[room], 'patchB': boxes[other]}
            axes.annotate('', places[other], places[room], arrowprops=arrow | {'shrinkA': 3, 'shrinkB': 3}, zorder=1)
    figure.savefig(path)


def import_layers() -> list[list[str]]:
    """Return the rooms of each layer of the import contract, the highest first."""
    project = tomllib.loads((REPOSITORY / 'pyproject.toml').read_text())
    contract = next(each for each in project['tool']['importlinter']['contracts'] if each['type'] == 'layers')
    return [layer.split(' | ') for layer in contract['layers']]


def _places(layers: Sequence[Sequence[str]]) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each room and where it lies; neighbouring layers are shifted, so that no arrow runs through a box."""
    for row, rooms in enumerate(layers):
        shift = 0.6 * (-1) ** row if len(rooms) == 1 else 0.0
        for column, room in enumerate(rooms):
            yield room, (8 * (column + 0.5) / len(rooms) + shift, len(layers) - row - 0.5)


@dataclass(frozen=True)
class Line:
    """One line of an outline: how deep it is nested, the step or condition, and what it does in words."""

    depth: int
    name: str
    words: str

    @property
    def rows(self) -> list[str]:
        """Return the words in lines that fit."""
        return textwrap.wrap(self.words, WIDTH - 4 * self.depth) or ['']


def draw_outline(path: Path, workchain: type[WorkChain]) -> None:
    """Draw the outline of a workflow: its steps from top to bottom, with frames around what is repeated or optional."""
    lines = list(outline_lines(workchain.spec().get_outline().get_description()))
    heights = [1.6 + len(line.rows) if line.words else 1.4 for line in lines]
    figure = Figure(figsize=(8, ROW * (sum(heights) + 1)))
    axes = _canvas(figure, (0, 8), (ROW * (sum(heights) + 1), 0))
    tops = [ROW * (sum(heights[:index]) + 0.5) for index in range(len(lines) + 1)]
    for index, line in enumerate(lines):
        if line.words:
            _draw_step(axes, line, tops[index])
        else:
            end = next((n for n in range(index + 1, len(lines)) if lines[n].depth <= line.depth), len(lines))
            _draw_frame(axes, line, tops[index], tops[end])
    figure.savefig(path)


def outline_lines(block: Any, depth: int = 0) -> Iterator[Line]:
    """Yield the lines of an outline as plumpy describes it: strings, and mappings of a condition to its block."""
    for step in block if isinstance(block, list) else [block]:
        if isinstance(step, Mapping):
            for condition, inner in step.items():
                name, _, subject = condition.rstrip(')').partition('(')
                words = 'otherwise' if subject == ALWAYS else f'{CONDITIONS[name]} {subject.replace("_", " ")}'
                yield Line(depth, words, '')
                yield from outline_lines(inner, depth + 1)
        else:
            name, _, words = step.removesuffix(')').partition('(')
            yield Line(depth, name, words.split('. ')[0].rstrip('.') + '.')


def _draw_step(axes: Axes, line: Line, top: float) -> None:
    x = INDENT * (1 + line.depth)
    axes.text(x, top, line.name, va='top', color=BLUE, family='monospace', size=9)
    axes.text(x, top + 0.85 * ROW, '\n'.join(line.rows), va='top', size=8, linespacing=1.15)


def _draw_frame(axes: Axes, line: Line, top: float, bottom: float) -> None:
    x, margin = INDENT * (1 + line.depth) - 0.12, 0.2 * ROW
    frame = FancyBboxPatch(
        (x, top - margin),
        7.85 - x - 0.1 * line.depth,
        bottom - top - margin - 0.2 * ROW,
        boxstyle='round,pad=0.03',
        fill=False,
    )
    frame.set(edgecolor=GREY, linestyle='-' if line.name.startswith('repeat') else '--')
    axes.add_patch(frame)
    axes.text(x + 0.12, top, line.name, va='top', size=8, style='italic', color=GREY)


def _canvas(figure: Figure, x: tuple[float, float], y: tuple[float, float]) -> Axes:
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=x, ylim=y)
    axes.axis('off')
    return axes
