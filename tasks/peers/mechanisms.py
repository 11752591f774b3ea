"""``neuro bench mechanisms``: each mechanism of speed or memory beside neuro without it.

A mechanism is left out by replacing the function that decides on it, in the process of the
subject. What brings less than a tenth in time and in memory has no reason to stay.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from neuro.events import Grid, simulate
from neuro.graph import Conv2d, Edge, Graph, Input
from neuro.neurons import LIF
from neuro.spikes import to_events
from neuro.units import Seconds
from tasks.allocator import CHOICES, keep_freed_memory
from tasks.bench.comparison import Case, Pair
from tasks.bench.harness import Run
from tasks.bench.stopwatch import repeat
from tasks.peers import engine, subjects_neuro, subjects_training
from tasks.peers.problem import BenchProblem
from tasks.peers.subjects_training import Work

WITH, WITHOUT = "neuro", "neuro without it"
CONVOLUTIONS = Work(name="digits", ticks=8, batch=64)
DENSE = Work(name="dense", ticks=100, batch=64, share=0.05)
SMALL = {"digits": Work(name="tiny", ticks=3, batch=4), "dense": replace(DENSE, ticks=4)}
CAMERA, TICKS, BATCH = 128, 100, 4  # pixels a side, of which a corner of 16 x 16 is active


class Replaced(NamedTuple):
    """A function of a module that another one stands in for."""

    module: str
    name: str
    by: Callable[..., Any]


def _none(*_: Any, **__: Any) -> None:
    return None


def _false(*_: Any) -> bool:
    return False


def _nothing_fused(*_: Any) -> dict[int, Any]:
    return {}


def _unchanged(module: Any) -> Any:
    return module


def _run_in_turn(*arguments: Any) -> Any:
    from neuro.nn import schedule

    return schedule._run_in_turn(*arguments)


def _torch_pool(x: Any, module: Any) -> Any:
    return module(x)


def _general(*_: Any) -> int:
    from neuro.events.exact.scaled_state import GENERAL

    return GENERAL


def _always_may_fire(x: np.ndarray, *_: np.ndarray) -> tuple[np.ndarray, ...]:
    zero = np.zeros(x.shape)
    return zero, zero, zero, zero - np.inf


SCHEDULE, SPARSE, FOLD = "neuro.nn.schedule", "neuro.ops.sparse_linear", "neuro.nn.fold_time"
NO_POOL = Replaced(SCHEDULE, "_pool_size", _none)
LAYERS: Mapping[str, tuple[tuple[Replaced, ...], tuple[Work, ...]]] = {
    "zeros are skipped in products": (
        (
            Replaced(SPARSE, "find_active", _none),
            Replaced("neuro.neurons.fused_linear", "find_active", _none),
        ),
        (replace(DENSE, trains=True), DENSE),
    ),
    "weights by input": (
        (Replaced("tasks.peers.subjects_training", "store_by_input", _unchanged),),
        (replace(DENSE, trains=True), DENSE),
    ),
    "a dense layer and its population in one pass": (
        (Replaced(SCHEDULE, "_fuse_linears", _nothing_fused),),
        (DENSE,),
    ),
    "some ticks at a time": (
        (Replaced(SCHEDULE, "_run_some_ticks", _run_in_turn),),
        (DENSE, CONVOLUTIONS),
    ),
    "parts of the batch": (
        (Replaced(SCHEDULE, "_is_divisible", _false),),
        (replace(CONVOLUTIONS, trains=True), CONVOLUTIONS),
    ),
    "a pool in the operator": ((NO_POOL,), (replace(CONVOLUTIONS, trains=True), CONVOLUTIONS)),
    "no pool of torch": (
        (NO_POOL, Replaced(FOLD, "apply_avg_pool", _torch_pool)),
        (replace(CONVOLUTIONS, trains=True),),
    ),
    "a constant input once": (
        (Replaced(SCHEDULE, "is_one_tick", _false), Replaced(FOLD, "is_one_tick", _false)),
        (replace(CONVOLUTIONS, trains=True), CONVOLUTIONS),
    ),
}


def _replace(changes: tuple[Replaced, ...]) -> None:
    for change in changes:
        module = importlib.import_module(change.module)
        getattr(module, change.name)  # an AttributeError where the name is gone
        setattr(module, change.name, change.by)


def without_in_layers(changes: tuple[Replaced, ...], work: Work, threads: int) -> Run:
    """Return our Stack without a mechanism."""
    _replace(changes)
    return subjects_training.neuro(work, threads)


def without_families(make: Callable[[], BenchProblem], threads: int) -> Run:
    """Return the exact clock with the general family of windows alone."""
    _replace((Replaced("neuro.events.exact.compile", "_choose_family", _general),))
    return subjects_neuro.exact(make, threads)


def of_camera(side: int, threads: int) -> Run:  # noqa: ARG001 - the grid takes one
    """Return two convolutions on the events of a corner of a camera, on the grid."""
    rng = np.random.default_rng(0)
    corner = (rng.random((TICKS, BATCH, 2, 16, 16)) < 0.02).astype(np.float32)
    raster = np.zeros((TICKS, BATCH, 2, side, side), np.float32)
    raster[..., :16, :16] = corner
    wide, narrow = rng.normal(0, 0.4, (8, 2, 5, 5)), rng.normal(0, 0.3, (8, 8, 3, 3))
    graph = Graph(
        nodes={
            "input": Input(shape=raster.shape[2:]),
            "conv1": Conv2d(weight=wide.astype(np.float32), padding=(2, 2)),
            "lif1": LIF(tau=0.01),
            "conv2": Conv2d(weight=narrow.astype(np.float32), stride=(2, 2), padding=(1, 1)),
            "lif2": LIF(tau=0.01),
        },
        edges=tuple(
            Edge(*pair) for pair in pairwise(("input", "conv1", "lif1", "conv2", "lif2"))
        ),
        dt=Seconds(1e-3),
    )
    stimulus = {"input": to_events(raster.reshape(TICKS, BATCH, -1))}

    def once() -> tuple[int, int]:
        record, _ = simulate(graph, stimulus, Grid(dtype=np.float32))
        return sum(record.counts[n].spikes for n in graph.firing), 0

    return repeat(once)


def camera_without(side: int, threads: int) -> Run:
    """Return the same with every neuron computed in every tick."""
    _replace((Replaced("neuro.events.grid.updates", "_compute_bounds", _always_may_fire),))
    return of_camera(side, threads)


def layers(quick: bool) -> list[Case]:
    """Return training and inference of layers."""
    return [
        _layer_case(name, changes, SMALL[work.name] if quick else work)
        for name, (changes, works) in LAYERS.items()
        for work in works
    ]


def kept(quick: bool) -> list[Case]:
    """Return training that keeps the memory it frees, as ``neuro train`` does, and not."""
    return [
        replace(
            _layer_case("freed memory is kept", (), work),
            subjects={
                WITH: partial(keeping_freed_memory, work),
                WITHOUT: partial(subjects_training.neuro, work),
            },
            environments={WITHOUT: {"GLIBC_TUNABLES": ""}},  # glibc's own defaults
        )
        for full in (CONVOLUTIONS, DENSE)
        for work in (replace(SMALL[full.name] if quick else full, trains=True),)
    ]


def keeping_freed_memory(work: Work, threads: int) -> Run:
    """Return a step of our Stack in a process that keeps the memory it frees."""
    if not keep_freed_memory(of_any_size=True):
        variables = ", ".join(CHOICES)
        raise RuntimeError(f"cannot keep freed memory: needs glibc without {variables}")
    return subjects_training.neuro(work, threads)


def _layer_case(name: str, changes: tuple[Replaced, ...], work: Work) -> Case:
    what = "training" if work.trains else "inference"
    return Case(
        name=f"{name}: {work.name}, {what}",
        subjects={
            WITH: partial(subjects_training.neuro, work),
            WITHOUT: partial(without_in_layers, changes, work),
        },
        pairs=(Pair(WITH, (WITHOUT,)), Pair(WITH, (WITHOUT,), by="memory")),
        unit="ms",
        per=1e-3,
        conditions={"batch": work.batch, "ticks": work.ticks},
    )


def families(quick: bool) -> list[Case]:
    """Return networks whose windows need not be general."""
    size = engine.SMALL if quick else engine.FULL
    networks = {"CUBA": engine.of_cuba, "delta": engine.of_delta, "Brette 4": engine.of_brette4}
    cases = []
    for name, of in networks.items():
        make = partial(of, *size)
        cases.append(
            Case(
                name=f"families of windows: {name}",
                subjects={
                    WITH: partial(subjects_neuro.exact, make),
                    WITHOUT: partial(without_families, make),
                },
                pairs=(Pair(WITH, (WITHOUT,)),),
                unit=engine.RTF,
                per=size[1],
                cell_seconds=size[0] * size[1],
                conditions={"cells": size[0], "simulated_seconds": size[1]},
            )
        )
    return cases


def skipped(quick: bool) -> list[Case]:
    """Return neurons that cannot fire, which the grid skips."""
    side = 32 if quick else CAMERA
    return [
        Case(
            name=f"neurons that cannot fire are skipped: camera of {side} x {side}",
            subjects={WITH: partial(of_camera, side), WITHOUT: partial(camera_without, side)},
            pairs=(Pair(WITH, (WITHOUT,)),),
            unit="ms",
            per=1e-3,
            conditions={"batch": BATCH, "ticks": TICKS},
        )
    ]


CASES: Mapping[str, Callable[[bool], list[Case]]] = {
    "layers": layers,
    "kept": kept,
    "families": families,
    "skipped": skipped,
}
