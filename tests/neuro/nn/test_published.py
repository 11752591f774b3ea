"""Published networks: their own sizes on torch's device "meta", small ones end to end."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from lava_export import list_breaches, lower, reference
from neuro.events import simulate
from neuro.graph import GradedInput, Graph
from neuro.nn.layers import Spiking
from neuro.nn.published import build_pilotnet_sdnn
from neuro.nn.trace import trace
from neuro.spikes import to_events, to_raster


def count_weights(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_pilotnet_has_its_published_size() -> None:
    with torch.device("meta"):
        net = build_pilotnet_sdnn()
        y, _ = net(torch.empty(2, 1, 3, 33, 100))
    assert y.shape == (2, 1, 1)
    convolutions = 9 * (3 * 24 + 24 * 36 + 36 * 64 + 64 * 64)
    assert count_weights(net) == convolutions + 64 * 40 * 100 + 100 * 50 + 50 * 10 + 10


def draw_weights(net: nn.Module, spread: float) -> None:
    """Draw weights whose sums over all inputs of a neuron spread so far."""
    generator = torch.Generator().manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            std = spread / layer.weight[0].numel() ** 0.5
            nn.init.normal_(layer.weight, 0.0, std, generator=generator)


def make_graded(graph: Graph, bits: int) -> Graph:
    """Return a graph whose input takes whole numbers of so many bits."""
    node = GradedInput(shape=graph.shapes["input"], message_bits=bits)
    return replace(graph, nodes={**graph.nodes, "input": node})


def test_a_small_pilotnet_goes_from_torch_to_loihis_integers() -> None:
    net = build_pilotnet_sdnn(
        frame=(1, 33, 28), channels=(4, 4, 4, 4), hidden=(10, 6), threshold=2.0
    )
    coders = [m.model for m in net.modules() if isinstance(m, Spiking)][:-1]
    assert [float(m.threshold) for m in coders] == [2.0] * 7
    draw_weights(net, 1.4)
    graph = make_graded(trace(net, (1, 33, 28)), 8)
    rng = np.random.default_rng(0)
    there = np.arange(33)[:, None] + np.arange(28) + 3 * np.arange(12)[:, None, None]
    frames = np.rint(60 * np.sin(there / 6) + rng.uniform(-2, 2, there.shape))
    x = torch.tensor(frames[:, None, None], dtype=torch.float32)
    on_torch = net(x)[0].detach().numpy()
    inputs = {"input": to_events(frames[:, None].reshape(12, 1, -1))}
    record, _ = simulate(graph, inputs)
    (name,) = record.values
    np.testing.assert_allclose(record.values[name], on_torch, rtol=1e-3, atol=1e-3)
    sent = to_raster(record.spikes["relu2"]) != 0
    assert 0.05 < sent[1:].mean() < 0.8  # only what changed
    program = lower(graph, ticks=12)
    assert list_breaches(program, "loihi2") == []
    ours = reference.run(program, inputs, 12)
    off = reference.to_float(program, name, ours.values[name]) - on_torch
    assert np.abs(off).max() < 0.1 * np.abs(on_torch).max()
