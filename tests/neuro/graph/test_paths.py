from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, strategies as st
from torch import Tensor
from written_graphs import chain, wire

from neuro.base.units import Seconds
from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    Dense,
    Edge,
    Flatten,
    Graph,
    Input,
    Node,
    Sparse,
)
from neuro.graph.partition import assign_lags, find_tight_loops
from neuro.graph.paths import Route, find_bias, find_gain, find_routes
from neuro.graph.random import fixed_probability
from neuro.graph.sparse import to_dense
from neuro.neurons import ALIF, LI, LIF

DT = Seconds(1e-3)


def through(linear: list[Node], shape: tuple[int, ...], end: Node | None = None) -> Graph:
    """Return a graph of one chain of linear nodes, n0, n1, ..., from in to out."""
    nodes = {f"n{k}": node for k, node in enumerate(linear)}
    return chain(**{"in": Input(shape=shape)}, **nodes, out=end or LI(tau=0.01))


def only_route(graph: Graph) -> Route:
    problems: list[str] = []
    (route,) = find_routes(graph, problems)
    assert problems == []
    return route


def by_torch(chain: list[Node], x: Tensor) -> Tensor:
    for node in chain:
        if isinstance(node, AvgPool2d):
            x = F.avg_pool2d(x, node.kernel, node.stride)
        elif isinstance(node, Conv2d):
            weight = torch.tensor(np.array(node.weight, np.float64))
            x = F.conv2d(x, weight, None, node.stride, node.padding)
        elif isinstance(node, Conv1d):
            x = F.conv1d(x, torch.tensor(node.weight), None, node.stride, node.padding)
        elif isinstance(node, Sparse):
            x = F.linear(x, torch.tensor(to_dense(node).weight))
        elif isinstance(node, Dense):
            x = F.linear(x, torch.tensor(np.array(node.weight, np.float64)))
        else:
            x = x.flatten(1)
    return x.flatten(1)


def by_route(route: Route, x: Tensor) -> Tensor:
    weight = torch.tensor(route.weight)
    if route.kind == "conv":
        images = x.reshape(len(x), *route.shape)
        return F.conv2d(images, weight, None, route.stride, route.padding).flatten(1)
    return x.flatten(1) * weight if route.kind == "identity" else x.flatten(1) @ weight.T


def pool(kernel: int, stride: int) -> AvgPool2d:
    return AvgPool2d(kernel=(kernel, kernel), stride=(stride, stride))


def conv(*shape: int, stride: int = 1, padding: int = 0) -> Conv2d:
    weight = np.random.default_rng(0).normal(size=shape)
    return Conv2d(weight=weight, stride=(stride, stride), padding=(padding, padding))


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Node], tuple[int, int, int]]:
    """Pools and convolutions of any stride and padding, overlaps and gaps; maybe a Dense."""
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    shape = channels, height, width = 2, draw(st.integers(4, 9)), draw(st.integers(4, 9))
    chain: list[Node] = []
    for _ in range(draw(st.integers(1, 3))):
        sizes = (height, width)
        kernel = tuple(draw(st.integers(1, min(3, n))) for n in sizes)
        stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        padding = (0, 0)
        if draw(st.booleans()):
            chain.append(AvgPool2d(kernel=kernel, stride=stride))
        else:
            padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
            weight = rng.normal(size=(3, channels, *kernel))
            chain.append(Conv2d(weight=weight, stride=stride, padding=padding))
            channels = 3
        height, width = (
            (n + 2 * p - k) // s + 1
            for n, p, k, s in zip(sizes, padding, kernel, stride, strict=True)
        )
    if draw(st.booleans()):
        chain.append(Flatten())
        if draw(st.booleans()):
            chain.append(Dense(weight=rng.normal(size=(4, channels * height * width))))
    return chain, shape


@given(made=chains(), seed=st.integers(0, 999))
def test_a_route_does_to_any_image_what_torch_does_layer_by_layer(
    made: tuple[list[Node], tuple[int, int, int]], seed: int
) -> None:
    linear, shape = made
    graph = through(linear, shape)
    route = only_route(graph)
    x = torch.tensor(np.random.default_rng(seed).normal(size=(3, *shape)))
    expected = by_torch(linear, x) * torch.tensor(find_gain(graph, "out").copy())
    torch.testing.assert_close(by_route(route, x), expected, rtol=1e-10, atol=1e-12)


def joined(shapes: list[tuple[int, ...]], *then: Node) -> Graph:
    """Return inputs x0, x1, ..., joined, the first once more 2 ticks later, then a chain."""
    names = [f"x{k}" for k in range(len(shapes))]
    nodes: dict[str, Node] = {n: Input(shape=s) for n, s in zip(names, shapes, strict=True)}
    nodes |= {"c": Concat(), **{f"n{k}": node for k, node in enumerate(then)}}
    nodes["out"] = LI(tau=0.01)
    behind = ["c", *(f"n{k}" for k in range(len(then))), "out"]
    edges = [f"{name}>c" for name in names] + ["x0>c:2"]
    return wire(" ".join([*edges, *(f"{a}>{b}" for a, b in pairwise(behind))]), nodes)


@pytest.mark.parametrize(
    ("shape", "then", "kind"),
    [
        ((2, 5, 4), [conv(3, 5, 2, 2, padding=1)], "conv"),
        ((2, 5, 4), [pool(2, 2), conv(3, 5, 2, 2)], "conv"),
        ((2, 5, 4), [Flatten(), Dense(weight=np.ones((3, 100)))], "dense"),
        ((2, 5, 4), [], "conv"),
        ((2,), [Dense(weight=np.arange(15.0).reshape(3, 5))], "dense"),
        ((2,), [], "dense"),
        ((2, 7), [Conv1d(weight=np.arange(60.0).reshape(4, 5, 3), padding=1)], "conv"),
        ((2, 7), [], "conv"),
    ],
)
def test_each_edge_into_a_concat_is_a_route_of_its_own(
    shape: tuple[int, ...], then: list[Node], kind: str
) -> None:
    shapes = [shape, (1, *shape[1:])]
    graph = joined(shapes, *then)
    problems: list[str] = []
    found = find_routes(graph, problems)
    assert problems == []
    assert [(r.source, r.delay, r.kind) for r in found] == [
        ("x0", 0, kind),
        ("x0", 2, kind),
        ("x1", 0, kind),
    ]
    rng = np.random.default_rng(0)
    x0, again, x1 = (torch.tensor(rng.normal(size=(3, *s))) for s in [shape, *shapes])
    expected = by_torch(then, torch.cat([x0, x1, again], 1))
    made = sum(by_route(r, x) for r, x in zip(found, (x0, again, x1), strict=True))
    scaled = expected * torch.tensor(find_gain(graph, "out").copy())
    torch.testing.assert_close(made, scaled, rtol=1e-10, atol=1e-12)


def test_a_bias_before_a_concat_reaches_its_own_place() -> None:
    graph = joined([(2,), (1,)], Dense(weight=np.eye(5), bias=np.ones(5)))
    nodes = {**graph.nodes, "b": Dense(weight=np.eye(1), bias=np.array([4.0]))}
    edges = [e._replace(target="b") if e.source == "x1" else e for e in graph.edges]
    edges.insert(1, Edge("b", "c"))
    problems: list[str] = []
    found, since = find_bias(Graph(nodes=nodes, edges=tuple(edges), dt=DT), "out", problems)
    np.testing.assert_allclose(found / find_gain(graph, "out"), [1, 1, 5, 1, 1])
    assert (since, problems) == (0, [])


def test_a_pool_and_a_convolution_are_one_strided_convolution() -> None:
    route = only_route(through([pool(2, 2), conv(4, 3, 3, 3, padding=1)], (3, 8, 8)))
    assert (route.name, route.kind, route.shape) == ("n0+n1", "conv", (3, 8, 8))
    assert route.weight.shape == (4, 3, 6, 6)
    assert (route.stride, route.padding) == ((2, 2), (2, 2))


def test_two_convolutions_of_a_sequence_are_one_convolution() -> None:
    rng = np.random.default_rng(0)
    chain: list[Node] = [
        Conv1d(weight=rng.normal(size=(4, 3, 2)), stride=2),
        Conv1d(weight=rng.normal(size=(5, 4, 3)), padding=1),
        Flatten(),
    ]
    route = only_route(through(chain, (3, 8)))
    assert (route.kind, route.shape, route.out_shape) == ("conv", (3, 1, 8), (5, 1, 4))
    assert (route.weight.shape, route.stride, route.padding) == ((5, 3, 1, 6), (1, 2), (0, 2))
    x = torch.tensor(rng.normal(size=(3, 3, 8)))
    y = by_torch(chain, x) * torch.tensor(find_gain(through(chain, (3, 8)), "out").copy())
    torch.testing.assert_close(by_route(route, x), y, rtol=1e-10, atol=1e-12)


def test_a_grouped_and_dilated_convolution_behind_a_pool_keeps_its_groups() -> None:
    rng = np.random.default_rng(0)
    grouped = Conv2d(weight=rng.normal(size=(6, 2, 3, 2)), groups=2, dilation=(1, 2))
    graph = through([pool(2, 2), grouped], (4, 12, 10))
    route = only_route(graph)
    assert (route.kind, route.groups, route.weight.shape) == ("conv", 2, (6, 2, 6, 6))
    x = torch.tensor(rng.normal(size=(3, 4, 12, 10)))
    y = F.conv2d(F.avg_pool2d(x, 2), torch.tensor(grouped.weight), None, 1, 0, (1, 2), 2)
    y = y.flatten(1) * torch.tensor(find_gain(graph, "out").copy())
    found = route.conv.apply(x, torch.tensor(route.weight), None)
    torch.testing.assert_close(found.flatten(1), y, rtol=1e-10, atol=1e-12)


def test_a_padded_convolution_behind_an_overlapping_pool_is_a_matrix() -> None:
    # In the padding of the second the composed kernel would see half windows of the first.
    route = only_route(through([pool(3, 1), conv(4, 3, 3, 3, padding=1)], (3, 6, 6)))
    assert (route.kind, route.weight.shape) == ("dense", (4 * 16, 3 * 36))


def test_a_padded_convolution_behind_a_pool_that_leaves_pixels_over_is_a_matrix() -> None:
    assert only_route(through([pool(2, 2), conv(1, 1, 3, 3)], (1, 7, 7))).kind == "conv"
    padded = through([pool(2, 2), conv(1, 1, 3, 3, padding=1)], (1, 7, 7))
    assert only_route(padded).kind == "dense"


def test_listed_synapses_are_a_matrix_alone_and_in_a_chain() -> None:
    listed = fixed_probability(6, 5, 0.5, 0.5, np.random.default_rng(0))
    dense = Dense(weight=np.random.default_rng(0).normal(size=(3, 5)))
    x = torch.rand(4, 1, 2, 3, dtype=torch.float64)
    for linear in ([listed], [listed, dense], [Flatten(), listed]):
        own = x if isinstance(linear[0], Flatten) else x.flatten(1)
        graph = through(linear, tuple(own.shape[1:]))
        route = only_route(graph)
        assert route.kind == "dense"
        expected = by_torch(linear, own) * torch.tensor(find_gain(graph, "out").copy())
        torch.testing.assert_close(by_route(route, own), expected)


@pytest.mark.slow
def test_listed_synapses_too_many_for_a_matrix_stay_listed() -> None:
    listed = fixed_probability(5000, 5000, 1e-4, 1.0, np.random.default_rng(0))
    graph = through([listed], (5000,), ALIF(leak=np.linspace(0.1, 0.9, 5000, dtype=np.float32)))
    route = only_route(graph)
    assert (route.kind, route.sizes) == ("sparse", (5000, 5000))
    matrix = np.zeros(route.sizes)
    np.add.at(matrix, tuple(route.places), route.weight)
    want = find_gain(graph, "out")[:, None] * to_dense(listed).weight
    np.testing.assert_array_equal(matrix, want)
    assert route.weight.size == np.count_nonzero(want)


def test_more_synapses_than_a_chip_holds_are_reported_with_their_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = fixed_probability(60, 50, 0.1, 1.0, np.random.default_rng(0))
    number = np.count_nonzero(to_dense(listed).weight)
    monkeypatch.setattr("neuro.graph.paths.LIMIT", number)
    assert only_route(through([listed], (60,))).kind == "sparse"
    monkeypatch.setattr("neuro.graph.paths.LIMIT", number - 1)
    problems: list[str] = []
    assert find_routes(through([listed], (60,)), problems) == []
    (said,) = problems
    assert f"has {number} synapses or more, more than a whole chip holds" in said
    assert said.endswith("use smaller populations, or run it on the event engine")


def test_a_gain_for_each_channel_scales_kernels_and_one_for_each_neuron_makes_a_matrix() -> (
    None
):
    layer = conv(2, 1, 2, 2)
    by_channel = np.array([0.25, 0.5], np.float32)[:, None, None]
    graph = through([layer], (1, 3, 3), ALIF(leak=by_channel))
    route = only_route(graph)
    assert route.kind == "conv"
    factor = find_gain(graph, "out").reshape(2, 4)[:, 0]
    np.testing.assert_allclose(route.weight, layer.weight * factor[:, None, None, None])
    by_neuron = np.linspace(0.25, 0.5, 8, dtype=np.float32).reshape(2, 2, 2)
    assert only_route(through([layer], (1, 3, 3), ALIF(leak=by_neuron))).kind == "dense"


def test_a_direct_edge_is_an_identity_and_delays_along_a_way_add_up() -> None:
    nodes = {"in": Input(shape=(2,)), "a": LIF(tau=0.01), "w": Dense(weight=np.eye(2))}
    nodes["out"] = LI(tau=0.01)
    first, second = find_routes(wire("in>a:1 a>w:2 w>out:3", nodes), [])
    assert (first.name, first.kind, first.delay) == ("in->a", "identity", 1)
    assert first.weight.shape == (2,)
    assert (second.name, second.via, second.delay) == ("w", ("w",), 5)


@pytest.mark.slow
def test_a_chain_too_large_for_a_matrix_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = [pool(3, 1), conv(4, 1, 3, 3, padding=1)]
    route = only_route(through(chain, (1, 70, 70)))
    assert (route.kind, route.sizes) == ("sparse", (4 * 68 * 68, 4900))
    small = through(chain, (1, 7, 6))
    matrix = only_route(small)
    monkeypatch.setattr("neuro.graph.paths.LIMIT", matrix.weight.size - 1)
    monkeypatch.setattr(
        "neuro.graph.impulse.VALUES", 5 * matrix.weight.shape[0]
    )  # five at a time
    listed = only_route(small)
    assert (matrix.kind, listed.kind) == ("dense", "sparse")
    found = np.zeros(matrix.weight.shape)
    found[tuple(listed.places)] = listed.weight
    np.testing.assert_allclose(found, matrix.weight, rtol=1e-15, atol=0)
    monkeypatch.setattr("neuro.graph.paths.LIMIT", 10)
    problems: list[str] = []
    assert find_routes(small, problems) == []
    assert problems[0].startswith("in -> n0 -> n1 -> out: is no single convolution, and has ")
    assert problems[0].endswith(
        " synapses or more, more than a whole chip holds; put a population between, make "
        "kernel, stride and size fit, or use one leak for each channel"
    )


def biased(delay_before: int, delay_after: int) -> Graph:
    nodes = {
        "in": Input(shape=(2,)),
        "a": Dense(weight=np.eye(2), bias=np.array([1, 2])),
        "b": Dense(weight=np.array([[1, 1]]), bias=np.array([0.5])),
        "out": LIF(tau=0.01, threshold=1.0),
    }
    return wire(f"in>a:7 a>b:{delay_before} b>out:{delay_after}", nodes)


def test_biases_go_through_later_nodes_and_wait_for_later_delays() -> None:
    problems: list[str] = []
    graph = biased(0, 2)
    total, since = find_bias(graph, "out", problems)
    np.testing.assert_allclose(total, 3.5 * find_gain(graph, "out"))
    assert (since, problems) == (2, [])


def test_biases_that_set_in_at_different_ticks_are_reported_with_their_cure() -> None:
    problems: list[str] = []
    find_bias(biased(1, 2), "out", problems)
    assert problems == [
        "out: biases arrive after [2, 3] ticks, a neuron has one bias; put the delays on the "
        "edges into the biased nodes"
    ]


def looped(delay: int) -> Graph:
    nodes = {"in": Input(shape=(2,)), "a": LIF(tau=0.01), "b": LIF(tau=0.01)}
    nodes |= {"there": Dense(weight=np.eye(2)), "back": Dense(weight=np.eye(2))}
    return wire(f"in>a a>there there>b b>back:{delay} back>a", nodes)


def test_every_connection_takes_a_step_that_delays_may_hide() -> None:
    graph = looped(2)
    found = find_routes(graph, [])
    assert find_tight_loops(graph, found) == []
    assert assign_lags(["in", "a", "b"], found) == {"in": 0, "a": 1, "b": 2}


def test_a_loop_of_less_delay_than_connections_is_reported_with_its_cure() -> None:
    graph = looped(1)
    (problem,) = find_tight_loops(graph, find_routes(graph, []))
    assert problem.startswith("loop ")
    assert "its delays add up to 1 ticks" in problem
    assert problem.endswith("make them at least 2")


def test_the_gain_of_an_input_is_refused() -> None:
    with pytest.raises(TypeError, match="in is no population"):
        find_gain(looped(2), "in")


def test_several_ways_between_the_same_populations_are_several_routes() -> None:
    graph = wire(
        "x>a:1 a>b:2 a>n b>n x>n:4",
        {
            "x": Input(shape=(2,)),
            "a": Dense(weight=np.eye(2)),
            "b": Dense(weight=2 * np.eye(2)),
            "n": LIF(tau=1.0),
        },
    )
    found = {r.name: (r.delay, r.weight.max()) for r in find_routes(graph, [])}
    assert found == {"a": (1, 1.0), "a+b": (3, 2.0), "x->n": (4, 1.0)}


def link(source: str, target: str, delay: int) -> Route:
    return Route(
        source=source, target=target, via=(), delay=delay, kind="identity", weight=np.ones(1)
    )


def test_lags_are_the_longest_way_less_its_delays() -> None:
    found = [link("x", "a", 0), link("a", "b", 0), link("x", "b", 0), link("b", "a", 2)]
    assert assign_lags(["x", "a", "b"], found) == {"x": 0, "a": 1, "b": 2}
    found = [link("x", "a", 5), link("a", "b", 0)]
    assert assign_lags(["x", "a", "b"], found) == {"x": 0, "a": 0, "b": 1}


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), max_size=12)
)
def test_lags_leave_every_connection_its_step_and_none_could_be_smaller(
    ways: list[tuple[int, int, int]],
) -> None:
    names = [f"p{i}" for i in range(5)]
    found = [link(names[a], names[b], d) for a, b, d in ways if a < b]
    lag = assign_lags(names, found)
    for r in found:
        assert lag[r.target] - lag[r.source] + r.delay >= 1
    for name, value in lag.items():
        tight = [r for r in found if r.target == name and lag[r.source] + 1 - r.delay == value]
        assert value == 0 or tight


def test_a_lone_dense_of_any_size_needs_no_composition_and_goes_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neuro.graph.paths.LIMIT", 11)
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    graph = through([Flatten(), Dense(weight=weight)], (1, 2, 2), LI(tau=0.01))
    lone = only_route(graph)
    assert (lone.kind, lone.weight.dtype) == ("dense", np.float64)
    np.testing.assert_array_equal(lone.weight, weight * find_gain(graph, "out")[:, None])
    pooled: list[Node] = [pool(1, 1), Flatten(), Dense(weight=weight)]
    assert only_route(through(pooled, (1, 2, 2))).kind == "sparse"
