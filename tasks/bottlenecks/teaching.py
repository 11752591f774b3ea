"""The loss of a narrow network: labels, the original's answers, and features behind the cuts.

    loss = (1 - soft) CE + soft t^2 KL(softmax(teacher / t) || softmax(own / t))
         + features mean squared error of the narrow layers' outputs
         + penalty expected kilobits, of a bitmap or of address events

Axes: T ticks, B batch, K classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neuro.energy import AER
from neuro.io.run_folder import RunError
from neuro.nn.layers import Stack, list_steps
from tasks.bottlenecks.boundary import (
    copy_original,
    initialise_boundaries,
    keep_open_channels,
)
from tasks.bottlenecks.config import BottleneckConfig, count_bits_of_channel
from tasks.bottlenecks.links import Gates
from tasks.bottlenecks.network import name_boundary
from tasks.images.classification.network import scores
from tasks.runs.find import open_folder
from tasks.runs.provenance import describe_trained
from tasks.runs.trained_run import load_trained_model


@lru_cache(maxsize=4)
def load_run_model(folder: str, weights: str) -> Stack:
    """Return the trained model of a run, in evaluation, without gradients.

    weights: required digest of the weights; "": any.

    Raises:
        RunError: the folder is missing or holds no run, or its weights have changed.
    """
    path = Path(folder)
    run = open_folder(path)
    if weights and describe_trained(path)["weights"] != weights:
        raise RunError(
            f"{path}: its weights have changed since a narrow network began to imitate them; "
            "put them back, or narrow the network again in another folder"
        )
    model = load_trained_model(run)
    if not isinstance(model, Stack):
        raise RunError(f"{path}: is no run of bottlenecks; give the run of the original")
    return model.requires_grad_(False)


def distil(
    own: Float[Tensor, "B K"], teacher: Float[Tensor, "B K"], temperature: float
) -> Float[Tensor, ""]:
    """Return the divergence of the teacher's answers from ``own``, times temperature²."""
    log_p, log_q = (F.log_softmax(s / temperature, 1) for s in (own, teacher))
    return temperature**2 * F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


@contextmanager
def watch_outputs(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of modules that run inside the ``with`` block, by name."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            value = output[0] if isinstance(output, tuple) else output
            if isinstance(value, Tensor):
                seen[name] = value

        return hook

    handles = [
        module.register_forward_hook(keep(name))  # type: ignore[arg-type]
        for name, module in modules.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def find_fronts(original: Stack, names: list[str]) -> dict[str, nn.Module]:
    """Return the original's module whose output crosses each cut, by narrow layer."""
    modules = dict(list_steps(original))
    behind = {name: name.removeprefix("narrow") for name in names}
    return {n: modules["cells" if k == "0" else f"block{k}"] for n, k in behind.items()}


def compute_loss(
    config: BottleneckConfig, side: int, model: nn.Module, x: Tensor, labels: Tensor
) -> Float[Tensor, ""]:
    """Return the mean loss of a batch. side: of the image."""
    narrow = config.narrow
    names = {name_boundary(after) for after in narrow.after}
    boundaries: dict[str, nn.Module] = {
        name.rpartition(".")[2]: part
        for name, part in model.named_modules()
        if name.rpartition(".")[2] in names
    }
    links = {name: dict(part.named_children())["link"] for name, part in boundaries.items()}
    with watch_outputs(boundaries) as arrived, watch_outputs(links) as crossed:
        answers = scores(model(x)[0], _count_classes(model))
    bits = price_bits(config, side, boundaries, crossed)
    if not narrow.teacher:
        return F.cross_entropy(answers, labels) + bits
    original = load_run_model(narrow.teacher, narrow.teacher_weights).to(x.device)
    fronts = find_fronts(original, list(boundaries))
    with torch.no_grad(), watch_outputs(fronts) as sent:
        target = scores(original(x)[0], answers.shape[1])
    loss = (1 - narrow.soft) * F.cross_entropy(answers, labels)
    loss = loss + narrow.soft * distil(answers, target, narrow.temperature)
    for name, value in arrived.items():
        loss = loss + narrow.features * F.mse_loss(value, sent[name].reshape(value.shape))
    return loss + bits


def _count_classes(model: nn.Module) -> int:
    """Return the number of outputs of the last dense layer."""
    return [m.out_features for m in model.modules() if isinstance(m, nn.Linear)][-1]


def price_bits(
    config: BottleneckConfig,
    side: int,
    boundaries: dict[str, nn.Module],
    crossed: dict[str, Tensor],
) -> Float[Tensor, ""]:
    """Return the penalty of the bits that are expected to cross.

    boundaries: narrow layers by name. crossed: outputs of their links, T B C H W.

        bitmap  sum of P(open) T H W over the channels of gates, times the bits of a value
        aer     sum of P(open) spikes ceil(log2 N), N the neurons of the channels left open
    """
    narrow, kilobits = config.narrow, torch.zeros(())
    if not narrow.penalty:
        return kilobits
    for name, boundary in boundaries.items():
        gates = next((part for part in boundary.children() if isinstance(part, Gates)), None)
        sent = crossed[name]
        if narrow.price == "bitmap":
            if gates is None:
                continue
            bits = count_bits_of_channel(config, side, int(name.removeprefix("narrow")))
            expected = gates.expect_open().sum() * bits
        else:
            width = sent.shape[2] if gates is None else len(gates.find_open())
            neurons = width * sent.shape[3] * sent.shape[4]
            spikes = sent.sum((0, 3, 4)).mean(0)
            each = AER.count_bits(neurons, config.ticks, 1.0)
            expected = each * (spikes if gates is None else spikes * gates.expect_open()).sum()
        kilobits = expected / 1000 + kilobits.to(expected.device)
    return narrow.penalty * kilobits


def begin_training(config: BottleneckConfig, model: nn.Module, stimuli: list[Tensor]) -> None:
    """Put the original's weights and the closed form of the narrow layers into a network.

    stimuli: inputs of the original from which the closed form is computed.

    Raises:
        RunError: the run of the original is missing or has changed.
    """
    narrow = config.narrow
    if narrow.gates:
        keep_open_channels(model, load_run_model(narrow.gates, ""))
        return
    if not narrow.teacher or narrow.begin == "random":
        return
    original = load_run_model(narrow.teacher, narrow.teacher_weights)
    copy_original(model, original)
    initialise_boundaries(model, stimuli, narrow.begin)
