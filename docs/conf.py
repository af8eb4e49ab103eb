"""Sphinx configuration of the manual: ``make docs``."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

# Defaults of ports are nodes, so that specifications need a profile: one in memory, away from the user's own.
os.environ['AIIDA_PATH'] = tempfile.mkdtemp()

from aiida import load_profile
from aiida.storage.sqlite_temp import SqliteTempBackend
from sphinx.application import Sphinx

import aiida_mghdiff

load_profile(SqliteTempBackend.create_profile('docs'), allow_switch=True)

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = 'aiida-mghdiff'
author = 'The aiida-mghdiff developers'
copyright = f'2026, {author}'
release = version = aiida_mghdiff.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.mathjax', 'aiida.sphinxext']
myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'aiida-mghdiff {release}'
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'


def write_generated(_: Sphinx) -> None:
    """Write the pages that are made from the code itself."""
    import generate

    generate.write_pages(HERE)


def setup(app: Sphinx) -> None:
    """Let pages be written before Sphinx looks for them."""
    app.connect('builder-inited', write_generated)
