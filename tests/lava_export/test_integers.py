"""The compiled loops against the specification: every spike, every v shown, and errors."""

import re
from dataclasses import fields
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from random_programs import Builder, even, same

from lava_export import reference
from lava_export.binary import BinaryChipProgram
from lava_export.integers import is_compiled, run_integers
from lava_export.population import Kind, Population, ProgramError, as_int32
from lava_export.program import LoihiConnection, LoihiProgram
from neuro.spikes import Events, to_events

LARGEST = 2**23 - 1
NAMES = {f.name for f in fields(LoihiConnection)}
SHAPES = ((6,), (2, 3, 4), (3, 2, 2), (1, 5, 3))


def agree(program: LoihiProgram, inputs: dict[str, Events], ticks: int) -> Any:
    """Return the specification's record, which the kernels give too; None: both refuse."""
    try:
        wanted = reference.run(program, inputs, ticks)
    except ProgramError as problem:
        with pytest.raises(ProgramError, match=f"^{re.escape(str(problem))}$"):
            run_integers(program, inputs, ticks)
        return None
    ours = run_integers(program, inputs, ticks)
    same(ours, wanted)
    assert list(ours.spikes) == list(wanted.spikes)
    for name, events in wanted.spikes.items():
        assert [c.dtype for c in ours.spikes[name][:4]] == [c.dtype for c in events[:4]]
        assert ours.spikes[name].shape == events.shape
    for name, v in wanted.values.items():
        assert (ours.values[name].dtype, ours.values[name].shape) == (v.dtype, v.shape)
    return ours


def draw_parameters(b: Builder, kind: Kind, n: int) -> dict[str, Any]:
    """Return random parameters, at the ends of their ranges too."""
    rng, low = b.rng, {"vth_low": as_int32(-int(b.rng.choice([0, 150, 600])))}
    stock: dict[str, Any] = b.lif() | {"bias_mant": as_int32(rng.integers(-300, 900, n))}
    if kind == "ternary":
        return stock | low | {"bias_after": int(rng.integers(3))}
    every = {"reset_interval": int(rng.choice([0, 3, 4])), "reset_offset": int(rng.integers(6))}
    if kind != "alif":
        return stock | every | {"bias_after": int(rng.integers(3))}
    own = b.alif(n) | every | {"refractory": int(rng.choice([0, 1, 3]))}
    values = as_int32(rng.integers(0, 30000, n))
    if rng.integers(2):
        own["reset_to" if own["hard"] else "reset_by"] = values
    if rng.integers(3) == 0:
        own["beta"] = as_int32(131071)  # the threshold reaches its limit
    return own


def draw_synapses(b: Builder, source: Population, target: Population) -> dict[str, Any]:
    """Return random synapses of any kind that fits."""
    rng, n, m = b.rng, target.size, source.size
    how: dict[str, Any] = {}
    for name, size in {"delays_in": m, "delays_out": n}.items():
        if rng.integers(3) == 0:
            how[name] = as_int32(rng.integers(0, 4, size))
    if len(target.shape) == len(source.shape) == 3 and rng.integers(4):
        stride, padding = tuple(int(s) for s in rng.integers(1, 3, 2)), (2, 1)
        sizes = zip(source.shape[1:], target.shape[1:], stride, padding, strict=True)
        spans = [n + 2 * p - (m - 1) * s for n, m, s, p in sizes]
        if min(spans) > 0:
            how |= {"kind": "conv", "shape": source.shape, "padding": padding, "stride": stride}
            channels, inputs = target.shape[0], source.shape[0]
            holes = [1 + n % 2 for n in spans]
            how["groups"] = int(rng.choice([1, np.gcd(channels, inputs)]))
            how["dilation"] = tuple(holes)
            inputs //= how["groups"]
            kernel = [(n - 1) // d + 1 for n, d in zip(spans, holes, strict=True)]
            return how | {"weight": even(rng, channels, inputs, *kernel)}
    how["weight_exp"] = int(rng.choice([-8, -3, 0, 0, 1, 7][2 * ("delays_out" in how) :]))
    kind = str(rng.choice(["dense", "sparse", "identity"][: 3 if n == m else 2]))
    if kind == "identity":
        return how | {"kind": kind, "weight": even(rng, n)}
    if kind == "dense":
        return how | {"kind": kind, "weight": even(rng, n, m)}
    at = rng.permutation(np.argwhere(rng.random((n, m)) < 0.4)).T
    how |= {"places": as_int32(at), "sizes": (n, m)}
    return how | {"kind": kind, "weight": even(rng, at.shape[1])}


def draw_program(seed: int) -> LoihiProgram:
    """Return a random program of up to 6 populations."""
    b = Builder(seed)
    rng = b.rng
    b.add("x", "input", (2, 5, 4), 0, message_bits=int(rng.choice([0, 0, 5])))
    b.add("y", "input", (7,), 0, message_bits=int(rng.choice([0, 7])))
    kinds = rng.choice(["lif", "alif", "ternary", "li"], int(rng.integers(2, 5)))
    for lag, kind in enumerate(map(str, kinds), 1):
        shape = SHAPES[rng.integers(len(SHAPES))]
        own = draw_parameters(b, kind, int(np.prod(shape)))
        b.add(f"n{lag}", kind, shape, lag, **own)
        target, sources = b.parts[-1], [p for p in b.parts[:-1] if p.fires]
        chosen = {str(n) for n in rng.choice([p.name for p in sources], 2)} | {"x", "y"}
        for source in (p for p in sources if p.name in chosen):
            delay = int(rng.integers(3))
            b.link(source.name, target.name, delay, **draw_synapses(b, source, target))
        if kind != "li":
            later = int(rng.integers(1, 4))
            b.link(target.name, target.name, later, **draw_synapses(b, target, target))
            if lag > 1 and b.parts[-2].fires:  # and back, against the order of lags
                back = b.parts[-2]
                b.link(target.name, back.name, later + 1, **draw_synapses(b, target, back))
    return b.program()


def draw_stimulus(
    program: LoihiProgram, seed: int, ticks: int, samples: int
) -> dict[str, Events]:
    rng = np.random.default_rng(seed)
    stimulus = {}
    for p in (p for p in program.populations if p.kind == "input"):
        low, high = p.messages
        values = rng.integers(low, high + 1, (ticks, samples, p.size))
        stimulus[p.name] = to_events(values * (rng.random(values.shape) < rng.random()))
    return stimulus


@pytest.mark.slow
@settings(max_examples=80)
@given(st.integers(0, 10**9), st.sampled_from([1, 1, 3, 3, 65]), st.integers(1, 14))
def test_random_programs_run_as_the_specification_says(
    seed: int, samples: int, ticks: int
) -> None:
    program = draw_program(seed)
    assert is_compiled(program)
    agree(program, draw_stimulus(program, seed, ticks, samples), ticks + seed % 4)


def chain(kinds: list[Kind], link: dict[str, Any] | None = None, **own: Any) -> LoihiProgram:
    """Return an input of 24-bit messages that drives each population by a weight of 2."""
    b = Builder(0)
    b.add("x", "input", (5,), 0, message_bits=24)
    for kind in kinds:
        b.add(kind, kind, (5,), 1, **own.get(kind, {}))
        b.link("x", kind, **({"kind": "identity", "weight": as_int32([2] * 5)} | (link or {})))
    return b.program()


def send(*ticks: list[int]) -> dict[str, Events]:
    return {"x": to_events(np.array(ticks)[:, None])}


def test_u_wraps_v_stops_at_its_ends_and_a_threshold_that_is_met_is_not_passed() -> None:
    lif = {"du": as_int32(4095), "vth": as_int32(12)}
    low = lif | {"vth_low": as_int32(-12)}
    program = chain(["li", "lif", "ternary"], lif=lif, ternary=low)
    values = [65536, 65537, -65536, 2**23 - 1, -65535]
    v = agree(program, send(values), 1).values["li"].ravel().tolist()
    assert v == [LARGEST, 128 - LARGEST - 1, LARGEST, LARGEST, -65535 * 128]
    record = agree(program, send([6, 7, -6, -7, 0]), 1)
    assert record.spikes["lif"].neuron.tolist() == [1]
    assert record.spikes["ternary"].neuron.tolist() == [1, 3]
    assert record.spikes["ternary"].value.tolist() == [1.0, -1.0]


@pytest.mark.parametrize(("weight", "exponent"), [(2, 0), (-256, -8)])
def test_a_sum_of_24_bits_and_one_of_32_before_its_shift_are_too_wide(
    weight: int, exponent: int
) -> None:
    link = {"weight": as_int32([weight] * 5), "weight_exp": exponent}
    if exponent < 0:  # what arrives after the end is checked, too
        link["delays_out"] = as_int32([0, 0, 0, 9, 0])
    program = chain(["li"], link)
    values = np.zeros((3, 2, 5))
    values[1, 1, 3] = 1 - 2**23
    assert agree(program, {"x": to_events(values)}, 3) is not None
    values[1, 1, 3] = -(2**23)
    assert agree(program, {"x": to_events(values)}, 3) is None


def test_a_sum_of_33_bits_that_32_would_make_0_is_too_wide() -> None:
    link = {"kind": "dense", "weight": as_int32(np.full((5, 5), -256)), "weight_exp": -8}
    assert agree(chain(["li"], link), send([-(2**23), -(2**23), 0, 0, 0]), 1) is None


def test_a_message_of_0_is_no_spike() -> None:
    x = send([3, 4, 0, 0, 0])["x"]
    record = agree(chain(["li"]), {"x": x._replace(value=x.value * [0, 1])}, 1)
    assert record.spikes["x"].neuron.tolist() == [1]


def test_sums_of_a_convolution_keep_24_bits() -> None:
    link = {"kind": "conv", "shape": (1, 1, 5), "weight": as_int32([[[[2]]]])}
    values = [2**23 - 1, 2**22, -(2**22), 2**22 - 1, 3]
    v = agree(chain(["li"], link), send(values), 1).values["li"].ravel().tolist()
    assert v == [-128, -LARGEST, -LARGEST, LARGEST, 384]


def test_a_log_that_fills_up_grows() -> None:
    """One spike, then 40 neurons that fire in every tick."""
    b = Builder(0)
    b.add("x", "input", (1,), 0)
    b.add("n", "lif", (40,), 1, bias_mant=as_int32(64))
    b.link("x", "n", kind="dense", weight=even(b.rng, 40, 1))
    b.link("n", "n", 3, kind="dense", weight=even(b.rng, 40, 40))
    x = np.zeros((50, 3, 1), bool)
    x[0, 1] = True
    record = agree(b.program(), {"x": to_events(x)}, 50)
    assert len(record.spikes["n"].tick) > 4 * 41 * 2


@pytest.mark.parametrize("kind", get_args(Kind))
def test_sigma_delta_programs_run_by_the_specification_and_all_others_compiled(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    coders = ("delta", "sigma_delta", "sigma")
    own = {"vth_low": as_int32(-1)} if kind == "ternary" else {}
    own |= {"message_bits": 24} if kind in coders[:2] else {}
    program = chain([] if kind == "input" else [kind], **{kind: own})
    assert is_compiled(program) == (kind not in coders)
    agree(program, send([3, 1, 0, -2, 9], [1, 0, 0, 0, 5]), 3)
    ran: list[int] = []
    iterate = reference.iterate_ticks
    watch = lambda *job: ran.append(job[2]) or iterate(*job)  # noqa: E731
    monkeypatch.setattr(reference, "iterate_ticks", watch)
    BinaryChipProgram(program).run(send([3, 1, 0, -2, 9]))
    assert ran == [1] * (kind in coders)


def test_the_kernels_know_every_field_of_a_program() -> None:
    """A new field must reach the kernels, or :func:`is_compiled` must refuse it."""
    population = """
        name kind shape lag scale du dv vth da beta bias_mant bias_exp hard bias_after reset_to
        reset_by reset_interval reset_offset refractory vth_low message_bits spike_exp state_exp
        cumulative relu v_bound"""  # v_bound is what weights leave room for; no run reads it
    connection = """
        name source target kind weight shape stride padding places sizes extra weight_exp
        sign_mode weight_bits dilation groups delays_in delays_out"""
    assert {f.name for f in fields(Population)} <= set(population.split())
    assert set(connection.split()) >= NAMES
