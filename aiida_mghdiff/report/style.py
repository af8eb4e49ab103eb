"""Styles of potentials in all figures: they differ in colour, marker and (for prints in grey) lightness and hatch.

Colours are from Okabe and Ito, so that readers with common colour blindness can distinguish them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, to_hex, to_rgb

from aiida_mghdiff.data.architectures import architectures
from aiida_mghdiff.data.potential import PotentialData

INK, GUIDE, SHADE = '#222222', '#767676', '#ececec'
#: Colours of the architectures, in their order.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#56B4E9', '#E69F00')
#: Lightness, hatch and line by origin, in the order of tables and figures.
ORIGINS = {
    'pretrained': (0.65, '////', (0, (1, 1.2))),
    'fine-tuned': (0.0, '', '-'),
    'scratch': (0.35, '....', (0, (4, 1.5))),
    'on-the-fly': (0.2, 'xxxx', (0, (4, 1.5, 1, 1.5))),
}
MARKERS = 'osD^vPXp<>h*'
#: Largest change towards black or white for several series of one potential.
DEEPEST, PALEST = 0.65, 0.45
ELEMENT_MARKERS = 'oDsv^'
ELEMENT_COLOURS = {'H': '#CC79A7', 'Mg': '#56B4E9'}
#: Colour and marker of octahedral and tetrahedral sites and of host atoms.
SITE_STYLES = {'O': ('#D55E00', 's'), 'T': ('#000000', '^'), 'host': ('#009E73', 'o')}
PATH_STYLES = {
    'O-O c': ('#0072B2', '-'),
    'O-O ab': ('#009E73', (0, (4, 1.5))),
    'O-T': ('#D55E00', '-'),
    'T-T': (INK, (0, (1, 1.2))),
}
#: Colours from white to dark, also in grey.
SEQUENCE = ListedColormap(colormaps['YlOrBr'](np.linspace(0, 0.85, 256)))
#: Colours from dark to light, without the lightest part, which is invisible on white.
TIME_COLOURS = ListedColormap(colormaps['plasma'](np.linspace(0, 0.88, 256)))

RC = {
    'figure.dpi': 200,  # layout and files use the same width of text
    'savefig.dpi': 200,
    'font.family': 'DejaVu Sans',
    'font.size': 7.5,
    'axes.titlesize': 8,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.labelsize': 8,
    'figure.labelsize': 8,
    'axes.edgecolor': INK,
    'axes.linewidth': 0.7,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.axisbelow': True,
    'axes.grid': True,
    'grid.color': '#e3e3e3',
    'grid.linewidth': 0.5,
    'legend.frameon': False,
    'legend.fontsize': 7.5,
    'legend.handlelength': 2.6,
    'xtick.labelsize': 7.5,
    'ytick.labelsize': 7.5,
    'lines.linewidth': 1.4,
    'lines.markersize': 4.5,
    'hatch.linewidth': 0.6,
    'errorbar.capsize': 2.2,
    'pdf.fonttype': 42,
    'svg.hashsalt': 'aiida-mghdiff',
}


@dataclass(frozen=True)
class Style:
    """Style of a potential."""

    colour: str  # lines, edges, markers
    fill: str  # bars
    hatch: str
    marker: str
    line: object  # of matplotlib's linestyles


#: Style of DFT: white with thick lines, unlike any potential.
DFT_STYLE = Style(INK, '#ffffff', '', 'H', (0, (8, 1.5)))


def place_of(architecture: str) -> int:
    """Return the place of an architecture in tables and figures; unknown architectures come last."""
    known = list(architectures())
    return known.index(architecture) if architecture in known else len(known)


def styles_of(potentials: dict[str, PotentialData]) -> dict[str, Style]:
    """Return the styles: hue by architecture; lightness, hatch and line by origin; a marker for each potential."""
    styles = {}
    for index, (label, node) in enumerate(potentials.items()):
        colour = COLOURS[place_of(node.architecture) % len(COLOURS)]
        lightness, hatch, line = ORIGINS[node.origin]
        marker = MARKERS[index % len(MARKERS)]
        styles[label] = Style(lightened(colour, lightness / 2), lightened(colour, lightness), hatch, marker, line)
    return styles


def styles_of_series(labels: Mapping[str, str], styles: Mapping[str, Style]) -> dict[str, Style]:
    """Return the style of each series of diffusion coefficients, derived from the style of its potential.

    Several series of one potential go from dark to light and have different markers.

    :param labels: label of the potential by name of the series.
    :param styles: style by label of the potential.
    """
    taken = {style.marker for style in styles.values()}
    found, spare = {}, cycle([marker for marker in MARKERS if marker not in taken] or MARKERS)
    for label in dict.fromkeys(labels.values()):
        names = [name for name, its in labels.items() if its == label]
        shades = np.linspace(-DEEPEST, PALEST, len(names)) if len(names) > 1 else [0.0]
        for place, (name, shade) in enumerate(zip(names, shades, strict=True)):
            marker = next(spare) if place else styles[label].marker
            found[name] = shaded(styles[label], shade, marker)
    return {name: found[name] for name in labels}


def shaded(style: Style, shade: float, marker: str) -> Style:
    """Return a style with another marker and shade: -1 is black, 0 unchanged, 1 white."""
    colour, fill = (lightened(each, shade) for each in (style.colour, style.fill))
    return replace(style, colour=colour, fill=fill, marker=marker)


def lightened(colour: str, fraction: float) -> str:
    """Return a colour mixed with white or, for a negative fraction, with black."""
    end = 1 if fraction > 0 else 0
    return to_hex([channel + (end - channel) * abs(fraction) for channel in to_rgb(colour)])
