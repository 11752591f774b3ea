"""The task: train a spiking VAE on images and generate new ones.

Fully spiking variational autoencoder (FSVAE, Kamata et al. 2022, AAAI) with the temporal
attention decoder of TAID (Qiu et al. 2023, ICLR Tiny Papers), and a twin without spikes.
The chip runs the decoder; the host draws latents and weights the decoder's currents.
Axes: T ticks, B samples, C channels, H height, W width, Z bits of the latent.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.io.run_folder import Run, RunError
from neuro.io.store import write_bytes
from neuro.neurons.surrogate import arctan
from neuro.nn.layers import Spiking
from tasks.images.generation import config as configs
from tasks.images.generation.config import GenerationConfig
from tasks.images.generation.images import (
    EVALUATED,
    batches,
    make_dummy_batch,
    part,
)
from tasks.images.generation.latents import evaluate_mode
from tasks.images.generation.metric import compute_scores, make_metric
from tasks.images.generation.vae import GaussianVAE, Reconstruction, SpikingVAE
from tasks.images.metrics.autoencoder import SIDE, ReferenceImages
from tasks.images.metrics.sheet import draw_sheet, interleave, scale_images
from tasks.runs.configuration import make_plan
from tasks.runs.names import CONFIGURATIONS, SUMMARIES
from tasks.runs.samples import draw_spread
from tasks.runs.share import track, track_test
from tasks.runs.task import (
    Deployment,
    Evaluation,
    Findings,
    Metric,
    Pair,
    Picture,
    Split,
    Stimulus,
    Task,
    Training,
)

ROWS, COLUMNS = 6, 16  # images on a sheet
NO_SPIKES = "an ANN has no spikes and no Graph; use a run of image_generation:tiny"
LOSS = Metric(name="loss", better="lower")
METRICS = (
    Metric(name="fad", better="lower", meaning="Fréchet autoencoder distance to real images"),
    Metric(name="reconstruction_mse", better="lower", meaning="squared error of test images"),
    Metric(name="distance", better="lower", meaning="of drawn latents from encoded ones"),
    Metric(name="fid", better="lower", meaning="Fréchet inception distance to real images"),
    Metric(name="inception_score", meaning="how clear and varied images are to Inception-v3"),
)


def build(config: GenerationConfig) -> nn.Module:
    """Return a new network, from images T B C H W to :class:`Reconstruction`."""
    return GaussianVAE(config) if config.model == "ann" else SpikingVAE(config)


def loss(config: GenerationConfig, model: nn.Module, batch: Pair, at: float) -> Tensor:
    """Return the squared error of the reconstruction plus the distance of the prior."""
    x, _ = batch
    reconstruction: Reconstruction = model(x, at)
    error = F.mse_loss(reconstruction.image, x[0])
    return error + config.weight * reconstruction.distance


def validate(config: GenerationConfig, model: nn.Module) -> float:
    """Return the loss on the validation split."""
    error, distance = _measure(config, model, "val")
    return error + config.weight * distance


def _measure(config: GenerationConfig, model: nn.Module, split: Split) -> tuple[float, float]:
    """Return (squared error, distance of the prior) on a split, with a fixed seed."""
    device = next(model.parameters()).device
    total, n = torch.zeros(2, dtype=torch.float64), 0
    with evaluate_mode(model), seeded(0):
        for x, labels in track_test(batches(config, split, 0), split):
            output = model(x.to(device))
            error = F.mse_loss(output.image, x[0].to(device))
            total += torch.stack([error, output.distance]).double().cpu() * len(labels)
            n += len(labels)
    return float(total[0]) / n, float(total[1]) / n


def generate_images(model: nn.Module, n: int, seed: int) -> Tensor:
    """Return ``n`` new images N C H W on the CPU; equal seeds give equal images."""
    rng = torch.Generator().manual_seed(seed)
    make: Any = model.generate
    sizes = [min(EVALUATED, n - first) for first in range(0, n, EVALUATED)]
    return torch.cat([make(size, rng).cpu() for size in track("new images", sizes)])


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return the figures of the test split; write two sheets of pictures.

    Values: fad; reconstruction_mse and distance of the ``n`` images of the test split; fid and
        inception_score.
    Facts: ``autoencoder`` of fad (compare only figures of the same one); ``fakes``, the number
        of generated images; inception_score_sd, or a cure in ``missing``.
    """
    config = run.config
    error, distance = _measure(config, model, "test")
    metric = make_metric(config)
    fakes = generate_images(model, metric.fakes, run.seed)
    real = scale_images(part(config, "test").images, config.side)
    scores = compute_scores(fakes, real)
    names = {m.name for m in METRICS}
    return Findings(
        values={
            "fad": metric.fad(fakes),
            "reconstruction_mse": error,
            "distance": distance,
            **{k: v for k, v in scores.items() if k in names},
        },
        n=len(real),
        notes={"fad": f"{metric.fakes:,} new images, {metric.autoencoder} autoencoder"},
        facts={
            "autoencoder": metric.autoencoder,
            "fakes": metric.fakes,
            **{k: v for k, v in scores.items() if k not in names},
        },
        pictures=_sheets(run, model, fakes),
        beside=measure_baselines(metric, scale_images(part(config, "train").images, SIDE)),
    )


def measure_baselines(metric: ReferenceImages, train: Tensor) -> dict[str, dict[str, float]]:
    """Return the fad of noise with the mean and spread of each pixel, and of real images."""
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(metric.fakes, *train.shape[1:], generator=rng)
    beside = {"pixel noise": (noise * train.std(0) + train.mean(0)).clamp(-1, 1)}
    if n := min(len(train), metric.fakes) // metric.batch * metric.batch:
        beside[f"{n:,} real training images"] = train[:n]
    return {name: {"fad": metric.fad(images)} for name, images in beside.items()}


def _sheets(run: Run, model: nn.Module, fakes: Tensor) -> tuple[Picture, Picture]:
    x, _ = next(batches(run.config, "test", 0))
    n = min(len(fakes), ROWS * COLUMNS) // COLUMNS * COLUMNS
    rows = torch.cat([fakes[:n], x[0, :COLUMNS]])
    x = x[:, : n // 2]
    with evaluate_mode(model), seeded(0):
        copies = model(x.to(next(model.parameters()).device)).image.cpu()
    write_bytes(run.folder / "samples.png", draw_sheet(rows, COLUMNS))
    sheet = draw_sheet(interleave(x[0], copies), COLUMNS)
    write_bytes(run.folder / "reconstructions.png", sheet)
    return (
        Picture(
            file="samples.png",
            title="New images",
            caption=f"The first {n}, without selection. Last row: real test images.",
            example=True,
        ),
        Picture(
            file="reconstructions.png",
            title="Reconstructions",
            caption=f"The first {n // 2} test images, each followed by its reconstruction.",
        ),
    )


def chip_part(config: GenerationConfig, model: nn.Module) -> nn.Module:  # noqa: ARG001
    """Return the decoder: spikes T B Z -> pixel currents T B C H W.

    Its neurons get a surrogate that a file can name, which matters only in training.

    Raises:
        RunError: the model is the ANN, which has no spikes.
    """
    decoder = copy.deepcopy(_spiking(model).decoder)
    for layer in decoder.modules():
        if isinstance(layer, Spiking) and layer.model.fires:
            cells: Any = layer.model
            layer.model = replace(cells, surrogate=arctan)
    return decoder


def stimuli(config: GenerationConfig, model: nn.Module, split: Split) -> Iterator[Stimulus]:
    """Yield latents T B Z of ``compared`` images of a split, with a fixed seed; labels B."""
    spiking, rng = _spiking(model), torch.Generator().manual_seed(0)
    device = next(model.parameters()).device
    for x, labels, drawn in draw_spread(partial(batches, config, split, 0), config.compared):
        with evaluate_mode(model):
            z, _ = spiking.latents(x.to(device), rng)
        yield Stimulus({"input": z.cpu()}, labels, drawn)


def host(config: GenerationConfig, model: nn.Module) -> dict[str, int]:
    """Return the multiply-accumulates of the host per new image.

    prior: to draw the latents, one per weight and tick, as in an ANN.
    decoding: one per weight, and one per pixel and tick; none for the membrane decoder.
    """
    spiking = _spiking(model)
    connections = [
        m.weight.numel() for m in spiking.prior.children() if isinstance(m, nn.Linear)
    ]
    macs = {"prior": config.ticks * sum(connections)}
    weights = sum(p.numel() for p in spiking.decoding.parameters())
    if weights:
        times = config.colours if config.model == "attention" else 1
        pixels = config.colours * config.side**2
        macs["decoding"] = weights * times + config.ticks * pixels
    return macs


def _spiking(model: nn.Module) -> SpikingVAE:
    if not isinstance(model, SpikingVAE):
        raise RunError(NO_SPIKES)
    return model


def list_controls(config: GenerationConfig) -> dict[str, dict[str, Any]]:
    """Return the twin without spikes; its Ticks, distance and weight follow from the model."""
    if config.model == "ann":
        return {}
    changed = ("model", "ticks", "distance", "weight")
    twin = configs.ann(config)
    return {"the same layers without spikes": {k: getattr(twin, k) for k in changed}}


TASK = Task(
    summary=SUMMARIES["image_generation"],
    about=lambda config: (
        "Random numbers go in, and a new image like those of the training set comes out. "
        f"Encoder, prior and decoder have {'no ' * (config.model == 'ann')}spiking neurons."
    ),
    configs={name: getattr(configs, name) for name in CONFIGURATIONS["image_generation"]},
    training=Training(
        build=build,
        # The published plan, with a cosine schedule and gradient clipping added.
        plan=make_plan,
        steps=lambda config: len(part(config, "train").labels) // config.batch,
        batches=batches,
        dummy_batch=make_dummy_batch,
        loss=loss,
        validation=LOSS,
        validate=validate,
        seed_changes="the initial weights, the draws of latents in training, and the new "
        "images for the metrics; order and mirroring of the images follow from the epoch and "
        "seed_of_data",
    ),
    deployment=Deployment(
        part=chip_part,
        stimuli=stimuli,
        host=host,
        only_torch=lambda config: NO_SPIKES if config.model == "ann" else "",
    ),
    evaluation=Evaluation(metrics=METRICS, evaluate=evaluate, controls=list_controls),
)
