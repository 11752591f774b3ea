"""A report on a Graph and samples of the user, without a task or a run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuro.base.arguments import make_type_error
from neuro.energy import require_record_of
from neuro.graph import Graph
from neuro.graph.requirements import require_graph
from neuro.io.graph_digest import digest_graph
from neuro.io.schema import SchemaError, convert
from neuro.io.store import write_bytes
from neuro.spikes.record import Record
from tasks.report import html as page
from tasks.report.energy import show_energy, show_mapping
from tasks.report.key_figures import list_agreement, list_prices
from tasks.report.report import show_activity, show_parity
from tasks.runs.provenance import describe_samples, digest_stimuli
from tasks.runs.results import KEY, check_result
from tasks.runs.task import ACCURACY, Metric

MAKERS = {"verify": "verify_samples", "energy": "estimate_samples"}  # argument -> function


def write_samples_report(
    path: str | Path,
    graph: Graph,
    *,
    record: Record | None = None,
    verify: Mapping[str, Any] | None = None,
    energy: Mapping[str, Any] | None = None,
    metrics: Sequence[Metric] = (ACCURACY,),
) -> Path:
    """Write a self-contained page with a record and results; return its path.

    Args:
        path: of the page, for example "report.html"; the picture of the activity gets the same
            path with the suffix ".png".
        graph: the network.
        record: record of the event engine; its first samples are drawn.
        verify: the result of :func:`tasks.measures.verify.verify_samples`.
        energy: the result of :func:`tasks.measures.energy.estimate_samples`.
        metrics: the metrics of ``verify`` that are shown, with their formats.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the record or a result belongs to another graph or to other samples, or a
            result has another layout than its function returns; lists all problems.
    """
    _require_kinds(path, graph, record, verify, energy, metrics)
    path, results = Path(path), {"verify": verify, "energy": energy}
    _require_fit(graph, record, {k: dict(v) for k, v in results.items() if v is not None})
    figures = [
        *(list_agreement(verify, metrics) if verify else []),
        *(list_prices(energy) if energy else []),
    ]
    body = [page.heading(path.stem), page.tiles(figures)]
    if record is not None:
        shapes = {name: graph.shapes[name] for name in graph.inputs}
        body.append(show_activity(record, shapes, (), path.with_suffix(".png")))
    if verify:
        body.append(show_parity(verify))
    if energy:
        body += [show_energy(energy), show_mapping(energy)]
    write_bytes(path, page.page(path.stem, *body).encode())
    return path


def _require_kinds(
    path: object, graph: object, record: object, verify: object, energy: object, metrics: object
) -> None:
    """Raise a TypeError unless each argument has the right type."""
    if not isinstance(path, str | Path):
        cure = 'the arguments are (path, graph, record=...): "report.html" comes first'
        raise make_type_error("path", "the path of a page", path, cure)
    require_graph(graph)
    if not isinstance(record, Record | None):
        cure = "simulate returns (record, state)"
        raise make_type_error("record", "a Record", record, cure)
    for name, result in (("verify", verify), ("energy", energy)):
        if not isinstance(result, Mapping | None):
            cure = f"give {name}={MAKERS[name]}(graph, samples)"
            raise make_type_error(name, f"what {MAKERS[name]} returned", result, cure)
    if not isinstance(metrics, Sequence) or not all(isinstance(m, Metric) for m in metrics):
        cure = 'for example (Metric(name="accuracy", format=".2%"),)'
        raise make_type_error("metrics", "a tuple of Metrics", metrics, cure)


def _require_fit(
    graph: Graph, record: Record | None, results: Mapping[str, dict[str, Any]]
) -> None:
    """Raise a ValueError unless all results belong to this graph and to the same samples."""
    problems = [p for name in results for p in _list_problems(graph, name, results[name])]
    measured_on = {name: result.get(KEY, {}) for name, result in results.items()}
    if record is not None:
        try:
            require_record_of(graph, record)
        except ValueError as error:
            problems.append(f"record: {error}")
        else:
            measured_on["record"] = _describe_record(graph, record, results)
    if problems:
        raise ValueError("\n".join(["a page shows one graph and its samples:", *problems]))
    for key in ("samples", "first"):
        digests = {name: about[key] for name, about in measured_on.items() if key in about}
        if len(set(digests.values())) > 1:
            cure = "give verify_samples, estimate_samples and simulate the same stimuli"
            raise ValueError(f"{', '.join(digests)} are of different samples; {cure}")


def _list_problems(graph: Graph, name: str, result: dict[str, Any]) -> list[str]:
    """Return why a result does not belong to this graph, or is malformed."""
    again = f"give what {MAKERS[name]}(graph, samples) returns"
    try:
        about = convert(check_result(result, name).get(KEY, {}), dict[str, Any], KEY)
    except SchemaError as error:
        return [f"{name}: {error}; {again}"]
    if about.get("graph") in (None, digest_graph(graph)):
        return []
    return [f"{name}: is of another network; {again} for this one"]


def _describe_record(
    graph: Graph, record: Record, results: Mapping[str, dict[str, Any]]
) -> dict[str, str]:
    """Return the digests of a record's samples; only of the first if ``verify`` has more."""
    stimuli = digest_stimuli({name: record.spikes[name] for name in graph.inputs})
    samples = describe_samples(graph, stimuli)
    if "verify" not in results or record.samples < results["verify"]["n"]:
        del samples["samples"]
    return samples
