"""Lava's stock processes beyond the LIF, each bit for bit against the reference."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_programs import Builder, even, same

from lava_export import reference
from lava_export.population import as_int32
from lava_export.program import LoihiConnection, LoihiProgram
from lava_export.run import RUNNER, available, find_interpreter, run
from neuro.spikes import Events, to_events

SCRIPT = Path(__file__).parents[1] / "support" / "delay_dense.py"
pytestmark = [
    pytest.mark.lava,
    pytest.mark.skipif(not available(), reason="lava-nc is not installed: make setup"),
]


def spikes(b: Builder, n: int, ticks: int, samples: int = 1) -> dict[str, Events]:
    return {"x": to_events(b.rng.random((ticks, samples, n)) < 0.4)}


def messages(b: Builder, n: int, ticks: int, bits: int, samples: int = 1) -> dict[str, Events]:
    """Random whole numbers, the least and the largest among them."""
    half = 1 << (bits - 1)
    x = b.rng.integers(-half, half, (ticks, samples, n)) * (
        b.rng.random((ticks, samples, n)) < 0.6
    )
    x[0, :, 0], x[1, :, 0] = -half, half - 1
    return {"x": to_events(x)}


def agree(program: LoihiProgram, inputs: dict[str, Events], ticks: int) -> None:
    record = reference.run(program, inputs, ticks)
    for name in record.spikes:
        assert len(record.spikes[name].tick), name
    same(record, run(program, inputs, ticks))


RANGES: dict[Any, tuple[int, int]] = {
    "mixed": (-128, 128), "excitatory": (0, 256), "inhibitory": (-255, 1),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_sign_modes_exponents_and_bits_of_weights(seed: int) -> None:
    b = Builder(seed)
    b.add("x", "input", (30,), 0)
    b.add("r", "lif", (20,), 1, **b.lif())
    b.link("x", "r", kind="dense", weight=even(b.rng, 20, 30))
    for i, mode in enumerate(("mixed", "excitatory", "inhibitory", "mixed")):
        bits = int(b.rng.integers(3, 9))
        step = (1 << (8 - bits)) * (1 + (mode == "mixed"))
        low, high = RANGES[mode]
        scale = 2 if mode == "mixed" else 1
        weight = as_int32(scale * b.rng.integers(low, high, (5, 20)) // step * step)
        weight = np.where(weight < low * scale, weight + step, weight)
        how: Any = {"weight_exp": int(b.rng.integers(-7, 4)), "sign_mode": mode}
        how["weight_bits"] = bits
        b.add(f"n{i}", "li", (5,), 3, du=as_int32(700), dv=as_int32(1500))
        b.link("r", f"n{i}", 1, kind="dense", weight=as_int32(weight), **how)
        at = as_int32(np.stack(np.nonzero(b.rng.random((5, 20)) < 0.3)))
        listed: Any = {"kind": "sparse", "places": at, "sizes": (5, 20), **how}
        b.link("r", f"n{i}", 3, weight=as_int32(weight[tuple(at)]), **listed)
    agree(b.program(), spikes(b, 30, 12), 14)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_lifs_with_a_bias_that_waits_and_resets_at_intervals(seed: int) -> None:
    b = Builder(seed)
    b.add("x", "input", (10,), 0)
    for i in range(4):
        more = {
            "bias_mant": as_int32(b.rng.integers(-4096, 4096, 8)),
            "bias_exp": as_int32(b.rng.integers(0, 3, 8)),
            "bias_after": int(b.rng.integers(0, 4)),
            "reset_interval": int([0, 1, 4, 5][i]),
            "reset_offset": int(b.rng.integers(0, 9)),
        }
        b.add(f"stock{i}", "lif", (8,), i + 1, **b.lif(), **more)
        b.link("x" if i == 0 else f"stock{i - 1}", f"stock{i}", kind="dense",
               weight=even(b.rng, 8, 10 if i == 0 else 8))  # fmt: skip
        b.add(f"ours{i}", "alif", (8,), i + 2, **b.alif(8) | more, refractory=i)
        b.link(f"stock{i}", f"ours{i}", kind="dense", weight=even(b.rng, 8, 8))
        b.add(f"li{i}", "li", (8,), i + 2, dv=as_int32(300), **more)
        b.link(f"stock{i}", f"li{i}", kind="dense", weight=even(b.rng, 8, 8))
    agree(b.program(), spikes(b, 10, 20), 20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_ternary_spikes_and_graded_inputs(seed: int) -> None:
    b = Builder(seed)
    b.add("x", "input", (12,), 0, message_bits=5)
    for i in range(2):
        low = as_int32(-int(b.rng.choice([0, 150, 600])))
        more = {"bias_mant": as_int32(b.rng.integers(-900, 900, 9)), "vth_low": low}
        b.add(f"t{i}", "ternary", (9,), 2 * i + 1, **b.lif(), **more)
    b.link("x", "t0", kind="dense", weight=even(b.rng, 9, 12))
    b.link("t0", "t0", 2, kind="dense", weight=even(b.rng, 9, 9))
    b.link("t0", "t1", kind="identity", weight=even(b.rng, 9), weight_exp=-2)
    at = as_int32(np.stack(np.nonzero(b.rng.random((9, 12)) < 0.3)))
    b.link("x", "t1", kind="sparse", weight=even(b.rng, at.shape[1]), places=at, sizes=(9, 12))
    b.add("out", "li", (4,), 4, dv=as_int32(99))
    b.link("t1", "out", kind="dense", weight=even(b.rng, 4, 9))
    agree(b.program(), messages(b, 12, 15, 5, 2), 18)


@pytest.mark.slow
def test_edge_values_of_weights_exponents_thresholds_and_messages() -> None:
    b = Builder(0)
    b.add("x", "input", (4,), 0, message_bits=17)
    b.add("s", "lif", (4,), 1)
    b.link("x", "s", kind="identity", weight=as_int32([2, 2, 2, 2]), weight_exp=-8)
    extremes: Any = [
        ("mixed", [-256, 254, 0, 2], 7), ("mixed", [-256, 254, 254, -256], -8),
        ("excitatory", [255, 1, 0, 255], 7), ("excitatory", [255, 1, 0, 255], -8),
        ("inhibitory", [-255, -1, 0, -255], 7), ("inhibitory", [-255, -1, 0, -255], -8),
    ]  # fmt: skip
    for i, (mode, weight, exponent) in enumerate(extremes):
        how = {"weight_exp": exponent, "sign_mode": mode, "kind": "dense"}
        b.add(f"li{i}", "li", (1,), 2, du=as_int32(4095), dv=as_int32(0))
        b.link("s", f"li{i}", weight=as_int32([weight]), **how)
    for i, (low, high) in enumerate([(0, 0), (-131071, 131071), (-1, 0), (0, 131071)]):
        thresholds: Any = {"vth_low": as_int32(low), "vth": as_int32(high)}
        b.add(f"t{i}", "ternary", (4,), 1, du=as_int32(0), dv=as_int32(0), **thresholds)
        b.link("x", f"t{i}", kind="identity", weight=as_int32([2, -256, 254, 2]), weight_exp=-7)
    program = b.program()
    x = messages(b, 4, 30, 17)
    record = reference.run(program, x, 30)
    assert {-1.0, 1.0} <= set(record.spikes["t1"].value)
    for one, other in zip(
        record.spikes.values(), run(program, x, 30).spikes.values(), strict=True
    ):
        assert all(map(np.array_equal, one[:4], other[:4]))


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [0, -3, 2])
def test_a_connection_for_each_delay_is_lavas_delay_dense(
    exponent: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(8 + exponent)
    weight = np.asarray(even(rng, 5, 8))
    delays, x = rng.integers(0, 4, (5, 8)), rng.random((12, 8)) < 0.4
    np.savez(tmp_path / "job.npz", weight=weight, delays=delays, x=x, exponent=exponent)
    command = [find_interpreter(), str(SCRIPT), str(RUNNER), str(tmp_path)]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    theirs = np.load(tmp_path / "sums.npy")
    ours = np.zeros((12, 5), np.int64)
    for delay in range(4):
        c = LoihiConnection(
            name="c", source="x", target="y", kind="dense", extra=delay, weight_exp=exponent,
            weight=as_int32(np.where(delays == delay, weight, 0)),
        )  # fmt: skip
        ours[delay + 1 :] += reference.make_weighted_sum(c)(x)[: 11 - delay]
    assert np.array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_sigma_delta_networks(seed: int, cumulative: bool) -> None:
    b = Builder(seed)
    rng = b.rng
    b.add("x", "input", (2, 6, 5), 0, message_bits=8)
    more: Any = {"cumulative": cumulative, "message_bits": 20}
    b.add("code", "delta", (2, 6, 5), 1, vth=as_int32(9 << 5), spike_exp=3, state_exp=2, **more)
    b.link("x", "code", kind="identity", weight=as_int32(np.ones(60)), sign_mode="excitatory")
    b.add("conv", "sigma_delta", (3, 3, 5), 2, vth=as_int32(900), spike_exp=2, state_exp=4,
          bias_mant=as_int32(rng.integers(-900, 900, 45)), bias_after=1, **more)  # fmt: skip
    b.link(
        "code", "conv", kind="conv", weight=as_int32(2 * rng.integers(-4, 5, (3, 2, 2, 3))),
        shape=(2, 6, 5), stride=(2, 1), padding=(0, 1),
    )  # fmt: skip
    b.add("fc", "sigma_delta", (4,), 3, vth=as_int32(rng.choice([0, 50])), relu=False,
          state_exp=3, bias_mant=as_int32(70), **more)  # fmt: skip
    b.link("conv", "fc", kind="dense", weight=even(rng, 4, 45), weight_exp=-6)
    b.link("fc", "fc", 2, kind="dense", weight=as_int32(2 * rng.integers(-9, 9, (4, 4))),
           weight_exp=-7)  # fmt: skip
    b.add("out", "sigma", (3,), 5, scale=8.0)
    b.link("fc", "out", 1, kind="dense", weight=even(rng, 3, 4), weight_exp=-3)
    agree(b.program(), messages(b, 60, 10, 8), 12)
