"""The steps of ``neuro demo`` after training."""

from collections.abc import Callable
from typing import Any

from neuro.io.run_folder import Run
from tasks.report.report import write_report
from tasks.verbs.export import export
from tasks.verbs.simulate import energy, simulate_run
from tasks.verbs.train import evaluate
from tasks.verbs.verify import verify

Step = tuple[str, str, Callable[[Run], Any]]


def steps() -> tuple[Step, ...]:
    """Return (name, title, what to do) in order; each leaves its file in the run folder."""
    return (
        ("eval", "evaluated on held-out digits", evaluate),
        ("simulate", "replayed on the event engine", simulate_run),
        ("export", "lowered to Loihi integers", export),
        ("verify", "compared torch, events, integers and Lava", verify),
        ("energy", "estimated energy", energy),
        ("report", "drew the report", write_report),
    )
