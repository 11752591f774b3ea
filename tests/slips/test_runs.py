"""Runs, clocks and records, as a new user may write them by mistake."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from written_slips import (
    DT,
    GRAPH,
    RASTER,
    RECORD,
    STATE,
    STIMULUS,
    Slip,
    X,
    call,
    net,
    require_told,
)

from neuro import (
    to_times,
)
from neuro.events import Exact, Grid, Recording, simulate
from neuro.io.record_file import save_record
from neuro.nn import replay
from neuro.record import concatenate

SLIPS: dict[str, Slip] = {
    "simulate(raster)": Slip(
        call(simulate, GRAPH, {"input": RASTER}),
        TypeError,
        "input must be Events or Times, got a NumPy array of shape (4, 2, 3), float32",
        "neuro.to_events(raster)",
    ),
    "simulate(tensor)": Slip(
        call(simulate, GRAPH, {"input": X}, Exact()),
        TypeError,
        "got a Tensor of shape (4, 2, 3), torch.float32",
        "neuro.to_events(raster)",
    ),
    "simulate(Events)": Slip(
        call(simulate, GRAPH, STIMULUS["input"]),
        TypeError,
        "got an Events",
        '{"input": neuro.to_events(raster)}',
    ),
    "simulate(net)": Slip(
        call(simulate, net(), STIMULUS), TypeError, "got a Stack", "trace(net, "
    ),
    "replay(raster)": Slip(
        call(replay, GRAPH, {"input": X}),
        TypeError,
        "input must be Events or Times, got a Tensor",
        "neuro.to_events(raster)",
    ),
    "replay(Times)": Slip(
        call(replay, GRAPH, {"input": to_times(STIMULUS["input"], DT)}),
        ValueError,
        "input: Times, and this executor runs in ticks",
        "neuro.spikes.to_ticks(times, dt)",
    ),
    "replay(net)": Slip(call(replay, net(), STIMULUS), TypeError, "got a Stack", "trace(net, "),
    "concatenate(pairs)": Slip(
        call(concatenate, [(RECORD, STATE)]),
        TypeError,
        "record 0 must be a Record, got a tuple",
        "simulate returns (record, state)",
    ),
    "concatenate()": Slip(call(concatenate, []), ValueError, "no records", "at least one"),
    "Record(raster)": Slip(
        call(replace, RECORD, spikes={"input": RASTER}, values={"out": X}),
        TypeError,
        "spikes of input must be Events, got a NumPy array",
        "values of out must be a NumPy array, got a Tensor",
    ),
    "simulate(record=names)": Slip(
        call(simulate, GRAPH, STIMULUS, record=("out",)),
        TypeError,
        "record must be a Recording, got a tuple",
        'Recording(spikes=("hidden",))',
    ),
    "simulate(record=Recording)": Slip(
        call(simulate, GRAPH, STIMULUS, Exact(), record=Recording),
        TypeError,
        "got the class Recording",
        'Recording(spikes=("hidden",))',
    ),
    "simulate(workers=2.)": Slip(
        call(simulate, GRAPH, STIMULUS, workers=2.0),
        TypeError,
        "workers must be a whole number, got 2.0",
        "2 splits the samples",
    ),
    "replay(np.float32)": Slip(
        call(replay, GRAPH, STIMULUS, np.float32),
        TypeError,
        "dtype must be a precision of torch, got the class float32",
        "torch.float32",
    ),
    "save_record(pair)": Slip(
        call(save_record, "record.safetensors", (RECORD, STATE)),
        TypeError,
        "record must be a Record, got a tuple",
        "simulate returns (record, state)",
    ),
    "Exact": Slip(
        call(simulate, GRAPH, STIMULUS, Exact), TypeError, "the class Exact", "Exact()"
    ),
    "Grid": Slip(call(simulate, GRAPH, STIMULUS, Grid), TypeError, "the class Grid", "Grid()"),
    "'exact'": Slip(
        call(simulate, GRAPH, STIMULUS, "exact"), TypeError, "got 'exact'", "Exact()"
    ),
    "Recording(name)": Slip(
        lambda: simulate(GRAPH, STIMULUS, record=Recording(spikes="out")),  # type: ignore[arg-type]
        TypeError,
        "got 'out'",
        "spikes=('out',)",
    ),
    "Exact(threads='2')": Slip(
        call(Exact, threads="2"),
        TypeError,
        "Exact.threads must be a whole number, got '2'",
        "1 is usual",
    ),
    "Exact(window='a')": Slip(
        call(Exact, window="a"),
        TypeError,
        "Exact.window must be a number of seconds, got 'a'",
        "1 ms is 1e-3",
    ),
    "Grid(stretch=64.)": Slip(
        call(Grid, stretch=64.0), TypeError, "Grid.stretch must be a whole number", "128"
    ),
    "record.spikes[typo]": Slip(
        lambda: RECORD.spikes["hidden"],
        KeyError,
        "the record has no spikes of 'hidden', but of: input, out; ",
        "Recording selects what is kept",
    ),
    "record.values[what fires]": Slip(
        lambda: pickle.loads(pickle.dumps(RECORD)).values["out"],
        KeyError,
        "the record has no values of 'out', but of: none; ",
        "spikes are in record.spikes",
    ),
    "record[name]": Slip(
        lambda: RECORD["out"],
        TypeError,
        "a record has several entries for 'out'",
        "record.spikes['out']",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_with_what_was_given_and_the_cure(slip: str) -> None:
    require_told(SLIPS[slip])
