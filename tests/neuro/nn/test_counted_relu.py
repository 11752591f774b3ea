"""CountedReLU: a ReLU of a few levels whose scale is learned."""

import pytest
import torch

from neuro.graph import Pointwise
from neuro.neurons import LI
from neuro.nn.counted_relu import CountedReLU
from neuro.nn.layers import Spiking, Stack
from neuro.nn.trace import trace


def test_it_rounds_to_levels_and_clips() -> None:
    layer = CountedReLU(levels=4, scale=2.0)
    x = torch.tensor([-3.0, -0.25, 0.24, 0.25, 0.74, 0.75, 1.2, 1.75, 2.0, 9.0])
    want = [0.0, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 2.0, 2.0, 2.0]
    torch.testing.assert_close(layer(x), torch.tensor(want))


def test_gradients_pass_between_the_clips() -> None:
    layer = CountedReLU(levels=4, scale=2.0)
    x = torch.tensor([-0.26, -0.24, 1.0, 1.74, 1.76], requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([0, 1, 1, 1, 0])


@pytest.mark.parametrize(("x", "slope"), [(-1.0, 0.0), (0.6, (0.5 - 0.6) / 2), (5.0, 1.0)])
def test_the_scale_learns_from_rounding_and_clipping(x: float, slope: float) -> None:
    """d y / d scale is (y - x) / scale between the clips, and 1 above."""
    layer = CountedReLU(levels=4, scale=2.0)
    layer(torch.tensor([x])).sum().backward()
    assert layer.log_scale.grad is not None
    assert layer.log_scale.grad.item() == pytest.approx(2.0 * slope, abs=1e-6)


def test_it_traces_to_a_node_that_computes_the_same() -> None:
    layer = CountedReLU(levels=3, scale=1.3)
    stack = Stack(torch.nn.Linear(4, 5), layer, Spiking(LI(tau=0.02)))  # type: ignore[arg-type]
    node = trace(stack, (4,)).nodes["1"]
    assert isinstance(node, Pointwise)
    assert (node.function, node.levels) == ("relu", 3)
    assert node.scale == pytest.approx(1.3)
    x = torch.randn(7, 5)
    torch.testing.assert_close(node.run(x), layer(x), rtol=0, atol=0)


@pytest.mark.parametrize(("levels", "scale"), [(0, 1.0), (4, 0.0), (4, float("inf"))])
def test_wrong_numbers_are_refused(levels: int, scale: float) -> None:
    with pytest.raises(ValueError, match="levels must be >= 1 and scale > 0"):
        CountedReLU(levels, scale)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"function": "relu", "levels": -1}, "levels must be >= 0"),
        ({"function": "relu", "levels": 2, "scale": 0.0}, "scale > 0"),
        ({"function": "tanh", "levels": 2}, "only a relu counts, not tanh; use levels=0"),
    ],
)
def test_a_node_that_counts_is_a_relu(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Pointwise(**fields)  # type: ignore[arg-type]
