from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lava_export.program import LoihiConnection, LoihiProgram, Population, as_int32
from lava_export.reference import iterate_ticks
from lava_export.rules import RuleBreach, bound_states, check, keeps_no_memory
from neuro.energy import find_chip

THRESHOLDS, DECAYS = "thresholds have 17 bits", "decays have 12 bits"
BIASES = "biases have a 13 bit mantissa and a 3 bit exponent"


def program(weight: Any = ((2, -2),), extra: int = 0, **neuron: Any) -> LoihiProgram:
    w = as_int32(weight)
    kind = neuron.pop("kind", "alif")
    return LoihiProgram(
        populations=(
            Population(name="x", kind="input", shape=(w.shape[1],)),
            Population(name="n", kind=kind, shape=(w.shape[0],), lag=1, **neuron),
        ),
        connections=(
            LoihiConnection(
                name="w", source="x", target="n", kind="dense", weight=w, extra=extra
            ),
        ),
    )


def breaches(p: LoihiProgram, chip: str = "loihi1", ticks: int | None = 1) -> list[str]:
    try:
        check(replace(p, ticks=ticks), chip)
    except RuleBreach as breach:
        return breach.breaches
    return []


def test_the_limits_themselves_are_allowed() -> None:
    p = program(
        ((-256, 254),), extra=62, vth=as_int32(131071), du=as_int32(0), dv=as_int32(4095),
        bias_mant=as_int32(-4096), bias_exp=as_int32(7),
    )  # fmt: skip
    assert breaches(p, ticks=5) == []
    assert breaches(program(bias_mant=as_int32(4095), da=as_int32(4095))) == []


@pytest.mark.parametrize("bad", [255, 256, -258, 3])
def test_weights_have_8_bits_a_sign_and_are_even(bad: int) -> None:
    (told,) = breaches(program(((2, bad),)))
    assert told.startswith("weights have 8 bits and a sign: w: 1 weights like ")
    assert f"like {bad}, allowed are even numbers from -256 to 254" in told


@pytest.mark.parametrize(
    ("field", "value", "rule", "allowed"),
    [
        ("vth", 131072, THRESHOLDS, "0..131071"),
        ("vth", -1, THRESHOLDS, "0..131071"),
        ("beta", 131072, THRESHOLDS, "0..131071"),
        ("du", -2, DECAYS, "-1..4095"),
        ("dv", 4097, DECAYS, "0..4096"),
        ("da", 4096, DECAYS, "0..4095"),
        ("bias_mant", 4096, BIASES, "-4096..4095"),
        ("bias_mant", -4097, BIASES, "-4096..4095"),
        ("bias_exp", 8, BIASES, "0..7"),
        ("bias_exp", -1, BIASES, "0..7"),
    ],
)
def test_every_register_has_its_width(field: str, value: int, rule: str, allowed: str) -> None:
    told = [b for b in breaches(program(**{field: as_int32(value)})) if b.startswith(rule)]
    assert told[0].startswith(f"{rule}: n: {field} = {value}, allowed is {allowed}; ")


def test_only_a_process_of_ours_keeps_nothing_of_v() -> None:
    nothing = as_int32(4096)
    (told,) = breaches(program(kind="lif", dv=nothing), "loihi2")
    assert told.startswith("decays have 12 bits: n: dv = 4096, allowed is 0..4095; ")
    for kind in ("alif", "li"):
        assert breaches(program(kind=kind, dv=nothing), "loihi2") == []
        (told,) = breaches(program(kind=kind, dv=nothing))
        assert "n: its membrane keeps nothing, Loihi 1 keeps 1/4096 of it" in told


@pytest.mark.parametrize(
    ("kind", "of"),
    [("delta", {"message_bits": 8}), ("sigma", {}), ("ternary", {"vth_low": as_int32(-5)})],
)
def test_only_a_programmable_chip_has_spikes_with_values(kind: str, of: dict[str, Any]) -> None:
    p = program(kind=kind, vth=as_int32(7), **of)
    (told,) = breaches(p)
    assert told == (
        f"only a programmable chip sends graded spikes: n: {kind} with spikes that have "
        "values, those of Loihi 1 have none; take a programmable chip, such as loihi2, or "
        "binary spikes (neuro import --set input=rate, neuro train --set code=rate)"
    )
    assert breaches(p, "loihi2") == []


def test_a_spike_waits_at_most_62_steps() -> None:
    (told,) = breaches(program(extra=63))
    assert told.startswith(
        "a spike waits no longer than the chip allows: w: a spike from x to n waits 63 steps"
    )
    assert "shorten the delay" in told


def test_waits_before_and_behind_the_synapses_count_together() -> None:
    for waits, most in ((60, 62), (61, 63)):
        p = program(extra=1)
        (c,) = p.connections
        size = p[c.source].size
        slow = replace(
            c, delays_in=as_int32([1] + [0] * (size - 1)), delays_out=as_int32([waits])
        )
        told = breaches(replace(p, connections=(slow,)))
        assert [f"waits {most} steps" in t for t in told] == [True] * (most > 62)


def test_what_is_kept_of_a_membrane_is_harmless_below_2_to_the_18() -> None:
    n = Population(name="n", kind="lif", shape=(1,), dv=as_int32(4095), vth=as_int32(4095))

    def keeps(weight: int, sources: int, **neuron: int) -> bool:
        p = replace(n, **{k: as_int32(v) for k, v in neuron.items()})
        whole = program(np.full((1, sources), weight))
        return keeps_no_memory(p, whole.connections, 1, whole.messages)

    # Inhibition of 64 x 4096 in a tick, and a threshold of 64 x 4096, are one too large.
    assert keeps(-256, 15)
    assert not keeps(-256, 16)
    assert keeps(256, 16)
    assert not keeps(2, 1, vth=4097)
    assert not keeps(2, 1, vth=4094)  # on a sum, not between two
    assert not keeps(2, 1, du=4094)  # a current of its own
    assert not keeps(3, 1)  # an odd weight ends in the middle too
    halved = replace(program(((4,),)).connections[0], weight_exp=-1)
    assert not keeps_no_memory(n, (halved,), 1, program(((4,),)).messages)
    assert keeps_no_memory(n, (replace(halved, weight_exp=0),), 1, program(((4,),)).messages)


def test_a_soft_reset_bounds_v_where_a_tick_adds_no_more_than_the_threshold() -> None:
    def bound(vth: int) -> float:
        p = program(((100,),), hard=False, vth=as_int32(vth))
        return float(bound_states(p["n"], p.connections, 50, p.messages).v[0])

    assert bound(99) == 64 * 100 + 64 * 100  # held at the threshold, and one tick more
    assert bound(98) == 50 * 64 * 100


def test_a_reset_bounds_v_from_the_value_that_it_leaves() -> None:
    def bound(weight: int, **neuron: Any) -> float:
        p = program(((weight,),), vth=as_int32(9), **neuron)
        return float(bound_states(p["n"], p.connections, 50, p.messages).v[0])

    assert bound(-2, reset_to=as_int32(-7000)) == 7000 + 50 * 128
    assert bound(2, reset_to=as_int32(500)) == 640 + 128  # held at the threshold
    assert bound(2, hard=False, reset_by=as_int32(127)) == 50 * 128  # falls behind
    assert bound(2, hard=False, reset_by=as_int32(128)) == 640 + 128
    assert bound(2, hard=False, reset_by=as_int32(7000)) == 7000 - 9 * 64


def test_the_axons_of_a_neuron_fit_one_core() -> None:
    wide = program(np.full((1, 4097), 2), kind="lif")
    (told,) = breaches(wide)
    assert told.startswith("the axons of a neuron fit one core: n: a neuron listens to 4097 ")
    assert "axons, a core takes 4096; pool or convolve first" in told
    assert breaches(wide, "loihi2") == []
    assert breaches(program(np.full((1, 4096), 2), kind="lif")) == []


def test_listed_synapses_are_counted_at_the_neuron_that_has_most() -> None:
    many = 4097
    target = np.append(np.zeros(many, int), np.ones(9, int))
    source = np.append(np.arange(many), np.arange(9))
    x = Population(name="x", kind="input", shape=(many,))
    n = Population(name="n", kind="lif", shape=(2,), lag=1)
    w = LoihiConnection(
        name="w",
        source="x",
        target="n",
        kind="sparse",
        weight=as_int32(np.full(many + 9, 2)),
        places=as_int32([target, source]),
        sizes=(2, many),
    )
    p = LoihiProgram(populations=(x, n), connections=(w,))
    (told,) = breaches(p)
    assert "n: a neuron listens to 4097 axons, a core takes 4096" in told
    # A word for each source, and 8 bits of weight each: as neuro.energy.mapping counts them.
    chip = find_chip("loihi1")
    words = replace(chip.limits.synapse_words, value=4097.0 + 512, low=0.0, high=5000.0)
    small = replace(chip, limits=replace(chip.limits, synapse_words=words))
    with pytest.raises(RuleBreach, match="of a neuron take 4610 words, a core holds 4609"):
        check(p, small)


def convolution(channels: int) -> LoihiProgram:
    kernel = np.zeros((1, channels, 3, 3), int)
    kernel[0, 0] = 2
    return LoihiProgram(
        populations=(
            Population(name="x", kind="input", shape=(channels, 5, 5)),
            Population(name="n", kind="lif", shape=(1, 3, 3), lag=1),
        ),
        connections=(
            LoihiConnection(
                name="w",
                source="x",
                target="n",
                kind="conv",
                weight=as_int32(kernel),
                shape=(channels, 5, 5),
            ),
        ),
    )


def test_the_channels_of_a_convolution_share_their_axons() -> None:
    assert breaches(convolution(512)) == []  # 4,608 sources, but 20 pixels
    (told,) = breaches(convolution(1821))
    assert told.startswith("the synapses of a neuron fit one core: n: the synapses of a neuron")
    assert "take 16389 words, a core holds 16384" in told


def test_a_dense_neuron_of_loihi_2_has_a_word_a_source() -> None:
    weight = np.zeros((1, 12_001), int)
    (told,) = breaches(program(weight, kind="lif"), "loihi2")
    assert "n: the synapses of a neuron take 12001 words, a core holds 12000" in told
    assert breaches(program(weight[:, 1:], kind="lif"), "loihi2") == []


def test_only_a_programmable_chip_resets_softly_or_adapts_or_forgets() -> None:
    p = program(hard=False, beta=as_int32(3), da=as_int32(100))
    soft, adapts = breaches(p)
    assert "n: soft reset, Loihi 1 sets v to 0; train with reset='hard' (in snnTorch: " in soft
    assert "n: beta > 0 adapts the threshold, Loihi 1 cannot; use beta=0" in adapts
    assert breaches(p, "loihi2") == []
    assert breaches(program(bias_mant=as_int32(5))) == []  # hard reset with a bias: it can


def test_only_a_programmable_chip_resets_to_a_value() -> None:
    p = program(reset_to=as_int32(-64))
    (told,) = breaches(p)
    assert "n: its reset sets v to a value, Loihi 1 sets v to 0, which is rest" in told
    assert told.endswith("use reset_to=None")
    assert breaches(p, "loihi2") == []
    (soft,) = breaches(program(hard=False, reset_by=as_int32(64)))
    assert "soft reset" in soft
    for value in (2**23, -(2**23)):
        told, *_ = breaches(program(reset_to=as_int32(value)), "loihi2")
        assert f"n: reset_to = {value}, allowed is -8388607..8388607" in told


def test_what_never_fires_needs_no_reset() -> None:
    assert breaches(program(kind="li", hard=False, beta=as_int32(3))) == []


def test_a_sum_of_2_to_the_23_itself_is_too_large() -> None:
    w = np.full((1, 512), -256)  # 512 x 256 x 64 = 2^23
    assert "u of neuron 0 can reach 8.389e+06, which is 1 times 2^23" in breaches(program(w))[0]
    w[0, 0] = -254
    assert breaches(program(w)) == []


def test_sums_that_can_reach_2_to_the_23_are_told_with_neuron_and_cure() -> None:
    w = np.full((3, 600), 2)
    w[2] = 250  # 600 x 250 x 64 = 9.6e6
    told = breaches(program(w, kind="lif"))
    assert [b.split(": ")[:2] for b in told] == [["worst case sums stay below 2^23", "n"]] * 2
    assert "u of neuron 2 can reach 9.6e+06, which is 1.14 times 2^23" in told[0]
    assert "use lower(graph, ticks=...)" in told[0]
    assert breaches(program(w - 4, kind="lif")) != []
    assert breaches(program(-w, kind="lif")) != []
    w[2, 300:] = -250  # what cancels is no matter: either half may come alone
    assert breaches(program(w, kind="lif")) == []


def test_a_leak_sums_up_over_ticks() -> None:
    w = np.full((1, 60), 250)  # 0.96e6 a tick
    slow = program(w, kind="li", dv=as_int32(205))
    assert "v of neuron 0 can reach 1.918e+07" in breaches(slow, ticks=None)[0]
    assert breaches(slow, ticks=9) == []
    assert len(breaches(slow, ticks=20)) == 1
    keeps = program(w, kind="li")  # no leak
    (told,) = breaches(keeps, ticks=None)
    assert "n: v of neuron 0 has no leak and can grow without end; give the length" in told
    assert breaches(keeps, ticks=8) == []
    silent = program(np.zeros((1, 60), int), kind="li")
    assert breaches(silent, ticks=None) == []  # nothing that could grow
    assert "v of neuron 0 can reach 8.64e+06" in breaches(keeps, ticks=9)[0]


def test_a_reset_bounds_v_upwards_but_not_downwards() -> None:
    up = program(np.full((1, 60), 250), kind="lif", vth=as_int32(100))
    assert breaches(up, ticks=1000) == []
    assert len(breaches(program(np.full((1, 60), -250), kind="lif"), ticks=1000)) == 1
    soft = program(np.full((1, 60), 250), hard=False, vth=as_int32(100))  # falls behind
    assert len(breaches(soft, "loihi2", ticks=1000)) == 1


def test_every_breach_of_every_rule_is_told_at_once() -> None:
    p = program(((3, 2),), extra=70, vth=as_int32(200000), dv=as_int32(5000))
    rules = {b.split(":")[0] for b in breaches(p)}
    assert rules == {
        "weights have 8 bits and a sign",
        "thresholds have 17 bits",
        "decays have 12 bits",
        "a spike waits no longer than the chip allows",
    }
    with pytest.raises(ValueError, match="no chip 'loihi3'; there are loihi1, loihi1_sanafe"):
        check(p, "loihi3")


@given(seed=st.integers(0, 10**6))
def test_no_stimulus_leaves_the_worst_case(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hard, own = bool(rng.integers(2)), bool(rng.integers(2))
    to, by = as_int32(rng.integers(-30000, 30000, 4)), as_int32(rng.integers(0, 30000, 4))
    p = program(
        2 * rng.integers(-100, 100, (4, 6)),
        kind=rng.choice(["alif", "li"]),
        hard=hard,
        reset_to=to if own and hard else None,
        reset_by=by if own and not hard else None,
        vth=as_int32(rng.integers(0, 300, 4)),
        du=as_int32(rng.choice([200, 2000, 4095])),
        dv=as_int32(rng.choice([0, 300, 3000])),
        da=as_int32(rng.integers(0, 2000)),
        beta=as_int32(rng.integers(0, 200)),
        bias_mant=as_int32(rng.integers(-100, 100, 4)),
        bias_exp=as_int32(rng.integers(0, 7)),
    )
    n, ticks = p["n"], 25
    peak = bound_states(n, p.connections, ticks, p.messages)
    x = rng.random((ticks, 30, 6)) < rng.random((1, 30, 6))
    x[:, 0], x[:, 1] = p.connections[0].weight[0] > 0, p.connections[0].weight[0] < 0
    for tick in iterate_ticks(p, {"x": x}, ticks):
        for state, bound in zip(tick.states["n"][:3], peak, strict=True):
            assert (np.abs(state) <= bound + 1e-6).all()
