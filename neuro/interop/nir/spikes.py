"""Spike trains written and read as NIRData, the file format in which NIR exchanges them.

NIRData names events by sample, neuron and time [s]; tick k begins at k dt. Spikes are written
at the middle of their ticks: a reader that rounds down still finds the tick.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuro.base.arguments import require_dt
from neuro.base.extras import require_extra
from neuro.base.units import Seconds
from neuro.interop.nir.file import NirError
from neuro.spikes import NEAR, Events, as_tick_column, require_train

SPIKES = "spikes"  # name of the observable


def write_spikes(path: str | Path, trains: Mapping[str, Events], dt: Seconds) -> Path:
    """Write spike trains by node as a NIRData file; return its path. dt: length of a tick [s].

    Raises:
        TypeError, ValueError: a value is no spike train, or dt is no positive time.
        RuntimeError: nir is not installed.
    """
    data = to_nir_data(trains, dt)
    import nir

    nir.write_data(path, data)
    return Path(path)


def to_nir_data(trains: Mapping[str, Events], dt: Seconds) -> Any:
    """Return spike trains by node as nir.NIRGraphData, see :func:`write_spikes`."""
    require_dt("dt", dt)
    with require_extra("interop", "NIRData needs the package nir"):
        import nir
    nodes = {}
    for name, train in trains.items():
        require_train(name, train, Events)
        ticks, samples, size = train.shape
        counts = np.bincount(train.sample, minlength=samples)
        most = int(counts.max(initial=0))
        idx, time = np.full((samples, most), -1), np.full((samples, most), np.inf)
        value = np.zeros((samples, most))
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        place = np.arange(train.sample.size) - starts[train.sample]
        idx[train.sample, place] = train.neuron
        time[train.sample, place] = (train.tick + 0.5) * dt
        value[train.sample, place] = train.value
        common = {"idx": idx, "time": time, "n_neurons": size, "t_max": ticks * dt}
        if (train.value == 1).all():
            events = nir.EventData(**common)
        else:
            events = nir.ValuedEventData(**common, value=value)
        nodes[name] = nir.NIRNodeData(observables={SPIKES: events})
    return nir.NIRGraphData(nodes=nodes)


def read_spikes(source: Any, dt: Seconds) -> dict[str, Events]:
    """Return the spikes of every node of a NIRData file, or of a nir.NIRGraphData.

    Observables named "spikes" are read, as events or as a grid. A node inside a graph gets the
    name "graph/node". A time within 1e-6 ticks of the start of a tick belongs to that tick.

    Args:
        source: a file, or a nir.NIRGraphData.
        dt: length of a tick [s]; a grid must have the same.

    Raises:
        NirError: the file is not NIRData, or its values are no spikes; lists every problem.
        RuntimeError: nir is not installed.
    """
    require_dt("dt", dt)
    with require_extra("interop", "NIRData needs the package nir"):
        import nir
    what = "the spikes cannot be read"
    if isinstance(source, str | Path):
        what = f"{source} cannot be read as NIRData"
        try:
            source = nir.read_data(source)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise NirError([f"{error}; write it with nir.write_data"], what) from error
    problems: list[str] = []
    trains = {}
    for name, observables in _list_nodes(source, ""):
        data = observables.get(SPIKES)
        if data is None:
            continue
        made = _read_grid(data, dt) if hasattr(data, "data") else _read_events(data, dt)
        if isinstance(made, str):
            problems.append(f"{name}: {made}")
        else:
            trains[name] = made
    if not trains and not problems:
        problems.append(f"no node has an observable {SPIKES!r}; name it so")
    if problems:
        raise NirError(problems, what)
    return trains


def _list_nodes(data: Any, prefix: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the observables of every node by its path."""
    found = []
    for name, node in data.nodes.items():
        if hasattr(node, "observables"):
            found.append((prefix + name, node.observables))
        else:
            found += _list_nodes(node, f"{prefix}{name}/")
    return found


def _read_grid(data: Any, dt: Seconds) -> Events | str:
    """Return the spike train of a grid (B T N), or a text of what is wrong."""
    if not math.isclose(data.dt, dt, rel_tol=NEAR):
        return f"its grid has dt = {data.dt:g} s, and dt = {dt:g} s is asked for; give its own"
    values = np.asarray(data.data)
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        return f"its grid of {values.dtype} holds no finite numbers; store spikes"
    samples, ticks, size = values.shape
    sample, tick, neuron = np.nonzero(values)
    return Events(
        sample.astype(np.int32),
        as_tick_column(tick, ticks),
        neuron.astype(np.int32),
        values[sample, tick, neuron].astype(np.float64),
        (ticks, samples, size),
    )


def _read_events(data: Any, dt: Seconds) -> Events | str:
    """Return the spike train of listed events, its values summed per tick, or a problem."""
    ticks, samples = round(float(data.t_max) / dt), len(data.idx)
    sample, place = np.nonzero(np.asarray(data.idx) != -1)
    neuron, time = data.idx[sample, place], data.time[sample, place] / dt
    value = data.value[sample, place] if hasattr(data, "value") else np.ones(sample.size)
    near = np.rint(time)
    tick = np.where(np.abs(time - near) < NEAR, near, np.floor(time))
    for name, column, least, end in (
        ("neuron", neuron, 0, int(data.n_neurons)),
        ("time in ticks", tick, 0, ticks),
    ):
        outside = ~((column >= least) & (column < end))
        if outside.any():
            return (
                f"{int(outside.sum())} events like {name} {column[outside][0]:g} are not in "
                f"{least} to {end - 1}; correct n_neurons, t_max or dt"
            )
    if not np.isfinite(value).all():
        return "a value is NaN or infinite; store spikes"
    keys = np.stack([sample, tick.astype(np.int64), neuron.astype(np.int64)])
    places, which = np.unique(keys, axis=1, return_inverse=True)
    return Events(
        places[0].astype(np.int32),
        as_tick_column(places[1], ticks),
        places[2].astype(np.int32),
        np.bincount(which.ravel(), value, places.shape[1]),
        (ticks, samples, int(data.n_neurons)),
    )
