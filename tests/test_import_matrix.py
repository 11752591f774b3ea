"""What an import reads of each library: the second table of docs/support_matrix.md.

A cell is "yes" where the import has the spikes of its source, "–" where it is refused; an empty
cell: the library has no such part. To write the table anew:

    PYTHONPATH=.:tests/support python tests/test_import_matrix.py
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neuro.base.seeds import seeded
from neuro.interop import (
    nir as nir_reader,
    norse as norse_reader,
    snntorch as snn_reader,
    spikingjelly as jelly_reader,
)
from neuro.interop.capture import CaptureError
from neuro.interop.imported import ImportedNetwork, verify_import

nir = pytest.importorskip("nir")
snn = pytest.importorskip("snntorch")
norse = pytest.importorskip("norse.torch")
reset_subtract = pytest.importorskip("norse.torch.functional.reset").reset_subtract
layer = pytest.importorskip("spikingjelly.activation_based.layer")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
PAGE = Path(__file__).parents[1] / "docs" / "support_matrix.md"
START = "| part | NIR | snnTorch | SpikingJelly | Norse |"
N = 4
ONES = np.ones(N)
Make = Callable[[], ImportedNetwork]


def of_nir(*nodes: Any, **choices: Any) -> Make:
    """Return the import of a layer of weights and these nodes."""

    def make() -> ImportedNetwork:
        weights = nir.Affine(np.random.default_rng(0).normal(size=(N, N)), 0.2 * ONES)
        graph = nir.NIRGraph.from_list(weights, *nodes)
        return nir_reader.read(graph, dt=1e-4, **choices)

    return make


def of_snntorch(make_cell: Callable[[], nn.Module]) -> Make:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.cell = nn.Linear(N, N), make_cell()

        def forward(self, x: Any) -> Any:
            states: tuple[Any, ...] = ()
            out = []
            for x_t in x:
                spikes, *rest = self.cell(2 * self.fc(x_t), *states)
                recurrent = isinstance(self.cell, snn.RLeaky)
                states = (spikes, *rest) if recurrent else tuple(rest)
                out.append(spikes)
            return torch.stack(out)

    return lambda: snn_reader.import_module(Net(), (N,))


def of_jelly(*parts: Callable[[], nn.Module], shape: tuple[int, ...] = (N,)) -> Make:
    first = (lambda: nn.Linear(N, N)) if len(shape) == 1 else (lambda: layer.Conv2d(1, 2, 3))
    return lambda: jelly_reader.import_module(
        nn.Sequential(first(), *(part() for part in parts)), shape
    )


def of_norse(*parts: Callable[[], nn.Module]) -> Make:
    return lambda: norse_reader.import_module(
        norse.SequentialState(nn.Linear(N, N), *(part() for part in parts)), (N,)
    )


def lif(**changes: Any) -> Any:
    """Return a LIF of NIR with a membrane of 1 ms."""
    own = {"tau": 1e-3, "r": 20.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **changes}
    return nir.LIF(**{name: value * ONES for name, value in own.items()})


def norse_cell(kind: str, **changes: float) -> Callable[[], nn.Module]:
    make_parameters = getattr(norse, "LIFBoxParameters" if "Box" in kind else "LIFParameters")
    tensors = {
        k: v if callable(v) else torch.as_tensor(v) for k, v in {"v_th": 0.2, **changes}.items()
    }
    return lambda: getattr(norse, kind)(make_parameters(**tensors))


CUBA = {"tau_syn": 5e-4, "tau_mem": 1e-3, "r": 20.0, "w_in": 2.0}
VOLTAGES = {"v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
IMAGES = (1, 8, 8)
ROWS: Mapping[str, tuple[Make | None, Make | None, Make | None, Make | None]] = {
    "neuron without a leak": (
        of_nir(nir.IF(r=1e4 * ONES, v_threshold=ONES, v_reset=0 * ONES)),
        of_snntorch(lambda: snn.Leaky(beta=1.0)),
        of_jelly(neuron.IFNode),
        of_norse(norse.IAFCell),
    ),
    "leak, hard reset": (
        of_nir(lif()),
        of_snntorch(lambda: snn.Leaky(beta=0.9, reset_mechanism="zero")),
        of_jelly(neuron.LIFNode),
        of_norse(norse_cell("LIFBoxCell")),
    ),
    "leak, soft reset": (
        of_nir(lif(), reset="soft"),
        of_snntorch(lambda: snn.Leaky(beta=0.9)),
        of_jelly(lambda: neuron.LIFNode(v_reset=None)),
        of_norse(norse_cell("LIFBoxCell", reset_method=reset_subtract)),  # type: ignore[arg-type]
    ),
    "synaptic current": (
        of_nir(nir.CubaLIF(**{k: v * ONES for k, v in {**CUBA, **VOLTAGES}.items()})),
        of_snntorch(lambda: snn.Synaptic(alpha=0.8, beta=0.9)),
        of_jelly(lambda: neuron.CUBALIFNode(c_decay=0.5, v_decay=0.5)),
        of_norse(norse_cell("LIFCell")),
    ),
    "leak and reset voltages": (
        of_nir(lif(v_leak=-0.25, v_reset=-0.5)),
        None,
        of_jelly(lambda: neuron.LIFNode(v_reset=-0.5)),
        of_norse(norse_cell("LIFCell", v_leak=-0.1, v_reset=-0.2)),
    ),
    "refractory period": (None, None, None, of_norse(lambda: norse.LIFRefracCell())),
    "trained decay": (
        None,
        of_snntorch(lambda: snn.Leaky(beta=torch.linspace(0.5, 0.9, N), learn_beta=True)),
        of_jelly(neuron.ParametricLIFNode),
        None,
    ),
    "recurrent weights": (
        None,
        of_snntorch(lambda: snn.RLeaky(beta=0.9, linear_features=N)),
        of_jelly(
            lambda: layer.LinearRecurrentContainer(
                neuron.IFNode(), in_features=N, out_features=N
            )
        ),
        of_norse(lambda: norse.LIFRecurrentCell(N, N)),
    ),
    "read-out, one stage": (
        of_nir(lif(), nir.LI(tau=1e-3 * ONES, r=ONES, v_leak=0 * ONES)),
        None,
        of_jelly(neuron.IFNode, lambda: neuron.NonSpikingLIFNode()),
        of_norse(norse_cell("LIFCell"), norse.LIBoxCell),
    ),
    "read-out with a current": (
        of_nir(lif(), nir.CubaLI(**{k: v * ONES for k, v in CUBA.items()}, v_leak=0 * ONES)),
        None,
        None,
        of_norse(norse_cell("LIFCell"), norse.LICell),
    ),
    "adaptive threshold": (None, None, None, of_norse(lambda: norse.LSNNCell())),
    "several gates, parallel neurons": (
        None,
        of_snntorch(lambda: snn.Alpha(alpha=0.9, beta=0.8)),
        of_jelly(lambda: neuron.GatedLIFNode(T=4)),
        None,
    ),
    "delay": (of_nir(nir.Delay(3e-4 * ONES), lif()), None, None, None),
    "convolution, batch norm, average pool": (
        None,
        None,
        of_jelly(
            lambda: layer.BatchNorm2d(2),
            neuron.IFNode,
            lambda: layer.AvgPool2d(2),
            neuron.IFNode,
            shape=IMAGES,
        ),
        None,
    ),
    "maximum of spikes": (
        None,
        None,
        of_jelly(neuron.IFNode, lambda: layer.MaxPool2d(2), shape=IMAGES),
        None,
    ),
}
REFUSALS = (CaptureError, nir_reader.NirError)


def read_cell(make: Make | None) -> str:
    """Return what an import says of one part."""
    if make is None:
        return ""
    try:
        with seeded(0):
            network = make()
    except REFUSALS:
        return "–"
    compared = verify_import(network, ticks=16, samples=2)
    wrong = [row for row in compared if not row.agrees]
    return f"differs: {wrong}" if wrong else "yes"


def make_line(part: str) -> str:
    return f"| {part} | {' | '.join(map(read_cell, ROWS[part]))} |"


def read_page() -> dict[str, str]:
    lines = PAGE.read_text().split(START)[1].strip("\n").split("\n\n")[0].splitlines()[1:]
    return {line.split("|")[1].strip(): line for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("part", ROWS)
def test_an_import_reads_what_the_page_says(part: str) -> None:
    assert make_line(part) == read_page()[part]


def test_the_page_has_these_parts() -> None:
    assert list(read_page()) == list(ROWS)


if __name__ == "__main__":
    before, _ = PAGE.read_text().split(START)
    table = [START, "|---|---|---|---|---|", *map(make_line, ROWS)]
    PAGE.write_text(before + "\n".join(table) + "\n")
