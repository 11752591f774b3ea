"""Evaluation of flow: distances of generated images from real ones, and the value of the state.

The primary metric is ``feature_fd``; it was fixed before any training. ``fad`` is also measured
if the published autoencoder is available and the digits have 28 x 28 pixels.
Axes: N images, C channels, Y X pixels or latents.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.io.run_folder import Run
from neuro.io.store import write_bytes
from tasks.flow.config import FlowConfig
from tasks.flow.data import choose_indices, read_split
from tasks.flow.features import make_reference
from tasks.flow.generate import Context, draw_start, generate, generate_path, list_contexts
from tasks.flow.loss import LOSS, measure_loss, require_flow
from tasks.flow.sampler import count_calls
from tasks.images.metrics.autoencoder import load_published, make_published_reference
from tasks.images.metrics.sheet import draw_sheet
from tasks.runs.share import track
from tasks.runs.task import Findings, Metric, Picture, Table

FEATURE_FD = Metric(
    name="feature_fd",
    better="lower",
    format=".3f",
    meaning="Fréchet distance from the training images, in features of a small classifier",
)
FAD = Metric(
    name="fad", better="lower", format=".2f", meaning="Fréchet autoencoder distance to digits"
)
MATCH = Metric(
    name="class_match", format=".2%", meaning="share that a small classifier puts in its class"
)
CALLS = Metric(
    name="network_calls", better="lower", format=".0f", meaning="runs of the network per image"
)
METRICS = (FEATURE_FD, FAD, MATCH, LOSS, CALLS)
CONTEXTS = "contexts"  # key in eval.json: metrics of images that see another past, or none
SEES: Mapping[Context, str] = {  # context -> what an image sees, in words
    "own": "its own noisier past",
    "reset": "no past",
    "same class": "the past of another image of its class",
    "other class": "the past of an image of another class",
    "other image": "the past of another image",
}
COLUMNS = 10  # images per row of a sheet
SEEN = 80  # side of an image on a sheet [pixels]; smaller images are enlarged
DELTAS = (0.5, 1.0, 1.5, 2.0, 3.0)  # deltas of delta codes [thresholds of the counts]
INSTANTS = 10  # most columns of the picture that shows images on the way from noise


def measure_contexts(
    config: FlowConfig, model: nn.Module, seed: int, contexts: tuple[Context, ...]
) -> dict[Context, dict[str, float]]:
    """Return the metrics of images generated in each context, all from the same noise."""
    flow, start = require_flow(model), draw_start(config, config.samples, seed)
    return {
        context: measure_images(config, generate(config, flow, start, context), start.labels)
        for context in track("contexts", contexts)
    }


def measure_images(
    config: FlowConfig, images: Float[Tensor, "N C Y X"], labels: Tensor
) -> dict[str, float]:
    """Return the metrics of images; the share of right classes only if the arm has labels."""
    reference, shown = make_reference(config), images.clamp(-1, 1)
    values = {FEATURE_FD.name: reference.distance(shown)}
    if config.is_labelled:
        values[MATCH.name] = reference.match(shown, labels)
    digits = config.source in ("embedded", "mnist") and config.side == 28
    published = load_published() if digits and config.samples >= 5120 else None
    if published is not None:
        fad = make_published_reference(*published)
        values[FAD.name] = fad.fad(shown[: fad.fakes])
    return values


def measure_deltas(
    config: FlowConfig, model: nn.Module, seed: int
) -> dict[float, tuple[float, dict[str, float]]]:
    """Return (events per image, metrics) by delta, from the same noise; 0 sends all counts."""
    flow, start = require_flow(model), draw_start(config, config.samples, seed)
    found = {}
    for delta in track("deltas", (0.0, *(config.threshold * k for k in DELTAS))):
        events = list[int]()
        images = generate(config, flow, start, "own", delta, events)
        measured = measure_images(config, images, start.labels)
        found[delta] = (sum(events) / len(images), measured)
    return found


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return the metrics of generated images by context, and of real ones; write two pictures.

    For latents only the loss is measured, because there is no decoder.
    """
    config: FlowConfig = run.config
    values = {
        LOSS.name: measure_loss(config, model, "test"),
        CALLS.name: float(count_calls(config.sampler, config.steps, config.guidance)),
    }
    facts = {"arm": config.arm, "samples": config.samples}
    if config.source == "latents":
        return Findings(values=values, n=len(choose_indices(config, "test")), facts=facts)
    found = measure_contexts(config, model, run.seed, list_contexts(config))
    reference, start = make_reference(config), draw_start(config, config.samples, run.seed)
    others = {f"{context} past": own for context, own in found.items() if context != "own"}
    tables = [_tabulate(found)] if config.has_state else []
    if config.maps == "spiking" and config.sampler != "heun":
        tables.append(_tabulate_deltas(measure_deltas(config, model, run.seed)))
    return Findings(
        values={**values, **found["own"]},
        n=config.samples,
        split=None,
        counted="new images",
        notes={
            FEATURE_FD.name: f"{config.samples:,} new images; real test images have "
            f"{reference.test:.2f}, random halves of the training images {reference.floor:.2f}"
        },
        facts={
            **facts,
            "floor": reference.floor,
            "real_test": reference.test,
            CONTEXTS: others,
        },
        tables=tables,
        pictures=_draw(run, model),
        beside={
            "noise before the first step": measure_images(config, start.noise, start.labels)
        },
    )


def _tabulate(found: Mapping[Context, dict[str, float]]) -> Table:
    named = [m for m in (FEATURE_FD, FAD, MATCH) if m.name in found["own"]]
    rows: list[tuple[Any, ...]] = [
        (SEES[context], *(m.text(own[m.name]) for m in named)) for context, own in found.items()
    ]
    return Table(
        title="Whose past an image sees",
        head=("an image sees", *(m.label for m in named)),
        rows=rows,
        caption="The same weights and noise; the past are the noisier images before it.",
    )


def _tabulate_deltas(found: dict[float, tuple[float, dict[str, float]]]) -> Table:
    anew, _ = found[0.0]
    named = [m for m in (FEATURE_FD, FAD, MATCH) if m.name in found[0.0][1]]
    return Table(
        title="Delta codes between steps",
        head=("delta", "events an image", "of those anew", *(m.label for m in named)),
        rows=[
            (
                f"{delta:g}" if delta else "counts anew",
                f"{events:,.0f}",
                f"{events / anew:.1%}",
                *(m.text(own[m.name]) for m in named),
            )
            for delta, (events, own) in found.items()
        ],
        caption="The same weights and noise. Events: values other than zero that reach the "
        "maps of tokens in all steps of an image. A count is sent again where the input is "
        "delta or more from it; half a threshold changes no count.",
    )


def list_instants(steps: int) -> list[int]:
    """Return the steps to draw on the way from noise: at most INSTANTS, with the last one."""
    shown = min(INSTANTS, steps)
    return [(k + 1) * steps // shown - 1 for k in range(shown)]


def _draw(run: Run, model: nn.Module) -> tuple[Picture, ...]:
    config, flow = run.config, require_flow(model)
    start, scale = draw_start(config, COLUMNS, run.seed), max(1, SEEN // config.side)
    paths = {k: generate_path(config, flow, start, k) for k in list_contexts(config)}
    real, _ = read_split(config, "test", COLUMNS)
    real = real[torch.arange(COLUMNS) % len(real)]
    rows = torch.cat([*(path[-1].x for path in paths.values()), real])
    write_bytes(run.folder / "samples.png", draw_sheet(rows, COLUMNS, scale))
    own = paths["own"]
    chosen = [own[k] for k in list_instants(len(own))]
    way = torch.stack([step.x for step in chosen], 1)[: config.classes].flatten(0, 1)
    write_bytes(run.folder / "trajectories.png", draw_sheet(way, len(chosen), scale))
    sees = [f"row {k} sees {SEES[context]}" for k, context in enumerate(paths, 1)]
    return (
        Picture(
            file="samples.png",
            title="New images",
            caption=f"The first {COLUMNS}, without selection, of "
            + (f"ARFlow: {', '.join(sees)}" if config.has_state else "SiT")
            + ". Last row: real test images.",
            example=True,
        ),
        Picture(
            file="trajectories.png",
            title="From noise to image",
            caption="A row is an image on its way from the left to the right, after step "
            f"{', '.join(str(k + 1) for k in list_instants(len(own)))}.",
        ),
    )
