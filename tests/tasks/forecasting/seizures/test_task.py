"""A predictor of seizures under the verbs."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine

from tasks.cli import main
from tasks.forecasting.seizures import EVENT_METRICS

SMALL = ("epochs=1", "teacher_epochs=1", "hidden=8", "compared=20")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "seizures"
    settings = [word for setting in SMALL for word in ("--set", setting)]
    main(["train", "forecasting:tiny_seizures", "--out", str(folder), *settings])
    return folder


@pytest.mark.slow
def test_verbs_take_a_predictor_of_seizures(run: Path, cli: CommandLine) -> None:
    for verb in ("eval", "verify", "energy"):
        cli.run(verb, run)
    verify = json.loads((run / "verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    assert (verify["n"], verify["ticks"]) == (20, 8 + 2)
    found = json.loads((run / "eval.json").read_text())
    assert {m.name for m in EVENT_METRICS} <= set(found)
    events = found["events"]
    assert found["sensitivity"] == events["predicted"] / events["events"]
    assert found["improvement"] == pytest.approx(found["sensitivity"] - found["warning"])
    rate, p = found["warning"], events["p"]
    assert found["beside"] == {
        f"random alarms as long, as good with probability {p:.2g}": {
            **{"sensitivity": rate, "warning": rate, "improvement": 0.0}
        }
    }
    error = (rate * (1 - rate) / events["events"]) ** 0.5
    assert found["errors"] == {
        next(iter(found["beside"])): {"sensitivity": error, "improvement": error}
    }
    rows = [["seizures predicted", f"{events['predicted']} of {events['events']}"]]
    rows += [["false alarms", f"{events['false']} of {events['alarms']}"]]
    assert found["tables"][0]["rows"] == rows
    assert (run / "alarms.png").read_bytes().startswith(b"\x89PNG")
    assert np.isfinite(found["auc"])


def test_sizes_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, cli: CommandLine
) -> None:
    told = cli.refuse(
        *("train", "forecasting:tiny_seizures", "--out", tmp_path / "a"),
        *("--set", "sop=10", "--set", "hop=500", "--set", "horizon=2"),
    )
    assert "has no window in steps of 500" in told
    assert "horizon is 2" in told
