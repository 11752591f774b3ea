"""neuro.interop.nir.read: what each NIR primitive becomes, against hand numbers."""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from neuro.interop import nir as neuro_nir
from neuro.interop.imported import run_clock, verify_import

nir = pytest.importorskip("nir")

DATA = Path(os.environ.get("NEURO_DATA", ".")) / "nir"


def ones(*shape, value=1.0):
    return np.full(shape, value)


def chain(*nodes, inputs, outputs):
    """Return a NIR graph of these nodes in a row."""
    names = [f"n{k}" for k in range(len(nodes))]
    members = {"input": nir.Input(np.array(inputs)), **dict(zip(names, nodes, strict=True))}
    members["output"] = nir.Output(np.array(outputs))
    names = ["input", *names, "output"]
    return nir.NIRGraph(nodes=members, edges=list(pairwise(names)), type_check=False)


def run(network, x):
    """Return what the only Output shows, (T, B, *N), after a comparison with the equations."""
    name = network.graph.outputs[0]
    (source,) = network.graph.inputs
    ours, theirs = run_clock(network.graph, {source: x}), network.run_source({source: x})
    assert np.allclose(ours.outputs[name], theirs.outputs[name], rtol=0, atol=1e-12)
    return ours.outputs[name]


def test_an_euler_step_of_a_lif_with_a_leak_voltage_follows_the_hand_numbers():
    # tau 4, dt 1, r 2: v += ((1 - v) + 2 I) / 4 from v = 1; I = 1: 1.5, 1.875, 2.15625 > 2
    cell = nir.LIF(
        tau=ones(1, value=4.0),
        r=ones(1, value=2.0),
        v_leak=ones(1),
        v_threshold=ones(1, value=2.0),
        v_reset=ones(1, value=0.5),
    )
    network = neuro_nir.read(chain(cell, inputs=[1], outputs=[1]), dt=1.0)
    x = np.ones((6, 1, 1))
    assert run(network, x)[:, 0, 0].tolist() == [0, 0, 1, 0, 0, 0]
    # After the reset at 0.5: 0.5 + (0.5 + 2) / 4 = 1.125, then 1.59375, 1.9453125; rest is 1.
    membrane = network.run_source({"input": x}).membranes["n0"][:, 0, 0] + 1
    assert membrane.tolist() == [1.5, 1.875, 0.5, 1.125, 1.59375, 1.9453125]


@pytest.mark.skipif(not DATA.is_dir(), reason="$NEURO_DATA/nir holds no published networks")
@pytest.mark.parametrize("name", ["cnn_sinabs", "braille_noDelay_noBias_subtract", "lif_norse"])
def test_a_published_network_fires_as_its_equations_say(name):
    network = neuro_nir.read(DATA / f"{name}.nir")
    rows = verify_import(network, ticks=16, samples=1)
    assert sum(row.spikes for row in rows) > 0
    assert [row.different for row in rows] == [0] * len(rows)
    assert max(row.error for row in rows) < 1e-12
