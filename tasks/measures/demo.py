"""The steps of ``neuro demo`` after training."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tasks.measures.energy import estimate_energy
from tasks.measures.export import export_run
from tasks.measures.simulate import simulate_run
from tasks.measures.train import evaluate_run
from tasks.measures.verify import verify_run
from tasks.report.report import write_report
from tasks.runs.task import TaskRun


class Step(NamedTuple):
    """A verb of the demo. done: the line printed afterwards. apply: run -> result."""

    name: str
    done: str
    apply: Callable[[TaskRun], Any]


STEPS = (
    Step("eval", "evaluated on held-out digits", evaluate_run),
    Step("simulate", "replayed on the event engine", simulate_run),
    Step("export", "lowered to Loihi integers", export_run),
    Step("verify", "compared torch, events, integers and Lava", verify_run),
    Step("energy", "estimated energy", estimate_energy),
    Step("report", "drew the report", write_report),
)
