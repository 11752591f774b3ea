"""One check of stimuli serves every executor: all refuse the same, in the same words."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from jaxtyping import config
from written_graphs import wire

from lava_export import lower, reference
from lava_export.run import run as run_lava
from neuro.eventprop.adjoint import compute_activity
from neuro.events import Exact, Grid, simulate
from neuro.graph import Dense, Input
from neuro.interop import nest
from neuro.neurons import LIF
from neuro.nn import replay
from neuro.spikes import Events, Times, to_events, to_times

TICKS, SAMPLES, SIZE = 5, 2, 4
GRAPH = wire(
    "x>w:1 w>n",
    {
        "x": Input(shape=(SIZE,)),
        "w": Dense(weight=np.eye(SIZE)),
        "n": LIF(tau=0.01, tau_syn=0.005, reset="hard"),
    },
)
PROGRAM = lower(GRAPH)
Inputs = Mapping[str, Any]
Run = Callable[[Inputs], object]


def export_to_nest(inputs: Inputs) -> Path:
    return nest.export(GRAPH, inputs, Path("/proc/no/such/folder"))


IN_TICKS: dict[str, Run] = {
    "torch": lambda inputs: replay(GRAPH, inputs),
    "grid": lambda inputs: simulate(GRAPH, inputs, Grid()),
    "exact": lambda inputs: simulate(GRAPH, inputs, Exact()),
    "reference": lambda inputs: reference.run(PROGRAM, inputs, TICKS),
    "lava": lambda inputs: run_lava(PROGRAM, inputs, TICKS),
    "nest": export_to_nest,
    "eventprop": lambda inputs: compute_activity(GRAPH, inputs),
}
IN_TIMES = {name: IN_TICKS[name] for name in ("grid", "exact", "nest", "eventprop")}


@pytest.fixture(autouse=True)
def no_type_is_checked_and_no_lava_started(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "/no/such/python")
    config.update("jaxtyping_disable", True)  # a user has no type checks of tests
    yield
    config.update("jaxtyping_disable", False)


def refusals(inputs: Inputs, executors: Mapping[str, Run]) -> set[str]:
    """Return what the executors say; one element if they agree."""
    told = set()
    for run in executors.values():
        with pytest.raises(ValueError, match="cannot start") as e:
            run(inputs)
        told.add(str(e.value))
    return told


def sound(seed: int) -> Events:
    rng = np.random.default_rng(seed)
    raster = rng.random((TICKS, SAMPLES, SIZE)) < 0.5
    raster[0, 0, 0] = raster[-1, -1, -1] = True
    return to_events(raster)


def put(column: np.ndarray, where: int, value: Any) -> np.ndarray:
    out = column.copy()
    out[where] = value
    return out


Case = tuple[Events, str]  # a train with one thing wrong, and a word of what is said of it
FIELDS = {"sample": SAMPLES, "tick": TICKS, "neuron": SIZE}


def outside(draw: st.DrawFn, train: Events) -> Case:
    field = draw(st.sampled_from(list(FIELDS)))
    where = draw(st.integers(0, train.tick.size - 1))
    far = st.integers(-(2**31), -1) | st.integers(FIELDS[field], 2**31 - 1)
    value = draw(far)
    return train._replace(**{field: put(getattr(train, field), where, value)}), f" {value} of"


def without_value(draw: st.DrawFn, train: Events) -> Case:
    where = draw(st.integers(0, train.tick.size - 1))
    value = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return train._replace(value=put(train.value, where, value)), f"value {value} of event"


def twice(draw: st.DrawFn, train: Events) -> Case:
    where = draw(st.integers(0, train.tick.size - 1))
    again = [np.insert(c, where, c[where]) for c in train[:4]]
    return Events(*again, train.shape), "strictly rising"


def unsorted(draw: st.DrawFn, train: Events) -> Case:
    where = draw(st.integers(1, train.tick.size - 1))
    return Events(*(np.roll(c, where) for c in train[:4]), train.shape), "strictly rising"


def of_wrong_type(draw: st.DrawFn, train: Events) -> Case:
    field = draw(st.sampled_from(list(FIELDS)))
    column = getattr(train, field)
    wrong = [column.astype(kind) for kind in (np.float64, np.bool_, np.complex128, object)]
    wrong += [column[:, None], column.tolist()]
    return train._replace(**{field: draw(st.sampled_from(wrong))}), f"x: {field} is "


def of_wrong_values(draw: st.DrawFn, train: Events) -> Case:
    kind = draw(st.sampled_from([np.bool_, np.int64, object, np.float16, ">f8"]))
    return train._replace(value=train.value.astype(kind)), "give one axis of float32 or float64"


def too_short(draw: st.DrawFn, train: Events) -> Case:
    field = draw(st.sampled_from([*FIELDS, "value"]))
    short = getattr(train, field)[:-1]
    return train._replace(**{field: short}), "columns of different length"


def empty(draw: st.DrawFn, train: Events) -> Case:
    none = [c[:0] for c in train[:4]]
    shape = draw(st.sampled_from([(0, 2, 4), (-1, 2, 4), (5, 0, 4), (5, -2, 4)]))
    return Events(*none, shape), "a run needs at least one of each"


def of_wrong_shape(draw: st.DrawFn, train: Events) -> Case:
    shape: Any = draw(st.sampled_from([(5, 2), (5, 2, 4, 1), (5.0, 2, 4), (), None]))
    return train._replace(shape=shape), "is not (ticks, samples, neurons)"


def of_another_size(draw: st.DrawFn, train: Events) -> Case:
    size = draw(st.integers(1, SIZE - 1) | st.integers(SIZE + 1, 99))
    return train._replace(shape=(TICKS, SAMPLES, size)), f"events of {size} neurons"


DAMAGES: tuple[Callable[[st.DrawFn, Events], Case], ...] = (
    *(outside, without_value, twice, unsorted, of_wrong_type, of_wrong_values, too_short),
    *(empty, of_wrong_shape, of_another_size),
)


@st.composite
def damaged(draw: st.DrawFn) -> Case:
    return draw(st.sampled_from(DAMAGES))(draw, sound(draw(st.integers(0, 999))))


@given(case=damaged())
def test_every_executor_refuses_a_damaged_train_in_the_same_words(case: Case) -> None:
    train, word = case
    (told,) = refusals({"x": train}, IN_TICKS)
    assert word in told


@given(case=damaged())
def test_every_executor_of_times_refuses_them_in_the_same_words(case: Case) -> None:
    train, _ = case
    if isinstance(train.tick, np.ndarray) and train.tick.dtype.kind == "i":
        times = Times(train.sample, (train.tick + 1.0) * 1e-3, *train[2:])
        assert len(refusals({"x": times}, IN_TIMES)) == 1


@pytest.mark.parametrize("time", [0.0, -1e-3, 5.1e-3, np.nan, np.inf])
def test_every_executor_of_times_names_one_outside_the_run(time: float) -> None:
    times = to_times(sound(0), GRAPH.dt)
    (told,) = refusals({"x": times._replace(time=put(times.time, 0, time))}, IN_TIMES)
    assert f"x: time {time} s of event 0 is not in 0 < time" in told


def test_times_in_float32_are_refused() -> None:
    # They are off by more than the rounding that whole numbers of ticks allow for.
    times = to_times(sound(0), GRAPH.dt)
    (told,) = refusals({"x": times._replace(time=times.time.astype(np.float32))}, IN_TIMES)
    assert "x: time is float32 of shape" in told
    assert "give one axis of float64" in told


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        ({}, "x: no events for this Input"),
        ({"x": sound(0), "y": sound(0)}, "y: not an Input; there are x"),
    ],
)
def test_every_executor_names_missing_and_unknown_inputs(inputs: Inputs, line: str) -> None:
    assert refusals(inputs, IN_TICKS) == {f"the run cannot start:\n{line}"}


def test_what_runs_in_ticks_takes_no_times() -> None:
    only = {name: IN_TICKS[name] for name in ("torch", "reference", "lava")}
    (told,) = refusals({"x": to_times(sound(0), GRAPH.dt)}, only)
    assert told.endswith("runs in ticks; convert them with neuro.spikes.to_ticks(times, dt)")
