"""The parts of a spiking network that a chip runs, and their inputs: token maps and states.

The host computes what lies between the maps. The inputs of each map are recorded from the torch
network while it generates a few images. So every executor gets the same inputs, its outputs are
compared with those of torch, and a difference in one map does not spread through the sampler.
The first map is the network that answers; the others are further networks of the chip.
Axes: T ticks (tokens of an image, call by call), B samples, N tokens, D channels.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.nn.net import Net
from tasks.flow.chip import INPUT, list_maps, make_graph, make_state_graph
from tasks.flow.chip_states import list_states, record_state
from tasks.flow.config import FlowConfig
from tasks.flow.cost import count_macs
from tasks.flow.generate import draw_start, generate_path
from tasks.flow.loss import require_flow
from tasks.flow.model import FlowModel
from tasks.flow.sampler import count_calls
from tasks.runs.task import FurtherNetwork, Metric, Split, Stimulus

COMPARED = 2  # images whose map inputs every executor runs
RMS = "root mean square of the difference from the outputs on torch, over that of these"
DIFFERENCE = Metric(name="output_difference", better="lower", format=".2%", meaning=RMS)
EXECUTED = (DIFFERENCE,)


class MapRecord(NamedTuple):
    """Inputs and outputs of a map, token by token."""

    x: Float[Tensor, "T B D"]
    y: Float[Tensor, "T B M"]


def explain_only_torch(config: FlowConfig) -> str:
    """Explain why only torch runs a network, with a cure; "" if every executor runs it."""
    if config.maps == "spiking":
        return ""
    return (
        f"this network stays on torch: its maps are {config.maps}, and only spikes run on "
        "events and chips; take a run of flow:tiny_spiking"
    )


def chip_part(_: FlowConfig, model: nn.Module) -> Net:
    """Return the first token map; :func:`list_further_maps` returns the others."""
    return Net(make_graph(*next(list_maps(require_flow(model)))))


def stimuli(config: FlowConfig, model: nn.Module, split: Split) -> Iterator[Stimulus]:  # noqa: ARG001
    """Yield the inputs of the first map while a few images are generated.

    The targets are the outputs of that map on torch, B T M.
    """
    spiking = require_flow(model)
    name, _ = next(list_maps(spiking))
    seen = record_map(config, spiking, name)
    yield Stimulus({INPUT: seen.x}, seen.y.swapaxes(0, 1))


def list_further_maps(config: FlowConfig, model: nn.Module) -> dict[str, FurtherNetwork]:
    """Return all token maps except the first, and all states, by name."""
    spiking = require_flow(model)

    def make(name: str) -> FurtherNetwork:
        def drive(_: Split) -> Iterator[Stimulus]:
            yield Stimulus({INPUT: record_map(config, spiking, name).x}, ())

        part = Net(make_graph(name, maps[name]))
        return FurtherNetwork(module=part, stimuli=drive, ann_passes=count_ticks(config))

    def make_state(name: str) -> FurtherNetwork:
        def drive(_: Split) -> Iterator[Stimulus]:
            start = draw_start(config, COMPARED, 0)
            yield Stimulus({INPUT: record_state(config, spiking, name, start).x}, ())

        return FurtherNetwork(
            module=Net(make_state_graph(name, config.width * config.width // config.heads)),
            stimuli=drive,
            runs=count_branches(config),
            ann_passes=config.steps,
        )

    maps = dict(list_maps(spiking))
    further = {name: make(name) for name in list(maps)[1:]}
    return {**further, **{name: make_state(name) for name in list_states(spiking)}}


def count_branches(config: FlowConfig) -> int:
    """Return the number of states per image and block: two with guidance, else one."""
    return 1 if config.guidance == 1 else 2


def record_map(config: FlowConfig, model: FlowModel, name: str) -> MapRecord:
    """Record the inputs and outputs of a map while a few images are generated."""
    inputs, outputs = list[Tensor](), list[Tensor]()

    def keep(_: nn.Module, given: tuple[Float[Tensor, "1 B N D"], ...], out: Tensor) -> None:
        inputs.append(given[0][0].transpose(0, 1).cpu())
        outputs.append(out[0].transpose(0, 1).cpu())

    with dict(list_maps(model))[name].register_forward_hook(keep):
        generate_path(config, model, draw_start(config, COMPARED, 0))
    return MapRecord(torch.cat(inputs), torch.cat(outputs))


def decode(
    config: FlowConfig,  # noqa: ARG001
    model: nn.Module,  # noqa: ARG001
    outputs: Mapping[str, Tensor],
) -> Float[Tensor, "B T M"]:
    """Return the values of the only output."""
    (y,) = outputs.values()
    return y.swapaxes(0, 1)


def measure(
    _: FlowConfig, answers: Float[Tensor, "B T M"], targets: Float[Tensor, "B T M"]
) -> dict[str, float]:
    """Return the share by which a map's outputs differ from those on torch."""
    apart = answers.double() - targets.double()
    return {DIFFERENCE.name: float(apart.norm() / targets.double().norm())}


def count_ticks(config: FlowConfig) -> int:
    """Return the ticks per sample: the tokens of an image, times the network calls."""
    return config.tokens * count_calls(config.sampler, config.steps, config.guidance)


def host(config: FlowConfig, model: nn.Module) -> dict[str, int]:
    """Return the multiply-accumulates per sample that the host computes between the maps."""
    spiking = require_flow(model)
    calls = count_calls(config.sampler, config.steps, config.guidance)
    of_maps = sum(layer.weight.numel() for _, layer in list_maps(spiking)) * config.tokens
    kept = len(list_states(spiking)) * config.width * config.width // config.heads
    on_chip = calls * of_maps + config.steps * count_branches(config) * kept
    return {"attention, outer products, embeddings": calls * count_macs(config) - on_chip}
