"""How potentials look in every figure: told apart by colour, by lightness and hatch in grey, and by marker.

Colours are those of Okabe and Ito, which the common kinds of colour blindness keep apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.colors import to_hex, to_rgb

from aiida_mghdiff.queries import PotentialData

INK, GUIDE, SHADE = '#222222', '#767676', '#ececec'
#: By architecture and origin, in the order of tables and figures; of an origin: lightness, hatch, line.
COLOURS = {'mace': '#0072B2', 'chgnet': '#D55E00', 'vasp-mlff': '#009E73'}
ORIGINS = {
    'pretrained': (0.65, '////', (0, (1, 1.2))),
    'fine-tuned': (0.0, '', '-'),
    'scratch': (0.35, '....', (0, (4, 1.5))),
    'on-the-fly': (0.2, 'xxxx', (0, (4, 1.5, 1, 1.5))),
}
MARKERS = 'osD^vPXp<>h*'
ELEMENT_MARKERS = 'oDsv^'
ELEMENT_COLOURS = {'H': '#CC79A7', 'Mg': '#56B4E9'}

RC = {
    'figure.dpi': 100,
    'savefig.dpi': 200,
    'font.family': 'DejaVu Sans',
    'font.size': 9,
    'axes.titlesize': 9.5,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.labelsize': 9,
    'axes.edgecolor': INK,
    'axes.linewidth': 0.8,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.axisbelow': True,
    'axes.grid': True,
    'grid.color': '#e3e3e3',
    'grid.linewidth': 0.6,
    'legend.frameon': False,
    'legend.fontsize': 8.5,
    'legend.handlelength': 2.6,
    'xtick.labelsize': 8.5,
    'ytick.labelsize': 8.5,
    'lines.linewidth': 1.6,
    'lines.markersize': 5,
    'hatch.linewidth': 0.7,
    'errorbar.capsize': 2.5,
    'pdf.fonttype': 42,
}


@dataclass(frozen=True)
class Style:
    """How a potential is drawn."""

    colour: str  # lines, edges, markers
    fill: str  # bars
    hatch: str
    marker: str
    line: object  # of matplotlib's linestyles


def styles_of(potentials: dict[str, PotentialData]) -> dict[str, Style]:
    """Return the style of each potential: hue by architecture, lightness, hatch and line by origin, marker its own."""
    styles = {}
    for index, (label, node) in enumerate(potentials.items()):
        colour = COLOURS[node.architecture]
        lightness, hatch, line = ORIGINS[node.origin]
        marker = MARKERS[index % len(MARKERS)]
        styles[label] = Style(lightened(colour, lightness / 2), lightened(colour, lightness), hatch, marker, line)
    return styles


def lightened(colour: str, fraction: float) -> str:
    """Return a colour mixed with white."""
    return to_hex([channel + (1 - channel) * fraction for channel in to_rgb(colour)])
