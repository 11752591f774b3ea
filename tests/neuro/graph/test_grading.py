"""Real values as whole numbers: what one stands for, and which weights take that up."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from written_graphs import chain

from neuro.base.units import Seconds
from neuro.graph import (
    AvgPool2d,
    Conv2d,
    Dense,
    Edge,
    Flatten,
    GradedInput,
    Graph,
    GraphError,
    Input,
    Poisson,
)
from neuro.graph.grading import find_unit, grade_inputs
from neuro.neurons import LI, LIF
from neuro.nn.net import Net


def pooled() -> Graph:
    """Return a graph whose first weights stand behind a pool, in two branches of one source."""
    rng = np.random.default_rng(3)
    nodes = {
        "image": Input(shape=(1, 4, 4)),
        "pool": AvgPool2d(kernel=(2, 2), stride=(2, 2)),
        "conv": Conv2d(weight=rng.normal(size=(3, 1, 2, 2)), bias=np.array([0.5, -0.25, 2.0])),
        "flat": Flatten(),
        "fc": Dense(weight=rng.normal(size=(2, 3))),
        "out": LI(tau=0.02),
        "aside": Conv2d(weight=rng.normal(size=(2, 1, 4, 4))),
        "other": LI(tau=0.01),
    }
    edges = (
        *(Edge(a, b) for a, b in (("image", "pool"), ("pool", "conv"), ("conv", "flat"))),
        *(Edge(a, b) for a, b in (("flat", "fc"), ("fc", "out"))),
        *(Edge(a, b) for a, b in (("image", "aside"), ("aside", "other"))),
    )
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


@pytest.mark.parametrize(
    ("values", "bits", "unit"),
    [
        ([0.0, 0.5, 1.0], 8, 1 / 127),
        ([-2.0, 0.5], 8, 2 / 127),
        ([127.0, -126.0], 8, 1.0),  # whole, and they fit
        ([127.0, -127.0], 8, 1.0),
        ([128.0], 8, 128 / 127),
        ([-127.5], 8, 127.5 / 127),
        ([7.0, -7.0], 4, 1.0),
        ([8.0], 4, 8 / 7),
        ([0.0], 8, 1.0),
        ([], 8, 1.0),
    ],
)
def test_the_unit_lets_the_largest_value_fit_its_bits(
    values: list[float], bits: int, unit: float
) -> None:
    assert find_unit(np.array(values), bits) == unit


@given(arrays(np.float64, 5, elements=st.floats(-1e6, 1e6)), st.integers(2, 16))
def test_messages_fit_and_are_off_by_half_a_unit_at_most(x: np.ndarray, bits: int) -> None:
    unit = find_unit(x, bits)
    whole = np.rint(x / unit)
    assert np.abs(whole).max() < 1 << (bits - 1)
    assert np.abs(whole * unit - x).max() <= 0.5000001 * unit


def test_the_first_weights_of_each_branch_take_up_the_unit_and_biases_do_not() -> None:
    before = pooled()
    after = grade_inputs(before, {"image": 0.25})
    image = after.nodes["image"]
    assert isinstance(image, GradedInput)
    assert (image.shape, image.message_bits) == ((1, 4, 4), 8)
    changed = {"conv", "aside"}
    for name, node in before.nodes.items():
        if hasattr(node, "weight"):
            factor = 0.25 if name in changed else 1.0
            np.testing.assert_array_equal(after.nodes[name].weight, factor * node.weight)  # type: ignore[union-attr]
    np.testing.assert_array_equal(after.nodes["conv"].bias, [0.5, -0.25, 2.0])  # type: ignore[union-attr]
    whole = np.random.default_rng(0).integers(-128, 128, (3, 2, 1, 4, 4)).astype(np.float64)
    outputs = [
        Net(own).double()({"image": torch.from_numpy(x)})[0]
        for own, x in ((before, 0.25 * whole), (after, whole))
    ]
    for name in ("out", "other"):
        torch.testing.assert_close(outputs[0][name], outputs[1][name], rtol=1e-12, atol=1e-12)
    assert type(before.nodes["image"]) is Input
    assert grade_inputs(before, {"image": 0.5}, bits=5).nodes["image"].message_bits == 5  # type: ignore[union-attr]


def test_an_input_without_weights_of_its_own_is_refused_with_every_reason() -> None:
    eye, neuron = Dense(weight=np.eye(4)), LIF(tau=0.02)
    straight = chain(x=Input(shape=(4,)), n=neuron)
    with pytest.raises(
        GraphError, match=r"x: its values reach n without a weight .*; put a Dense"
    ):
        grade_inputs(straight, {"x": 0.5})
    flat = {"x": Input(shape=(4,)), "y": Input(shape=(4,)), "z": Input(shape=(4,))}
    nodes = {**flat, "fc": eye, "n": neuron, "own": eye}
    edges = (
        *(Edge(a, "fc") for a in "xy"),
        Edge("z", "own"),
        Edge("fc", "n"),
        Edge("own", "n"),
    )
    joined = Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))
    with pytest.raises(GraphError) as error:
        grade_inputs(joined, {"x": 0.5, "y": 0.25})
    assert [problem.partition(":")[0] for problem in error.value.problems] == ["x", "y"]
    assert "meet those of another source in fc" in error.value.problems[1]
    alone = grade_inputs(joined, {"z": 0.5})
    np.testing.assert_array_equal(alone.nodes["own"].weight, 0.5 * np.eye(4))  # type: ignore[union-attr]
    drawn = replace(
        straight, nodes={**straight.nodes, "x": Poisson(shape=(4,), rate=10.0, seed=3)}
    )
    with pytest.raises(GraphError, match="x: a Poisson cannot be graded; an Input can"):
        grade_inputs(drawn, {"x": 0.5})
