"""What the verbs write into a run folder, and how it is read back: checked, or refused by name.

A results file holds at least these keys; what a task or a later version adds is left alone. Its
checksum is that of all the others: figures that were changed by hand are refused.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from neuro.io.pytree import digest
from neuro.io.schema import SchemaError, convert
from neuro.io.store import StoreError, parse_json, read_json, read_text
from tasks.runs.task import Metric

KEY = "measured_on"  # in results files: digests of what they were measured on
CHECKSUM = "checksum"  # in results files of runs
Number = int | float
Cell = str | int | float | bool


class Interval(TypedDict):
    """A range of joules or seconds."""

    low: float
    nominal: float
    high: float


class _Metric(TypedDict):
    better: Literal["higher", "lower"]
    unit: str
    format: str


class _Table(TypedDict):
    title: str
    head: list[str]
    rows: list[list[Cell]]
    caption: str


class _Picture(TypedDict):
    file: str
    title: str
    caption: str


class Measured(TypedDict):
    """The figures of ``eval.json``, beside the values of its metrics."""

    n: int
    metrics: NotRequired[dict[str, _Metric]]
    notes: NotRequired[dict[str, str]]
    seed_changes: NotRequired[str]


class Evaluated(Measured):
    """``eval.json``, beside the values of its metrics and the facts of a task."""

    split: str
    tables: NotRequired[list[_Table]]
    pictures: NotRequired[list[_Picture]]


class _Counted(TypedDict):
    spikes: float
    synaptic_events: float
    updates: float
    macs: NotRequired[float]


class _Rate(TypedDict):
    rate: float
    neurons: int


class Simulated(TypedDict):
    """``simulate.json``, beside the values of its metrics.

    record: digest of the file ``records/events.safetensors`` that was written with it.
    """

    n: int
    clock: str
    per_sample: dict[str, _Counted]
    milliseconds_per_sample: float
    input_shapes: dict[str, list[int]]
    record: str
    captions: NotRequired[list[str]]
    others: NotRequired[dict[str, _Rate]]


class _Layer(TypedDict):
    spikes: int
    mismatches: int
    margins: list[float]
    rounding: NotRequired[float]


class _Flips(TypedDict):
    flips: int
    largest_margin: float
    executors: int
    near: int | None


class _Compared(TypedDict):
    layers: dict[str, _Layer]
    mismatches: int
    float32_flips: dict[str, _Flips]
    unexplained: list[Any]


class _Skipped(TypedDict):
    samples: int
    skipped: str


class _First(TypedDict):
    tick: int
    sample: int
    neuron: int
    cause: str


class _LavaLayer(TypedDict):
    mismatches: int
    first: NotRequired[_First | None]


class _Ran(TypedDict):
    samples: int
    mismatches: int
    layers: dict[str, _LavaLayer]


class _Executors(TypedDict):
    torch: float
    events: float
    integers: NotRequired[float]


class Agreed(TypedDict):
    """The figures of ``verify.json``."""

    metrics: dict[str, _Executors]


class Verified(Agreed):
    """``verify.json``."""

    torch_events: _Compared
    reference_lava: _Skipped | _Ran
    quantisation: dict[str, float]
    n: int
    ticks: NotRequired[int]
    misfits: NotRequired[list[str]]


class _Scaled(TypedDict):
    layer: str
    kind: str
    scale: float
    weight_min: int
    weight_max: int
    weight_error_max: float
    threshold_error: float | None
    decay_error: float
    lag: int
    head_room: float | None


class Exported(TypedDict):
    """``export.json``."""

    scaling: list[_Scaled]


class _LayerEnergy(Interval):
    parts: dict[str, float]
    synaptic_events: NotRequired[float]


class _Placed(TypedDict):
    neurons: int
    cores: int
    neurons_per_core: int
    use: dict[str, float]
    binds: str


class _Mapped(TypedDict):
    cores: int
    chips: int
    layers: dict[str, _Placed]
    problems: list[str]


class _Latency(TypedDict):
    inference: Interval
    tick: Interval
    bottleneck: str


class _Tiers(TypedDict):
    core: Interval
    chip: Interval
    misfits: NotRequired[list[str]]


class _System(TypedDict):
    low: float
    nominal: float | None
    high: float
    reason: NotRequired[str]


class _ChipEnergy(_Tiers):
    title: str
    system: NotRequired[_System]
    static_share: float
    layers: dict[str, _LayerEnergy]
    mapping: _Mapped
    latency: _Latency


class _Published(TypedDict):
    low: float
    high: float
    unit: str
    statement: str
    source: str


class _Convention(TypedDict):
    snn: float
    ann: float
    ann_passes: NotRequired[int]
    host: NotRequired[float]
    spikes_per_synapse: float
    break_even_spikes_per_synapse: float
    break_even_rate: float
    published: NotRequired[list[_Published]]


class _Hosted(TypedDict):
    node: str
    macs: int


class _Silent(TypedDict):
    nodes: list[str]


class _Sequence(TypedDict):
    step: str
    steps: int


class _OwnTable(TypedDict):
    title: str
    head: list[str]
    rows: list[list[Any]]
    caption: str


class Priced(TypedDict):
    """``energy.json``, beside what each chip costs, by its name."""

    sequence: NotRequired[_Sequence]
    silent: NotRequired[_Silent]
    conventional45nm: _Convention
    host: NotRequired[list[_Hosted]]
    tables: NotRequired[list[_OwnTable]]


KINDS: Mapping[str, Any] = {
    "eval": Evaluated,
    "simulate": Simulated,
    "verify": Verified,
    "export": Exported,
    "energy": Priced,
}
FIGURES: Mapping[str, Any] = {"eval": Measured, "verify": Agreed, "energy": dict[str, Any]}


def read_result(
    folder: Path, verb: str, metrics: Sequence[Metric] = (), kinds: Mapping[str, Any] = KINDS
) -> dict[str, Any] | None:
    """Return what a verb wrote; None if it has not run yet.

    metrics: those whose values the result may hold beside its other keys. kinds: what each verb
    wrote, as far as it is asked for.

    Raises:
        StoreError: the file is damaged or of another shape; lists all that is wrong.
    """
    path = folder / f"{verb}.json"
    if not path.exists():
        return None
    with _naming(path, verb):
        held = read_json(path)
        checksum = held.pop(CHECKSUM, None) if isinstance(held, dict) else None
        found = check_result(held, verb, metrics, kinds)
        if checksum not in (None, compute_checksum(held)):
            raise SchemaError("its checksum is another: it was changed after it was written")
        return found


def compute_checksum(result: Mapping[str, Any]) -> str:
    """Return the digest of a result as a file holds it, in whatever order of its keys."""
    held = json.loads(json.dumps(result))
    return digest(json.dumps(held, sort_keys=True))


def check_result(
    value: Any, verb: str, metrics: Sequence[Metric] = (), kinds: Mapping[str, Any] = KINDS
) -> dict[str, Any]:
    """Return the result of a verb, checked as :func:`read_result` does.

    Raises:
        SchemaError: it is of another shape; lists all that is wrong.
    """
    found: dict[str, Any] = convert(value, kinds[verb])
    convert(found.get(KEY, {}), dict[str, str], KEY)
    for name in (m.name for m in metrics if m.name in found):
        convert(found[name], Number, name)
    if verb == "eval":
        _check_evaluated(found)
    if verb == "simulate" and len({"macs" in n for n in found["per_sample"].values()}) > 1:
        raise SchemaError("per_sample: macs are missing of some nodes")
    if verb == "verify" and not found.get("misfits"):
        for name, values in found["metrics"].items():
            if "integers" not in values:
                raise SchemaError(
                    f"metrics.{name}.integers: is missing, and no misfit says why"
                )
    if verb == "energy":
        _check_priced(found, _ChipEnergy if kinds is KINDS else _Tiers)
    return found


def read_history(folder: Path) -> list[dict[str, Number]]:
    """Return the rows of ``metrics.jsonl``; none if nothing was validated yet.

    Raises:
        StoreError: a line is no row of numbers, or has other columns than the first.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    rows: list[dict[str, Number]] = []
    with _naming(path, "train"):
        for i, line in enumerate(read_text(path).splitlines(), 1):
            value = parse_json(path, line, i)
            row: dict[str, Number] = convert(value, dict[str, Number], f"line {i}")
            rows.append(row)
            if list(row) != list(rows[0]) or not _is_row(row):
                raise SchemaError(f"line {i}: has the columns {', '.join(row)}")
    return rows


def _is_row(row: Mapping[str, Number]) -> bool:
    """Say whether a row of a history has what every training writes, and EventProp whole."""
    return {"epoch", "train_loss"} <= row.keys() and ("spikes" in row) == ("raised" in row)


def read_environment(folder: Path) -> dict[str, Any]:
    """Return versions and machine of a run; nothing if they were not written down.

    Raises:
        StoreError: the file is damaged.
    """
    path = folder / "environment.json"
    if not path.exists():
        return {}
    with _naming(path, "train in another folder"):
        found: dict[str, Any] = convert(read_json(path), _Environment)
    return found


def check_facts(folder: Path, found: Mapping[str, Any], hint: Any) -> Any:
    """Return the facts that a task adds to ``eval.json``, checked against a TypedDict.

    Raises:
        StoreError: they are of another shape.
    """
    with _naming(folder / "eval.json", "eval"):
        return convert(dict(found), hint)


class _Environment(TypedDict):
    packages: NotRequired[dict[str, str]]


@contextmanager
def _naming(path: Path, verb: str) -> Iterator[None]:
    """Name the file, and the verb that writes it again, in what is wrong in it."""
    cure = f"neuro {verb} writes it again"
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{error}; {cure}") from error
    except SchemaError as error:
        raise StoreError(
            f"{path}: is not as this version writes it: {error}; {cure}"
        ) from error


def _check_evaluated(found: Mapping[str, Any]) -> None:
    if {"accuracy", "correct", "confusion"} <= found.keys():  # of a classifier
        accuracy, correct = (convert(found[k], Number, k) for k in ("accuracy", "correct"))
        if round(accuracy * found["n"]) != correct:
            raise SchemaError(
                f"accuracy is {accuracy}, and {correct} of {found['n']} samples are right"
            )
    for name, about in found.get("metrics", {}).items():
        convert(found.get(name), Number, name)
        try:
            format(0.5, about["format"])
        except ValueError as error:
            raise SchemaError(f"metrics.{name}.format: {error}") from error
    for i, table in enumerate(found.get("tables", ())):
        if any(len(row) != len(table["head"]) for row in table["rows"]):
            raise SchemaError(f"tables[{i}]: its rows and its head differ in length")


def _check_priced(found: Mapping[str, Any], kind: Any) -> None:
    chips = {}
    for name, part in found.items():
        if name not in ("host", "tables") and "layers" in convert(part, dict[str, Any], name):
            chips[name] = convert(part, kind, name)
    if not chips:
        raise SchemaError("no chip is in it")
    if kind is _ChipEnergy:
        if "sequence" in found and (steps := found["sequence"]["steps"]) < 1:
            raise SchemaError(f"sequence.steps: is {steps}, expected >= 1")
        for name, chip in chips.items():
            _check_chip(name, chip, list(next(iter(chips.values()))["layers"]))


def _check_chip(name: str, chip: Mapping[str, Any], layers: Sequence[str]) -> None:
    """Raise unless a chip has these layers, all of the same parts, and limits that bind."""
    if list(chip["layers"]) != layers or not layers:
        raise SchemaError(f"{name}.layers: are {', '.join(chip['layers']) or 'none'}")
    parts = list(chip["layers"][layers[0]]["parts"])
    for layer, energy in chip["layers"].items():
        if list(energy["parts"]) != parts:
            raise SchemaError(f"{name}.layers.{layer}.parts: differ from the first layer's")
    for layer, place in chip["mapping"]["layers"].items():
        if place["binds"] and place["binds"] not in place["use"]:
            raise SchemaError(f"{name}.mapping.layers.{layer}.binds: has no use")
