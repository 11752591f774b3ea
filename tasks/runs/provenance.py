"""Provenance of results: digests of weights, configuration, test data and code.

Each results file of a run folder holds these digests as ``measured_on``. A result whose digests
differ from the present ones is out of date, and every output that shows it says so.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils._pytree import tree_leaves

import drivers
import lava_export
import neuro
import tasks
from neuro.base.seeds import seeded
from neuro.energy import Hardware, find_chip
from neuro.graph import Graph
from neuro.io.graph_digest import digest_graph
from neuro.io.pytree import digest
from neuro.io.run_folder import NETWORK, Run, RunError, digest_configuration, read_header
from neuro.io.schema import SchemaError, convert
from neuro.io.store import StoreError, read_bytes, read_json
from neuro.spikes import Events, of_sample
from neuro.training import get_best_weights_path
from neuro.training.checkpoint import LAST, read_curve
from tasks.runs.find import name_train_command
from tasks.runs.names import IMPORTED
from tasks.runs.results import CHECKSUM, KEY, compute_checksum, name_result, read_history
from tasks.runs.share import TEST_BATCHES
from tasks.runs.shipped import SHIPPED, Shipment, is_shipped
from tasks.runs.task import TaskRun

RESULTS = ("eval", "simulate", "verify", "export", "energy")  # verbs that write a results file
OUT_OF_DATE = {
    "weights": "earlier weights",
    "configuration": "another configuration",
    "data": "other test data",
    "code": "another version of the code",
    "chip_file": "another content of its chip file",  # only of energy, if --chip names a file
}
OF_EVERY_RESULT = tuple(part for part in OUT_OF_DATE if part != "chip_file")
_SOURCES = ("*.py", "*.toml")  # code, and the chip files that it reads


def describe_provenance(run: TaskRun) -> dict[str, str]:
    """Return the digests of everything that a result of a run depends on, by name."""
    return {**describe_trained(run.folder), "data": digest_test_data(run)}


def describe_trained(folder: Path) -> dict[str, str]:
    """Return the digests of the run folder and of the code, which need no data."""
    header = read_json(folder / "config.json")
    imported = header.get("task") == IMPORTED
    weights = folder / NETWORK if imported else get_best_weights_path(folder)
    return {
        "weights": digest_file(weights),
        "configuration": digest_configuration(header),
        "code": digest_code(),
    }


def digest_file(path: Path) -> str:
    """Return the digest of a file's bytes; a missing file has the digest of an empty one."""
    data = read_bytes(path) if path.exists() else b""
    return digest(np.frombuffer(data, np.uint8))


def describe_unfinished(run: TaskRun) -> str:
    """Describe the progress of an unfinished training, and how to resume it; "" if finished.

    If the curve belongs to another training, returns the reason with the cure.
    """
    history = read_history(run.folder)
    if not history:
        return ""
    if why := explain_foreign_curve(run, history):
        return why
    epochs = run.definition.training.plan(run.config).epochs
    if (done := history[-1]["epoch"]) >= epochs:
        return ""
    return f"trained {done:g} of {epochs} epochs; resume: {name_train_command(run)}"


def explain_foreign_curve(run: TaskRun, history: Sequence[Mapping[str, Any]]) -> str:
    """Say why ``metrics.jsonl`` is of another training, with the cure; "" without evidence.

    history: its rows. A killed training may have left fewer rows than its checkpoint has.
    """
    if explain_unknown_curve(run.folder) or (curve := read_curve(run.folder)) is None:
        return ""
    if curve["run"] != digest_configuration(read_header(run.folder)):
        return (
            f"metrics.jsonl cannot be compared: {LAST} is of another task, configuration or "
            f"seed; restore {LAST} from a copy"
        )
    if [*history] != curve["history"][: len(history)]:
        return (
            f"metrics.jsonl is the curve of another training than {LAST}; to write it again: "
            f"{name_train_command(run)}"
        )
    return ""


def explain_unknown_curve(folder: Path) -> str:
    """Say why the training of ``metrics.jsonl`` is unknown; "" if a checkpoint names it.

    A run that the package ships has no checkpoint, but a digest of its curve.
    """
    try:
        if (folder / SHIPPED).exists():
            known = convert(read_json(folder / SHIPPED), Shipment)["curve"]
            own = digest_file(folder / "metrics.jsonl")
            lacks = "" if own == known else f"{SHIPPED} is of another curve"
        else:
            lacks = "" if read_curve(folder) else f"there is no {LAST}"
    except StoreError as error:
        lacks = str(error)
    return f"nothing says that the curve is of this training: {lacks}" if lacks else ""


def digest_test_data(run: TaskRun) -> str:
    """Return the digest of the batches of the test split, as the task makes them."""
    with seeded(0):  # so that random batches are the same each time
        batches = run.definition.training.batches(run.config, "test", 0)
        digests = [digest(tree_leaves(batch)) for batch in batches]
    TEST_BATCHES.set(len(digests))
    return digest(digests)


def digest_stimuli(inputs: Mapping[str, Events]) -> list[str]:
    """Return the digest of each sample's stimulus, which does not depend on the batch size."""
    samples = range(next(iter(inputs.values())).shape[1])
    return [
        digest({n: _to_columns(of_sample(e, i)) for n, e in sorted(inputs.items())})
        for i in samples
    ]


def _to_columns(train: Events) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Return T and the columns of a sample, converted to fixed types."""
    ticks, neurons = (np.asarray(column, np.int64) for column in (train.tick, train.neuron))
    return int(train.shape[0]), ticks, neurons, np.asarray(train.value, np.float64)


def describe_samples(graph: Graph, stimuli: Sequence[str]) -> dict[str, str]:
    """Return the provenance of a result without a run.

    stimuli: the results of :func:`digest_stimuli` for all samples in their order.

    Returns:
        Digests of the graph, of all samples, and of the first sample.
    """
    return {
        "graph": digest_graph(graph),
        "samples": digest(list(stimuli)),
        "first": next(iter(stimuli), ""),
    }


def describe_chip(chip: Hardware) -> str:
    """Return name and digest of a user's chip, whose file is not part of the code."""
    return f"{chip.name} {digest(repr(chip))}"


def _describe_chip_file(result: Mapping[str, Any]) -> dict[str, str]:
    """Describe the present chip file that ``energy.json`` names; empty if it is missing."""
    file = result.get("chip_file")
    if not isinstance(file, dict):
        return {}
    try:
        return {"chip_file": describe_chip(find_chip(str(file.get("path"))))}
    except (OSError, ValueError):
        return {}


@cache
def digest_code() -> str:
    """Return the digest of the sources of this package."""
    folders = [
        Path(str(package.__file__)).parent for package in (neuro, drivers, lava_export, tasks)
    ]
    files = [
        (folder.name, path.relative_to(folder).as_posix(), path.read_text("utf-8"))
        for folder in folders
        for pattern in _SOURCES
        for path in sorted(folder.rglob(pattern))
    ]
    return digest(files)


def write_result(
    run: Run, verb: str, result: Mapping[str, Any], measured_on: Mapping[str, str]
) -> None:
    """Write the results file of a verb.

    measured_on: the result of :func:`describe_provenance` before the measurement.

    Raises:
        RunError: a training has replaced the weights since then.
    """
    now = describe_trained(run.folder)
    if why := explain_difference(measured_on, now):
        raise RunError(
            f"{run.folder}: the result of {verb} is {why} by now, and was not written; measure "
            "again when the training has ended"
        )
    whole = {**result, KEY: dict(measured_on)}
    run.write(f"{verb}.json", {**whole, CHECKSUM: compute_checksum(whole)})


def explain_difference(before: Any, now: Mapping[str, str]) -> str:
    """Return for example "of earlier weights and other test data"; "" if no digest differs.

    before: the digests in a results file, or None without digests. now: the known digests.
    """
    if not isinstance(before, dict):
        return "of unknown weights, measured by an earlier version"
    differ = [
        reason
        for key, reason in OUT_OF_DATE.items()
        if before.get(key) != now.get(key, before.get(key))
    ]
    return f"of {' and '.join(differ)}" if differ else ""


def list_chip_exports(folder: Path) -> list[str]:
    """Return the names of ``export-CHIP.json`` files, without their ending."""
    return sorted(path.stem for path in folder.glob(f"{name_result('*')}.json"))


def list_out_of_date(folder: Path, now: Mapping[str, str]) -> dict[str, str]:
    """Return why results files of a run folder are out of date, by verb.

    An export to a chip, or a training on integers, is named like its file: "export-xylo".
    """
    integers = sorted(path.stem for path in folder.glob("integers-*.json"))
    why = {
        verb: _explain_file(path, now)
        for verb in (*RESULTS, *list_chip_exports(folder), *integers)
        if (path := folder / f"{verb}.json").exists()
    }
    return {verb: reason for verb, reason in why.items() if reason}


def _explain_file(path: Path, now: Mapping[str, str]) -> str:
    try:
        result = convert(read_json(path), dict[str, Any])
    except (StoreError, SchemaError):
        return "damaged"
    known = {part: now[part] for part in OF_EVERY_RESULT if part in now}
    if is_shipped(path):
        known.pop("code", None)
    return explain_difference(result.get(KEY), known | _describe_chip_file(result))
