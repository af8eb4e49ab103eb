"""The drawn texts of a figure: texts that overlap, and texts that are cut off."""

from __future__ import annotations

from itertools import combinations

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from aiida_mghdiff.report.style import RC


def misplaced_texts(figure):
    """Return the texts that are cut off, and the pairs that overlap."""
    texts = drawn_texts(figure)
    overlapping = [(a, b) for (a, one), (b, other) in combinations(texts, 2) if one.overlaps(other)]
    return [text for text, box in texts if not is_inside(box, figure.bbox.padded(1))] + overlapping


def drawn_texts(figure):
    """Return every drawn text with its box in pixels, shrunk by one on all sides."""
    found, draw = [], Text.draw

    def record(self, renderer):
        if self.get_visible() and self.get_text().strip():
            found.append((self.get_text(), self.get_window_extent(renderer).padded(-1)))
        return draw(self, renderer)

    with pytest.MonkeyPatch.context() as patch, mpl.rc_context(RC):
        patch.setattr(Text, 'draw', record)
        FigureCanvasAgg(figure).draw()
    return found


def is_inside(box, whole):
    """Return whether a box lies within another."""
    return whole.x0 <= box.x0 and whole.y0 <= box.y0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
