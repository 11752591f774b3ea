"""A decoder of images: flat spikes, unflattened, painted by transposed convolutions."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import same as same_graph
from exact_laws import agree
from graphs import stimulus
from hypothesis import given, settings, strategies as st
from torch import nn
from written_graphs import chain, wire

from lava_export import lower, reference
from neuro.base.seeds import seeded
from neuro.base.units import Seconds
from neuro.energy import count
from neuro.events import Exact, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.grid.oracle import simulate_slowly
from neuro.graph import Conv2d, Dense, Flatten, Graph, GraphError, Input, Unflatten, Weighted
from neuro.graph.paths import find_routes
from neuro.interop.nest_plan import _listed
from neuro.io.graph_file import load_graph, save_graph
from neuro.neurons import LI, LIF
from neuro.nn import Net, replay
from neuro.nn.layers import Spiking, Stack
from neuro.nn.trace import TraceError, trace
from neuro.spikes.record import Record

DT = Seconds(1e-3)
SEEDS = st.integers(0, 10**6)


def cells() -> Spiking:
    return Spiking(LIF(tau=0.001, threshold=0.25, reset="hard"))


def painter(seed: int) -> Stack:
    """5 bits to images of 1 x 6 x 4; its norms have seen some batches."""
    with seeded(seed):
        stack = Stack(
            fc=nn.Linear(5, 24, bias=False),
            norm=nn.BatchNorm1d(24),
            first=cells(),
            shape=nn.Unflatten(1, (4, 3, 2)),
            up=nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1),
            wide=nn.BatchNorm2d(3),
            second=cells(),
            head=nn.Conv2d(3, 1, 3, padding=1),
            image=Spiking(LI(tau=1e-6)),
        ).double()
        for _ in range(3):
            stack((torch.rand(6, 4, 5) < 0.5).double())
    return stack.eval()


def dyadic(graph: Graph) -> Graph:
    """Weights and biases on multiples of 2^-6, so that sums are exact in any order."""
    nodes = {
        n: replace(
            node,
            weight=np.round(node.weight * 64) / 64,
            bias=None if node.bias is None else np.round(node.bias * 64) / 64,
        )
        if isinstance(node, Weighted)
        else node
        for n, node in graph.nodes.items()
    }
    return replace(graph, nodes=nodes)


def equal(one: Record, other: Record) -> None:
    np.testing.assert_equal(one.spikes, other.spikes)
    np.testing.assert_equal(one.values, other.values)


def test_batch_norms_behind_transposed_convolutions_fold_and_the_image_is_that_of_torch() -> (
    None
):
    stack = painter(0)
    graph = trace(stack, (5,))
    assert list(graph.nodes) == [
        *("input", "fc", "first", "shape", "up", "second", "head", "image")
    ]
    assert [graph.shapes[n] for n in ("first", "shape", "up", "image")] == [
        (24,),
        (4, 3, 2),
        (3, 6, 4),
        (1, 6, 4),
    ]
    x = (torch.rand(7, 3, 5, generator=torch.Generator().manual_seed(1)) < 0.5).double()
    made, _ = Net(graph)({"input": x})
    torch.testing.assert_close(made["image"], stack(x)[0], rtol=0, atol=1e-12)
    assert 0.03 < made["second"].mean() < 0.9


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=SEEDS)
def test_torch_engine_and_oracle_agree_and_count_the_same(seed: int) -> None:
    graph = dyadic(trace(painter(seed), (5,)))
    x = stimulus(graph, seed, ticks=6)
    fast, slow = simulate(graph, x)[0], simulate_slowly(graph, x)
    equal(fast, slow)
    equal(fast, replay(graph, x))
    implied = count(graph, fast)
    assert fast.counts["shape"].synaptic_events == implied["shape"].synaptic_events == 0
    for name, counted in slow.counts.items():
        assert fast.counts[name].synaptic_events_all == counted.synaptic_events_all
        assert implied[name].synaptic_events == counted.synaptic_events


@pytest.mark.parametrize("seed", [0, 1])
def test_continuous_time_reads_it_as_the_oracle_does(seed: int) -> None:
    graph = trace(painter(seed), (5,))
    graph = replace(graph, nodes={**graph.nodes, "image": LI(tau=0.01)})
    x = stimulus(graph, seed, ticks=3, samples=1)
    agree(simulate(graph, x, Exact())[0], simulate_exactly_slowly(graph, x)[0])


def test_it_comes_back_from_a_file_bit_for_bit(tmp_path) -> None:  # type: ignore[no-untyped-def]
    graph = trace(painter(0), (5,))
    save_graph(tmp_path / "graph.safetensors", graph)
    assert same_graph(load_graph(tmp_path / "graph.safetensors"), graph)


def test_integers_paint_the_image_of_the_floats_up_to_rounding() -> None:
    graph = trace(painter(0), (5,))
    x = stimulus(graph, 0, ticks=8, samples=4)
    program = lower(graph, ticks=8)
    clock, integers = replay(graph, x), reference.run(program, x, 8)
    differ = sum(
        (Counter(zip(*a[:3], strict=True)) - Counter(zip(*b[:3], strict=True))).total()
        for a, b in ((clock.spikes[n], integers.spikes[n]) for n in graph.firing)
    )
    assert differ < 0.02 * sum(len(e.tick) for e in clock.spikes.values())
    image = integers.values["image"] / (64 * program["image"].scale)
    assert (
        np.median(np.abs(image - clock.values["image"]))
        < 0.02 * np.abs(clock.values["image"]).max()
    )


def unflattened(then: Conv2d, shape: tuple[int, ...]) -> Graph:
    x = Input(shape=(int(np.prod(shape)),))
    return chain(x=x, shape=Unflatten(shape=shape), conv=then, out=LI(tau=0.01))


def test_behind_a_flat_population_a_convolution_stays_one() -> None:
    weight = np.random.default_rng(0).normal(size=(3, 2, 3, 3))
    graph = unflattened(Conv2d(weight=weight, padding=(1, 1)), (2, 4, 5))
    problems: list[str] = []
    (route,) = find_routes(graph, problems)
    assert (problems, route.kind, route.shape) == ([], "conv", (2, 4, 5))
    source, target, weights, _ = _listed(graph, graph.out_of("x") + graph.edges[1:])
    matrix = np.zeros((60, 40))
    np.add.at(matrix, (target, source), weights)
    x = torch.rand(1, 40, dtype=torch.float64)
    image = torch.conv2d(x.reshape(1, 2, 4, 5), torch.tensor(route.weight), padding=1)
    np.testing.assert_allclose(matrix @ x[0].numpy(), image.flatten().numpy())


def test_a_matrix_goes_on_through_an_unflatten_to_an_image() -> None:
    rng = np.random.default_rng(0)
    conv = Conv2d(weight=rng.normal(size=(1, 2, 2, 2)))
    graph = unflattened(conv, (2, 2, 3))
    nodes = {**graph.nodes, "x": Input(shape=(2, 2)), "flat": Flatten()}
    nodes["fc"] = Dense(weight=rng.normal(size=(12, 4)))
    (route,) = find_routes(wire("x>flat flat>fc fc>shape shape>conv conv>out", nodes), [])
    x = rng.normal(size=4)
    image = torch.tensor(nodes["fc"].weight @ x).reshape(1, 2, 2, 3)
    want = torch.conv2d(image, torch.tensor(conv.weight)).flatten()
    assert route.kind == "dense"
    np.testing.assert_allclose(route.weight @ x, want, rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "given", "said"),
    [
        ((2, 3), (5,), r"Unflatten.shape \(2, 3\) holds \(6,\), got \(5,\); change its shape"),
        ((2, 3), (2, 3), r"holds \(6,\), got \(2, 3\); put a Flatten before it"),
        ((0, 3), (6,), r"Unflatten.shape \(0, 3\) holds \(0,\), got \(6,\)"),
    ],
)
def test_what_does_not_fill_the_shape_is_refused(
    shape: tuple[int, ...], given: tuple[int, ...], said: str
) -> None:
    with pytest.raises(GraphError, match=said):
        chain(x=Input(shape=given), u=Unflatten(shape=shape), n=LIF(tau=0.01))


@pytest.mark.parametrize("module", [nn.Unflatten(2, (2, 3)), nn.Unflatten(1, (-1, 3))])
def test_another_axis_or_an_open_size_is_refused(module: nn.Module) -> None:
    with pytest.raises(TraceError, match=r"shape: Unflatten must split the axis behind"):
        trace(Stack(shape=module, cells=cells()), (6,))
