import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from neuro.base.units import Ticks
from neuro.spikes import codes

unit = st.floats(0, 1, width=32)
ticks = st.integers(1, 40)


@given(x=unit, t=ticks)
def test_the_rate_code_has_x_t_spikes_rounded_half_up_after_every_tick(
    x: float, t: int
) -> None:
    spikes = codes.rate(torch.tensor([x]), Ticks(t))
    wanted = [math.floor(x * n + 0.5) for n in range(1, t + 1)]
    assert spikes.cumsum(0).flatten().tolist() == wanted
    assert set(spikes.flatten().tolist()) <= {0.0, 1.0}


def test_the_rate_code_spaces_its_spikes_evenly() -> None:
    spikes = codes.rate(torch.tensor([[0.0, 0.25, 0.5, 1.0]]), Ticks(8))
    assert spikes.shape == (8, 1, 4)
    assert spikes[:, 0].T.int().tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 1, 0, 0],
        [1, 0, 1, 0, 1, 0, 1, 0],
        [1, 1, 1, 1, 1, 1, 1, 1],
    ]


def test_every_byte_of_an_image_has_its_rate_within_half_a_spike() -> None:
    x = torch.arange(256) / 255
    counts = codes.count(codes.rate(x, Ticks(255)))
    assert torch.equal(counts, torch.arange(256.0))


def test_the_poisson_code_spikes_with_probability_x() -> None:
    x = torch.tensor([0.0, 0.25, 1.0])
    spikes = codes.poisson(x, Ticks(4000), torch.Generator().manual_seed(0))
    rates = codes.mean(spikes)
    assert rates[0] == 0
    assert rates[2] == 1
    assert abs(float(rates[1]) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 4000)


def test_the_poisson_code_is_the_same_for_the_same_seed() -> None:
    x = torch.full((2, 3), 0.5)
    a, b = (codes.poisson(x, Ticks(9), torch.Generator().manual_seed(7)) for _ in range(2))
    assert a.shape == (9, 2, 3)
    assert torch.equal(a, b)


@given(x=unit, t=ticks)
def test_the_latency_code_spikes_once_and_zero_never(x: float, t: int) -> None:
    spikes = codes.latency(torch.tensor([x]), Ticks(t))
    assert float(spikes.sum()) == (x > 0)
    if x > 0:
        at = math.floor((1 - x) * t)
        assert int(codes.first_spike(spikes)) == min(at, t - 1)


@given(a=unit, b=unit, t=ticks)
def test_the_brighter_of_two_never_spikes_later(a: float, b: float, t: int) -> None:
    early, late = codes.first_spike(
        codes.latency(torch.tensor([max(a, b), min(a, b)]), Ticks(t))
    )
    assert early <= late


def test_the_latency_code_gives_every_tick_an_equal_share_of_intensities() -> None:
    x = torch.arange(1, 65) / 64
    at = codes.first_spike(codes.latency(x, Ticks(4)))
    assert torch.bincount(at).tolist() == [16, 16, 16, 16]


def test_the_direct_code_is_a_view_that_passes_the_gradient() -> None:
    x = torch.tensor([[-0.5, 3.0]], requires_grad=True)
    out = codes.direct(x, Ticks(5))
    assert out.shape == (5, 1, 2)
    assert out.data_ptr() == x.data_ptr()
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[5.0, 5.0]]


def test_delta_events_are_signed_and_graded() -> None:
    x = torch.tensor([0.0, 0.5, 0.75, 0.5, -1.0]).view(5, 1)
    events = codes.delta(x, threshold=0.5)
    assert events.flatten().tolist() == [0.0, 1.0, 0.0, 0.0, -3.0]


@given(
    x=st.lists(st.integers(-200, 200), min_size=1, max_size=30),
    threshold=st.sampled_from([0.25, 0.5, 1.0, 4.0]),
)
def test_summed_delta_events_follow_the_signal_within_one_threshold(
    x: list[int], threshold: float
) -> None:
    signal = torch.tensor(x).view(-1, 1) / 8
    events = codes.delta(signal, threshold)
    assert float((threshold * events.cumsum(0) - signal).abs().max()) < threshold
    assert torch.equal(events, events.round())


def test_a_constant_signal_makes_no_further_delta_events() -> None:
    events = codes.delta(torch.full((6, 2), 1.1), threshold=0.5)
    assert events.tolist() == [[2.0, 2.0]] + [[0.0, 0.0]] * 5


def test_decoders_read_counts_first_spikes_last_and_mean_values() -> None:
    spikes = torch.tensor([[0, 0, 1], [0, 1, 0], [0, 1, 2]], dtype=torch.float32)
    assert codes.count(spikes).tolist() == [0.0, 2.0, 3.0]
    assert codes.first_spike(spikes).tolist() == [3, 1, 0]
    assert codes.last(spikes).tolist() == [0.0, 1.0, 2.0]
    torch.testing.assert_close(codes.mean(spikes), torch.tensor([0.0, 2 / 3, 1.0]))


@given(x=unit, t=ticks)
def test_counting_undoes_the_rate_code_to_half_a_spike(x: float, t: int) -> None:
    count = float(codes.count(codes.rate(torch.tensor([x]), Ticks(t))))
    assert abs(count / t - np.float32(x)) <= 0.5 / t + 1e-7


@pytest.mark.parametrize("bad", [255.0, -0.1, math.nan])
def test_intensities_outside_the_unit_interval_are_refused_with_a_cure(bad: float) -> None:
    x = torch.tensor([0.5, bad])
    generator = torch.Generator()
    for encode in (codes.rate, codes.latency, lambda x, t: codes.poisson(x, t, generator)):
        with pytest.raises(ValueError, match=r"lie in \[0, 1\], got .*bytes: divide by 255"):
            encode(x, Ticks(4))


def test_a_code_needs_a_tick() -> None:
    for encode in (codes.rate, codes.latency, codes.direct):
        with pytest.raises(ValueError, match="at least 1 tick, got 0"):
            encode(torch.tensor([0.5]), Ticks(0))


def test_what_the_delta_code_cannot_follow_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold must be > 0 and finite, got 0"):
        codes.delta(torch.zeros(2, 1), threshold=0.0)
    with pytest.raises(ValueError, match="x holds NaN or infinity"):
        codes.delta(torch.tensor([[math.nan]]), threshold=1.0)


def test_falling_signals_give_negative_events_of_whole_thresholds() -> None:
    x = torch.tensor([-0.6, -1.2, -0.2]).view(3, 1)  # rounded down: -2, -1, 2
    assert codes.delta(x, threshold=0.5).flatten().tolist() == [-1.0, -1.0, 1.0]


def test_negative_graded_spikes_are_spikes() -> None:
    spikes = torch.tensor([[0, 0], [-3, 0], [2, -1]], dtype=torch.float32)
    assert codes.first_spike(spikes).tolist() == [1, 2]
    assert codes.count(spikes).tolist() == [-1.0, -1.0]
    assert codes.last(spikes).tolist() == [2.0, -1.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_poisson_code_draws_the_same_spikes_from_intensities_of_16_bits(
    dtype: torch.dtype,
) -> None:
    x = torch.full((2000,), 0.002).to(
        dtype
    )  # of 8 bits, u < 0.002 would be as often as 1 / 256
    few, many = (
        codes.poisson(y, Ticks(20), torch.Generator().manual_seed(0)) for y in (x, x.float())
    )
    assert torch.equal(few, many)
    assert 50 < float(few.sum()) < 110


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_delta_code_follows_a_long_climb_in_16_bits(dtype: torch.dtype) -> None:
    x = torch.arange(0.0, 2000.0, 7.0).to(dtype)[:, None]
    events = codes.delta(x, threshold=0.75)
    assert torch.equal(events, codes.delta(x.float(), threshold=0.75))
    assert float((0.75 * events.cumsum(0) - x).abs().max()) < 0.75
