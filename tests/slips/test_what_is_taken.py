"""Forms that look like slips and are taken, and slips that need more than a line."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from written_graphs import read_edges
from written_slips import DT, GRAPH, RECORD, graph, net

from neuro import (
    ALIF,
    LIF,
    AvgPool2d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    GraphError,
    Input,
    Spiking,
    Stack,
    Upsample,
    to_events,
    to_raster,
)
from neuro.base.units import Seconds
from neuro.energy import estimate, find_chip
from neuro.nn.trace import trace


def test_all_that_is_wrong_is_told_together() -> None:
    with pytest.raises(TypeError) as told:
        LIF(beta=0.9, v_th=1.0, refractory="2 ms")  # type: ignore[call-arg, arg-type]
    assert len(str(told.value).splitlines()) == 3
    with pytest.raises(TypeError) as told:
        graph(nodes={"input": Input, "fc": nn.Linear(3, 2)}, edges=(1,), dt="1 ms")
    assert len(str(told.value).splitlines()) == 5


def test_snntorchs_beta_is_the_tau_that_the_message_gives() -> None:
    tau = -DT / math.log(0.9)
    assert LIF(tau=tau).coefficients(DT).decay == pytest.approx(0.9, rel=1e-15)
    leak = -math.expm1(-DT / tau)
    assert leak == pytest.approx(0.1, rel=1e-13)
    assert -DT / math.log1p(-leak) == pytest.approx(tau, rel=1e-13)


def test_times_of_an_adapting_neuron_are_given_in_seconds() -> None:
    made = ALIF.with_tau(
        Seconds(0.02), DT, 0.7, tau_adapt=Seconds(0.2), beta=0.1, reset="soft", refractory=DT
    )
    assert made.leak == np.float32(-math.expm1(-1 / 20))
    assert made.rho == math.exp(-1 / 200)
    assert (made.beta, made.reset, made.refractory) == (0.1, "soft", 0.001)
    assert made.threshold == np.float32(0.7)
    half = ALIF.with_tau(Seconds(0.02), Seconds(DT / 2), tau_adapt=Seconds(0.2))
    assert half.rho**2 == pytest.approx(made.rho, rel=1e-15)
    assert Spiking(made).dt == DT
    own = graph(nodes={**graph().nodes, "out": made})  # of its own dt, it is taken
    assert own.nodes["out"] is made


def test_tuples_are_edges_and_numbers_are_sizes() -> None:
    edges: Any = (("input", "fc"), ["fc", "out", 1])
    with pytest.raises(TypeError, match="got a list"):
        graph(edges=edges)
    assert graph(edges=(edges[0], ("fc", "out", np.int64(1)))).edges == read_edges(
        "input>fc fc>out:1"
    )
    for made in (
        Conv2d(weight=np.ones((1, 1, 2, 2)), stride=2, padding=2, dilation=2),  # type: ignore[arg-type]
        ConvTranspose2d(weight=np.ones((1, 1, 2, 2)), stride=2, padding=2, output_padding=2),  # type: ignore[arg-type]
        AvgPool2d(kernel=2, stride=2),  # type: ignore[arg-type]
        Upsample(scale=2),  # type: ignore[arg-type]
    ):
        sizes = {k: v for k, v in vars(made).items() if k not in ("weight", "bias", "groups")}
        assert set(sizes.values()) == {(2, 2)}
    assert Input(shape=3).shape == (3,)  # type: ignore[arg-type]
    assert trace(net(), 3).shapes["input"] == (3,)  # type: ignore[arg-type]
    weight = nn.Linear(3, 2).weight
    assert np.array_equal(Dense(weight=weight).weight, weight.detach().numpy())  # type: ignore[arg-type]


def test_a_shape_that_is_only_wrong_is_not_taken_for_that_of_x() -> None:
    for shape in ((5,), (4, 2, 5)):
        with pytest.raises(GraphError) as told:
            trace(net(), shape)
        assert "x.shape" not in str(told.value)


@pytest.mark.parametrize(
    ("library", "name", "made"),
    [
        ("snntorch", "Leaky", {"beta": 0.9, "init_hidden": True}),
        ("spikingjelly.activation_based.neuron", "LIFNode", {}),
        ("norse.torch", "LIFCell", {}),
        ("norse.torch", "SequentialState", {}),
    ],
)
def test_a_neuron_of_another_library_is_refused_with_the_page_of_its_recipe(
    library: str, name: str, made: dict[str, Any]
) -> None:
    cells = getattr(pytest.importorskip(library), name)(**made)
    root = library.split(".")[0]
    with pytest.raises(ValueError, match=f"1 of a Stack: {name} of {root} keeps a state") as e:
        Stack(nn.Linear(3, 2), cells)
    assert f"docs/recipes/from_{root}.md" in str(e.value)


class Alone(nn.LSTM):
    """An LSTM over a sequence of its own in each tick."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = super().forward(x)
        return y[:, -1]


def test_what_keeps_its_state_to_itself_is_a_part_of_a_stack() -> None:
    y, _ = Stack(Alone(3, 2, batch_first=True))(torch.ones(4, 2, 5, 3))
    assert y.shape == (4, 2, 2)
    encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    assert Stack(encoder)(torch.ones(4, 2, 5, 4))[0].shape == (4, 2, 5, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, bool])
def test_zeros_and_ones_are_spikes_whatever_their_dtype(dtype: type) -> None:
    events = to_events(np.ones((1, 2, 3), dtype))
    assert events.value.tolist() == [1.0] * 6


@pytest.mark.parametrize("kind", ["tensor", "trained", "bfloat16", "T B H W", "5-D tensor"])
def test_what_is_plainly_a_raster_becomes_events(kind: str) -> None:
    raster = (np.arange(48).reshape(2, 2, 1, 3, 4) % 3).astype(np.float32)
    x = torch.from_numpy(raster).flatten(2)
    given: Any = {
        "tensor": x,
        "trained": x.clone().requires_grad_(),
        "bfloat16": x.bfloat16(),
        "T B H W": raster[:, :, 0],
        "5-D tensor": torch.from_numpy(raster),
    }[kind]
    events = to_events(given)
    assert events.shape == (2, 2, 12)
    assert np.array_equal(to_raster(events), raster.reshape(2, 2, 12))
    assert events.value.dtype == np.float32


def test_a_chip_goes_by_its_name() -> None:
    want = estimate(GRAPH, RECORD, find_chip("loihi2"))
    assert estimate(GRAPH, RECORD, "loihi2").core == want.core
