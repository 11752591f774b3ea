"""How a run drove in closed loop, and the head of its report.

``neuro bench driving --only closed`` writes ``closed_loop.json`` into the folders of its runs.
"""

import shlex
from collections.abc import Mapping
from typing import Any, TypedDict

from neuro.io.run_folder import Run
from neuro.io.schema import SchemaError, convert
from neuro.io.store import StoreError, read_json
from tasks.report import html as page
from tasks.report.summary import OURS
from tasks.runs.provenance import describe_trained
from tasks.runs.task import Html

FILE = "closed_loop.json"
VELOCITY = "constant velocity"
COMPLETED, RATE = "routes completed", "collisions at fault per km"
SHARES = (COMPLETED, "collisions at fault", "off road", "out of time", "route driven")


class ClosedLoop(TypedDict):
    """``closed_loop.json``. courses: number and limits. drives: mean figures by planner."""

    courses: str
    drives: dict[str, dict[str, float]]
    measured_on: dict[str, str]


def show_driving(run: Run, evaluation: Mapping[str, Any]) -> list[Html]:
    """Return how the run drives beside other planners; nothing if it plans no path.

    Raises:
        StoreError: ``closed_loop.json`` is damaged.
    """
    if not run.config.plans:
        return []
    path, open_loop = run.folder / FILE, _tell_open_loop(evaluation)
    command = f"neuro bench driving --runs {shlex.quote(str(run.folder))} --only closed"
    if not path.exists():
        told = page.paragraph(f"Only open loop is measured. {open_loop}", "verdict")
        return [told, page.warning("Closed loop, beside other planners", command)]
    try:
        found = convert(read_json(path), ClosedLoop)
        drives = found["drives"]
        ours, straight = (drives[who] for who in (OURS, VELOCITY))
        rows = [
            [who, f"{own[RATE]:.1f}", *(f"{own[name]:.0%}" for name in SHARES)]
            for who, own in drives.items()
        ]
    except (KeyError, SchemaError) as error:
        raise StoreError(f"{path}: is not as this version writes it; {command}") from error
    if found["measured_on"] != describe_trained(run.folder):
        old = page.warning(f"{FILE} is of other weights or settings", command)
        return [old, page.paragraph(open_loop, "verdict")]
    told = page.paragraph(
        f"In closed loop it completes {ours[COMPLETED]:.0%} of the routes (at {VELOCITY} "
        f"{straight[COMPLETED]:.0%}), with {ours[RATE]:.1f} collisions at fault per km "
        f"({straight[RATE]:.1f}).",
        "verdict",
    )
    table = page.table(["planner", RATE, *SHARES], rows)
    caption = page.paragraph(f"{found['courses']}, in generated worlds.", "caption")
    return [told, table, caption, page.paragraph(open_loop)]


def _tell_open_loop(evaluation: Mapping[str, Any]) -> str:
    """Describe the collisions and the distance of plans beside those at constant velocity."""
    straight = evaluation["beside"][VELOCITY]
    seconds = max(int(name[-2]) for name in straight)
    hit, far = f"collision_mean_{seconds}s", f"l2_mean_{seconds}s"
    apart = f"{100 * (evaluation[hit] - straight[hit]):+.2f}"
    if error := evaluation.get("errors", {}).get(VELOCITY, {}).get(hit):
        apart += f" ± {200 * error:.2f}"
    return (
        f"In open loop, on recorded drives, {evaluation[hit]:.2%} of the positions planned up "
        f"to {seconds} s ahead touch a road user (at {VELOCITY} {straight[hit]:.2%}; "
        f"difference {apart} points). They lie "
        f"{evaluation[far]:.2f} m from the recorded path ({straight[far]:.2f} m); "
        "this distance says little about driving: planners that see nothing can be nearest."
    )
