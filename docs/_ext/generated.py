"""Pages and tables that are made of the code, the notebooks and RESULTS.md at every build.

They are written to docs/generated/, which is no part of the repository.
"""

import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def setup(app: Any) -> dict[str, bool]:
    """Write everything before Sphinx looks for pages."""
    app.connect("config-inited", lambda *_: write(ROOT / "docs"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(docs: Path) -> None:
    """Write the pages; those of modules that are gone are removed."""
    folder = docs / "generated"
    shutil.rmtree(folder, ignore_errors=True)
    for page in docs.glob("api/*/*.rst"):
        module = ROOT.joinpath(*page.stem.split("."))
        if not (module.is_dir() or module.with_suffix(".py").exists()):
            page.unlink()
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    tables = {
        "chips": _chips(),
        "arithmetic": _arithmetic(),
        "published": _published(),
        "results_by_task": _by_task(),
    }
    for name, text in tables.items():
        (folder / f"{name}.inc.md").write_text(text)


def _chips() -> str:
    """Return the constants of every chip, from the values that estimates are made of."""
    from neuro.energy import load_chips, tabulate_constants

    return "\n".join(
        f"### {chip.title} (`{chip.name}`)\n\n{_table(tabulate_constants(chip))}"
        for chip in load_chips().values()
    )


def _arithmetic() -> str:
    """Return the two constants of the 45 nm convention."""
    from neuro.energy import horowitz45

    cost = horowitz45()
    rows = [
        {
            "operation": name,
            "energy": f"{c.value * 1e12:g} pJ",
            "process": c.process,
            "condition": c.condition,
            "source": c.source,
            "confidence": c.confidence,
        }
        for name, c in (("multiply-accumulate", cost.mac), ("accumulate", cost.ac))
    ]
    return _table(rows)


def _published() -> str:
    """Return the break-even points that reports quote."""
    from neuro.energy.conventions import PUBLISHED_BREAK_EVENS

    rows = [
        {
            "break-even": f"{p.low:g} – {p.high:g} {p.unit}",
            "statement": p.statement,
            "source": p.source,
        }
        for p in PUBLISHED_BREAK_EVENS
    ]
    return _table(rows)


def _by_task() -> str:
    """Return where RESULTS.md speaks of which task, from the commands that it names."""
    found: dict[str, list[str]] = {}
    results = (ROOT / "RESULTS.md").read_text()
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", results, re.M | re.S):
        slug = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        named = re.findall(r"(?:neuro train |`)([a-z]\w+):[a-z]|(neuro bench [a-z]+)", body)
        for task, bench in dict.fromkeys(named):
            found.setdefault(task or bench, []).append(f"[{title}](#{slug})")
    return _table([{"task": f"`{k}`", "results": "; ".join(v)} for k, v in found.items()])


def _table(rows: list[dict[str, str]]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[key] for key in head] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
