"""Throughput of trained networks: windows and images per second, memory, time by module.

Each network runs in its own process, in turns with the others (:mod:`tasks.bench.harness`). The
images are black, because a convolution takes as long for any image. Reading data is excluded.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from neuro.training.threads import limit_threads
from tasks.bench.comparison import describe_machine
from tasks.bench.harness import Measurement, Run as Timed, measure
from tasks.bench.rows import Row, find_ratio
from tasks.bench.stopwatch import repeat
from tasks.driving.batch import Observation, join_ticks, make_blank
from tasks.driving.bench.entrants import Comparison
from tasks.driving.deployment import count_macs
from tasks.driving.model import Driver, require_driver
from tasks.runs.find import open_folder
from tasks.runs.trained_run import load_trained_model

MODULES = ("encoder", "prediction", "decoder", "heads", "planner")
REST = "lift, splat, the rest"
ALONE = "none"  # the peer if there is no other configuration


def make_windows(model: Driver, batch: int) -> Observation:
    """Return a batch of black windows."""
    blank = make_blank(model.config)

    def widen(x: Tensor) -> Tensor:
        return x.expand(batch, *x.shape[1:]).contiguous()

    widened: Observation = tree_map(widen, blank)
    return widened


def build_forward(folder: Path, batch: int, threads: int) -> Timed:
    """Return a timed run that repeatedly plans a batch of windows, and counts them."""
    torch.set_num_threads(threads)
    model = _load(folder)
    seen = make_windows(model, batch)

    def once() -> tuple[int, int]:
        with torch.no_grad():
            model(seen)
        return batch, 0

    return repeat(once)


def _load(folder: Path) -> Driver:
    return require_driver(load_trained_model(open_folder(folder)))


@contextmanager
def time_modules(model: Driver) -> Iterator[dict[str, float]]:
    """Measure the seconds of each module in a block, by name."""
    seconds: defaultdict[str, float] = defaultdict(float)
    begun: dict[str, float] = {}

    def begin(name: str, *_: Any) -> None:
        begun[name] = time.perf_counter()

    def end(name: str, *_: Any) -> None:
        seconds[name] += time.perf_counter() - begun[name]

    with ExitStack() as stack:
        for name in MODULES:
            module: nn.Module = getattr(model, name)
            before = module.register_forward_pre_hook(partial(begin, name))
            after = module.register_forward_hook(partial(end, name))
            stack.callback(before.remove)
            stack.callback(after.remove)
        yield seconds


def measure_modules(model: Driver, batch: int, repeats: int) -> dict[str, float]:
    """Return the seconds of each module and of :data:`REST` in the fastest pass."""
    seen, passes = make_windows(model, batch), []
    with torch.no_grad():
        model(seen)  # compiles
        for _ in range(repeats):
            start = time.perf_counter()
            with time_modules(model) as seconds:
                model(seen)
            whole = time.perf_counter() - start
            passes.append({**seconds, REST: whole - sum(seconds.values())})
    return min(passes, key=lambda times: sum(times.values()))


def measure_throughput(
    comparison: Comparison, repeats: int, batches: tuple[int, ...]
) -> Iterator[Row]:
    """Yield rows of the subject beside each other configuration, by their first runs."""
    folders = {name: runs[0].folder for name, runs in comparison.runs.items()}
    for batch in batches:
        measured = measure(
            {name: partial(build_forward, f, batch) for name, f in folders.items()}, repeats
        )
        yield from _list_speeds(comparison, measured, batch, repeats)
    yield from _list_module_times(comparison, folders, repeats)


def _list_speeds(
    comparison: Comparison, measured: Mapping[str, Measurement], batch: int, repeats: int
) -> Iterator[Row]:
    config = comparison.config
    images = join_ticks(make_blank(config)).shape[:4].numel()
    rates = {k: batch / m.best("wall") if m.runs else None for k, m in measured.items()}
    frames = {k: None if v is None else v * images for k, v in rates.items()}
    grown = {k: None if m.grown is None else m.grown / 1e6 for k, m in measured.items()}
    problems = {k: m.problem for k, m in measured.items()}
    conditions = {
        "batch": batch,
        "time": f"wall, best of {repeats}",
        "threads": 1,
        "problems": problems,
    }
    for name, unit, better, values in (
        ("windows", "1/s", "higher", rates),
        ("images", "1/s", "higher", frames),
        ("peak memory", "MB", "lower", grown),
    ):
        case = f"batch of {batch}: {name}"
        yield from _pair(comparison, case, unit, better, values, conditions)


def _list_module_times(
    comparison: Comparison, folders: Mapping[str, Path], repeats: int
) -> Iterator[Row]:
    with limit_threads(1):
        times = {k: measure_modules(_load(f), 1, repeats) for k, f in folders.items()}
    macs = count_macs(comparison.config)
    macs[REST] = macs.pop("lift")
    whole, wholes = sum(macs.values()), {k: sum(t.values()) for k, t in times.items()}
    for name in (*MODULES, REST):
        values = {k: 1e3 * t.get(name, 0.0) for k, t in times.items()}
        conditions = {
            "batch": 1,
            "time": f"wall, of the best pass of {repeats}",
            "threads": 1,
            "share": {k: times[k].get(name, 0.0) / wholes[k] for k in times},
            "share_of_macs": macs[name] / whole,
        }
        yield from _pair(comparison, f"time of {name}", "ms", "lower", values, conditions)


def _pair(
    comparison: Comparison,
    case: str,
    unit: str,
    better: str,
    values: Mapping[str, float | None],
    conditions: Mapping[str, Any],
) -> Iterator[Row]:
    """Yield a row for each peer; without peers, a single row."""
    subject = comparison.subject
    ours = values[subject]
    for peer in [name for name in values if name != subject] or [ALONE]:
        theirs = values.get(peer)
        problems = conditions.get("problems", {})
        yield Row(
            case=case,
            subject=subject,
            peer=peer,
            unit=unit,
            ours=ours,
            theirs=theirs,
            ratio=find_ratio(ours, theirs, better),
            note="; ".join(f"{k}: {problems[k]}" for k in (subject, peer) if problems.get(k)),
            conditions={"better": better, **conditions, **describe_machine("torch")},
        )
