"""The documentation site: `make docs`, strict (each warning is an error), offline."""

import sys
from importlib.util import find_spec
from pathlib import Path

import torch.utils.flop_counter  # noqa: F401 - before triton, which it looks at, is a mock

ROOT = Path(__file__).parents[1]
PACKAGES = ("neuro", "drivers", "tasks", "lava_export")
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

project = "neuro"
author = "The neuro authors"
project_copyright = author

extensions = [
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "docstrings",  # these four stand in _ext
    "generated",
    "module_links",
    "pictures",
]
packages = PACKAGES
exclude_patterns = ["_ext", "api/*/modules.rst", "generated/*.inc.md"]
nitpicky = True  # a reference to what is not there is an error
nitpick_ignore_regex = [
    ("py:.*", rf"(?!(?:{'|'.join(PACKAGES)})(?:\.|$)).*"),  # of other libraries
    ("py:class", ".*"),  # types in annotations, which may be aliases
]
suppress_warnings = ["ref.python"]  # a short name in an annotation may mean several classes

# The API: one page a package with its modules, found anew at every build.
apidoc_modules = [
    {
        "path": f"../{name}",
        "destination": f"api/{name}",
        "separate_modules": False,
        "module_first": True,
        "max_depth": 1,
        "automodule_options": {"members"},
    }
    for name in PACKAGES
]
autodoc_default_options = {
    "members": True,
    "ignore-module-all": True,
    "member-order": "bysource",
}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Pages need no simulator, no GPU compiler, and nothing that only Lava's child finds.
autodoc_mock_imports = ["fixed_point", "lava", "triton", "nest"]
python_maximum_signature_line_length = 90
napoleon_use_rtype = False

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
myst_dmath_allow_space = False  # a $ of the shell is none of mathematics
nb_execution_mode = "force"  # the pages show what the notebooks print and draw
nb_execution_timeout = 600
nb_execution_raise_on_error = True

html_theme = "furo"
html_title = "neuro"
MATHJAX = find_spec("sphinx-mathjax-offline").submodule_search_locations[0]  # no network
html_static_path = ["_static", f"{MATHJAX}/static"]
mathjax_path = "mathjax/tex-chtml.js"
html_css_files = ["style.css"]
html_show_sourcelink = False
