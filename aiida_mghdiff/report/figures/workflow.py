"""The workflow of a study, drawn from its provenance graph in layers from top to bottom, with few crossing arrows.

Layers, placeholders for arrows that pass a layer, and positions at the mean of the neighbours follow Sugiyama, Tagawa
and Toda, IEEE Trans. Syst. Man Cybern. 11, 109 (1981), doi:10.1109/TSMC.1981.4308636. The limited number of boxes in a
layer follows Coffman and Graham, Acta Inform. 1, 200 (1972), doi:10.1007/BF00288685.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import count, pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from scipy.optimize import isotonic_regression

from aiida_mghdiff.report.figures.canvas import PAGE, new_figure
from aiida_mghdiff.report.study import Study
from aiida_mghdiff.report.style import GUIDE, INK, SHADE
from aiida_mghdiff.report.workflow_graph import Step, WorkflowGraph, read_workflow_graph

#: Sizes in inches: box, distance between boxes, room for a passing arrow, distance between layers.
WIDTH, HEIGHT, GAP, PASSAGE, LAYER = 1.42, 0.4, 0.14, 0.2, 0.7
MOST_BOXES = 4
SWEEPS = 40
#: Largest number of letters below the title of a box.
LETTERS = 28

Arrow = tuple[Hashable, Hashable]


def draw_workflow(study: Study) -> Figure | None:
    """Return the steps of a study and the data flow between them; None before its first step."""
    graph = read_workflow_graph(study)
    if len(graph.steps) < 2:
        return None
    layers = layers_of(graph)
    arrows, chains = with_placeholders(graph.arrows, layers)
    places = placed(layers, arrows)
    depth = max(layers.values())
    figure, axes = new_figure(LAYER * depth + HEIGHT + 0.1, width=PAGE)
    axis = axes[0, 0]
    middle = (min(places.values()) + max(places.values())) / 2
    places = {node: x - middle for node, x in places.items()}
    height = {node: -LAYER * layer for node, layer in layers.items()}
    for chain in chains:
        draw_arrow(axis, [(places[node], height[node]) for node in chain])
    for title, step in graph.steps.items():
        draw_step(axis, step, (places[title], height[title]))
    axis.set(xlim=(-PAGE / 2, PAGE / 2), ylim=(-LAYER * depth - HEIGHT / 2 - 0.05, HEIGHT / 2 + 0.05))
    axis.axis('off')
    return figure


def layers_of(graph: WorkflowGraph) -> dict[Hashable, int]:
    """Return the layer of each step: below all its sources, with a limited number in a layer (Coffman and Graham).

    First steps move down to just above their targets, if there is room.
    """
    layers: dict[Hashable, int] = {}
    followers = {title: descendants(graph, title) for title in graph.steps}
    for title in sorted(graph.steps, key=lambda title: -len(followers[title])):  # steps with many followers first
        lowest = max((layers[a] + 1 for a, b in graph.arrows if b == title), default=0)
        layers[title] = next(layer for layer in count(lowest) if has_room(layers, layer))
    for title in graph.steps:
        heads = [layers[b] for a, b in graph.arrows if a == title]
        if heads and not any(b == title for _, b in graph.arrows) and has_room(layers, min(heads) - 1):
            layers[title] = min(heads) - 1
    return layers


def descendants(graph: WorkflowGraph, title: str) -> set[str]:
    """Return all steps that depend on a step."""
    heads = {b for a, b in graph.arrows if a == title}
    return heads.union(*(descendants(graph, head) for head in heads))


def has_room(layers: dict[Hashable, int], layer: int) -> bool:
    """Return whether a layer has room for one more box."""
    return list(layers.values()).count(layer) < MOST_BOXES


def with_placeholders(
    arrows: set[tuple[str, str]], layers: dict[Hashable, int]
) -> tuple[set[Arrow], list[list[Hashable]]]:
    """Add placeholders to the layers that arrows pass; return arrows between neighbouring layers, and chains of nodes.

    Arrows from the same step share their placeholders.
    """
    chains: list[list[Hashable]] = []
    for first, last in sorted(arrows):
        passed = [(first, layer) for layer in range(layers[first] + 1, layers[last])]
        layers.update({node: node[1] for node in passed})
        chains.append([first, *passed, last])
    return {(a, b) for chain in chains for a, b in pairwise(chain)}, chains


def placed(layers: dict[Hashable, int], arrows: set[Arrow]) -> dict[Hashable, float]:
    """Return the horizontal position of each node: near the mean of its neighbours, without overlap in a layer."""
    rows = [[node for node, layer in layers.items() if layer == index] for index in range(max(layers.values()) + 1)]
    places = {node: float(x) for row in rows for node, x in zip(row, spread(row, np.zeros(len(row))), strict=True)}
    neighbours = {node: [a for a, b in arrows if b == node] + [b for a, b in arrows if a == node] for node in layers}
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            wanted = {node: np.mean([places[other] for other in neighbours[node]] or [places[node]]) for node in row}
            ordered = sorted(row, key=wanted.__getitem__)
            places.update(zip(ordered, spread(ordered, np.array([wanted[node] for node in ordered])), strict=True))
    return places


def spread(row: list[Hashable], wanted: np.ndarray) -> np.ndarray:
    """Return positions in this order, as near to the wanted positions as widths and the page allow."""
    half = np.array([(PASSAGE if isinstance(node, tuple) else WIDTH + GAP) / 2 for node in row])
    offsets = np.concatenate([[0.0], np.cumsum(half[:-1] + half[1:])])
    places = isotonic_regression(wanted - offsets).x + offsets
    low, high = (places - half).min() + PAGE / 2, (places + half).max() - PAGE / 2
    return places - min(low, 0) - max(high, 0)


def draw_arrow(axis: Axes, points: list[tuple[float, float]]) -> None:
    """Draw a smooth arrow from the bottom of the first box to the top of the last, upright past the boxes between."""
    (x, y), *others = points
    vertices, codes = [(x, y - HEIGHT / 2)], [Path.MOVETO]
    for end, middle in others:
        start, target = vertices[-1], (end, middle + HEIGHT / 2)
        bend = (start[1] - target[1]) / 2
        vertices += [(start[0], start[1] - bend), (end, target[1] + bend), target]
        codes += [Path.CURVE4] * 3
        if (end, middle) != others[-1]:
            vertices.append((end, middle - HEIGHT / 2))
            codes.append(Path.LINETO)
    options = {'arrowstyle': '-|>', 'mutation_scale': 8, 'color': GUIDE, 'linewidth': 1, 'shrinkA': 0, 'shrinkB': 0}
    axis.add_patch(FancyArrowPatch(path=Path(vertices, codes), zorder=1, **options))


def draw_step(axis: Axes, step: Step, place: tuple[float, float]) -> None:
    """Draw a step: its title, and the number of its processes or nodes."""
    x, y = place
    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    box = {'boxstyle': 'round,pad=0,rounding_size=0.05', 'facecolor': SHADE, 'edgecolor': INK, 'linewidth': 0.8}
    axis.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, zorder=2, **box))
    options = {'ha': 'center', 'zorder': 3}
    axis.text(x, y + 0.02, step.title, va='bottom', weight='bold', **options)
    axis.text(x, y - 0.03, counts_text(step), va='top', fontsize='small', color=INK, **options)


def counts_text(step: Step) -> str:
    """Return the number of processes or nodes of each kind or, if the text is too long, the number of kinds."""
    text = ', '.join(f'{count} {kind}' for kind, count in step.counts.items())
    return text if len(text) <= LETTERS else f'{sum(step.counts.values())} of {len(step.counts)} kinds'
