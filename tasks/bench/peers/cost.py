"""Measures memory per synapse, and the cost of the first run.

The peer is neuro itself, or a limit that we set.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from neuro.events import Clock, Exact, Grid, simulate
from neuro.events.exact.compile import compile_exactly
from neuro.graph import Sparse
from tasks.bench.comparison import describe_machine
from tasks.bench.harness import Measurement, Run, RunTiming, measure
from tasks.bench.peers.engine import EXACT, NEST, SIMULATORS, of_cuba, of_delta
from tasks.bench.peers.networks import start
from tasks.bench.peers.problem import CELLS
from tasks.bench.peers.subjects_neuro import Make
from tasks.bench.rows import Row, find_ratio
from tasks.bench.stopwatch import Stopwatch

LIMIT = "limit"
BYTES = 12.0  # limit per synapse
SECONDS = 30.0  # [s] limit for the first use of a clock


def memory(quick: bool) -> Iterator[Row]:
    """Yield the memory per synapse: of its arrays, and of the whole process beside NEST's."""
    make = partial(of_delta, *((400, 0.1) if quick else (20_000, 0.1)))
    measured = measure(
        {
            "float64 weights": partial(compiled_bytes, make, np.float64),
            "float32 weights": partial(compiled_bytes, make, np.float32),
            **{name: partial(SIMULATORS[name], make) for name in (EXACT, NEST)},
        },
        repeats=1,
    )
    for weights in ("float64 weights", "float32 weights"):
        yield _bytes(f"bytes a synapse, {weights}", measured[weights])
    pair = tuple(measured[k].peak / 1e6 if measured[k].runs else None for k in (EXACT, NEST))
    problems = [f"{k}: {measured[k].problem}" for k in (EXACT, NEST) if measured[k].problem]
    yield make_row(
        "peak memory of the process",
        (EXACT, NEST),
        "MB",
        pair,
        note="; ".join(problems),
        synapses=_events_of(measured["float64 weights"]),
    )


def compiled_bytes(make: Make, dtype: type, _: int) -> Run:
    """Return a "run" that counts the bytes of the synapses of a compiled network."""
    problem = make()
    nodes = {
        name: replace(node, weight=node.weight.astype(dtype))
        if isinstance(node, Sparse)
        else node
        for name, node in problem.graph.nodes.items()
    }
    graph = replace(problem.graph, nodes=nodes)

    def run() -> RunTiming:
        watch = Stopwatch()
        (component,) = compile_exactly(graph, 1).components
        arrays = component.table
        per_synapse = arrays.target.nbytes + arrays.weight.nbytes
        return watch.timing(per_synapse, arrays.weight.size)

    return run


def make_row(
    case: str,
    names: tuple[str, str],
    unit: str,
    values: tuple[float | None, ...],
    note: str = "",
    **conditions: Any,
) -> Row:
    """Return a row. names, values: ours first, then the peer or limit."""
    ours, theirs = values
    return Row(
        case=case,
        subject=names[0],
        peer=names[1],
        unit=unit,
        ours=ours,
        theirs=theirs,
        ratio=find_ratio(ours, theirs),
        note=note,
        conditions={**conditions, **describe_machine(names[1])},
    )


def _bytes(case: str, measured: Measurement) -> Row:
    size = measured.runs[0].counted / measured.runs[0].events if measured.runs else None
    about = {"target": 1, "synapses": _events_of(measured)}
    return make_row(case, (EXACT, LIMIT), "bytes", (size, BYTES), measured.problem, **about)


def _events_of(measured: Measurement) -> int | None:
    return measured.runs[0].events if measured.runs else None


FIRST_USES: dict[str, tuple[Any, Clock]] = {
    "grid, float32": (partial(of_delta, 50, 0.01), Grid(dtype=np.float32)),
    "grid, float64": (partial(of_delta, 50, 0.01), Grid()),
    "exact, jumps": (partial(of_delta, 50, 0.01), Exact()),
    "exact, currents": (partial(of_cuba, 50, 0.01), Exact()),
}


def first_uses(quick: bool) -> Iterator[Row]:
    """Yield the CPU time of the first run after installing, and of the first in a process."""
    for name in list(FIRST_USES)[: 1 if quick else None]:
        subject = {name: partial(first_use, name)}
        with tempfile.TemporaryDirectory(prefix="neuro-bench-") as folder:
            cache = {name: {"NUMBA_CACHE_DIR": folder}}
            cold, warm = (measure(subject, 1, environments=cache)[name] for _ in range(2))
        cold_seconds, warm_seconds = (m.best("cpu") if m.runs else None for m in (cold, warm))
        for case, peer, pair, note in (
            ("first use", LIMIT, (cold_seconds, SECONDS), cold.problem),
            ("first use in a process", "compiling", (warm_seconds, cold_seconds), warm.problem),
        ):
            case, about = f"{case}, {name}", {"target": 1, "threads": 1}
            yield make_row(case, ("neuro", peer), "CPU s", pair, note, **about)


def first_use(name: str, _: int) -> Run:
    """Return a run that compiles or loads the code it needs."""
    make, clock = FIRST_USES[name]
    problem = make()
    exactly = isinstance(clock, Exact)
    state = start(problem.graph, problem.membranes) if exactly else None

    def run() -> RunTiming:
        watch = Stopwatch()
        record, _ = simulate(problem.graph, problem.inputs, clock, state=state)
        return watch.timing(record.counts[CELLS].spikes)

    return run
