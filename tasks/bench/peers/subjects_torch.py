"""A classifier in torch: peers' layers, and the fastest code that we found ourselves.

784 inputs, two layers of LIF that subtract the threshold at a spike; float32, without gradient.
All subjects count the output spikes. Axes: T ticks, B samples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.events import Clock, simulate
from neuro.graph import Dense, Graph
from neuro.spikes import to_events
from tasks.bench.harness import Run
from tasks.bench.peers.networks import TAU, feed_forward
from tasks.bench.peers.subjects_neuro import synaptic_events
from tasks.bench.stopwatch import repeat

DECAY = math.exp(-1e-3 / TAU)  # decay factor of a membrane per tick of 1 ms
THRESHOLD = 3.0

Forward = Callable[[Tensor], Tensor]  # T B I -> output spikes T B K


@dataclass(frozen=True, kw_only=True)
class TorchStimulus:
    """The stimulus of a classifier. activity: share of inputs that spike per tick."""

    batch: int = 1
    ticks: int = 100
    activity: float = 0.05
    layers: tuple[int, int, int] = (784, 512, 10)

    @property
    def raster(self) -> Float[np.ndarray, "T B I"]:
        """The input spikes, the same for every subject."""
        rng = np.random.default_rng(0)
        shape = (self.ticks, self.batch, self.layers[0])
        return (rng.random(shape) < self.activity).astype(np.float32)

    @property
    def graph(self) -> Graph:
        """The classifier."""
        return feed_forward(1, layers=self.layers).graph


def ours(stimulus: TorchStimulus, threads: int, clock: Clock) -> Run:
    """Return a run of our engine."""
    graph, inputs = stimulus.graph, {"in": to_events(stimulus.raster)}

    def once() -> tuple[int, int]:
        record, _ = simulate(graph, inputs, clock, workers=threads)
        return record.counts["out"].spikes, synaptic_events(record)

    return repeat(once)


def gemm(stimulus: TorchStimulus, threads: int) -> Run:
    """Return our own torch code: all ticks in one product, then the membranes tick by tick."""
    first, second = _weights(stimulus)

    def forward(x: Tensor) -> Tensor:
        hidden = _fire(x.flatten(0, 1) @ first, x.shape[0])
        return _fire(hidden.flatten(0, 1) @ second, x.shape[0])

    return _forward(stimulus, threads, forward)


def csr(stimulus: TorchStimulus, threads: int) -> Run:
    """Return the same code with a sparse product for the input."""
    first, second = _weights(stimulus)

    def forward(x: Tensor) -> Tensor:
        hidden = _fire(torch.sparse.mm(x, first), stimulus.ticks)
        return _fire(hidden.flatten(0, 1) @ second, stimulus.ticks)

    return _forward(stimulus, threads, forward, lambda x: x.flatten(0, 1).to_sparse_csr())


def bags(stimulus: TorchStimulus, threads: int) -> Run:
    """Return the same code with sums over the weight rows whose inputs spike."""
    first, second = _weights(stimulus)
    rows = torch.from_numpy(stimulus.raster).flatten(0, 1).to_sparse_csr()
    at, index = rows.crow_indices()[:-1], rows.col_indices()

    def forward(_: Tensor) -> Tensor:
        sums = nn.functional.embedding_bag(index, first, at, mode="sum")
        hidden = _fire(sums, stimulus.ticks)
        return _fire(hidden.flatten(0, 1) @ second, stimulus.ticks)

    return _forward(stimulus, threads, forward)


def _fire(x: Tensor, ticks: int) -> Tensor:
    """Return the spikes T B N for inputs (T B) N, which are overwritten."""
    x = x.view(ticks, -1, x.shape[-1])
    v = torch.zeros_like(x[0])
    for now in x:
        now.add_(v, alpha=DECAY)
        torch.ge(now, THRESHOLD, out=(fired := torch.empty_like(now)))
        v = now.sub(fired, alpha=THRESHOLD)
        now.copy_(fired)
    return x


def spikingjelly(stimulus: TorchStimulus, threads: int, mode: Literal["s", "m"]) -> Run:
    """Return SpikingJelly, tick by tick ("s"), or layer by layer over all ticks ("m")."""
    from spikingjelly.activation_based import functional, layer, neuron

    tau = 1 / (1 - DECAY)  # of its Euler step, which gives the same decay
    parts: list[nn.Module] = []
    for weight in _weights(stimulus):
        linear = layer.Linear(*weight.shape, bias=False, step_mode=mode)
        linear.weight.data = weight.T.contiguous()
        cells = neuron.LIFNode(tau, False, THRESHOLD, v_reset=None, step_mode=mode)
        parts += [linear, cells]
    net = nn.Sequential(*parts).eval()

    def forward(x: Tensor) -> Tensor:
        functional.reset_net(net)
        spikes: Tensor = net(x) if mode == "m" else torch.stack([net(now) for now in x])
        return spikes

    return _forward(stimulus, threads, forward)


def norse(stimulus: TorchStimulus, threads: int) -> Run:
    """Return Norse's LIF without current, tick by tick."""
    from norse.torch import LIFBoxCell, LIFBoxParameters
    from norse.torch.functional.reset import reset_subtract

    # Norse scales the input by the leak; the weights compensate.
    weights = [w / (1 - DECAY) for w in _weights(stimulus)]
    p = LIFBoxParameters(
        tau_mem_inv=torch.tensor(1.0),
        v_th=torch.tensor(THRESHOLD),
        reset_method=reset_subtract,
    )
    cells = [LIFBoxCell(p, dt=1 - DECAY) for _ in weights]
    return _by_ticks(stimulus, threads, list(zip(weights, cells, strict=True)), lambda _: None)


def snntorch(stimulus: TorchStimulus, threads: int) -> Run:
    """Return snnTorch's Leaky, tick by tick."""
    import snntorch as snn

    weights = _weights(stimulus)
    how = {"reset_mechanism": "subtract", "reset_delay": False}
    cells = [snn.Leaky(beta=DECAY, threshold=THRESHOLD, **how) for _ in weights]
    layers = list(zip(weights, cells, strict=True))
    return _by_ticks(stimulus, threads, layers, lambda cell: cell.init_leaky())


def _by_ticks(
    stimulus: TorchStimulus,
    threads: int,
    layers: list[tuple[Tensor, Any]],
    start: Callable[[Any], Any],
) -> Run:
    """Return weights followed by neurons that pass their states on; start: initial state."""

    def forward(x: Tensor) -> Tensor:
        states, out = [start(cell) for _, cell in layers], []
        for now in x:
            for k, (weight, cell) in enumerate(layers):
                now, states[k] = cell(now @ weight, states[k])
            out.append(now)
        return torch.stack(out)

    return _forward(stimulus, threads, forward)


def _weights(stimulus: TorchStimulus) -> list[Tensor]:
    """Return the weights of both layers, inputs first."""
    dense = [node for node in stimulus.graph.nodes.values() if isinstance(node, Dense)]
    return [torch.from_numpy(node.weight.T.astype(np.float32).copy()) for node in dense]


def _forward(
    stimulus: TorchStimulus, threads: int, forward: Forward, prepare: Forward = lambda x: x
) -> Run:
    torch.set_num_threads(threads)
    x = prepare(torch.from_numpy(stimulus.raster))

    def once() -> tuple[int, int]:
        with torch.inference_mode():
            return int(forward(x).sum()), 0

    return repeat(once)
