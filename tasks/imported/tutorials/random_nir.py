"""Random NIR graphs, which test that an imported Graph has the spikes of NIR's equations."""

from typing import Any

import nir
import numpy as np


def draw_graph(seed: int) -> nir.NIRGraph:
    """Return a random NIR graph: images, then vectors, recurrent or nested parts, read-outs.

    Times are in seconds; a step of 1e-4 s suits all of them.
    """
    rng = np.random.default_rng(seed)
    draw = _Drawing(rng)
    shape = draw.images() if rng.random() < 0.5 else draw.vectors()
    draw.populations(shape)
    return nir.NIRGraph(nodes=draw.nodes, edges=draw.edges, type_check=False)


class _Drawing:
    """A graph while it is drawn; ``end`` is the last node so far."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.end = rng, ""
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []

    def add(self, node: Any) -> str:
        name = f"{type(node).__name__.lower()}{len(self.nodes)}"
        self.nodes[name] = node
        if self.end:
            self.edges.append((self.end, name))
        self.end = name
        return name

    def weight(self, *shape: int) -> np.ndarray:
        return np.asarray(self.rng.normal(size=shape) * 2 / np.sqrt(np.prod(shape[1:])))

    def images(self) -> int:
        """Draw an Input of images, a convolution, neurons, a pool and a Flatten."""
        rng = self.rng
        groups = int(rng.integers(1, 3))
        channels, out = 2 * groups, 2 * groups
        size = tuple(int(n) for n in rng.integers(5, 8, 2))
        one = rng.random() < 0.3
        shape = (channels, size[0]) if one else (channels, *size)
        self.add(nir.Input(np.array(shape)))
        kernel = tuple(int(n) for n in rng.integers(1, 4, 1 if one else 2))
        same = rng.random() < 0.3
        common = {
            "weight": self.weight(out, channels // groups, *kernel),
            "bias": rng.normal(size=out) * 0.1,
            "groups": groups,
        }
        padding, dilation = int(rng.integers(0, 2)), int(rng.integers(1, 3))
        stride = 1 if same else int(rng.integers(1, 3))
        if one:
            self.add(
                nir.Conv1d(
                    input_shape=size[0],
                    stride=stride,
                    padding="same" if same else padding,
                    dilation=dilation,
                    **common,
                )
            )
        else:
            self.add(
                nir.Conv2d(
                    input_shape=size,
                    stride=(stride, 1),
                    padding="same" if same else (padding, 1),
                    dilation=(1, dilation),
                    **common,
                )
            )
        after = tuple(
            n if same else (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                shape[1:], kernel, (stride, 1), (padding, 1), (1, dilation), strict=False
            )
        )
        if one:
            after = (
                size[0]
                if same
                else (size[0] + 2 * padding - dilation * (kernel[0] - 1) - 1) // stride + 1,
            )
        shape = (out, *after)
        self.add(self.neuron(shape))
        if not one and min(after) >= 3:
            pool = nir.SumPool2d if rng.random() < 0.5 else nir.AvgPool2d
            pad = int(rng.integers(0, 2))
            self.add(pool(np.array([2, 2]), np.array([2, 1]), np.array([pad, pad])))
            shape = (out, (after[0] + 2 * pad - 2) // 2 + 1, after[1] + 2 * pad - 1)
        if not one and rng.random() < 0.5:
            self.add(nir.Flatten({"input": np.array(shape)}, start_dim=1, end_dim=2))
            shape = (shape[0], shape[1] * shape[2])
        self.add(nir.Flatten({"input": np.array(shape)}, start_dim=0, end_dim=-1))
        return int(np.prod(shape))

    def vectors(self) -> int:
        """Draw an Input of vectors, scaled or delayed."""
        size = int(self.rng.integers(2, 8))
        self.add(nir.Input(np.array([size])))
        if self.rng.random() < 0.4:
            self.add(nir.Scale(self.rng.normal(size=size) + 1))
        if self.rng.random() < 0.4:
            same = self.rng.random() < 0.5
            wait = self.rng.integers(0, 4, 1 if same else size) * np.ones(size)
            self.add(nir.Delay(wait * 1e-4))
        return size

    def populations(self, size: int) -> None:
        """Draw two or three layers, one possibly recurrent or a subgraph, and an Output."""
        rng = self.rng
        for _ in range(rng.integers(2, 4)):
            out = int(rng.integers(2, 7))
            if rng.random() < 0.5:
                self.add(nir.Affine(self.weight(out, size), rng.normal(size=out) * 0.2))
            else:
                self.add(nir.Linear(self.weight(out, size)))
            if rng.random() < 0.3:
                self.add(self.subgraph(out))
            else:
                name = self.add(self.neuron((out,)))
                if rng.random() < 0.4:
                    back = self.add(nir.Affine(self.weight(out, out), rng.normal(size=out)))
                    self.edges.append((back, name))
                    self.end = name
            size = out
        if rng.random() < 0.4:
            self.add(nir.Linear(self.weight(size, size)))
            self.add(self.integrator((size,)))
            if rng.random() < 0.3:
                self.add(nir.Threshold(np.full(size, 0.3)))
        self.add(nir.Output(np.array([size])))

    def subgraph(self, size: int) -> nir.NIRGraph:
        """Return a recurrent population as a separate graph."""
        nodes = {
            "input": nir.Input(np.array([size])),
            "lif": self.neuron((size,)),
            "w_rec": nir.Linear(self.weight(size, size)),
            "output": nir.Output(np.array([size])),
        }
        edges = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
        return nir.NIRGraph(nodes=nodes, edges=edges, type_check=False)

    def parameter(self, shape: tuple[int, ...], low: Any, high: Any) -> np.ndarray:
        """Return a parameter: one value for all, one per channel or one per neuron."""
        ones = [(1,) * len(shape), (shape[0], *(1,) * (len(shape) - 1)), shape]
        own = self.rng.uniform(low, high, ones[self.rng.integers(3)])
        return np.array(np.broadcast_to(own, shape))

    def neuron(self, shape: tuple[int, ...]) -> Any:
        """Return an IF, a LIF or a CubaLIF with its own leak and reset."""
        rest = self.parameter(shape, -0.5, 0.5) * (self.rng.random() < 0.5)
        high = rest + self.parameter(shape, 0.5, 1.5)
        reset = high - self.parameter(shape, 0.1, 2.0)
        if self.rng.random() < 0.25:
            r, high = self.parameter(shape, 5e3, 2e4), self.parameter(shape, 0.5, 1.5)
            return nir.IF(r=r, v_threshold=high, v_reset=high - 1)
        common = {"r": self.parameter(shape, 1.0, 8.0), "v_leak": rest}
        common |= {"v_threshold": high, "v_reset": reset}
        tau = self.parameter(shape, 2e-4, 2e-3)
        if self.rng.random() < 0.5:
            return nir.LIF(tau=tau, **common)
        tau_syn = tau if self.rng.random() < 0.2 else self.parameter(shape, 2e-4, 2e-3)
        w_in = self.parameter(shape, 1.0, 8.0)
        return nir.CubaLIF(tau_mem=tau, tau_syn=tau_syn, w_in=w_in, **common)

    def integrator(self, shape: tuple[int, ...]) -> Any:
        """Return an I, a LI or a CubaLI."""
        kind, r = self.rng.integers(3), self.parameter(shape, 0.5, 2.0)
        if kind == 0:
            return nir.I(r=r * 1e3)
        tau, zero = self.parameter(shape, 2e-4, 2e-3), np.zeros(shape)
        if kind == 1:
            return nir.LI(tau=tau, r=r, v_leak=zero)
        tau_syn, w_in = self.parameter(shape, 2e-4, 2e-3), self.parameter(shape, 1, 8)
        return nir.CubaLI(tau_mem=tau, tau_syn=tau_syn, r=r, v_leak=zero, w_in=w_in)
