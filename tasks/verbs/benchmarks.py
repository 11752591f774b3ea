"""The benchmarks of ``neuro bench``: their names, parts, tables and pictures."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.rows import Row
from tasks.runs.names import require_one_of


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Parts by name; each yields its rows. draw: writes all rows as a picture.

    tabulate: makes tables of the rows of a part for the terminal; None: the usual tables.
    accepts: flags other than --out, --only and --quick. announce: a line about the work ahead.
    """

    about: str
    parts: Mapping[str, MeasurePart]
    draw: Callable[[list[Row], Path], None]
    tabulate: Callable[[str, list[Row]], Iterator[Any]] | None = None
    accepts: tuple[str, ...] = ("repeats",)
    announce: Callable[[BenchOptions], str] | None = None

    def choose_parts(self, names: tuple[str, ...]) -> dict[str, MeasurePart]:
        """Return the parts of these names in their own order; without names, all parts.

        Raises:
            UnknownName: there is no such part.
        """
        wanted = {require_one_of(name, tuple(self.parts), "part") for name in names}
        return {k: part for k, part in self.parts.items() if not wanted or k in wanted}

    def list_unused(self, options: BenchOptions) -> str:
        """Return the chosen flags that have no effect on it: "--runs, --workers"."""
        unused = {"repeats", "runs", "workers"} - set(self.accepts)
        default = BenchOptions()
        chosen = [f for f in sorted(unused) if getattr(options, f) != getattr(default, f)]
        return ", ".join(f"--{flag}" for flag in chosen)


NAMES = {
    "engine": "speed beside NEST, Brian2 and torch libraries; cost, memory, first use",
    "training": "a step of training and of inference beside torch libraries",
    "mechanisms": "each mechanism of speed or memory beside neuro without it",
    "mixers": "sequence mixers in chunks and by steps beside recurrences and attention",
    "decode": "text of a packed model beside unpacked ones, a transformer and litespark",
    "regimes": "rates of Brunel's network beside those he published",
    "hybrids": "linear mixers with few layers of softmax: recall and text against the ratio",
    "driving": "trained drivers (--runs) in closed and open loop beside plain planners",
}


def find(name: str) -> Benchmark:
    """Return the benchmark of that name.

    Raises:
        UnknownName: there is no such benchmark.
    """
    require_one_of(name, tuple(NAMES), "benchmark")
    makers = {
        "engine": _engine,
        "decode": _decode,
        "regimes": _regimes,
        "hybrids": _hybrids,
        "driving": _driving,
    }
    return makers[name]() if name in makers else _make_speeds(name)


def _of_cases(cases: Callable[[bool], list[Any]], options: BenchOptions) -> Iterator[Row]:
    from tasks.bench.comparison import measure_case

    for case in cases(options.quick):
        yield from measure_case(case, options.repeats)


def _make_speeds(name: str) -> Benchmark:
    """Return the benchmark of the cases of a module of :mod:`tasks.peers`."""
    from tasks.bench import plot

    cases = import_module(f"tasks.peers.{name}").CASES
    parts: dict[str, MeasurePart] = {k: partial(_of_cases, c) for k, c in cases.items()}
    return Benchmark(about=NAMES[name], parts=parts, draw=plot.speed)


def _decode() -> Benchmark:
    from tasks.bench import plot
    from tasks.language import decode

    parts: dict[str, MeasurePart] = {k: partial(decode.iterate_rows, k) for k in decode.CASES}
    return Benchmark(about=NAMES["decode"], parts=parts, draw=plot.speed)


def _engine() -> Benchmark:
    from tasks.peers import cost

    def of_rows(rows: Callable[[bool], Iterator[Row]], options: BenchOptions) -> Iterator[Row]:
        yield from rows(options.quick)

    speeds = _make_speeds("engine")
    parts: dict[str, MeasurePart] = {
        **speeds.parts,
        "cost": partial(_of_cases, cost.cost),
        "memory": partial(of_rows, cost.memory),
        "compile": partial(of_rows, cost.first_uses),
    }
    return replace(speeds, parts=parts)


def _regimes() -> Benchmark:
    from neuro.units import Seconds
    from tasks.peers.networks import REGIMES
    from tasks.peers.regimes import Extent, draw_rates, rows

    def of_regime(name: str, options: BenchOptions) -> Iterator[Row]:
        yield from rows(
            name, Extent(n=1250, duration=Seconds(0.12)) if options.quick else Extent()
        )

    parts: dict[str, MeasurePart] = {name: partial(of_regime, name) for name in REGIMES}
    return Benchmark(about=NAMES["regimes"], parts=parts, draw=draw_rates, accepts=())


def _hybrids() -> Benchmark:
    from tasks.language.hybrids.draw import draw, tabulate
    from tasks.language.hybrids.parts import PARTS, announce

    return Benchmark(
        about=NAMES["hybrids"],
        parts=PARTS,
        draw=draw,
        tabulate=tabulate,
        accepts=("workers",),
        announce=announce,
    )


def _driving() -> Benchmark:
    from tasks.driving.benchmark.draw import draw_planners, tabulate
    from tasks.driving.benchmark.parts import PARTS

    return Benchmark(
        about=NAMES["driving"],
        parts=PARTS,
        draw=draw_planners,
        tabulate=tabulate,
        accepts=("repeats", "runs", "workers"),
    )
