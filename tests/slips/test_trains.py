"""Spike trains, rasters, codes and times, as a new user may write them by mistake."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from written_slips import DT, RASTER, RECORD, STIMULUS, Slip, X, call, require_told

from neuro import (
    to_events,
    to_raster,
    to_ticks,
    to_times,
)
from neuro.codes import poisson, rate
from neuro.units import ticks

SLIPS: dict[str, Slip] = {
    "to_events(list)": Slip(call(to_events, [[[1]]]), TypeError, "got a list", "np.array"),
    "to_events(T N)": Slip(
        call(to_events, np.ones((4, 3))),
        ValueError,
        "(4, 3)",
        "raster[:, None]",
    ),
    "to_events(words)": Slip(
        call(to_events, np.full((1, 1, 1), "a")),
        TypeError,
        "got a NumPy array of shape (1, 1, 1), <U1",
        "an array or tensor of numbers",
    ),
    "to_events(uint8)": Slip(
        call(to_events, np.full((4, 2, 3), 255, np.uint8)),
        ValueError,
        "a raster of uint8 with values up to 255 may be an image",
        "raster > 0 for spikes of value 1",
    ),
    "rate(NumPy)": Slip(
        call(rate, RASTER, 4), TypeError, "a NumPy array", "torch.from_numpy(x)"
    ),
    "to_raster(Record)": Slip(
        call(to_raster, RECORD),
        TypeError,
        "events must be Events, got a Record",
        'record.spikes["hidden"]',
    ),
    "to_times('1ms')": Slip(
        call(to_times, STIMULUS["input"], "1ms"),
        TypeError,
        "dt must be a number of seconds, got '1ms'",
        "1 ms is 1e-3",
    ),
    "to_ticks(Events)": Slip(
        call(to_ticks, STIMULUS["input"], DT),
        TypeError,
        "times must be Times, got an Events",
        "record.times",
    ),
    "to_times(spikes)": Slip(
        call(to_times, RECORD.spikes, DT),
        TypeError,
        "events must be Events",
        'record.spikes["hidden"]',
    ),
    "ticks('5ms')": Slip(
        call(ticks, "5ms", DT),
        TypeError,
        "duration must be a number of seconds, got '5ms'",
        "1 ms is 1e-3",
    ),
    "ticks(dt='1ms')": Slip(call(ticks, 0.005, "1ms"), TypeError, "dt must be", "1 ms is 1e-3"),
    "rate(ticks=8.5)": Slip(
        call(rate, X[0], 8.5),
        TypeError,
        "ticks must be a whole number of ticks, got 8.5",
        "neuro.units.ticks(seconds, dt)",
    ),
    "to_events(NaN)": Slip(
        call(to_events, np.full((1, 2, 3), np.nan)),
        ValueError,
        "a raster must be finite, got 6 values like nan (tick 0, sample 0, neuron 0)",
        "check the inputs",
    ),
    "to_events(infinity)": Slip(
        call(to_events, torch.tensor([[[0.0, 1.0]], [[0.0, -math.inf]]])),
        ValueError,
        "got 1 values like -inf (tick 1, sample 0, neuron 1)",
        "",
    ),
    "ticks(swapped)": Slip(
        call(ticks, 0.001, 0.005),
        ValueError,
        "duration 0.001 s is shorter than a step of dt = 0.005 s",
        "check the order, ticks(duration, dt)",
    ),
    "poisson(seed)": Slip(
        call(poisson, X[0], 3, 0),
        TypeError,
        "generator must be a torch.Generator, got 0",
        "torch.Generator().manual_seed(0)",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_with_what_was_given_and_the_cure(slip: str) -> None:
    require_told(SLIPS[slip])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, bool])
def test_zeros_and_ones_are_spikes_whatever_their_dtype(dtype: type) -> None:
    events = to_events(np.ones((1, 2, 3), dtype))
    assert events.value.tolist() == [1.0] * 6


@pytest.mark.parametrize("kind", ["tensor", "trained", "bfloat16", "T B H W", "5-D tensor"])
def test_what_is_plainly_a_raster_becomes_events(kind: str) -> None:
    raster = (np.arange(48).reshape(2, 2, 1, 3, 4) % 3).astype(np.float32)
    x = torch.from_numpy(raster).flatten(2)
    given: Any = {
        "tensor": x,
        "trained": x.clone().requires_grad_(),
        "bfloat16": x.bfloat16(),
        "T B H W": raster[:, :, 0],
        "5-D tensor": torch.from_numpy(raster),
    }[kind]
    events = to_events(given)
    assert events.shape == (2, 2, 12)
    assert np.array_equal(to_raster(events), raster.reshape(2, 2, 12))
    assert events.value.dtype == np.float32
