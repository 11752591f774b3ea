"""neuro.interop.nir.read beside the imports of other libraries."""

import numpy as np
import pytest
import torch

pytest.importorskip("nir")
import nir
from nir_graphs import chain

from neuro.interop import nir as neuro_nir
from neuro.interop.imported import run_clock


def make_graph(r):
    """Return an Affine of 4 to 5 and LIFs of 1 ms. r: 1, or 10 so that r dt / tau = 1."""
    weight = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    values = {"tau": 1e-3, "r": r, "v_leak": 0.0, "v_threshold": 0.05 * r, "v_reset": 0.0}
    cell = nir.LIF(**{k: np.full(5, v, np.float32) for k, v in values.items()})
    return chain(nir.Affine(weight, np.zeros(5, np.float32)), cell, inputs=[4], outputs=[5])


def import_norse(graph):
    norse = pytest.importorskip("norse.torch")
    return norse.from_nir(graph, dt=1e-4)


def import_spikingjelly(graph):
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    return exchange.import_from_nir(graph, dt=1e-4)


def import_snntorch(graph):
    return pytest.importorskip("snntorch.import_nir").import_from_nir(graph)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("load", "r"), [(import_norse, 1.0), (import_spikingjelly, 10.0), (import_snntorch, 10.0)]
)
def test_a_lif_fires_as_in_the_library_that_imports_it(load, r):
    x = (np.random.default_rng(1).random((60, 1, 4)) < 0.4).astype(np.float64)
    graph = make_graph(r)
    module, state, theirs = load(graph), None, []
    for tick in torch.tensor(x, dtype=torch.float32):
        y, state = module(tick, state)
        theirs.append(y.detach().numpy()[0])
    network = neuro_nir.read(graph, dt=1e-4)
    ours = run_clock(network.graph, {"input": x}).outputs["n1"][:, 0]
    assert ours.sum() > 30
    assert (ours == np.array(theirs)).all()
