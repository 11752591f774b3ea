"""Neurons in Loihi's integers: by hand, at the limits, and as the reference of programs."""

import tempfile
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lava_export import lower, reference
from neuro import LoihiLI, LoihiLIF
from neuro.base.units import Seconds, Ticks
from neuro.events import Grid, simulate
from neuro.graph import Dense, Edge, GradedInput, Graph
from neuro.io.graph_file import load_graph, save_graph
from neuro.neurons import run_population
from neuro.nn import replay
from neuro.spikes import Events, to_events
from neuro.spikes.record import Record

DT = Seconds(1e-3)
M = 2**23


def outputs(model: Any, x: list[float], dtype: torch.dtype = torch.float64) -> list[float]:
    given = torch.tensor(x, dtype=dtype)[:, None, None]
    return run_population(model, given, DT, model.initial(given[0]))[0].flatten().tolist()


def test_a_read_out_decays_towards_zero_in_whole_numbers() -> None:
    # u keeps 1/2, v keeps 3/4, both cut off towards 0: u = 64, 32, 16; v = 64, 80, 76.
    half, three_quarters = 2047.0, 1024.0
    model = LoihiLI(du=half, dv=three_quarters)
    assert outputs(model, [1, 0, 0]) == [1.0, 80 / 64, 76 / 64]
    assert outputs(model, [-1, 0, 0]) == [-1.0, -80 / 64, -76 / 64]
    small = LoihiLI(dv=4095.0, bias=-1.0)
    assert outputs(small, [0, 4000]) == [-1.0, 3999.0]  # of v = -64, 1/4096 is cut off
    assert outputs(LoihiLI(du=-1.0, dv=4096.0, bias=3.0), [1, 2, 0]) == [4.0, 6.0, 6.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_u_wraps_once_and_v_stops_at_its_ends(dtype: torch.dtype) -> None:
    show = LoihiLI(dv=4096.0)
    x = [M // 64 - 1, M // 64 + 1, -M // 64, -M // 64 + 1]
    assert outputs(show, x, dtype) == [x[0], 1 - M // 64, (M - 1) / 64, x[3]]
    keep = LoihiLI()
    assert outputs(keep, [x[0], 5], dtype) == [x[0], (M - 1) / 64]
    assert outputs(keep, [-x[0], -5], dtype) == [-x[0], (1 - M) / 64]


def test_a_lif_fires_above_its_threshold_and_returns_to_zero() -> None:
    model = LoihiLIF(vth=3.0)
    assert outputs(model, [3, 0, 1, 3, 1]) == [0, 0, 1, 0, 1]
    biased = LoihiLIF(vth=3.0, bias=2.0, reset_interval=Ticks(3), reset_offset=Ticks(4))
    assert outputs(biased, [0] * 7) == [0, 0, 1, 0, 0, 1, 0]  # cleared before ticks 1, 4


WIDTHS = {
    **{"du": (-1.0, 4095.0), "dv": (0.0, 4096.0), "vth": (0.0, 131071.0)},
    **{
        "bias": (-8192.0, 8191.0),
        "reset_interval": (0, 2**24 - 1),
        "reset_offset": (0, 2**24 - 1),
    },
}


@pytest.mark.parametrize("name", WIDTHS)
def test_a_register_has_its_width(name: str) -> None:
    low, high = WIDTHS[name]
    for value in WIDTHS[name]:
        assert getattr(LoihiLIF(**{"vth": 5.0, name: value}), name) == value  # type: ignore[arg-type]
    for value in (low - 1, high + 1, *([low + 0.5] if isinstance(low, float) else [])):
        with pytest.raises(ValueError, match=rf"LoihiLIF\.{name} (is|must be).* from"):
            LoihiLIF(**{"vth": 5.0, name: value})  # type: ignore[arg-type]


def random_network(seed: int) -> tuple[Graph, dict[str, Events]]:
    """Return two populations with a loop and a read-out; sums may reach the ends of u, v."""
    rng = np.random.default_rng(seed)
    large = int(rng.choice([1, 900]))
    resets = {"reset_interval": Ticks(int(rng.integers(4))), "reset_offset": Ticks(5)}

    def weight(*shape: int) -> Dense:
        return Dense(weight=rng.integers(-90, 128, shape).astype(float))

    def registers(n: int) -> dict[str, Any]:
        du, dv = rng.choice([-1, 0, 700, 4095], n), rng.choice([0, 300, 4096], n)
        return {"du": du, "dv": dv, "bias": rng.integers(-20, 60, n)}

    nodes: dict[str, Any] = {
        "x": GradedInput(shape=(5,), message_bits=12),
        "w": weight(4, 5),
        "n": LoihiLIF(vth=rng.integers(0, 400, 4), **registers(4), **resets),
        "back": weight(4, 4),
        "v": weight(3, 4),
        "out": LoihiLI(**registers(3)),
    }
    edges = (
        *(Edge(*pair) for pair in (("x", "w"), ("w", "n"), ("n", "back"), ("n", "v"))),
        Edge("back", "n", Ticks(1)),
        Edge("v", "out", Ticks(int(rng.integers(3)))),
    )
    x = to_events(large * rng.integers(-1, 3, (14, 2, 5)))
    return Graph(nodes=nodes, edges=edges, dt=DT), {"x": x}


def same(one: Record, other: Record) -> None:
    for name, e in one.spikes.items():
        assert all(np.array_equal(a, b) for a, b in zip(e, other.spikes[name], strict=True))
    for name, v in one.values.items():
        assert np.array_equal(v, other.values[name]), name


@pytest.mark.slow
@given(seed=st.integers(0, 10**6))
def test_both_clocks_in_both_precisions_compute_the_program(seed: int) -> None:
    graph, x = random_network(seed)
    with tempfile.TemporaryDirectory() as folder:  # a file keeps the neurons
        save_graph(f"{folder}/graph", graph)
        graph = load_graph(f"{folder}/graph")
    wanted = reference.run(lower(graph), x, 14)
    assert wanted.values["out"].any()
    wanted.values["out"] = wanted.values["out"] / 64
    for record in (
        simulate(graph, x)[0],
        replay(graph, x),
        simulate(graph, x, Grid(dtype=np.float32))[0],
        replay(graph, x, torch.float32),
    ):
        same(record, wanted)
