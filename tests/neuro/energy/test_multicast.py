import math
from dataclasses import replace

import numpy as np
from hypothesis import given, strategies as st
from written_graphs import chain

from neuro.energy.synapses import (
    compose,
    count_reached_cores,
    count_route_fan_out,
    iterate_reached_cores,
)
from neuro.graph import Conv2d, Input
from neuro.graph.paths import Route
from neuro.neurons import LIF


def route_through(conv: Conv2d | None, shape: tuple[int, ...]) -> tuple[Route, int]:
    """Return the one route from an image to a population, and the size of that."""
    nodes = {"x": Input(shape=shape), "conv": conv, "out": LIF(tau=0.01)}
    nodes = {n: x for n, x in nodes.items() if x is not None}
    graph = chain(**nodes)
    (route,) = compose(graph)
    return route, graph.size("out")


def by_windows(route: Route, size: int, per_core: int) -> np.ndarray:
    """Return the same from the definition: walk over every output and every tap."""
    (channels, height, width), (outs, _, k_h, k_w) = route.shape, route.weight.shape
    (s_h, s_w), (p_h, p_w) = route.stride, route.padding
    out_h, out_w = (height + 2 * p_h - k_h) // s_h + 1, (width + 2 * p_w - k_w) // s_w + 1
    found = np.zeros((channels, height, width, math.ceil(size / per_core)), bool)
    for n, (_, r, c) in enumerate(np.ndindex(outs, out_h, out_w)):
        for y, x in np.ndindex(k_h, k_w):
            row, column = r * s_h + y - p_h, c * s_w + x - p_w
            if 0 <= row < height and 0 <= column < width:
                found[:, row, column, n // per_core] = True
    return found.reshape(-1, found.shape[-1])


@given(
    size=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    per_core=st.integers(1, 60),
)
def test_a_pixel_reaches_the_cores_whose_windows_contain_it(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    per_core: int,
) -> None:
    conv = Conv2d(weight=np.ones((3, 2, *kernel)), stride=stride, padding=padding)
    route, neurons = route_through(conv, (2, *size))
    found = np.concatenate(
        [
            x
            for _, x in iterate_reached_cores(
                [route], math.prod(route.shape), np.arange(neurons) // per_core
            )
        ],
        1,
    )
    np.testing.assert_array_equal(found, by_windows(route, neurons, per_core))


def test_a_group_of_channels_reaches_the_cores_of_its_own_outputs() -> None:
    # 4 channels in 2 groups; each group makes 3 channels of 2 x 2 outputs, a channel a core.
    conv = Conv2d(weight=np.ones((6, 2, 2, 2)), groups=2)
    route, size = route_through(conv, (4, 3, 3))
    where = np.arange(size) // 4
    ((_, found),) = iterate_reached_cores([route], 36, where)
    by_channel = found.reshape(4, 9, 6)
    assert (by_channel[:2] == [True, True, True, False, False, False]).all()
    assert (by_channel[2:] == [False, False, False, True, True, True]).all()
    # A core of one output: a corner pixel is in one window of each of 3 channels.
    count = count_reached_cores([route], 36, np.arange(size)).reshape(4, 3, 3)
    assert (count == 3 * np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])).all()


def test_a_direct_edge_reaches_the_core_of_its_own_neuron_only() -> None:
    route, size = route_through(None, (1000,))
    where = np.arange(size) // 3
    assert (count_reached_cores([route], 1000, where) == 1).all()
    first, found = list(iterate_reached_cores([route], 1000, where))[1]
    assert (first, found.shape) == (256, (1000, 78))
    assert found[256 * 3 + 5].nonzero()[0].tolist() == [1]


def test_listed_synapses_reach_the_cores_of_their_targets() -> None:
    rng = np.random.default_rng(0)
    here = rng.random((1000, 70)) < 0.002
    places = np.stack(np.nonzero(here)).astype(np.int32)
    route, _ = route_through(None, (1000,))
    route = replace(
        route, kind="sparse", places=places, sizes=(1000, 70), weight=np.ones(places.shape[1])
    )
    where = np.arange(1000) // 3
    want = np.stack([here[k : k + 3].any(0) for k in range(0, 1000, 3)], 1)
    found = np.concatenate([x for _, x in iterate_reached_cores([route], 70, where)], 1)
    np.testing.assert_array_equal(found, want)
    for each in count_route_fan_out(route):
        np.testing.assert_array_equal(each, here.sum(0))


def test_a_source_without_listed_synapses_causes_no_event() -> None:
    route, _ = route_through(None, (3,))
    places = np.array([[0, 2, 2], [1, 1, 0]], np.int32)  # (target, source); of 5 sources
    route = replace(route, kind="sparse", places=places, sizes=(3, 5), weight=np.ones(3))
    assert [x.tolist() for x in count_route_fan_out(route)] == [[1, 2, 0, 0, 0]] * 2


def test_a_3_by_3_kernel_reaches_two_or_three_of_the_16_cores_of_a_channel() -> None:
    # 32 x 32 outputs, 64 a core: two rows each. A pixel is seen by three rows (two at the rim).
    conv = Conv2d(weight=np.ones((4, 1, 3, 3)), padding=(1, 1))
    route, size = route_through(conv, (1, 32, 32))
    count = count_reached_cores([route], 1024, np.arange(size) // 64).reshape(32, 32)
    assert (count[1:-1] == 4 * 2).all()
    assert (count[[0, -1]] == 4).all()
