"""Representations of spike trains (events, raster, times) and conversions between them.

Events and raster convert to each other without loss. Times are continuous: tick k covers
(k dt, (k + 1) dt], so that an event in tick k gets the time (k + 1) dt.
"""

import math
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from neuro.base.arguments import make_type_error, require_dt, to_numpy
from neuro.base.units import Seconds

NEAR = 1e-6  # ticks: a time this close to the end of a tick counts as that end
WHOLE = 1e-15  # relative distance from a whole number of ticks that is taken for rounding
QUANTUM = 2.0**-40  # fraction of a tick, about 1e-12
PRECISION = 53  # bits of a float64
LARGEST = 2**63 - 1  # largest int64

Train = TypeVar("Train", "Events", "Times")


class Events(NamedTuple):
    """A spike train by tick: E events sorted by (sample, tick, neuron).

    shape: (T, B, N) of the equivalent raster. A binary spike has the value 1.
    """

    sample: Int[np.ndarray, " E"]
    tick: Int[np.ndarray, " E"]
    neuron: Int[np.ndarray, " E"]
    value: Float[np.ndarray, " E"]
    shape: tuple[int, int, int]

    def __repr__(self) -> str:
        return _format_train(self)


class Times(NamedTuple):
    """A spike train in continuous time: E spikes sorted by (sample, time, neuron).

    time: since the start of the run [s], 0 < time <= T dt.
    shape: (T, B, N), as in Events.
    """

    sample: Int[np.ndarray, " E"]
    time: Float[np.ndarray, " E"]
    neuron: Int[np.ndarray, " E"]
    value: Float[np.ndarray, " E"]
    shape: tuple[int, int, int]

    def __repr__(self) -> str:
        return _format_train(self)


def _format_train(train: Events | Times) -> str:
    """Return the number of spikes and the shape; works for inconsistent columns too."""
    spikes = np.size(train.neuron)
    return f"{type(train).__name__}({spikes:,} spikes, shape (T, B, N) = {train.shape})"


def require_train(what: str, train: object, kind: type[Events | Times]) -> None:
    """Raise a TypeError unless a value is a spike train of the given kind."""
    if not isinstance(train, kind):
        cure = 'a run has record.spikes["hidden"], and in seconds record.times["hidden"]'
        raise make_type_error(what, kind.__name__, train, cure)


def to_times(events: Events, dt: Seconds) -> Times:
    """Return the times of events: each at the end of its tick of length ``dt`` [s].

    Raises:
        TypeError: ``events`` are not Events, or ``dt`` is not a number.
        ValueError: ``dt`` is not > 0 and finite.
    """
    require_train("events", events, Events)
    require_dt("dt", dt)
    time = (events.tick.astype(np.float64) + 1) * dt
    return Times(events.sample, time, events.neuron, events.value, events.shape)


def find_quantum(longest: float) -> float:
    """Return the quantum of spike times in a run that lasts ``longest`` [ticks].

    It is QUANTUM; from 8,192 ticks on it is the resolution of float64 at the end of the run.
    """
    return max(QUANTUM, math.ldexp(1.0, math.frexp(longest)[1] - PRECISION))


def round_times(times: Float[np.ndarray, "..."], quantum: float) -> Float[np.ndarray, "..."]:
    """Round times or periods [ticks] to multiples of the quantum."""
    return np.asarray(np.rint(times / quantum) * quantum)


def measure_in_ticks(times: Times, dt: Seconds) -> Float[np.ndarray, " K"]:
    """Return times in ticks of ``dt``; a time within rounding of a whole number becomes it."""
    time = times.time / dt
    whole = np.rint(time)
    return np.where(np.abs(time - whole) <= WHOLE * time, whole, time)


def to_instants(train: Events | Times, dt: Seconds, quantum: float) -> Times:
    """Return a train whose times are in ticks, each a multiple of the quantum.

    A time within rounding of a whole number of ticks becomes that number. A time just after the
    end of the run becomes the end; a time just after its start becomes the first instant.
    """
    if isinstance(train, Events):
        return to_times(train, Seconds(1.0))
    instants = round_times(measure_in_ticks(train, dt), quantum)  # whole numbers stay
    return train._replace(time=np.clip(instants, quantum, train.shape[0]))


def to_ticks(times: Times, dt: Seconds) -> Events:
    """Return spikes by tick of length ``dt`` [s], adding values of one neuron in one tick.

    A time within 1e-6 ticks of the end of a tick counts as that end, so that rounding moves no
    spike to another tick.

    Raises:
        TypeError: ``times`` are not Times, or ``dt`` is not a number.
        ValueError: spikes lie outside the shape, or numbers are not finite; lists all problems.
    """
    require_train("times", times, Times)
    require_dt("dt", dt)
    problems = list_problems(times, dt) or _list_too_large(times.shape)
    if problems:
        raise ValueError("\n".join(["the times are not a spike train:", *problems]))
    ticks, samples, size = times.shape
    at_end = np.rint(times.time / dt)
    exact = np.where(np.abs(at_end - times.time / dt) < NEAR, at_end, times.time / dt)
    tick = np.clip(np.ceil(exact) - 1, 0, ticks - 1).astype(np.int64)
    place = (times.sample.astype(np.int64) * ticks + tick) * size + times.neuron
    places, which = np.unique(place, return_inverse=True)
    value = np.zeros(places.size, times.value.dtype)
    np.add.at(value, which, times.value)
    sample, tick = np.divmod(places // size, ticks)
    neuron = (places % size).astype(np.int32)
    tick = as_tick_column(tick, ticks)
    return Events(sample.astype(np.int32), tick, neuron, value, (ticks, samples, size))


def _list_too_large(shape: tuple[int, int, int]) -> list[str]:
    """Explain why a shape is too large: float64 cannot count its ticks or int64 its places."""
    if shape[0] < 2**PRECISION and math.prod(map(int, shape)) <= LARGEST:
        return []
    return [
        f"shape {shape}: too many ticks and neurons to count; use a longer dt or cut the train"
    ]


def as_tick_column(tick: Int[np.ndarray, " E"], ticks: int) -> Int[np.ndarray, " E"]:
    """Return the ticks of a train that lasts ``ticks`` as int32, or as int64 if necessary."""
    return tick.astype(np.int32 if ticks <= 2**31 else np.int64)


def list_problems(train: Events | Times, dt: Seconds) -> list[str]:
    """List problems in a train's numbers; :func:`list_problems_of_order` checks the order."""
    problems = list_problems_of_types(train)
    if problems:
        return problems
    columns = train[:4]
    lengths = [c.size for c in columns]
    when = "time" if isinstance(train, Times) else "tick"
    if len(set(lengths)) > 1:
        return [f"columns of different length: sample, {when}, neuron, value have {lengths}"]
    ticks, samples, size = train.shape
    problems += _outside("sample", train.sample, samples)
    if isinstance(train, Times):
        problems += _outside_time(train.time, ticks * dt, dt)
    else:
        problems += _outside("tick", train.tick, ticks)
    problems += _outside("neuron", train.neuron, size)
    bad = np.flatnonzero(~np.isfinite(train.value))
    if bad.size:
        problems.append(f"value {train.value[bad[0]]} of event {bad[0]} is not finite")
    return problems


def list_problems_of_types(train: Events | Times) -> list[str]:
    """List the columns that are not arrays of the right kind, and a malformed shape."""
    integers, floats = "integers", "float32 or float64"
    letters = {integers: np.typecodes["AllInteger"], floats: "fd", "float64": "d"}
    when = ("time", "float64") if isinstance(train, Times) else ("tick", integers)
    wanted = {"sample": integers, **dict([when]), "neuron": integers, "value": floats}
    problems = []
    for (name, kind), column in zip(wanted.items(), train[:4], strict=True):
        if not isinstance(column, np.ndarray):
            actual = type(column).__name__
            problems.append(f"{name} is a {actual}; give a NumPy array of {kind}")
        elif (
            column.ndim != 1
            or not column.dtype.isnative
            or column.dtype.char not in letters[kind]
        ):
            problems.append(
                f"{name} is {column.dtype} of shape {column.shape}; give one axis of {kind}"
            )
    shape = train.shape
    sized = isinstance(shape, tuple) and len(shape) == 3
    if not sized or not all(isinstance(n, int | np.integer) for n in shape):
        problems.append(f"shape {shape} is not (ticks, samples, neurons); give three integers")
    return problems


def list_problems_of_order(train: Events | Times) -> list[str]:
    """Explain that a train with valid numbers is not sorted; empty if it is sorted."""
    # Does (sample, tick or time, neuron) rise from each event to the next?
    up = np.zeros(max(train.neuron.size - 1, 0), np.bool_)
    level = ~up
    for column in (train.sample, train[1], train.neuron):
        up |= level & (column[1:] > column[:-1])
        level &= column[1:] == column[:-1]
    if bool(up.all()):
        return []
    when = "time" if isinstance(train, Times) else "tick"
    return [
        f"events are not in strictly rising order of (sample, {when}, neuron); sort them "
        "with np.lexsort, and add up those at the same place"
    ]


def _outside(what: str, column: np.ndarray, limit: int) -> list[str]:
    bad = np.flatnonzero((column < 0) | (column >= limit))
    if not bad.size:
        return []
    return [
        f"{what} {column[bad[0]]} of event {bad[0]} is outside 0 ... {limit - 1} "
        f"({bad.size} such events); cut the train or enlarge its shape"
    ]


def _outside_time(time: np.ndarray, stop: float, dt: float) -> list[str]:
    bad = np.flatnonzero(~((time > 0) & (time <= stop + NEAR * dt)))
    if not bad.size:
        return []
    return [
        f"time {time[bad[0]]} s of event {bad[0]} is not in 0 < time <= {stop:.12g} s "
        f"({bad.size} such events); a run begins just after 0 and ends with its last tick: "
        "shift or cut the train, or enlarge its shape"
    ]


def to_events(raster: Shaped[np.ndarray, "T B *N"] | Shaped[Tensor, "T B *N"]) -> Events:
    """Return the non-zero entries of a raster, which is an array or a tensor on any device.

    Integers become float64; booleans and float16 become float32. The axes *N become one axis,
    in C order.

    Raises:
        TypeError: the raster is neither an array nor a tensor, or does not hold real numbers.
        ValueError: the raster lacks the axis of ticks or samples, holds NaN or infinity, or is
            of uint8 with values > 1, like an image.
    """
    raster = _as_raster(raster)
    sample, tick, neuron = np.nonzero(raster.transpose(1, 0, 2))
    value = raster[tick, sample, neuron]
    bad = np.flatnonzero(~np.isfinite(value))
    if bad.size:
        k = bad[0]
        raise ValueError(
            f"a raster must be finite, got {bad.size} values like {value[k]} (tick {tick[k]}, "
            f"sample {sample[k]}, neuron {neuron[k]}); check the inputs that it comes from"
        )
    if value.dtype in (np.bool_, np.float16):
        value = value.astype(np.float32)
    elif not np.issubdtype(value.dtype, np.floating):
        value = value.astype(np.float64)
    t, b, n = raster.shape
    tick, neuron = as_tick_column(tick, t), neuron.astype(np.int32)
    return Events(sample.astype(np.int32), tick, neuron, value, (t, b, n))


def _as_raster(raster: Any) -> Shaped[np.ndarray, "T B N"]:
    if isinstance(raster, Tensor):
        raster = to_numpy(raster)
    if not isinstance(raster, np.ndarray) or raster.dtype.kind not in "fiub":
        cure = "make it with np.array or neuro.spikes.codes.rate"
        raise make_type_error("a raster", "an array or tensor of numbers", raster, cure)
    if raster.ndim < 3:
        raise ValueError(
            f"a raster has axes (ticks, samples, *neurons), got shape {raster.shape}; "
            "raster[:, None] adds the axis of a single sample"
        )
    if raster.dtype == np.uint8 and raster.max(initial=0) > 1:
        raise ValueError(
            f"a raster of uint8 with values up to {raster.max()} may be an image; write "
            "raster > 0 for spikes of value 1, raster.astype(np.float32) for spikes of these "
            "values, or neuro.spikes.codes.rate(x / 255, ticks) for a rate code of intensities"
        )
    return raster.reshape(*raster.shape[:2], math.prod(raster.shape[2:]))


def to_raster(events: Events) -> Float[np.ndarray, "T B N"]:
    """Return the dense raster; the inverse of :func:`to_events`.

    Raises:
        TypeError: ``events`` are not Events.
        ValueError: an event lies outside the shape, events are not in strictly rising order,
            or a number is not finite; lists all.
    """
    require_train("events", events, Events)
    problems = list_problems(events, Seconds(1.0)) or list_problems_of_order(events)
    if problems:
        raise ValueError("\n".join(["the events are not a spike train:", *problems]))
    raster = np.zeros(events.shape, events.value.dtype)
    raster[events.tick, events.sample, events.neuron] = events.value
    return raster


def of_sample(train: Train, sample: int) -> Train:
    """Return the events of one sample, as a train with B = 1."""
    return cut_samples(train, sample, sample + 1)


def cut_samples(train: Train, start: int, stop: int) -> Train:
    """Return the samples ``start`` to ``stop`` of a train, as a train of their own."""
    # An int32 array: from a list, NumPy would cast the whole column at every call.
    lo, hi = np.searchsorted(train.sample, np.array([start, stop], np.int32))
    t, _, n = train.shape
    sample, *columns = (column[lo:hi] for column in train[:4])
    kind: Any = type(train)
    sample = sample.astype(np.int32) - np.int32(start)  # its own bits may not hold start
    out: Train = kind(sample, *columns, (t, stop - start, n))
    return out


def join(trains: list[Train]) -> Train:
    """Concatenate trains with the same T and N along the sample axis.

    Raises:
        ValueError: the trains differ in T or N.
    """
    if len({(e.shape[0], e.shape[2]) for e in trains}) != 1:
        shapes = ", ".join(str(e.shape) for e in trains)
        raise ValueError(
            f"only trains of one T and one N can be joined, got (T, B, N) {shapes}"
        )
    offsets = np.cumsum([0] + [e.shape[1] for e in trains])
    t, _, n = trains[0].shape
    # In int32: a column may have too few bits for the sum.
    pairs = zip(trains, offsets, strict=False)
    sample = np.concatenate([e.sample.astype(np.int32) + int(o) for e, o in pairs])
    columns = [np.concatenate(parts) for parts in zip(*(e[1:4] for e in trains), strict=True)]
    kind: Any = type(trains[0])
    out: Train = kind(sample, *columns, (t, int(offsets[-1]), n))
    return out


def join_in_time(trains: list[tuple[Train, int]], step: int | float) -> Train:
    """Return the trains of successive runs as one train.

    trains: each train with its number of ticks.
    step: length of a tick, in units of the trains' times.
    """
    starts = np.cumsum([0, *(ticks for _, ticks in trains)])
    moments = [
        t[1].astype(type(step)) + start * step
        for (t, _), start in zip(trains, starts.tolist(), strict=False)
    ]
    moment, ticks = np.concatenate(moments), int(starts[-1])
    if isinstance(trains[0][0], Events):
        moment = as_tick_column(moment, ticks)
    sample, neuron, value = (np.concatenate([t[i] for t, _ in trains]) for i in (0, 2, 3))
    order = np.argsort(sample, kind="stable")  # within a sample, time already rises
    kind: Any = type(trains[0][0])
    columns = (column[order] for column in (sample, moment, neuron, value))
    out: Train = kind(*columns, (ticks, *trains[0][0].shape[1:]))
    return out
