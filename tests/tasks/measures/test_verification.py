"""Verifications of the networks of a task are joined by the names of their layers."""

from dataclasses import replace

from lava_export.parity import Parity
from tasks.measures.verify import Verification, join_verifications

LAYER = {"spikes": 5, "mismatches": 3, "margins": []}
SECOND = Verification(
    layers={"lif": LAYER},
    flips={"lif": {"flips": 0}},
    unexplained=[{"name": "lif", "tick": 1}],
    parity=Parity(samples=2, layers={"lif": {"mismatches": 0}}),
    quantisation={"lif": 0.1},
    errors={"accuracy": 0.0125},
    metrics={},
    n=2,
    drawn="the first",
    ticks=4,
    misfits=["no room"],
    measured_on={"graph": "b"},
)
FIRST = replace(
    SECOND,
    layers={"lif": {**LAYER, "mismatches": 0}},
    unexplained=[],
    metrics={"iou": {"torch": 1.0}},
    n=8,
    drawn="spread at random over 9",
    misfits=[],
    measured_on={"graph": "a"},
)


def test_differences_of_all_networks_are_told() -> None:
    assert join_verifications({"": FIRST}).as_json() == FIRST.as_json()
    assert "misfits" not in FIRST.as_json()
    found = join_verifications({"": FIRST, "encoder": SECOND}).as_json()
    assert found["torch_events"] == {
        "layers": {"lif": {**LAYER, "mismatches": 0}, "encoder: lif": LAYER},
        "mismatches": 3,
        "float32_flips": {"lif": {"flips": 0}, "encoder: lif": {"flips": 0}},
        "unexplained": [{"name": "encoder: lif", "tick": 1}],
    }
    assert found["quantisation"] == {"lif": 0.1, "encoder: lif": 0.1}
    assert (found["n"], found["metrics"]) == (8, {"iou": {"torch": 1.0}})
    assert found["drawn"] == "spread at random over 9"
    assert found["misfits"] == ["encoder: no room"]
    assert found["reference_lava"]["samples"] == 4
    assert list(found["reference_lava"]["layers"]) == ["lif", "encoder: lif"]
    assert found["measured_on"] == {"graph": "a"}
