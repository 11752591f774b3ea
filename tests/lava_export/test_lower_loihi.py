"""Graphs of neurons in Loihi's integers become programs as they are, or are refused."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import net_files
import numpy as np
import pytest
from random_programs import same

from lava_export import LowerError, lower, make_scaling_table, reference
from lava_export.run import available, run
from neuro import (
    LI,
    LIF,
    Delta,
    Dense,
    Edge,
    Graph,
    Input,
    LoihiLI,
    LoihiLIF,
    Seconds,
    SigmaDelta,
    Sparse,
    Ticks,
)  # fmt: skip
from neuro.graph.sparse import make_delays
from neuro.interop import lava_dl
from neuro.spikes import to_events

WEIGHT = np.array([[3.0, -4, 0], [255, -256, -5]])
LATE, LATER = (make_delays(np.array(waits)) for waits in ([0, 4, 1], [2, 0]))


def graph(*chain: Any, delay: int = 0, **changed: Any) -> Graph:
    """Return three inputs, nodes, two neurons with a loop, and a read-out of both."""
    named = {"x": Input(shape=(3,)), **{f"c{k}": node for k, node in enumerate(chain)}}
    names = [*named, "n"]
    more = {
        "n": LoihiLIF(vth=np.array([7.0, 9]), bias=np.array([-8192.0, 4094]), du=-1.0),
        "back": Dense(weight=np.eye(2) * 2),
        "w": Dense(weight=np.ones((1, 2)) * 2),
        "out": LoihiLI(dv=4096.0, reset_interval=Ticks(5), reset_offset=Ticks(3)),
    }
    edges = [Edge(a, b, Ticks(delay)) for a, b in pairwise(names)]
    edges += [Edge("n", "back", Ticks(1)), Edge("back", "n"), Edge("n", "w"), Edge("w", "out")]
    return Graph(nodes={**named, **more, **changed}, edges=tuple(edges), dt=Seconds(1e-3))


def test_registers_weights_and_delays_are_those_of_the_graph() -> None:
    program = lower(graph(LATE, Dense(weight=WEIGHT), LATER, delay=2), ticks=9)
    n, out = program["n"], program["out"]
    assert (n.kind, n.lag, out.kind, out.lag) == ("alif", 0, "li", 1)
    assert (n.du.tolist(), n.dv.tolist(), n.vth.tolist()) == ([-1], [0], [7, 9])
    assert (n.bias_mant.tolist(), n.bias_exp.tolist()) == ([-4096, 4094], [7, 6])
    assert (out.dv.tolist(), out.reset_interval, out.reset_offset) == ([4096], 5, 3)
    even, odd, back, read = program.connections
    assert [c.name for c in program.connections] == ["c1", "c1 odd", "back", "w"]
    assert np.array_equal(even.weight + odd.weight, WEIGHT)
    assert (even.weight % 2 == 0).all()
    assert (odd.weight >= 0).all()
    assert (even.sign_mode, odd.sign_mode, back.sign_mode) == ("mixed", "excitatory", "mixed")
    assert [program.delay(c) for c in program.connections] == [8, 8, 1, 0]
    for c in (even, odd):
        assert (c.delays_in.tolist(), c.delays_out.tolist()) == ([0, 4, 1], [2, 0])
    assert back.delays_in is read.delays_out is None
    assert program.digest
    direct = lower(graph(n=LoihiLIF(vth=2.0), back=Dense(weight=np.eye(3)),
                         w=Dense(weight=np.ones((1, 3)))), ticks=9)  # fmt: skip
    assert direct["n"].kind == "lif"
    assert (direct.connections[0].name, direct.connections[0].kind) == ("x->n", "identity")


def test_nothing_is_rounded() -> None:
    plain = graph(Dense(weight=WEIGHT))
    rows = make_scaling_table(plain, lower(plain, ticks=9))
    assert [row["layer"] for row in rows] == ["n", "out"]
    assert all(row[key] == 0 for row in rows for key in row if key.endswith("error"))
    assert (rows[0]["weight_min"], rows[0]["weight_max"], rows[1]["lag"]) == (-256, 254, 2)


REFUSED: dict[str, Graph] = {
    "out: a LIF beside neurons in Loihi's integers": graph(
        Dense(weight=WEIGHT), out=LIF(tau=0.01)
    ),
    "n: an odd bias beyond 4096 needs 14 bits": graph(
        Dense(weight=WEIGHT), n=LoihiLIF(vth=2.0, bias=4097.0)
    ),
    "c0: c1, a Dense; a chain has one Dense": graph(
        Dense(weight=WEIGHT), Dense(weight=np.eye(2))
    ),
    "c0: a bias of synapses": graph(Dense(weight=WEIGHT, bias=np.ones(2))),
    "c0: weights are no whole numbers": graph(Dense(weight=WEIGHT / 2)),
    "x->n: c0, a Sparse; a chain has one Dense": graph(
        Sparse.from_coo(np.arange(3), np.arange(3) % 2, np.ones(3), shape=(2, 3))
    ),
}


def coded(**changed: Any) -> Graph:
    """Return a Delta, a SigmaDelta and a read-out in fixed point."""
    nodes = {
        "x": Input(shape=(3,)),
        "n": Delta(threshold=0.25, spike_exp=2),
        "w": Dense(weight=WEIGHT / 128),
        "m": SigmaDelta(threshold=0.5, bias=np.array([-1.5, 0.25]), spike_exp=3),
        "out": LI(tau=np.inf),
    }
    names = [*nodes]
    return Graph(
        nodes={**nodes, **changed},
        edges=tuple(Edge(*pair) for pair in pairwise(names)),
        dt=Seconds(1e-3),
    )


def test_sigma_delta_neurons_keep_their_own_exponents() -> None:
    program = lower(coded(m=SigmaDelta(
        threshold=0.5, bias=np.array([-1.5, 0.25]), spike_exp=3, relu=False, cumulative=True
    )))  # fmt: skip
    n, m, out = (program[name] for name in ("n", "m", "out"))
    assert [(p.scale, p.spike_exp, p.state_exp) for p in (n, m, out)] == [
        (2**8, 2, 6), (2**9, 3, 6), (2**12, 0, 0),
    ]  # fmt: skip
    assert (n.vth.tolist(), m.vth.tolist()) == ([64], [256])
    assert (m.bias_mant.tolist(), m.relu, m.cumulative) == ([-768, 128], False, True)
    assert (n.relu, n.cumulative) == (True, False)
    weights = {(c.source, c.target): c.weight for c in program.connections[:2]}
    assert weights["x", "n"].tolist() == [1, 1, 1]
    assert program.connections[-1].weight.tolist() == [512, 512]  # 2^12 / 2^3
    even, odd = program.connections[1:3]
    assert np.array_equal(even.weight + odd.weight, WEIGHT)  # 2^9 / 2^2 / 128
    one = lower(coded(m=SigmaDelta(threshold=0.5, bias=0.25, spike_exp=3)))["m"]
    assert (one.bias_mant.tolist(), one.relu) == ([128], True)


REFUSED |= {
    "m: a SigmaDelta beside sigma-delta neurons with a spike_exp": coded(
        m=SigmaDelta(threshold=0.5)
    ),
    "out: a LI beside sigma-delta neurons with a spike_exp": coded(out=LI(tau=0.1)),
    "out: an LI with a gain": coded(out=LI(tau=np.inf, gain=2.0)),
    "m: threshold 0.001 has no 24 bits in units of 1/512": coded(
        m=SigmaDelta(threshold=0.001, spike_exp=3)
    ),
    "m: bias 16384 has no 24 bits in units of 1/512; round it to such units, below 16384": (
        coded(m=SigmaDelta(threshold=0.5, bias=2.0**14, spike_exp=3))
    ),
    "m: thresholds of several values": coded(
        m=SigmaDelta(threshold=np.array([0.5, 1.0]), spike_exp=3)
    ),
    "w: weights are no multiples of 1/128; round them": coded(w=Dense(weight=WEIGHT / 256)),
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_is_no_program_is_refused(told: str) -> None:
    with pytest.raises(LowerError) as refused:
        lower(REFUSED[told], ticks=9)
    (problem,) = refused.value.problems
    assert problem.startswith(told)


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.skipif(not available(), reason="lava-nc is not installed: make setup")
@pytest.mark.parametrize("time", ["slayer", "lava"])
def test_lava_computes_an_imported_network(time: lava_dl.Time, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    rng = np.random.default_rng([57, 2])
    layers = net_files.draw(rng, conv_delays=True, last_delays=False)
    path = net_files.write(tmp_path / "a.net", layers)
    program = lower(lava_dl.read(path, time=time, reset_interval=4).graph)
    x = {"input": to_events(rng.random((12, 2, program["input"].size)) < 0.4)}
    same(reference.run(program, x, 12), run(program, x, 12))
