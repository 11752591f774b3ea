"""Plain docstrings for a reader of reStructuredText.

The docstrings of this code are plain text: an indented block after an empty line is an equation
or code, an indented line behind another line continues it, and a star is a star. Sphinx would
read block quotes, definitions and emphasis.
"""

import inspect
import re
from typing import Any

SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes):$")
VERBATIM = re.compile(r"(``.+?``|:[\w:]+:`[^`]*`|`[^`]*`)")
SPECIAL = re.compile(r"[*|\\]|(?<=\w)_(?=\W|$)")


def setup(app: Any) -> dict[str, bool]:
    """Rewrite every docstring before napoleon reads its sections."""
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def rewrite(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite the lines of one docstring in place; list what a package re-exports."""
    out: list[str] = []
    section = block = doctest = False
    item = 0  # how far the items of a section are indented
    for line in lines:
        text, deep = line.strip(), len(line) - len(line.lstrip())
        before = out[-1].strip() if out else ""
        if not text:
            out.append("")
            doctest = False
            continue
        doctest = doctest or text.startswith(">>>")
        if not deep:
            section, block, item = bool(SECTION.match(text)), False, 0
        elif section:
            item = item or deep
        if doctest or (block and deep):
            out.append(line)
        elif deep and not section and not before:
            out += ["::", "", line]
            block = True
        elif deep > item and before:
            out[-1] += f" {escape(text)}"
        else:
            out.append(escape(line))
    if len(lines) == 1 and lines[0].startswith("Alias for field number"):  # of a NamedTuple
        out = []
    if what == "module" and (exported := _exported(name, obj)):
        out += ["", f"Public names: {exported}.", ""]
    lines[:] = out


def escape(text: str) -> str:
    """Return text whose special characters stand for themselves, outside of code."""
    parts = VERBATIM.split(text)
    parts[::2] = [SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def _exported(module: str, obj: Any) -> str:
    """Return links to what a package re-exports from its modules."""
    found = []
    for name in getattr(obj, "__all__", ()):
        value = getattr(obj, name)
        home = getattr(value, "__module__", module)
        inside = home.startswith(f"{module.split('.')[0]}.") and home != module
        inside &= inspect.isclass(value) or inspect.isfunction(value)
        found.append(f":py:obj:`{name} <{home}.{value.__name__}>`" if inside else f"``{name}``")
    return ", ".join(found)
