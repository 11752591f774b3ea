"""A cell of Norse and the population that it becomes: the same spikes, membranes and currents.

Both are stepped by hand, in float64, on random currents.
"""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neuro.base.units import Seconds
from neuro.interop.neuron_reader import CaptureError, NeuronNodes
from neuro.interop.norse_neurons import CELLS, OVER_TIME, convert_cell, widen
from neuro.neurons import LI, DiscreteLIF

norse = pytest.importorskip("norse.torch")
functional = pytest.importorskip("norse.torch.functional.lif_box")
reset = pytest.importorskip("norse.torch.functional.reset")

N = 6
UNEQUAL = torch.tensor([50.0, 80.0, 100.0, 130.0, 200.0, 400.0])  # 1/s
THRESHOLDS = torch.tensor([0.1, 0.2, 0.3, 0.5, 0.8, 1.1])


def keep(_z: Tensor, v: Tensor, _reset: Tensor, _th: Tensor) -> Tensor:
    return v


def lif(**more: Any) -> Any:
    return norse.LIFParameters(**{"v_th": torch.as_tensor(0.3), **more})


def box(**more: Any) -> Any:
    return norse.LIFBoxParameters(**{"v_th": torch.as_tensor(0.3), **more})


BIO = {"v_leak": torch.as_tensor(-6.5), "v_th": torch.as_tensor(-6.0)}
CELL = {
    "LIFCell, its defaults": lambda: norse.LIFCell(),
    "LIFCell, one value a neuron": lambda: norse.LIFCell(
        lif(tau_mem_inv=UNEQUAL, tau_syn_inv=UNEQUAL + 100, v_th=THRESHOLDS)
    ),
    "LIFCell, leak and reset apart": lambda: norse.LIFCell(
        lif(**BIO, v_reset=torch.as_tensor(-7.5))
    ),
    "LIFCell, method triangle, dt": lambda: norse.LIFCell(lif(method="triangle"), dt=0.002),
    "LIFCell, no current beyond its tick": lambda: norse.LIFCell(
        lif(tau_syn_inv=torch.as_tensor(1024.0)), dt=2**-10
    ),
    "LIFBoxCell": lambda: norse.LIFBoxCell(box(**BIO, v_reset=torch.as_tensor(-7.0))),
    "LIFBoxCell, subtracts": lambda: norse.LIFBoxCell(box(reset_method=reset.reset_subtract)),
    "LIFRefracCell": lambda: norse.LIFRefracCell(norse.LIFRefracParameters(lif())),
    "LIFRefracCell, half a tick": lambda: norse.LIFRefracCell(
        norse.LIFRefracParameters(lif(), torch.as_tensor(2.5))
    ),
    "IAFCell": lambda: norse.IAFCell(
        norse.IAFParameters(v_th=torch.as_tensor(1.5), v_reset=torch.as_tensor(-0.5))
    ),
}


def current(seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * (torch.randn(80, 3, N, dtype=torch.float64, generator=generator) + 0.3)


def convert(cell: Any) -> NeuronNodes:
    return convert_cell(cell, type(cell).__name__, (N,))


def read_current(state: Any) -> Tensor | None:
    return getattr(getattr(state, "lif", state), "i", None)


@pytest.mark.parametrize("name", CELL)
@torch.no_grad()
def test_a_cell_and_its_population_fire_alike(name: str) -> None:
    cell, x = CELL[name](), current(len(name), 2.0)
    cell.p = widen(cell.p)
    neuron = convert(cell).node
    assert isinstance(neuron, DiscreteLIF)
    theirs, ours, fired = None, neuron.initial(x[0]), 0.0
    for x_t in x:
        before = read_current(theirs)
        z, theirs = cell(x_t, theirs)
        s, ours = neuron.step(x_t, ours, Seconds(cell.dt))
        assert torch.equal(s, z)
        v = theirs.lif.v if hasattr(theirs, "lif") else theirs.v
        torch.testing.assert_close(ours.v + torch.tensor(neuron.rest), v)
        if ours.i is not None:  # theirs has decayed since
            torch.testing.assert_close(ours.i, x_t if before is None else x_t + before)
        fired += float(z.mean())
    assert 0.02 < fired / len(x) < 0.9


@pytest.mark.parametrize(
    ("make", "ends"),
    [
        (lambda: norse.LICell(), ["current"]),
        (lambda: norse.LICell(norse.LIParameters(UNEQUAL + 50, UNEQUAL)), ["current"]),
        (lambda: norse.LICell(norse.LIParameters(torch.as_tensor(1000.0))), []),
        (lambda: norse.LIBoxCell(), []),
        (lambda: norse.LIBoxCell(norse.LIBoxParameters(torch.as_tensor(1000.0))), []),
        (lambda: norse.LILinearCell(N, N).double(), ["input", "current"]),
    ],
    ids=["LI", "one value a neuron", "no current", "box", "no memory", "weights"],
)
@torch.no_grad()
def test_an_integrator_becomes_its_current_and_its_membrane(make: Any, ends: list[str]) -> None:
    cell, x = make(), current(0)
    cell.p = widen(cell.p)
    nodes = convert(cell)
    assert [end for end, _ in nodes.before] == ends
    chain = [node for end, node in nodes.before if end == "current"] + [nodes.node]
    theirs, states = None, [neuron.initial(x[0]) for neuron in chain]
    for x_t in x:
        v, theirs = cell(x_t, theirs)
        y = x_t @ cell.input_weights.T if "input" in ends else x_t
        for k, neuron in enumerate(chain):
            assert isinstance(neuron, LI)
            y, states[k] = neuron.step(y, states[k], Seconds(cell.dt))
        torch.testing.assert_close(y, v)


@torch.no_grad()
def test_a_recurrent_cell_brings_its_weights() -> None:
    cell = norse.LIFRecurrentCell(N, N, lif()).double()
    x = current(1, 2.0)
    cell.p = widen(cell.p)
    nodes = convert(cell)
    ((_, into),) = nodes.before
    back: Any = nodes.recurrent
    neuron: Any = nodes.node
    theirs, ours, spikes = None, neuron.initial(x[0]), torch.zeros_like(x[0])
    for x_t in x:
        z, theirs = cell(x_t, theirs)
        y = x_t @ torch.tensor(into.weight).double().T
        y = y + spikes @ torch.tensor(back.weight).double().T
        spikes, ours = neuron.step(y, ours, Seconds(cell.dt))
        assert torch.equal(spikes, z)
    assert not np.diag(back.weight).any()  # no autapses


def test_a_module_over_time_becomes_what_its_cell_becomes() -> None:
    p = lif(v_th=torch.as_tensor(0.7))
    cell, module = convert(norse.LIFCell(p)).node, convert(norse.LIF(p)).node
    assert repr(cell) == repr(module)
    assert {*CELLS, *OVER_TIME} >= {"LIFCell", "LIF", "LIFRecurrent", "LIFRefracRecurrent"}


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: norse.LIFCell(lif(method="adjoint")), r"^method 'adjoint' is none of heavi"),
        (
            lambda: norse.LIFCell(lif(v_th=torch.ones(5))),
            r"^v_th has shape \(5,\), a population of \(6,\) needs one value or one for each",
        ),
        (
            lambda: norse.LIFCell(lif(tau_mem_inv=torch.as_tensor(2000.0))),
            r"^DiscreteLIF.decay must be in \[0, 1\], got -1",
        ),
        (
            lambda: norse.LIFCell(lif(v_leak=torch.as_tensor(0.5))),
            r"^DiscreteLIF.threshold must be > rest and finite",
        ),
        (
            lambda: norse.LICell(norse.LIParameters(v_leak=torch.as_tensor(0.5))),
            r"^an LI of neuro rests at 0, and v_leak is not 0; use v_leak=0 and add it",
        ),
        (
            lambda: norse.LIFRefracCell(
                norse.LIFRefracParameters(lif(), torch.arange(1.0, 7.0))
            ),
            r"^rho_reset differs from neuron to neuron, 1 to 6; give all",
        ),
        (
            lambda: norse.LIFBoxCell(box(reset_method=keep)),
            r"^reset_method keep is not one of Norse; use reset_value",
        ),
        (
            lambda: norse.LIFCell(lif(method="adjoint", v_th=torch.ones(5))),
            r"^v_th has shape .*; method 'adjoint' is none",
        ),
    ],
)
def test_what_has_no_counterpart_is_refused(make: Any, problem: str) -> None:
    with pytest.raises(CaptureError) as caught:
        convert(make())
    assert re.match(problem, "; ".join(caught.value.problems))
