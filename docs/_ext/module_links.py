"""Dotted names of this code become links into the API, which the build checks.

In pages, each literal that is such a name; in docstrings and pages, also names under which a
package re-exports what a module of it defines.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parents[2]


def setup(app: Any) -> dict[str, bool]:
    """Add the transform and the look-up."""
    app.add_config_value("packages", (), "env")
    app.add_transform(ModuleLinks)
    app.connect("missing-reference", re_exported)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class ModuleLinks(SphinxTransform):
    """Makes a reference of each literal that is a dotted name of a package."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Rewrite one page, but for the API with its own references, and names of the past."""
        if self.env.docname.startswith("api/") or self.env.docname == "changelog":
            return
        named = re.compile(rf"(?:{'|'.join(self.config.packages)})(?:\.\w+)*")
        for node in list(self.document.findall(nodes.literal)):
            name = node.astext()
            if named.fullmatch(name) and not isinstance(node.parent, nodes.reference):
                link = pending_xref(
                    "", refdomain="py", reftype="obj", reftarget=name, refdoc=self.env.docname
                )
                link["py:module"] = link["py:class"] = None
                node.replace_self(link)
                link += node


def _value(name: str) -> Any:
    """Return what a module has under the last part of a dotted name, or None."""
    module, _, last = name.rpartition(".")
    try:
        return getattr(import_module(module), last)
    except (ImportError, AttributeError):
        return None


def re_exported(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Return a link to where a re-exported name is defined, or to its module; None: no such."""
    name = node["reftarget"]
    module, _, last = name.rpartition(".")
    if node.get("refdomain") != "py" or module.split(".")[0] not in app.config.packages:
        return None
    value = _value(name)
    if value is None:
        return None
    home = getattr(value, "__module__", module)
    domain, page = env.get_domain("py"), (env, node["refdoc"], app.builder)
    for target in (f"{home}.{last}", module):
        if found := domain.resolve_xref(*page, "obj", target, node, content):
            return found
    return None
