"""``neuro bench mechanisms``: each mechanism of speed or memory beside neuro without it.

A mechanism is left out by replacing the function that decides on it, in the process of the
subject.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from neuro.base.units import Seconds
from neuro.events import Grid, simulate
from neuro.events.exact.scaled_state import GENERAL
from neuro.graph import Conv2d, Edge, Graph, Input
from neuro.neurons import LIF
from neuro.spikes import to_events
from tasks.bench.comparison import Case, Pair
from tasks.bench.harness import Build, Run
from tasks.bench.peers import engine, subjects_neuro, subjects_training
from tasks.bench.peers.subjects_training import Work
from tasks.bench.peers.training import of_work
from tasks.bench.stopwatch import repeat
from tasks.runs.allocator import CHOICES, keep_freed_memory

WITH, WITHOUT = "neuro", "neuro without it"
BOTH = Pair(WITH, (WITHOUT,))
CONVOLUTIONS = Work(name="digits", ticks=8, batch=64)
DENSE = Work(name="dense", ticks=100, batch=64, share=0.05)
SMALL = {"digits": Work(name="tiny", ticks=3, batch=4), "dense": replace(DENSE, ticks=4)}
CAMERA, TICKS, BATCH = 128, 100, 4  # pixels a side, of which a corner of 16 x 16 is active


class Replaced(NamedTuple):
    """A function of a module that another one stands in for."""

    module: str
    name: str
    by: Callable[..., Any]


@dataclass(frozen=True)
class ReturnConstant:
    """A function that returns a value, whatever it is given."""

    value: Any

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Return the value."""
        return self.value


def _unchanged(module: Any) -> Any:
    return module


def _run_in_turn(*arguments: Any) -> Any:
    from neuro.nn import schedule

    return schedule._run_in_turn(*arguments)


def _torch_pool(x: Any, module: Any) -> Any:
    return module(x)


def _always_may_fire(x: np.ndarray, *_: np.ndarray) -> tuple[np.ndarray, ...]:
    zero = np.zeros(x.shape)
    return zero, zero, zero, zero - np.inf


SCHEDULE, FOLD = "neuro.nn.schedule", "neuro.nn.fold_time"
NO_POOL = Replaced(SCHEDULE, "_pool_size", ReturnConstant(None))
TRAINED = replace(CONVOLUTIONS, trains=True)
OF_DENSE, OF_CONVOLUTIONS = (replace(DENSE, trains=True), DENSE), (TRAINED, CONVOLUTIONS)
LAYERS: Mapping[str, tuple[tuple[Replaced, ...], tuple[Work, ...]]] = {
    "zeros are skipped in products": (
        tuple(
            Replaced(module, "find_active", ReturnConstant(None))
            for module in ("neuro.ops.sparse_linear", "neuro.neurons.fused_linear")
        ),
        OF_DENSE,
    ),
    "weights by input": (
        (Replaced("tasks.bench.peers.subjects_training", "store_by_input", _unchanged),),
        OF_DENSE,
    ),
    "a dense layer and its population in one pass": (
        (Replaced(SCHEDULE, "_fuse_linears", ReturnConstant({})),),
        (DENSE,),
    ),
    "some ticks at a time": (
        (Replaced(SCHEDULE, "_run_some_ticks", _run_in_turn),),
        (DENSE, CONVOLUTIONS),
    ),
    "parts of the batch": (
        (Replaced(SCHEDULE, "_is_divisible", ReturnConstant(False)),),
        OF_CONVOLUTIONS,
    ),
    "a pool in the operator": ((NO_POOL,), OF_CONVOLUTIONS),
    "no pool of torch": ((NO_POOL, Replaced(FOLD, "apply_avg_pool", _torch_pool)), (TRAINED,)),
    "a constant input once": (
        tuple(
            Replaced(module, "is_one_tick", ReturnConstant(False))
            for module in (SCHEDULE, FOLD)
        ),
        OF_CONVOLUTIONS,
    ),
}


def without(changes: tuple[Replaced, ...], build: Build, threads: int) -> Run:
    """Return a subject without a mechanism."""
    for change in changes:
        module = importlib.import_module(change.module)
        getattr(module, change.name)  # an AttributeError where the name is gone
        setattr(module, change.name, change.by)
    return build(threads)


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


def layers(quick: bool) -> list[Case]:
    """Return training and inference of layers."""
    return [
        _layer_case(name, SMALL[work.name] if quick else work, *changes)
        for name, (changes, works) in LAYERS.items()
        for work in works
    ]


def kept(quick: bool) -> list[Case]:
    """Return training that keeps the memory it frees, as ``neuro train`` does, and not."""
    return [
        replace(
            _layer_case("freed memory is kept", work),
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


def _layer_case(name: str, work: Work, *changes: Replaced) -> Case:
    title = f"{name}: {work.name}, {'training' if work.trains else 'inference'}"
    subjects = _with_and_without(partial(subjects_training.neuro, work), *changes)
    return of_work(title, work, subjects, BOTH, BOTH._replace(by="memory"))


def _with_and_without(build: Build, *changes: Replaced) -> dict[str, Build]:
    return {WITH: build, WITHOUT: partial(without, changes, build)}


def families(quick: bool) -> list[Case]:
    """Return networks whose windows need not be general."""
    size = engine.SMALL if quick else engine.FULL
    general = Replaced("neuro.events.exact.compile", "_choose_family", ReturnConstant(GENERAL))
    networks = {"CUBA": engine.of_cuba, "delta": engine.of_delta, "Brette 4": engine.of_brette4}
    return [
        engine.of_network(
            f"families of windows: {name}",
            _with_and_without(partial(subjects_neuro.exact, partial(make, *size)), general),
            (BOTH,),
            size,
        )
        for name, make in networks.items()
    ]


def skipped(quick: bool) -> list[Case]:
    """Return neurons that cannot fire, which the grid skips."""
    side = 32 if quick else CAMERA
    bounds = Replaced("neuro.events.grid.updates", "_compute_bounds", _always_may_fire)
    return [
        Case(
            name=f"neurons that cannot fire are skipped: camera of {side} x {side}",
            subjects=_with_and_without(partial(of_camera, side), bounds),
            pairs=(BOTH,),
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
