"""The weights of narrow layers in closed form, and narrow layers without closed channels.

    z = V^T (x - mean)     compress: the k strongest principal components of what crosses
    x = V z + mean         expand: their transpose, and the mean as a bias

This has the least squared error of all k-channel maps (Eckart and Young 1936), as a mean over
positions, ticks and samples. A quantiser gets the range of each component. A spike link gets

    u = (z - low) / (high - low) + 1 / (2 T)      into a neuron that integrates up to 1
    z = low + (high - low) spike

so that the number of its spikes is the sum of u over T ticks, rounded. The spike times are
lost, and few ticks round coarsely. The most active channels, sent unchanged, lose neither. A
spike link uses them if their error, tick by tick, is smaller, as it is when all channels cross.

Axes: T ticks, B samples, C channels, K of them that cross, H height, W width, N cases.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.nn.layers import Spiking, Stack
from tasks.bottlenecks.links import Gates, Quantiser
from tasks.bottlenecks.network import list_boundaries, split_before

TAIL = 1e-3  # share of the activity beyond each end of a link's range
MOST_CASES = 2**20  # cases from which the range is estimated, at most


@dataclass(frozen=True, kw_only=True)
class Components:
    """Principal components of channels.

    mean: of each channel. directions: orthonormal columns, the strongest first.
    variances: along each direction, as the sum of squares divided by N.
    """

    mean: Float[Tensor, " C"]
    directions: Float[Tensor, "C C"]
    variances: Float[Tensor, " C"]


def find_components(activity: Iterable[Float[Tensor, "T B C *S"]]) -> Components:
    """Return the principal components of activity, over positions, ticks and samples.

    Raises:
        ValueError: there is no activity.
    """
    count, total, square = 0, torch.zeros(()), torch.zeros(())
    for part in activity:
        cases = part.movedim(2, -1).reshape(-1, part.shape[2]).double()
        count += len(cases)
        total = total + cases.sum(0)
        square = square + cases.T @ cases
    if not count:
        raise ValueError("there is no activity to find components of; give a batch at least")
    mean = total / count
    covariance = square / count - torch.outer(mean, mean)
    variances, directions = torch.linalg.eigh(covariance)
    return Components(mean=mean, directions=directions.flip(1), variances=variances.flip(0))


def choose_directions(
    components: Components, width: int, begin: Literal["pca", "channels"]
) -> Float[Tensor, "C K"]:
    """Return the orthonormal directions that cross: components, or the most active channels."""
    if begin == "pca":
        return components.directions[:, :width]
    covariance = (components.directions * components.variances) @ components.directions.T
    kept = covariance.diagonal().argsort(descending=True, stable=True)[:width].sort().values
    return torch.eye(len(components.mean), dtype=components.mean.dtype)[:, kept]


@torch.no_grad()
def initialise_boundary(
    boundary: Stack,
    activity: list[Float[Tensor, "_ _ C H W"]],
    begin: Literal["pca", "channels"],
) -> None:
    """Set the weights of a narrow layer to the closed form for the activity that crosses.

    begin: "channels" sends only the most active channels, unchanged, which is pruning. "pca"
        sends principal components; a spike link sends channels instead if their error is
        smaller.
    """
    components = find_components(activity)
    if begin == "channels" or not isinstance(_take_parts(boundary)[1], Spiking):
        _put_directions(boundary, activity, components, begin)
        return
    errors = {}
    ways: tuple[Literal["pca", "channels"], ...] = ("channels", "pca")
    for way in ways:
        _put_directions(boundary, activity, components, way)
        errors[way] = sum(float(((boundary(x)[0] - x) ** 2).sum()) for x in activity)
    if errors["channels"] <= errors["pca"]:
        _put_directions(boundary, activity, components, "channels")


def _put_directions(
    boundary: Stack,
    activity: list[Tensor],
    components: Components,
    begin: Literal["pca", "channels"],
) -> None:
    """Let the strongest directions cross, and restore the mean of the others."""
    compress, link, expand = _take_parts(boundary)
    v = choose_directions(components, len(compress.weight), begin)
    mean = components.mean
    scale = torch.ones(v.shape[1], dtype=v.dtype)
    low, half = torch.zeros_like(scale), 0.0
    if isinstance(link, Spiking | Quantiser):
        low, high = _find_range(activity, v, mean)
        if isinstance(link, Quantiser):
            link.set_range(low, high)
            low = torch.zeros_like(low)
        else:
            scale, half = (high - low).clamp(min=1e-6), 0.5 / len(activity[0])
    compress.weight.copy_((v / scale).T[:, :, None, None])
    compress.bias.copy_((-mean @ v - low) / scale + half)
    expand.weight.copy_((v * scale)[:, :, None, None])
    expand.bias.copy_(mean + v @ low)


def _take_parts(boundary: Stack) -> tuple[Any, nn.Module, Any]:
    parts = dict(boundary.named_children())
    return parts["compress"], parts["link"], parts["expand"]


def _find_range(
    activity: list[Tensor], v: Float[Tensor, "C K"], mean: Float[Tensor, " C"]
) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"]]:
    """Return the range of each component, without its tails."""
    cases = torch.cat([part.movedim(2, -1).reshape(-1, part.shape[2]) for part in activity])
    cases = cases[:: -(-len(cases) // MOST_CASES)]
    z = ((cases.double() - mean) @ v).sort(0).values
    tail = int(TAIL * len(z))
    return z[tail], z[len(z) - 1 - tail]


@torch.no_grad()
def initialise_boundaries(
    model: nn.Module,
    stimuli: list[Float[Tensor, "_ _ *N"]],
    begin: Literal["pca", "channels"],
) -> None:
    """Put the closed form into every narrow layer of a network, from the first to the last.

    The activity at a cut already includes the effect of the narrow layers in front of it.
    """
    was_training = model.training
    model.eval()
    for name, boundary in list_boundaries(model).items():
        front = split_before(model, name).eval()
        initialise_boundary(boundary, [front(x)[0] for x in stimuli], begin)
    model.train(was_training)


def copy_original(model: nn.Module, original: nn.Module) -> None:
    """Copy the weights of the original into a network with narrow layers.

    Raises:
        ValueError: the networks differ in more than the narrow layers.
    """
    weights = original.state_dict()
    own = {k: v for k, v in model.state_dict().items() if not k.startswith("narrow")}
    shapes, expected = ({k: tuple(v.shape) for k, v in some.items()} for some in (weights, own))
    if shapes != expected:
        differ = sorted(k for k in shapes | expected if shapes.get(k) != expected.get(k))
        raise ValueError(
            f"the original is another network: {', '.join(differ[:8])} differ in name or "
            "shape; give its run, without narrow layers, as the teacher"
        )
    model.load_state_dict(weights, strict=False)


@torch.no_grad()
def keep_open_channels(model: nn.Module, gated: nn.Module) -> None:
    """Copy a network with gates into one without, whose narrow layers have the open channels.

    Raises:
        ValueError: the networks differ elsewhere, or widths differ from the open channels.
    """
    others = {k: v for k, v in gated.state_dict().items() if not k.startswith("narrow")}
    problems = []
    kept = list_open_channels(gated)
    for name, boundary in list_boundaries(model).items():
        width = len(_take_parts(boundary)[0].weight)
        if name not in kept or len(kept[name]) != width:
            has = f"{len(kept[name])} open" if name in kept else "no"
            problems.append(f"{name}: {width} channels, and the run with gates has {has}")
    if problems:
        raise ValueError("\n".join(["the gates are those of other widths:", *problems]))
    for name, boundary in list_boundaries(model).items():
        source = dict(gated.named_children())[name]
        parts, open_ones = dict(source.named_children()), kept[name]
        gate: Any = parts["gates"]
        compress, link, expand = _take_parts(boundary)
        old: Any = parts["compress"]
        compress.weight.copy_(old.weight[open_ones])
        compress.bias.copy_(old.bias[open_ones])
        for own, theirs in zip(link.parameters(), parts["link"].parameters(), strict=True):
            own.copy_(theirs[open_ones])
        old = parts["expand"]
        expand.weight.copy_((old.weight * gate.eval().draw()[:, None, None])[:, open_ones])
        expand.bias.copy_(old.bias)
    missing = model.load_state_dict(others, strict=False)
    if missing.unexpected_keys:
        raise ValueError(f"the run with gates has other layers: {missing.unexpected_keys}")


def list_open_channels(model: nn.Module) -> dict[str, Tensor]:
    """Return the channels that the gates of each narrow layer leave open, by its name."""
    return {
        name: part.find_open()
        for name, boundary in list_boundaries(model).items()
        for part in boundary.children()
        if isinstance(part, Gates)
    }
