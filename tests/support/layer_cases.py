"""Random layers and synapses, for laws that hold for every connection."""

import numpy as np
from graphs import DT
from torch import nn

from neuro.base.seeds import seeded
from neuro.graph import Connection, Graph, Sparse
from neuro.neurons import LIF
from neuro.nn.layers import Spiking, Stack
from neuro.nn.trace import trace


def random_synapses(
    seed: int, outputs: int = 4, inputs: int = 5, synapses: int = 9, delays: int = 1
) -> tuple[dict[str, np.ndarray], Sparse]:
    """Return random synapses, parallel ones among them, as columns and as a Sparse."""
    rng = np.random.default_rng(seed)
    columns = {
        "source": rng.integers(0, inputs, synapses),
        "target": rng.integers(0, outputs, synapses),
        "weight": rng.integers(-8, 8, synapses) / 4,
        "delay": rng.integers(0, delays, synapses),
    }
    given = columns if delays > 1 else {k: v for k, v in columns.items() if k != "delay"}
    return columns, Sparse.from_coo(**given, shape=(outputs, inputs))


def random_layer(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a random torch layer and the shape that it takes."""
    rng = np.random.default_rng(seed)
    kernel, stride = (int(n) for n in rng.integers(1, 4, 2))
    padding, far = int(rng.integers(0, kernel)), int(rng.integers(0, stride))
    cut = {"stride": stride, "padding": padding}
    spread = {"dilation": int(rng.integers(1, 4)), "groups": int(rng.choice([1, 2, 4]))}
    with seeded(seed):
        layers = [
            (nn.Conv1d(2, 3, kernel, **cut), (2, 7)),
            (nn.ConvTranspose2d(2, 3, kernel, output_padding=far, **cut), (2, 4, 3)),
            (nn.ConvTranspose2d(2, 3, (kernel, 2), bias=False), (2, 4, 3)),
            (nn.Upsample(scale_factor=(stride, kernel)), (2, 3, 4)),
            (nn.Conv2d(2, 3, kernel, **cut), (2, 5, 4)),
            (nn.AvgPool2d(kernel, stride), (2, 5, 4)),
            (nn.Linear(5, 4), (5,)),
            (nn.Conv1d(4, 8, kernel, **cut, **spread), (4, 9)),
            (nn.Conv2d(4, 8, (kernel, 2), **cut, **spread), (4, 7, 9)),
        ]
    module, shape = layers[seed % len(layers)]
    return module.double(), shape


def trace_layer(module: nn.Module, shape: tuple[int, ...]) -> tuple[Connection, Graph]:
    graph = trace(Stack(layer=module, cells=Spiking(LIF(tau=0.01), DT)), shape)
    node = graph.nodes["layer"]
    assert isinstance(node, Connection)
    return node, graph
