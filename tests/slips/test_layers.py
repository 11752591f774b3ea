"""Layers, nets and what goes into them, as a new user may write them by mistake."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from written_slips import (
    CELLS,
    GRAPH,
    RASTER,
    STIMULUS,
    Slip,
    X,
    call,
    net,
    require_told,
)

from neuro import (
    ALIF,
    LIF,
    Checkpointed,
    Delay,
    GraphError,
    Recurrent,
    Residual,
    Spiking,
    Stack,
)
from neuro.io.graph_digest import digest_graph
from neuro.nn import Net
from neuro.nn.spiking import LayerError, NotANumber
from neuro.nn.trace import TraceError, trace
from neuro.units import Seconds, Ticks

HALF = Seconds(5e-4)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch will drop this way to quantise
    QUANTISED = torch.ao.quantization.quantize_dynamic(net(), {nn.Linear})
FOLDED = "put it right behind its convolution or Linear"

SLIPS: dict[str, Slip] = {
    "Net(other inputs)": Slip(
        call(Net(GRAPH), {"x": X}),
        ValueError,
        "inputs are ['x'], the graph has ['input']",
        "by these names",
    ),
    "Net(net)": Slip(call(Net, net()), TypeError, "got a Stack", "trace(net, input_shape)"),
    "trace(LIF)": Slip(call(trace, LIF(tau=0.02)), TypeError, "got a LIF", "Spiking(model)"),
    "trace(net)": Slip(call(trace, net()), ValueError, "needs input_shape", "e.g. (1, 28, 28)"),
    "trace(net, ())": Slip(call(trace, net(), ()), ValueError, "got ()", "use (1,)"),
    "trace(quantised)": Slip(
        call(trace, QUANTISED, (3,)),
        TraceError,
        "fc: a quantised Linear has no node",
        "trace the network before",
    ),
    "quantised(float64)": Slip(
        call(QUANTISED, X.double()),
        LayerError,
        "fc: is quantised and takes torch.float32, x is torch.float64",
        "x.to(torch.float32)",
    ),
    "quantised(4 lines)": Slip(
        call(QUANTISED, torch.ones(4, 2, 4)),
        LayerError,
        "fc: takes (ticks, samples, ..., 3), got (4, 2, 4)",
        "change it",
    ),
    "Embedding(floats)": Slip(
        call(Stack(rows=nn.Embedding(5, 3), cells=CELLS), torch.ones(4, 2)),
        LayerError,
        "rows: takes indices of rows, torch.int64, x is torch.float32",
        "x.long()",
    ),
    "BatchNorm behind Dropout": Slip(
        call(trace, Stack(nn.Linear(3, 4), nn.Dropout(), nn.BatchNorm1d(4), CELLS), (3,)),
        TraceError,
        "2: BatchNorm can only be folded",
        f"{FOLDED}, a Dropout or AvgPool2d behind both",
    ),
    "BatchNorm behind Sequential": Slip(
        call(trace, Stack(nn.Sequential(nn.Linear(3, 4)), nn.BatchNorm1d(4), CELLS), (3,)),
        TraceError,
        "1: BatchNorm can only be folded",
        f"{FOLDED}, a Dropout or AvgPool2d behind both, and the layers of a Sequential into",
    ),
    "BatchNorm1d(4)": Slip(
        call(Stack(norm=nn.BatchNorm1d(4), cells=CELLS), X),
        LayerError,
        "norm: takes (ticks, samples, 4, ...), got (4, 2, 3)",
        "change it",
    ),
    "Spiking(LIF)": Slip(call(Spiking, LIF), TypeError, "got the class LIF", "LIF(tau=0.02)"),
    "Spiking(ReLU())": Slip(
        call(Spiking, nn.ReLU()),
        TypeError,
        "Spiking.model must be a neuron, got a ReLU",
        "Stack(layer, Spiking(LIF(tau=0.02)))",
    ),
    "Spiking(nn.Linear)": Slip(
        call(Spiking, nn.Linear),
        TypeError,
        "got the class Linear",
        "put a torch layer before it: Stack(layer, ",
    ),
    "Spiking(dt=True)": Slip(
        call(Spiking, LIF(tau=0.02), True), TypeError, "True", "1 ms is 1e-3"
    ),
    "Delay(True)": Slip(
        call(Delay, True), TypeError, "a whole number of ticks, got True", "units"
    ),
    "Spiking(dt='1ms')": Slip(
        call(Spiking, LIF(tau=0.02), dt="1ms"),
        TypeError,
        "Spiking.dt must be a number of seconds, got '1ms'",
        "1 ms is 1e-3",
    ),
    "Spiking(dt=0)": Slip(
        call(Spiking, LIF(tau=0.02), dt=0), ValueError, "got 0", "1e-3 is usual"
    ),
    "Stack(LIF())": Slip(
        call(Stack, nn.Linear(3, 2), LIF(tau=0.02)),
        TypeError,
        "1 of a Stack must be a torch module, got a LIF",
        "Spiking(LIF(tau=0.02))",
    ),
    "Stack([...])": Slip(
        call(Stack, [nn.Linear(3, 2), CELLS]),
        TypeError,
        "0 of a Stack must be a torch module, got a list",
        "Stack(*modules)",
    ),
    "Stack(LSTM)": Slip(
        call(Stack, fc=nn.Linear(3, 2), rec=nn.LSTM(2, 2)),
        ValueError,
        "rec of a Stack: LSTM keeps a state, which a Stack does not pass on",
        "recurrent neurons as Recurrent(Spiking(LIF(...)), nn.Linear(n, n))",
    ),
    "Residual(Sequential(GRU))": Slip(
        call(Residual, nn.Sequential(nn.Linear(3, 3), nn.GRU(3, 3))),
        ValueError,
        "1 of Residual.body: GRU keeps a state",
        "extends neuro.nn.Temporal, with forward(x, state) -> (y, state)",
    ),
    "Recurrent(feedback=GRUCell)": Slip(
        call(Recurrent, CELLS, nn.GRUCell(3, 3)),
        ValueError,
        "Recurrent.feedback: GRUCell keeps a state",
        "neuro.nn.Temporal",
    ),
    "Stack(attention)": Slip(
        call(Stack, nn.MultiheadAttention(4, 2)),
        ValueError,
        "0 of a Stack: MultiheadAttention takes query, key, value",
        "wrap it in a module with forward(self, x)",
    ),
    "Stack(attention over ticks)": Slip(
        call(Stack, nn.TransformerEncoderLayer(4, 2)),
        ValueError,
        "TransformerEncoderLayer attends along axis 0, ticks and samples",
        "batch_first=True",
    ),
    "Stack(ModuleList)": Slip(
        call(Stack, nn.ModuleList([nn.Linear(3, 2)])),
        ValueError,
        "0 of a Stack: ModuleList has no forward",
        "Stack(*modules)",
    ),
    "net(tuple)": Slip(
        call(Stack(nn.AdaptiveMaxPool1d(1, return_indices=True)), X),
        LayerError,
        "0: mapped (8, 3), with ticks and samples as one axis, to a tuple",
        "one tensor with the same axis 0",
    ),
    "net(Flatten(0))": Slip(
        call(Stack(flat=nn.Flatten(0)), X),
        LayerError,
        "flat: mapped (8, 3), with ticks and samples as one axis, to a tensor of shape (24,)",
        "one tensor with the same axis 0",
    ),
    "Recurrent(LIF())": Slip(
        call(Recurrent, LIF(tau=0.02), nn.Linear(2, 2)),
        TypeError,
        "got a LIF",
        "Spiking(LIF(tau=0.02))",
    ),
    "Residual(LIF())": Slip(
        call(Residual, LIF(tau=0.02)),
        TypeError,
        "got a LIF",
        "Spiking(LIF(tau=0.02))",
    ),
    "Checkpointed(LIF())": Slip(
        call(Checkpointed, LIF(tau=0.02), 4),
        TypeError,
        "got a LIF",
        "Spiking(LIF(tau=0.02))",
    ),
    "Delay(seconds)": Slip(
        call(Delay, 0.005),
        TypeError,
        "Delay.ticks must be a whole number of ticks, got 0.005",
        "neuro.units.ticks(seconds, dt)",
    ),
    "Recurrent(delay=0)": Slip(
        call(Recurrent, CELLS, nn.Linear(3, 3), 0),
        ValueError,
        "Recurrent.delay must be >= 1, got 0",
        "the next tick",
    ),
    "net(NumPy)": Slip(
        call(net(), RASTER),
        TypeError,
        "x of Stack must be a tensor, got a NumPy array",
        "torch.from_numpy(array).float()",
    ),
    "net(Events)": Slip(
        call(net(), STIMULUS["input"]), TypeError, "an Events", "neuro.to_raster("
    ),
    "net(float64)": Slip(
        call(net(), X.double()),
        LayerError,
        "fc: its weights are torch.float32, x is torch.float64",
        "x.to(torch.float32), or net.double()",
    ),
    "net(bool)": Slip(call(net(), X.bool()), LayerError, "fc: ", "x.to(torch.float32)"),
    "cells(bool)": Slip(
        call(CELLS, X.bool()),
        LayerError,
        "Spiking: x must hold floating-point numbers, got torch.bool",
        "x.float()",
    ),
    "cells(int)": Slip(call(CELLS, X.long()), LayerError, "got torch.int64", "x.float()"),
    "cells(N)": Slip(
        call(CELLS, X[0, 0]), LayerError, "got shape (3,)", "(ticks, samples, ...)"
    ),
    "net(T N)": Slip(
        call(net(), X[:, 0]),
        LayerError,
        "fc: takes (ticks, samples, ..., 3), got (4, 3)",
        "for one sample use x[:, None]",
    ),
    "net(T B 5)": Slip(
        call(net(), torch.ones(4, 2, 5)),
        LayerError,
        "fc: takes (ticks, samples, ..., 3), got (4, 2, 5)",
        "change it, or the layer before it",
    ),
    "net(T C H W)": Slip(
        call(Stack(conv=nn.Conv2d(1, 2, 3), cells=CELLS), torch.ones(4, 1, 5, 5)),
        LayerError,
        "conv: takes (ticks, samples, 1, H, W), got (4, 1, 5, 5)",
        "for one sample use x[:, None]",
    ),
    "Recurrent(T B 4)": Slip(
        call(Recurrent(CELLS, nn.Linear(3, 3)), torch.ones(4, 2, 4)),
        LayerError,
        "Linear: takes (ticks, samples, ..., 3), got (4, 2, 4)",
        "change it",
    ),
    "Net(T N)": Slip(
        call(Net(GRAPH), {"input": X[:, 0]}),
        LayerError,
        "input takes (ticks, samples, 3), got (4, 3)",
        "for one sample use x[:, None]",
    ),
    "Net(T B 4)": Slip(
        call(Net(GRAPH), {"input": torch.ones(4, 2, 4)}),
        LayerError,
        "input takes (ticks, samples, 3), got (4, 2, 4)",
        "see Input.shape",
    ),
    "net(T = 0)": Slip(call(net(), X[:0]), LayerError, "(0, 2, 3)", "at least one tick"),
    "cells(T = 0)": Slip(call(CELLS, X[:0]), LayerError, "(0, 2, 3)", "at least one tick"),
    "Recurrent(T = 0)": Slip(
        call(Recurrent(CELLS, nn.Linear(3, 3)), X[:0]),
        LayerError,
        "Recurrent: x must have axes",
        "at least one tick",
    ),
    "Checkpointed(T = 0)": Slip(
        call(Checkpointed(net(), Ticks(2)), X[:0]),
        LayerError,
        "(0, 2, 3)",
        "at least one tick",
    ),
    "Net(T = 0)": Slip(call(Net(GRAPH), {"input": X[:0]}), LayerError, "(0, 2, 3)", "one tick"),
    "Net(int)": Slip(
        call(Net(GRAPH), {"input": X.long()}),
        LayerError,
        "Net: x must hold floating-point numbers, got torch.int64",
        "x.float()",
    ),
    "Net(NumPy)": Slip(
        call(Net(GRAPH), {"input": RASTER}),
        TypeError,
        "a NumPy array",
        "torch.from_numpy(array).float()",
    ),
    "Net(tensor)": Slip(call(Net(GRAPH), X), TypeError, "a Tensor of shape", "{'input': x}"),
    "cells(NaN)": Slip(
        call(CELLS, X * math.nan),
        NotANumber,
        "Spiking: its membrane is NaN",
        "data",
    ),
    "Spiking(dt of another ALIF)": Slip(
        call(Spiking, ALIF.with_tau(Seconds(0.02), Seconds(5e-4))),
        ValueError,
        "Spiking.dt is 0.001 s, and ALIF.with_tau made this ALIF for ticks of 0.0005 s",
        "use one dt for both",
    ),
    "Stack(two dt)": Slip(
        call(Stack, CELLS, Recurrent(Spiking(LIF(tau=0.02), HALF), nn.Linear(2, 2))),
        ValueError,
        "the layers of a Stack have different dt: 0 has 0.001 s, 1.spiking has 0.0005 s",
        "use one dt for all",
    ),
    "Residual(two dt)": Slip(
        call(Residual, CELLS, Stack(out=Spiking(LIF(tau=0.02), HALF))),
        ValueError,
        "the layers of a Residual have different dt: body has 0.001 s, shortcut.out has 0.0005",
        "use one dt for all",
    ),
    "Stack(train=...)": Slip(
        call(Stack, train=nn.Linear(3, 2)),
        ValueError,
        "a module of a Stack cannot have the name 'train', which is an attribute",
        "e.g. train_layer",
    ),
    "Stack('a.b')": Slip(
        call(Stack, **{"a.b": nn.Linear(3, 2)}), ValueError, "'a.b', which holds a dot", "a_b"
    ),
    "Stack(0 twice)": Slip(
        call(Stack, CELLS, **{"0": CELLS}), ValueError, "0 names two modules", "rename one"
    ),
    "Checkpointed(nn.Linear)": Slip(
        call(Checkpointed, nn.Linear(3, 2), 4),
        TypeError,
        "Checkpointed.module must be a Stack, or another Temporal, got a Linear",
        "Stack(module) makes one",
    ),
    "Checkpointed(seconds)": Slip(
        call(Checkpointed, net(), 0.01),
        TypeError,
        "Checkpointed.ticks must be a whole number of ticks, got 0.01",
        "neuro.units.ticks(seconds, dt)",
    ),
    "Checkpointed(states=2.5)": Slip(
        call(Checkpointed, net(), 4, 2.5),
        TypeError,
        "Checkpointed.states must be a whole number, got 2.5",
        "None keeps one for each chunk",
    ),
    "trace(x.shape)": Slip(
        call(trace, net(), X.shape),
        GraphError,
        "(4, 2, 3) seems to be the shape of x, T B ...",
        "use tuple(x.shape[2:])",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_with_what_was_given_and_the_cure(slip: str) -> None:
    require_told(SLIPS[slip])


def test_a_shape_that_is_only_wrong_is_not_taken_for_that_of_x() -> None:
    for shape in ((5,), (4, 2, 5)):
        with pytest.raises(GraphError) as told:
            trace(net(), shape)
        assert "x.shape" not in str(told.value)


def test_what_is_checkpointed_is_traced_as_the_module_inside() -> None:
    inside = net()
    plain = trace(inside, (3,))
    whole = trace(Checkpointed(inside, Ticks(2)), (3,))
    part = trace(Stack(part=Checkpointed(inside, Ticks(2), states=1)), (3,))
    assert digest_graph(whole) == digest_graph(plain)
    assert list(part.nodes) == ["input", "part_fc", "part_cells"]


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
    assert f"see docs/recipes/from_{root}.md" in str(e.value)


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
