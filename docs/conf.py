"""The documentation site: `make docs` builds it without network, and every warning is an error."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import made_pages  # noqa: E402

import interp  # noqa: E402

project = "interp"
version = release = interp.__version__
project_copyright = "the authors of interp"
extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "made_pages", "offline_math",
]  # fmt: skip
exclude_patterns = ["_build", "errors/messages"]

html_theme = "furo"
html_title = "interp"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_math_renderer = "mathml"

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 3
myst_substitutions = made_pages.numbers()
myst_update_mathjax = False
nb_execution_mode = "off"  # notebooks/build.py runs them; the site shows what was kept

autodoc_typehints = "none"  # in the signature they hide what the docstring says: shapes, units
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"  # docstrings have single backticks
