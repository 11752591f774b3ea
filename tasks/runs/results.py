"""Results files of a run: their layout, and readers that check them.

A results file holds at least these keys; a task or a later version may add more. The checksum
covers all other keys, so that figures changed by hand are refused.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from neuro.energy.latency import STATES
from neuro.io.pytree import digest
from neuro.io.schema import SchemaError, convert
from neuro.io.store import StoreError, parse_json, read_json, read_text
from tasks.runs.task import Metric

KEY = "measured_on"  # digests of the weights, data and code behind a result
CHECKSUM = "checksum"
MOST_PLACES = 10_000  # limit for chips, columns or rows of tiles, and cores per tile
MOST_SECONDS = 1e9  # limit for the time per inference
Number = int | float
Cell = str | int | float | bool


class LowToHigh(TypedDict):
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
    example: NotRequired[bool]


class _Picture(TypedDict):
    file: str
    title: str
    caption: str
    example: NotRequired[bool]
    digest: NotRequired[str]  # of the bytes that eval wrote


class EvalFigures(TypedDict):
    """The figures of ``eval.json``; the metrics are further keys."""

    n: int
    metrics: NotRequired[dict[str, _Metric]]
    notes: NotRequired[dict[str, str]]
    seed_changes: NotRequired[str]


class EvalResult(EvalFigures):
    """``eval.json``; the metrics and the facts of a task are further keys."""

    split: str | None
    tables: NotRequired[list[_Table]]
    pictures: NotRequired[list[_Picture]]
    beside: NotRequired[dict[str, dict[str, Number]]]
    errors: NotRequired[dict[str, dict[str, Number]]]


class _Counted(TypedDict):
    spikes: float
    synaptic_events: float
    updates: float
    macs: NotRequired[float]


class _Rate(TypedDict):
    rate: float
    neurons: int


class SimulateResult(TypedDict):
    """``simulate.json``; the metrics are further keys.

    record: digest of ``records/events.safetensors``, which is written together with it.
    """

    n: int
    clock: str
    per_sample: dict[str, _Counted]
    milliseconds_per_sample: float
    input_shapes: dict[str, list[int]]
    record: str
    drawn: NotRequired[str]
    captions: NotRequired[list[str]]
    others: NotRequired[dict[str, _Rate]]
    without_metric: NotRequired[list[str]]


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


class VerifyFigures(TypedDict):
    """The figures of ``verify.json``."""

    metrics: dict[str, _Executors]
    errors: NotRequired[dict[str, float]]
    without_metric: NotRequired[list[str]]


class VerifyResult(VerifyFigures):
    """``verify.json``."""

    torch_events: _Compared
    reference_lava: _Skipped | _Ran
    quantisation: dict[str, float]
    n: int
    answers: NotRequired[int]
    drawn: NotRequired[str]
    ticks: NotRequired[int]
    misfits: NotRequired[list[str]]
    excess: NotRequired[list[str]]


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


class ExportResult(TypedDict):
    """``export.json``."""

    scaling: list[_Scaled]


class ChipExportResult(ExportResult):
    """``export-CHIP.json``, for a chip with its own integer format."""

    chip: str
    layers: dict[str, dict[str, Number]]
    metrics: dict[str, dict[str, Number]]
    errors: NotRequired[dict[str, float]]
    excess: list[str]
    n: int
    drawn: NotRequired[str]
    ticks: int


class _LayerEnergy(LowToHigh):
    parts: dict[str, float]
    synaptic_events: NotRequired[float]


class _Placed(TypedDict):
    neurons: int
    cores: int
    neurons_per_core: int
    use: dict[str, float]
    binds: str


class _Loads(TypedDict):
    core: list[int]
    layer: list[str]
    chip: list[int]
    x: list[int]
    y: list[int]
    in_tile: list[int]
    memory: list[float]
    compute: list[float]
    sending: list[float]
    arriving: list[float]
    binds: list[str]


class _SummedMapping(TypedDict):
    chip: float
    core: float
    seconds: float
    hop: float
    messages: float
    crossings: float
    cores: int
    chips: int


class _SearchedMapping(TypedDict):
    goal: str
    kept: list[str]
    found: _SummedMapping
    greedy: _SummedMapping


class _Mapped(TypedDict):
    cores: int
    chips: int
    layers: dict[str, _Placed]
    problems: list[str]
    loads: NotRequired[_Loads]
    searched: NotRequired[_SearchedMapping]


class _Latency(TypedDict):
    inference: LowToHigh
    tick: LowToHigh
    bottleneck: str
    states: NotRequired[dict[str, float]]
    binds: NotRequired[str]


class _Tiers(TypedDict):
    core: LowToHigh
    chip: LowToHigh
    misfits: NotRequired[list[str]]


class _System(TypedDict):
    low: float
    nominal: float | None
    high: float
    reason: NotRequired[str]


class _Chip(_Tiers):
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
    operations: NotRequired[dict[str, float]]


class _Hosted(TypedDict):
    node: str
    macs: int
    kind: NotRequired[str]


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


class EnergyResult(TypedDict):
    """``energy.json``; the chips are further keys, by name."""

    sequence: NotRequired[_Sequence]
    silent: NotRequired[_Silent]
    conventional45nm: _Convention
    host: NotRequired[list[_Hosted]]
    tables: NotRequired[list[_OwnTable]]


KINDS: Mapping[str, Any] = {
    "eval": EvalResult,
    "simulate": SimulateResult,
    "verify": VerifyResult,
    "export": ExportResult,
    "energy": EnergyResult,
}
FIGURES: Mapping[str, Any] = {
    "eval": EvalFigures,
    "verify": VerifyFigures,
    "energy": dict[str, Any],
}


def read_result(
    folder: Path, verb: str, metrics: Sequence[Metric] = (), kinds: Mapping[str, Any] = KINDS
) -> dict[str, Any] | None:
    """Return the result of a verb; None if it has not run yet.

    metrics: metrics whose values may be further keys of the result.
    kinds: the layout of each verb's result, or of the part that the caller needs.

    Raises:
        StoreError: the file is damaged or has another layout; lists all problems.
    """
    path = folder / f"{verb}.json"
    if not path.exists():
        return None
    with _naming(path, name_verb(verb)):
        result = read_json(path)
        checksum = result.pop(CHECKSUM, None) if isinstance(result, dict) else None
        checked = check_result(result, verb, metrics, kinds)
        if checksum not in (None, compute_checksum(result)):
            raise SchemaError("its checksum is another: it was changed after it was written")
        return checked


def name_result(chip: str) -> str:
    """Return the name of the results file of an export to a chip, without its ending."""
    return f"export-{chip}"


def name_verb(result: str) -> str:
    """Return the verb and flags that write a results file, such as "export --chip xylo"."""
    if result.startswith("integers-"):
        chip = result.removeprefix("integers-")
        return f"train --integers {'' if chip == 'xylo' else 'loihi2 --largest-weight '}{chip}"
    return result.replace("-", " --chip ", 1)


def read_chip_export(folder: Path, result: str) -> dict[str, Any] | None:
    """Return the result of an export to a chip; None if there is none.

    result: a name from :func:`name_result`.

    Raises:
        StoreError: see :func:`read_result`.
    """
    return read_result(folder, result, kinds={result: ChipExportResult})


def compute_checksum(result: Mapping[str, Any]) -> str:
    """Return the digest of a result as stored in a file; it ignores the order of keys."""
    plain = json.loads(json.dumps(result))
    return digest(json.dumps(plain, sort_keys=True))


def check_result(
    value: Any, verb: str, metrics: Sequence[Metric] = (), kinds: Mapping[str, Any] = KINDS
) -> dict[str, Any]:
    """Return the result of a verb, checked as :func:`read_result` does.

    Raises:
        SchemaError: the result has another layout; lists all problems.
    """
    result: dict[str, Any] = convert(value, kinds[verb])
    convert(result.get(KEY, {}), dict[str, str], KEY)
    for metric in metrics:
        convert(result.get(metric.name, 0), Number, metric.name)
    chips = _Chip if kinds is KINDS else _Tiers
    if problems := [*_list_problems(verb, result, chips)]:
        raise SchemaError(*problems)
    return result


def read_history(folder: Path) -> list[dict[str, Number]]:
    """Return the rows of ``metrics.jsonl``; none before the first validation.

    Raises:
        StoreError: a line is not a row of numbers, or has other columns than the first.
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
            whole = {"epoch", "train_loss"} <= row.keys()  # columns of every training
            whole = whole and ("spikes" in row) == ("raised" in row)  # EventProp writes both
            if list(row) != list(rows[0]) or not whole:
                raise SchemaError(f"line {i}: has the columns {', '.join(row)}")
    return rows


def read_environment(folder: Path) -> dict[str, Any]:
    """Return versions and machine of a run; empty if the run has no environment file.

    Raises:
        StoreError: the file is damaged.
    """
    path = folder / "environment.json"
    if not path.exists():
        return {}
    with _naming(path, "train in another folder"):
        environment: dict[str, Any] = convert(read_json(path), dict[str, Any])
        convert(environment.get("packages", {}), dict[str, str], "packages")
    return environment


def check_facts(folder: Path, facts: Mapping[str, Any], hint: Any) -> Any:
    """Return the facts that a task adds to ``eval.json``, checked against a TypedDict.

    Raises:
        StoreError: the facts have another layout.
    """
    with _naming(folder / "eval.json", "eval"):
        return convert(dict(facts), hint)


@contextmanager
def _naming(path: Path, verb: str) -> Iterator[None]:
    """Add to an error the file, and the verb that writes it again."""
    cure = f"neuro {verb} writes it again"
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{error}; {cure}") from error
    except SchemaError as error:
        raise StoreError(
            f"{path}: is not as this version writes it: {error}; {cure}"
        ) from error


def _list_problems(verb: str, result: Mapping[str, Any], chips: Any) -> Iterator[str]:
    """Yield the contradictions in a result that has the right layout."""
    if verb == "eval":
        yield from _list_eval_problems(result)
    if verb == "simulate" and len({"macs" in n for n in result["per_sample"].values()}) > 1:
        yield "per_sample: macs are missing of some nodes"
    if verb == "verify" and not result.get("misfits"):
        for name, values in result["metrics"].items():
            if "integers" not in values:
                yield f"metrics.{name}.integers: is missing, and no misfit says why"
    if verb == "energy":
        yield from _list_energy_problems(result, chips)


def _list_eval_problems(result: Mapping[str, Any]) -> Iterator[str]:
    if {"accuracy", "correct", "confusion"} <= result.keys():  # the task is a classifier
        accuracy, correct = (convert(result[k], Number, k) for k in ("accuracy", "correct"))
        if round(accuracy * result["n"]) != correct:
            yield f"accuracy is {accuracy}, and {correct} of {result['n']} samples are right"
    for name, about in result.get("metrics", {}).items():
        convert(result.get(name), Number, name)
        try:
            format(0.5, about["format"])
        except ValueError as error:
            yield f"metrics.{name}.format: {error}"
    for i, table in enumerate(result.get("tables", ())):
        if any(len(row) != len(table["head"]) for row in table["rows"]):
            yield f"tables[{i}]: its rows and its head differ in length"


def _list_energy_problems(result: Mapping[str, Any], kind: Any) -> Iterator[str]:
    """Yield problems of chips, which must have equal layers and parts, and binding limits."""
    chips = {
        name: convert(part, kind, name)
        for name, part in result.items()
        if name not in ("host", "tables") and "layers" in convert(part, dict[str, Any], name)
    }
    if not chips:
        yield "no chip is in it"
    if kind is _Tiers:
        return
    if "sequence" in result and (steps := result["sequence"]["steps"]) < 1:
        yield f"sequence.steps: is {steps}, expected >= 1"
    for name, chip in chips.items():
        layers = chip["layers"]
        if not layers or list(layers) != list(next(iter(chips.values()))["layers"]):
            yield f"{name}.layers: are {', '.join(layers) or 'none'}"
        parts = [list(layer["parts"]) for layer in layers.values()]
        for layer, names in zip(layers, parts, strict=True):
            if names != parts[0]:
                yield f"{name}.layers.{layer}.parts: differ from the first layer's"
        for layer, place in chip["mapping"]["layers"].items():
            if place["binds"] and place["binds"] not in place["use"]:
                yield f"{name}.mapping.layers.{layer}.binds: has no use"
        yield from _list_load_problems(name, chip)


def _list_load_problems(name: str, chip: Mapping[str, Any]) -> Iterator[str]:
    """Yield problems in the loads of a chip's cores."""
    latency, loads = chip["latency"], chip["mapping"].get("loads")
    if loads is None:
        return
    if {*latency.get("states", {})} != {*STATES} or latency.get("binds") not in STATES:
        yield f"{name}.latency.states: are not {', '.join(STATES)}, or none of them binds"
    elif not 0 < sum(latency["states"].values()) < MOST_SECONDS:
        yield f"{name}.latency.states: take no time, or none that can be"
    if len({len(column) for column in loads.values()}) > 1 or not loads["core"]:
        yield f"{name}.mapping.loads: its columns are empty or differ in length"
    if not {*loads["binds"]} <= {*STATES}:
        yield f"{name}.mapping.loads.binds: are not {', '.join(STATES)}"
    for key in ("memory", "compute", "sending", "arriving"):
        if not all(0 <= seconds < MOST_SECONDS for seconds in loads[key]):
            yield f"{name}.mapping.loads.{key}: is outside of 0 to {MOST_SECONDS} s"
    for key in ("chip", "x", "y", "in_tile"):
        if not all(0 <= place < MOST_PLACES for place in loads[key]):
            yield f"{name}.mapping.loads.{key}: is outside of 0 to {MOST_PLACES}"
