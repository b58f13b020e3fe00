"""Sphinx's configuration; what is generated from the code is made before the pages are read."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

project = "crosscheck"
author = "The crosscheck developers"
copyright = "the crosscheck developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "crosscheck"
html_static_path = ["_static"]
exclude_patterns = ["_build", "_generated/*.part.md"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_use_ivar = True
suppress_warnings = ["misc.highlighting_failure"]


def _generate(app):
    import generate

    generate.everything(HERE / "_generated")


def setup(app):
    app.connect("builder-inited", _generate)
