import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, strategies as st

from lava_export.program import (
    LoihiConnection,
    LoihiProgram,
    Population,
    ProgramError,
    as_int32,
)
from lava_export.reference import (
    NeuronState,
    make_weighted_sum,
    order_populations,
    run,
    step,
    to_float,
)
from neuro.spikes import to_events, to_raster
from neuro.spikes.record import Record

M = 2**23


Cells = tuple[int, int, int, int, int]  # the spike, u, v, a, and ticks to wait


def slow_step(p: dict[str, int], u: int, v: int, a: int, wait: int, x: int) -> Cells:
    """One neuron, one tick, in Python integers: sections of the equation one by one."""

    def trunc(number: int) -> int:
        return number // 4096 if number >= 0 else -(-number // 4096)

    u = trunc(u * (4096 - (p["du"] + 1))) + x * 64
    if u > M:
        u -= 2 * M
    elif u <= -M:
        u += 2 * M
    if not wait:
        v = trunc(v * (4096 - p["dv"])) + u + p["bias_mant"] * 2 ** p["bias_exp"]
        v = max(1 - M, min(M - 1, v))
    a = trunc(a * (4096 - p["da"]))
    threshold = p["vth"] * 64 + a
    if v <= threshold or wait:
        return 0, u, v, a, max(wait - 1, 0)
    v = 0 if p["hard"] else v - threshold - 64
    return 1, u, v, min(a + p["beta"] * 64, M - 1), p["refractory"]


parameters = st.fixed_dictionaries(
    {
        "du": st.sampled_from([0, 1, 2048, 4094, 4095]) | st.integers(0, 4095),
        "dv": st.sampled_from([0, 1, 2048, 4095, 4096]) | st.integers(0, 4096),
        "da": st.sampled_from([0, 4095]) | st.integers(0, 4095),
        "vth": st.sampled_from([0, 1, 131071]) | st.integers(0, 131071),
        "beta": st.sampled_from([0, 1, 131071]) | st.integers(0, 2000),
        "bias_mant": st.sampled_from([-4096, 0, 4095]) | st.integers(-4096, 4095),
        "bias_exp": st.integers(0, 7),
        "hard": st.integers(0, 1),
        "refractory": st.integers(0, 2),
    }
)
state = st.sampled_from([0, 1, -1, M - 1, 1 - M]) | st.integers(1 - M, M - 1)
inputs = st.sampled_from([0, 1, -1, M // 64, -M // 64, 3 * M // 64]) | st.integers(
    -300000, 300000
)


@given(
    parameters, state, state, st.integers(0, M - 1), st.lists(inputs, min_size=1, max_size=6)
)
def test_the_batched_step_is_the_equation_in_python_integers(
    p: dict[str, int], u: int, v: int, a: int, xs: list[int]
) -> None:
    hard = bool(p["hard"])
    whole = ("hard", "refractory")
    arrays = {k: as_int32(value) for k, value in p.items() if k not in whole}
    population = Population(
        name="n", kind="alif", shape=(1,), hard=hard, refractory=p["refractory"], **arrays
    )
    wait = 0
    now = NeuronState(*(np.array([[value]], np.int64) for value in (u, v, a, wait)))
    for x in xs:
        s, now = step(population, now, np.array([[x]], np.int64))
        fired, u, v, a, wait = slow_step(p, u, v, a, wait, x)
        cells = (value for value in now if value is not None)
        found = (int(s[0, 0]), *(int(value[0, 0]) for value in cells))
        assert found == (fired, u, v, a, wait)


def test_u_wraps_once_and_v_stops_at_its_ends() -> None:
    n = Population(name="n", kind="li", shape=(1,))
    zero = np.zeros((1, 1), np.int64)
    rest = NeuronState(zero, zero, zero)
    for x, u in ((M // 64, M), (M // 64 + 1, 64 - M), (-M // 64, M), (3 * M // 64 + 1, M + 64)):
        _, after = step(n, rest, zero + x)
        assert after.u.item() == u
    _, after = step(n, NeuronState(zero, zero + M - 1, zero), zero + 5)
    assert after.v.item() == M - 1
    _, after = step(n, NeuronState(zero, zero + 1 - M, zero), zero - 5)
    assert after.v.item() == 1 - M


@given(st.integers(0, 10**6))
def test_synapses_are_torchs_in_every_layout(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k, s, p = rng.integers(1, 4, 2), rng.integers(1, 3, 2), rng.integers(0, 3, 2)
    shape = (2, *(int(n) for n in rng.integers(4, 8, 2)))
    groups, (down, right) = int(rng.integers(1, 3)), (int(d) for d in rng.integers(1, 3, 2))
    k = np.minimum(k, [1 + 3 // down, 1 + 3 // right])  # spans 4 at most
    weight = as_int32(rng.integers(-128, 128, (4, 2 // groups, *k)))
    c = LoihiConnection(
        name="c",
        source="x",
        target="y",
        kind="conv",
        weight=weight,
        shape=shape,
        stride=(int(s[0]), int(s[1])),
        padding=(int(p[0]), int(p[1])),
        dilation=(down, right),
        groups=groups,
    )
    x = rng.random((3, c.in_size)) < 0.5
    image = torch.as_tensor(x.reshape(3, *shape).astype(np.float64))
    kernel = torch.as_tensor(weight.astype(np.float64))
    wanted = F.conv2d(image, kernel, None, c.stride, c.padding, c.dilation, groups)
    assert wanted.shape[1:] == c.out_shape
    assert np.array_equal(make_weighted_sum(c)(x), wanted.flatten(1).numpy())
    dense = replace(
        c, kind="dense", weight=as_int32(2 * rng.integers(-128, 128, (4, c.in_size)))
    )
    assert np.array_equal(make_weighted_sum(dense)(x), x @ dense.weight.T)
    identity = replace(c, kind="identity", weight=as_int32(2 * rng.integers(-9, 9, c.in_size)))
    assert np.array_equal(make_weighted_sum(identity)(x), x * identity.weight)
    places = as_int32(np.stack(np.nonzero(dense.weight)))
    listed = replace(
        dense,
        kind="sparse",
        weight=dense.weight[tuple(places)],
        places=places,
        sizes=dense.weight.shape,
    )
    assert listed.out_shape == (4,)
    assert listed.in_size == c.in_size
    assert np.array_equal(make_weighted_sum(listed)(x), make_weighted_sum(dense)(x))


def test_sums_beyond_float32_are_exact_too() -> None:
    """Which has steps of 4 from 2^25 on; neither sum is a multiple of 4."""
    weight = as_int32(np.where(np.arange(200_002) % 2, 254, 252)[None])
    c = LoihiConnection(name="c", source="x", target="y", kind="dense", weight=weight)
    x = np.ones((1, 200_002), bool)
    assert make_weighted_sum(c)(x).item() == 506 * 100_001
    few = replace(c, weight=as_int32([[4, 254]]))
    messages = np.array([[1, 2**18 - 1]])
    assert make_weighted_sum(few, 2**18 - 1)(messages).item() == 4 + 254 * (2**18 - 1)


def test_a_sum_of_messages_beyond_24_bits_is_refused_beside_binary_spikes_too() -> None:
    program = LoihiProgram(
        populations=(
            Population(name="x", kind="input", shape=(1,), message_bits=20),
            Population(name="y", kind="input", shape=(1,)),
            Population(name="n", kind="li", shape=(1,), lag=1, du=as_int32(4095)),
        ),
        connections=tuple(
            LoihiConnection(
                name=source, source=source, target="n", kind="identity", weight=as_int32(128)
            )
            for source in "xy"
        ),
    )
    most = 2**24 // 128 - 2  # beside the other spike
    for value in (most, most + 1):
        x = {"x": to_events(np.full((1, 1, 1), value)), "y": to_events(np.ones((1, 1, 1)))}
        if value == most:
            assert run(program, x, 1).spikes["y"].tick.tolist() == [0]
            continue
        with pytest.raises(ProgramError, match="n: the sum of a tick of neuron 0, sample 0"):
            run(program, x, 1)


def ring(delay: int) -> LoihiProgram:
    """One input spike starts a neuron that then wakes itself after ``delay`` ticks."""
    return LoihiProgram(
        populations=(
            Population(name="x", kind="input", shape=(1,)),
            Population(name="n", kind="lif", shape=(1,), lag=1, vth=as_int32(1)),
            Population(name="out", kind="li", shape=(1,), lag=2, scale=2.0),
        ),
        connections=tuple(
            LoihiConnection(
                name=name,
                source=source,
                target=target,
                kind="identity",
                weight=as_int32(2),
                extra=extra,
            )
            for name, source, target, extra in (
                ("in", "x", "n", 0),
                ("loop", "n", "n", delay - 1),
                ("read", "n", "out", 0),
            )
        ),
    )


def test_a_loop_rings_with_its_delay_and_layers_share_the_tick() -> None:
    x = np.zeros((9, 1, 1), bool)
    x[1] = True
    record = run(ring(3), {"x": to_events(x)}, 9)
    assert record.executor == "integers"
    assert record.spikes["n"].tick.tolist() == [1, 4, 7]
    v = record.values["out"]
    assert v.dtype == np.int64
    assert v[:, 0, 0].tolist() == [0, 128, 128, 128, 256, 256, 256, 384, 384]
    assert to_float(ring(3), "out", v)[8, 0, 0] == 3.0


def test_a_delay_of_each_neuron_is_that_of_a_connection_for_each_delay() -> None:
    rng = np.random.default_rng(7)
    before, behind = as_int32([0, 3, 1, 3]), as_int32([2, 0, 5])
    x = Population(name="x", kind="input", shape=(4,))
    n = Population(name="n", kind="li", shape=(3,), lag=1, du=as_int32(700), dv=as_int32(90))
    c = LoihiConnection(
        name="c", source="x", target="n", kind="dense", extra=1,
        weight=as_int32(2 * rng.integers(-100, 100, (3, 4))),
    )  # fmt: skip
    events = {"x": to_events(rng.random((12, 2, 4)) < 0.4)}
    for kept in ({"delays_in": before, "delays_out": behind}, {"delays_in": before},
                 {"delays_out": behind}):  # fmt: skip
        first, then = kept.get("delays_in", 0 * before), kept.get("delays_out", 0 * behind)
        each = [
            replace(
                c, name=f"{i}-{o}", extra=1 + int(i + o),
                weight=as_int32(c.weight * (first == i) * (then == o)[:, None]),
            )
            for i in np.unique(first)
            for o in np.unique(then)
        ]  # fmt: skip
        short = LoihiProgram(populations=(x, n), connections=(replace(c, **kept),))
        long = LoihiProgram(populations=(x, n), connections=tuple(each))
        wanted = run(long, events, 16).values["n"]
        assert wanted[-1].all()
        assert np.array_equal(run(short, events, 16).values["n"], wanted)


def test_sources_come_first_whatever_the_order_they_are_listed_in() -> None:
    program = ring(3)
    turned = LoihiProgram(
        populations=program.populations[::-1], connections=program.connections
    )
    assert order_populations(turned) == ["x", "n", "out"]


def test_samples_do_not_depend_on_their_company() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((6, 150, 1)) < 0.4  # more than two chunks
    whole = run(ring(2), {"x": to_events(x)}, 6)
    alone = run(ring(2), {"x": to_events(x[:, 140:141])}, 6)
    assert np.array_equal(
        to_raster(whole.spikes["n"])[:, 140:141], to_raster(alone.spikes["n"])
    )
    assert np.array_equal(whole.values["out"][:, 140:141], alone.values["out"])


def counted(work: Callable[[], Record]) -> tuple[Record, int]:
    """Return what it returns, and how many functions it called, those in C included."""
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        record = work()
    finally:
        sys.setprofile(before)
    return record, calls


def test_two_hundred_digits_through_two_convolutions_take_few_calls() -> None:
    rng = np.random.default_rng(0)
    program = LoihiProgram(
        populations=(
            Population(name="x", kind="input", shape=(1, 28, 28)),
            Population(name="a", kind="lif", shape=(8, 24, 24), lag=1, vth=as_int32(300)),
            Population(name="b", kind="lif", shape=(16, 10, 10), lag=2, vth=as_int32(900)),
        ),
        connections=(
            LoihiConnection(
                name="conv1",
                source="x",
                target="a",
                kind="conv",
                weight=as_int32(2 * rng.integers(-60, 100, (8, 1, 5, 5))),
                shape=(1, 28, 28),
            ),
            LoihiConnection(
                name="conv2",
                source="a",
                target="b",
                kind="conv",
                weight=as_int32(2 * rng.integers(-60, 80, (16, 8, 6, 6))),
                shape=(8, 24, 24),
                stride=(2, 2),
            ),
        ),
    )
    raster = rng.random((8, 200, 784)) < 0.15
    x, one = to_events(raster), to_events(raster[:, :1])
    run(program, {"x": one}, 8)  # what is done once is done
    _, of_one = counted(lambda: run(program, {"x": one}, 8))
    record, calls = counted(lambda: run(program, {"x": x}, 8))
    assert all(len(e.tick) > 100_000 for e in record.spikes.values())
    assert calls < 5 * of_one  # whole arrays at a time: 200 samples are four parts of 64
