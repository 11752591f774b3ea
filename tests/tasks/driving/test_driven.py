"""The head of a driver's report."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from neuro.io.run_folder import Run
from neuro.io.store import StoreError
from tasks.driving import driven
from tasks.driving.driven import FILE, SHARES, show_driving
from tasks.driving.presets import maps, small

OPEN = {"l2_mean_3s": 3.25, "collision_mean_3s": 0.0125, "l2_mean_1s": 9.0}
STRAIGHT = {"l2_mean_3s": 1.5, "collision_mean_3s": 0.0625, "collision_mean_1s": 0.5}
ERRORS = {"collision_mean_3s": 0.0056}
EVALUATION = {
    **OPEN,
    "beside": {"constant velocity": STRAIGHT},
    "errors": {"constant velocity": ERRORS},
}
DISTANCES = (
    "In open loop, on recorded drives, 1.25% of the positions planned up to 3 s ahead touch a "
    "road user (at constant velocity 6.25%; difference -5.00 ± 1.12 points). They lie 3.25 m "
    "from the recorded path (1.50 m)"
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(driven, "describe_trained", lambda _: {"weights": "a"})
    return Run(folder=tmp_path, task="driving", name="small", seed=0, config=small())


def make_drive(completed: float, rate: float) -> dict[str, float]:
    shares = dict.fromkeys(SHARES, 0.25)
    return {**shares, "routes completed": completed, "collisions at fault per km": rate}


def write(run: Run, **changes: Any) -> None:
    drives = {"this run": make_drive(0.54, 1.44), "constant velocity": make_drive(0.04, 7.52)}
    about = {"courses": "24 courses of 150 m, 90 s each", "measured_on": {"weights": "a"}}
    (run.folder / FILE).write_text(json.dumps({**about, "drives": drives, **changes}))


def test_without_a_drive_it_says_so_and_names_the_command(run: Run) -> None:
    told = "".join(show_driving(run, EVALUATION))
    assert f'"verdict">Only open loop is measured. {DISTANCES}' in told
    assert f"neuro bench driving --runs {run.folder} --only closed" in told
    assert not show_driving(replace(run, config=maps()), {"beside": {}})
    unknown = "".join(show_driving(run, {**EVALUATION, "errors": {}}))
    assert "6.25%; difference -5.00 points)" in unknown


def test_a_drive_comes_first_beside_constant_velocity(run: Run) -> None:
    write(run)
    verdict, table, caption, further = show_driving(run, EVALUATION)
    assert (
        '"verdict">In closed loop it completes 54% of the routes (at constant velocity 4%), '
        "with 1.4 collisions at fault per km (7.5)." in verdict
    )
    assert table.index("this run") < table.index("constant velocity")
    assert table.count("25%") == 8
    assert "24 courses of 150 m, 90 s each, in generated worlds." in caption
    assert f"<p>{DISTANCES}" in further


def test_a_drive_of_other_weights_is_not_told(run: Run) -> None:
    write(run, measured_on={"weights": "b"})
    told = "".join(show_driving(run, EVALUATION))
    assert "closed_loop.json is of other weights or settings" in told
    assert "completes" not in told
    assert f'"verdict">{DISTANCES}' in told


@pytest.mark.parametrize("drives", [{"this run": make_drive(math.e, 1.0)}, 3, {"this run": {}}])
def test_a_damaged_file_is_refused(run: Run, drives: Any) -> None:
    write(run, drives=drives)
    with pytest.raises(StoreError, match="is not as this version writes it"):
        show_driving(run, EVALUATION)
