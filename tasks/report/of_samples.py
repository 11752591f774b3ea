"""The page of a Graph on samples of a user's own, without a task and a run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuro.graph import Graph
from neuro.io.store import write_bytes
from neuro.record import Record
from tasks.image_classification.classifier import ACCURACY
from tasks.report import html as page
from tasks.report.energy import show_energy, show_mapping
from tasks.report.key_figures import list_agreement, list_prices
from tasks.report.report import show_activity, show_parity
from tasks.task import Metric


def write_samples_report(
    path: Path,
    graph: Graph,
    *,
    record: Record | None = None,
    verify: Mapping[str, Any] | None = None,
    energy: Mapping[str, Any] | None = None,
    metrics: Sequence[Metric] = (ACCURACY,),
) -> Path:
    """Write one self-contained page of what is given, and return its path.

    Args:
        path: of the page, for example Path("report.html"); the activity is written beside it,
            with the suffix ".png".
        graph: the network.
        record: of a run on the event engine; its first samples are drawn.
        verify: what :func:`tasks.verbs.verify.verify_samples` returned.
        energy: what :func:`tasks.verbs.energy.estimate_samples` returned.
        metrics: how the values of ``verify`` are written; others are left out.
    """
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
