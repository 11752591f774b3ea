"""Results files are checked where they are read: one of another shape is refused by name."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from energy_results import CONVENTION, chip, span

from neuro.io.run_folder import begin_run
from neuro.io.store import StoreError
from tasks.runs.find import make_run
from tasks.runs.provenance import describe_trained, write_result
from tasks.runs.results import (
    FIGURES,
    KINDS,
    check_facts,
    compute_checksum,
    read_environment,
    read_history,
    read_result,
)
from tasks.runs.task import Metric

CHIP = chip("Loihi", 2.0, "a", axons=0.5)
LAYER = CHIP["layers"]["a"]
COUNTS = {"spikes": 1.5, "synaptic_events": 2, "updates": 3}
WHOLE: dict[str, Any] = {
    "eval": {
        "n": 3,
        "split": "test",
        "accuracy": 0.5,
        "metrics": {"accuracy": {"better": "higher", "unit": "", "format": ".2%"}},
        "tables": [{"title": "a", "head": ["x", "y"], "rows": [["a", 1]], "caption": ""}],
        "fact": {"of": "a task"},
    },
    "simulate": {
        "n": 3,
        "clock": "grid",
        "per_sample": {"a": COUNTS},
        "milliseconds_per_sample": 1.0,
        "input_shapes": {"x": [1, 2]},
        "record": "ab",
        "accuracy": 0.5,
    },
    "verify": {
        "torch_events": {
            "layers": {"a": {"spikes": 1, "mismatches": 0, "margins": []}},
            "mismatches": 0,
            "unexplained": [],
            "float32_flips": {
                "a": {"flips": 0, "largest_margin": 0.0, "executors": 0, "near": None}
            },
        },
        "reference_lava": {"samples": 0, "skipped": "no lava here"},
        "quantisation": {"a": 0.5},
        "metrics": {"accuracy": {"torch": 0.5, "events": 0.5, "integers": 0.5}},
        "n": 3,
    },
    "export": {"scaling": []},
    "energy": {"loihi": CHIP, "other": copy.deepcopy(CHIP), "conventional45nm": CONVENTION},
}
ACCURACY = Metric(name="accuracy")


def write(folder: Path, verb: str, value: Any) -> Path:
    (folder / f"{verb}.json").write_text(json.dumps(value))
    return folder


def replace_part(whole: dict[str, Any], where: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = holder = copy.deepcopy(whole)
    for step in where[:-1]:
        holder = holder[step]
    holder[where[-1]] = value
    return changed


@pytest.mark.parametrize("verb", WHOLE)
def test_what_a_verb_writes_is_read(tmp_path: Path, verb: str) -> None:
    assert read_result(tmp_path, verb) is None
    assert read_result(write(tmp_path, verb, WHOLE[verb]), verb, (ACCURACY,)) == WHOLE[verb]


CHANGES: list[tuple[str, tuple[Any, ...], Any, str]] = [
    ("eval", (), [], r"the file: is \[\], expected an object"),
    ("eval", ("n",), "3", "n: is '3', expected a whole number"),
    ("eval", ("accuracy",), "x", "accuracy: is 'x', expected int or float"),
    ("eval", ("accuracy",), None, "accuracy: is None"),
    ("eval", ("metrics", "accuracy", "better"), "up", "better: is 'up', expected one of"),
    ("eval", ("metrics", "accuracy", "format"), ".2x", "metrics.accuracy.format: "),
    ("eval", ("metrics", "error"), {"better": "lower", "unit": "", "format": ""}, "error: is"),
    ("eval", ("tables", 0, "rows", 0), ["a"], r"tables\[0\]: its rows and its head differ"),
    ("eval", ("tables", 0, "rows", 0, 1), None, r"tables\[0\].rows\[0\]\[1\]: is None"),
    ("simulate", ("per_sample", "a"), [], r"per_sample.a: is \[\], expected an object"),
    ("simulate", ("per_sample", "b"), {**COUNTS, "macs": 4},
     "per_sample: macs are missing of some nodes"),
    ("simulate", ("input_shapes", "x"), 3, "input_shapes.x: is 3, expected a list"),
    ("simulate", ("accuracy",), [0.5], r"accuracy: is \[0.5\]"),
    ("verify", ("torch_events", "layers", "a", "margins"), {}, "margins: is {}, expected a"),
    ("verify", ("reference_lava",), {"samples": 0}, "reference_lava: is .*of samples, skipped"),
    ("verify", ("metrics", "accuracy"), {"torch": 0.5}, "accuracy.events: is missing"),
    ("verify", ("metrics", "accuracy"), {"torch": 0.5, "events": 0.5},
     "metrics.accuracy.integers: is missing, and no misfit says why"),
    ("simulate", ("record",), None, "record: is None, expected text"),
    ("eval", ("measured_on",), {"data": ["a"]}, r"measured_on.data: is \['a'\], expected text"),
    ("energy", ("measured_on",), "a", "measured_on: is 'a', expected an object"),
    ("export", ("measured_on",), {"data": "a"}, ""),
    ("export", ("scaling",), [{}], r"scaling\[0\].layer: is missing; scaling\[0\].kind: is"),
    ("energy", ("loihi",), 5, "loihi: is 5, expected an object"),
    ("energy", ("loihi", "core", "low"), "1", "loihi.core.low: is '1', expected a number"),
    ("energy", ("loihi", "layers"), {}, "layers: are none"),
    ("energy", ("other", "layers"), {"b": LAYER}, "other.layers: are b"),
    ("energy", ("other", "layers", "b"), {**LAYER, "parts": {}},
     "other.layers.b.parts: differ from the first"),
    ("energy", ("loihi", "layers", "b"), {**LAYER, "parts": {"synapse": 0.5, "hop": 0.5}},
     "loihi.layers.b.parts: differ from the first"),
    ("energy", (), {"conventional45nm": CONVENTION}, "no chip is in it"),
    ("energy", ("other", "layers", "a", "parts"), {}, ""),
    ("energy", ("other", "mapping", "layers", "a", "binds"), "cores", "a.binds: has no use"),
    ("energy", ("other", "mapping", "layers", "a", "binds"), "", ""),
    ("energy", ("other", "misfits"), "too large", "other.misfits: is 'too large', expected a"),
    ("energy", ("conventional45nm",), {}, "conventional45nm.snn: is missing"),
    ("energy", ("sequence",), {"step": "token", "steps": 3}, ""),
    ("energy", ("sequence",), {"step": "token", "steps": 0}, "sequence.steps: is 0, expected"),
    ("energy", ("sequence",), {"steps": 3}, "sequence.step: is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "where", "value", "told"), CHANGES)
def test_another_shape_is_refused_with_its_place(
    tmp_path: Path, verb: str, where: tuple[Any, ...], value: Any, told: str
) -> None:
    changed = replace_part(WHOLE[verb], where, value) if where else value
    write(tmp_path, verb, changed)
    if not told:
        assert read_result(tmp_path, verb) == changed
        return
    with pytest.raises(StoreError, match=rf"{verb}.json: .*{told}.*neuro {verb} writes it"):
        read_result(tmp_path, verb, (ACCURACY,))


def test_integers_may_be_missing_where_a_misfit_says_why(tmp_path: Path) -> None:
    found = copy.deepcopy(WHOLE["verify"])
    del found["metrics"]["accuracy"]["integers"]
    found["misfits"] = ["too wide"]
    assert read_result(write(tmp_path, "verify", found), "verify") == found


@pytest.mark.parametrize("kinds", [KINDS, FIGURES])
@pytest.mark.parametrize(
    "place", ["eval accuracy", "verify metrics accuracy integers", "energy loihi core low"]
)
def test_a_figure_that_was_changed_by_hand_is_refused(
    place: str, kinds: Any, tmp_path: Path
) -> None:
    verb, *where = place.split()
    whole = WHOLE[verb]
    sealed = {**whole, "checksum": compute_checksum(whole)}
    turned = dict(reversed(sealed.items()))
    assert read_result(write(tmp_path, verb, turned), verb, kinds=kinds) == whole
    write(tmp_path, verb, replace_part(sealed, tuple(where), 0.75))
    told = rf"{verb}.json: .* checksum is another: .*; neuro {verb} writes it again"
    with pytest.raises(StoreError, match=told):
        read_result(tmp_path, verb, kinds=kinds)


def test_what_a_verb_writes_has_a_checksum(tmp_path: Path) -> None:
    run = make_run("yinyang:tiny", tmp_path)
    begin_run(run)
    now = describe_trained(tmp_path)
    write_result(run, "eval", {**WHOLE["eval"], "fact": {1: (2, 3)}}, now)  # as JSON holds it
    whole = {**WHOLE["eval"], "fact": {"1": [2, 3]}, "measured_on": now}
    assert read_result(tmp_path, "eval") == whole
    path = tmp_path / "eval.json"
    path.write_text(path.read_text().replace('"accuracy": 0.5', '"accuracy": 0.75'))
    with pytest.raises(StoreError, match=r"eval.json: .* its checksum is another: it was"):
        read_result(tmp_path, "eval")


def test_every_part_of_a_result_changes_its_checksum() -> None:
    for whole in WHOLE.values():
        same = compute_checksum(whole)
        assert compute_checksum(json.loads(json.dumps(whole))) == same
        fewer = [{k: v for k, v in whole.items() if k != left_out} for left_out in whole]
        assert len({same, *map(compute_checksum, fewer)}) == 1 + len(whole)


@pytest.mark.parametrize("verb", WHOLE)
def test_a_file_cut_short_names_the_verb_that_writes_it_again(
    tmp_path: Path, verb: str
) -> None:
    whole = write(tmp_path, verb, WHOLE[verb]) / f"{verb}.json"
    whole.write_text(whole.read_text()[:-1])
    told = rf"{verb}.json: cannot be read as JSON .*; neuro {verb} writes it again"
    with pytest.raises(StoreError, match=told):
        read_result(tmp_path, verb)


def test_figures_are_less_than_a_report_needs(tmp_path: Path) -> None:
    tiers = {"core": span(1.0), "chip": span(2.0)}
    part = {"loihi": {**tiers, "layers": {}}, "conventional45nm": {}}
    write(tmp_path, "energy", part)
    assert read_result(tmp_path, "energy", kinds=FIGURES) == part
    with pytest.raises(StoreError):
        read_result(tmp_path, "energy")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", r"line 1: is \[\], expected an object"),
        ('{"epoch": "1"}', r"line 1.epoch: is '1', expected int or float"),
        ('{"train_loss": 1}', r"line 1: has the columns train_loss"),
        ('{"epoch": 1}', r"line 1: has the columns epoch"),
        (
            '{"epoch": 1, "train_loss": 1}\n{"epoch": 2, "train_loss": 1, "x": 1}',
            r"line 2: has the columns epoch, train_loss, x",
        ),
        ('{"epoch": 1, "train_loss": 1, "raised": 0}', r"the columns epoch, .*, raised"),
        ('{"epoch": 1', r"line 1: cannot be read as JSON \(.*: column 12\)"),
        (
            '{"epoch": 1, "train_loss": 1}\n{"epoch": 2, "train_loss": 1}\n{"ep',
            r"line 3: cannot .* \(Unterminated .*: column 2",
        ),
        ('{"epoch": NaN}', "cannot be read as JSON"),
        ('{"epoch": 1, "epoch": 2}', "line 1: .*the key 'epoch' stands there twice"),
    ],
)
def test_a_history_that_is_no_table_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert read_history(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "train_loss": 0.5}\n')
    assert read_history(tmp_path) == [{"epoch": 1, "train_loss": 0.5}]
    (tmp_path / "metrics.jsonl").write_text(text)
    cure = "neuro train writes it again"
    with pytest.raises(StoreError, match=rf"metrics.jsonl: .*{told}.*; {cure}$"):
        read_history(tmp_path)


def test_an_environment_and_facts_are_checked(tmp_path: Path) -> None:
    hint: Callable[..., Any] = dict[str, int]
    assert read_environment(tmp_path) == {}
    (tmp_path / "environment.json").write_text('{"packages": {"a": "1", "a": "2"}}')
    with pytest.raises(StoreError, match=r"environment.json: .*'a' stands there twice"):
        read_environment(tmp_path)
    (tmp_path / "environment.json").write_text('{"packages": []}')
    with pytest.raises(StoreError, match=r"environment.json: .*packages: is \[\]"):
        read_environment(tmp_path)
    with pytest.raises(StoreError, match=r"eval.json: .*a: is 'b', expected a whole number"):
        check_facts(tmp_path, {"a": "b"}, hint)


@pytest.mark.parametrize("kinds", [KINDS, FIGURES])
def test_an_accuracy_that_its_own_counts_contradict_is_refused(
    kinds: Any, tmp_path: Path
) -> None:
    counted = {"correct": 2, "confusion": [[1, 0], [1, 1]]}
    whole = {**WHOLE["eval"], **counted, "accuracy": 0.6667}  # 2 of 3, rounded
    path = tmp_path / "eval.json"
    path.write_text(json.dumps(whole))
    assert read_result(tmp_path, "eval", kinds=kinds) == whole
    path.write_text(json.dumps({**whole, "accuracy": 0.9}))
    told = "accuracy is 0.9, and 2 of 3 samples are right; neuro eval writes it again"
    with pytest.raises(StoreError, match=told):
        read_result(tmp_path, "eval", kinds=kinds)
