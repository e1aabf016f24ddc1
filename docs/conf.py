"""Sphinx settings."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import pipelite

project = "pipelite"
author = copyright = "The pipelite authors"
version = release = pipelite.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_typehints = "description"
napoleon_google_docstring = False
nitpicky = False
exclude_patterns = ["_build"]

html_theme = "alabaster"
html_theme_options = {"description": "Pipelines on one box", "fixed_sidebar": True}
