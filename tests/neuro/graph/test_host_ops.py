import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from neuro.events.grid.oracle import compute_host_output
from neuro.graph.host_ops import (
    CountSpikes,
    Exceeds,
    Host,
    MaxPool2d,
    Multiply,
    Outer,
    Pointwise,
    RMSNorm,
    Softmax,
)


def of(node: Host, *values: Any) -> list[Any]:
    """Return what a node makes of one case."""
    out: list[Any] = node.run(torch.tensor(values, dtype=torch.float64)[None])[0].tolist()
    return out


def test_a_softmax_shares_one_among_the_entries_of_an_axis() -> None:
    logs = [[math.log(1), math.log(2)], [math.log(3), math.log(2)]]
    np.testing.assert_allclose(of(Softmax(), *logs), [[0.25, 0.5], [0.75, 0.5]], rtol=1e-15)
    along_last = of(Softmax(axis=-1), *logs)
    np.testing.assert_allclose(along_last, [[1 / 3, 2 / 3], [0.6, 0.4]], rtol=1e-15)
    assert of(Softmax(), 0.0, 0.0) == [0.5, 0.5]  # f(0) is not 0


def test_an_outer_product_lifts_every_feature_into_every_bin() -> None:
    assert of(Outer(first=2), 1.0, 2.0, 3.0, 5.0, 7.0) == [[3, 5, 7], [6, 10, 14]]
    image = [[1.0, 2.0], [3.0, 4.0], [10.0, 100.0]]  # two bins, one feature, a row of two
    assert of(Outer(first=2), *image) == [[[10, 200]], [[30, 400]]]


def test_halves_are_multiplied_or_compared() -> None:
    assert of(Multiply(), 2.0, 3.0, 0.5, -1.0) == [1, -3]
    assert of(Exceeds(), 2.0, 3.0, 0.5, 3.0) == [1, 0]  # equal does not exceed


def test_functions_act_value_by_value() -> None:
    assert of(Pointwise(function="relu"), -1.0, 2.0) == [0, 2]
    assert of(Pointwise(function="sigmoid"), 0.0) == [0.5]
    assert of(Pointwise(function="silu"), 0.0) == [0]
    assert of(Pointwise(function="tanh"), math.atanh(0.5)) == [pytest.approx(0.5, rel=1e-15)]


def test_a_norm_divides_by_the_root_of_the_mean_square() -> None:
    node = RMSNorm(gain=np.array([1.0, 2.0]), eps=3.5)
    assert of(node, 3.0, -4.0) == [pytest.approx(0.75), pytest.approx(-2)]
    assert not node.gain.flags.writeable
    told = "RMSNorm has gains of shape (2,) for (3,); give one for each value"
    assert node.output_shape((3,)) == told
    for eps in (0.0, math.inf):
        with pytest.raises(ValueError, match="eps must be > 0 and finite"):
            RMSNorm(gain=np.ones(2), eps=eps)


def test_spikes_are_counted_with_their_sign_from_half_a_threshold_on() -> None:
    node = CountSpikes(ticks=3, threshold=0.5)
    found = of(node, 0.0, 0.24, 0.25, -0.25, -0.74, 0.75, 9.0, -9.0)
    assert found == [0, 0, 1, -1, -1, 2, 3, -3]
    for ticks, threshold in ((0, 1.0), (1, 0.0), (1, math.inf)):
        with pytest.raises(ValueError, match="ticks must be >= 1 and threshold > 0"):
            CountSpikes(ticks=ticks, threshold=threshold)


def test_a_draw_is_one_as_often_as_its_probability_says() -> None:
    rng = np.random.default_rng(0)
    p, uniform = torch.full((10_000, 1), 0.3), torch.tensor(rng.random((10_000, 1)))
    drawn = Exceeds().run(torch.cat([p, uniform], 1))
    assert float(drawn.mean()) == pytest.approx(0.3, abs=0.02)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}


NODES: list[tuple[Host, tuple[int, ...], tuple[int, ...], int]] = [
    (Softmax(axis=0), (3, 2), (3, 2), 12),
    (Softmax(axis=-2), (3, 2), (3, 2), 12),
    (Softmax(axis=2), (2, 3, 4), (2, 3, 4), 48),
    (Outer(first=2), (5,), (2, 3), 6),
    (Outer(first=1), (3, 2, 2), (1, 2, 2, 2), 8),
    (Multiply(), (6, 2), (3, 2), 6),
    (Exceeds(), (4,), (2,), 2),
    *((Pointwise(function=f), (3, 2), (3, 2), 6) for f in ("sigmoid", "tanh", "silu", "relu")),
    (Pointwise(function="identity"), (3, 2), (3, 2), 0),
    (
        RMSNorm(gain=np.array([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]]), eps=0.25),
        (3, 2),
        (3, 2),
        18,
    ),
    (CountSpikes(ticks=3, threshold=0.75), (3, 2), (3, 2), 6),
    (MaxPool2d(kernel=(2, 2), stride=(2, 2)), (2, 4, 5), (2, 2, 2), 32),
    (MaxPool2d(kernel=(3, 2), stride=(1, 3)), (1, 4, 5), (1, 2, 2), 24),
]


@pytest.mark.parametrize(("node", "given", "shape", "macs"), NODES)
def test_shapes_and_operations_are_these(
    node: Host, given: tuple[int, ...], shape: tuple[int, ...], macs: int
) -> None:
    assert node.output_shape(given) == shape
    assert tuple(node.run(torch.zeros(5, *given)).shape) == (5, *shape)
    assert node.macs(given) == macs


@pytest.mark.parametrize(("node", "shape"), [(n, s) for n, s, _, _ in NODES])
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_torch_computes_the_definition(node: Host, shape: tuple[int, ...], seed: int) -> None:
    x = np.random.default_rng(seed).normal(0, 3, shape)
    found = node.run(torch.tensor(x)[None])[0].flatten().tolist()
    np.testing.assert_allclose(
        found, compute_host_output(node, x.ravel().tolist(), shape), rtol=1e-14
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("node", "shape"), [(n, s) for n, s, _, _ in NODES])
def test_the_precision_is_that_of_the_input(
    node: Host, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    assert node.run(torch.ones(2, *shape, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("node", "shape"),
    [(n, s) for n, s, _, _ in NODES if not isinstance(n, Exceeds | CountSpikes)],
)
def test_gradients_pass_all_but_comparisons_and_counts(
    node: Host, shape: tuple[int, ...]
) -> None:
    x = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(node.run, x.requires_grad_())


def test_a_function_is_that_of_torch() -> None:
    x = torch.linspace(-100, 100, 401)
    modules: dict[str, nn.Module] = {
        "sigmoid": nn.Sigmoid(),
        "tanh": nn.Tanh(),
        "silu": nn.SiLU(),
        "relu": nn.ReLU(),
    }
    for name, module in modules.items():
        want: Tensor = module(x)
        torch.testing.assert_close(Pointwise(function=name).run(x), want, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("node", "given", "told"),
    [
        (Softmax(axis=2), (3, 2), "Softmax.axis 2 is no axis of (3, 2); use 0 for the first"),
        (Softmax(), (), "Softmax.axis 0 is no axis of (); use 0 for the first"),
        (
            MaxPool2d(kernel=(2, 2), stride=(2, 2)),
            (3, 2),
            "MaxPool2d takes (C, H, W), got (3, 2)",
        ),
        (Outer(first=3), (3, 2), "Outer(first=3) takes more than 3 along the first axis"),
        (Multiply(), (3, 2), "Multiply takes two halves along the first axis, got (3, 2)"),
        (Exceeds(), (), "Exceeds takes two halves along the first axis, got (); join two"),
    ],
)
def test_a_shape_that_does_not_fit_is_told_with_its_cure(
    node: Host, given: tuple[int, ...], told: str
) -> None:
    assert str(node.output_shape(given)).startswith(told)


def test_values_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Outer.first must be >= 1, got 0; it is the length"):
        Outer(first=0)
    with pytest.raises(ValueError, match="is one of identity, sigmoid, tanh, silu, relu; got"):
        Pointwise(function="gelu")
