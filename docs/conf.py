"""The site: ``make docs`` turns these pages, and pages made of docstrings, into build/docs. Warnings are errors."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "site")]

import docstring  # noqa: E402
import menu  # noqa: E402
import reference  # noqa: E402

from edgenet import __version__  # noqa: E402

project = "edgenet"
author = "The edgenet developers"
copyright = "The edgenet developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["site", "results/rows"]
source_suffix = {".md": "markdown"}
master_doc = "index"
nitpicky = False
suppress_warnings = ["myst.header"]  # pages of results begin their parts with ###

html_theme = "furo"
html_title = f"edgenet {version}"
html_theme_options = {"navigation_with_keys": True}

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # links such as training.md#callbacks

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shapes"]
pygments_style = "friendly"


def setup(app):
    reference.write(HERE / "api")
    docstring.setup(app)
    menu.setup(app)
