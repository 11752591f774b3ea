"""``neuro bench``: the benchmarks by name, their parts, and their tables in the terminal."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.rows import Row, write
from tasks.report.tables import make_table
from tasks.report.terminal import DONE, FAILED
from tasks.runs.find import is_file, load_experiments, split_name
from tasks.runs.names import require_one_of
from tasks.runs.share import track


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Parts by name; each yields its rows. draw: writes all rows as a picture, and returns the
    paths of further ones that it wrote.

    tabulate: makes tables of the rows of a part for the terminal; None: the usual tables.
    accepts: flags other than --out, --only and --quick. announce: a line about the work ahead.
    """

    about: str
    parts: Mapping[str, MeasurePart]
    draw: Callable[[list[Row], Path], list[Path] | None]
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
    "engine": "speed beside NEST, Brian2 and torch libraries; memory, first use",
    "microcircuit": "the cortical microcircuit beside NEST and Brian2, at three sizes",
    "fly_brain": "a fly's whole brain, generated, beside Brian2",
    "training": "a step of training and of inference beside torch libraries",
    "mixers": "sequence mixers in training and generation beside torch",
    "decode": "text of a packed model beside unpacked ones, a transformer and litespark",
    "hybrids": "linear mixers with few layers of softmax: recall and text against the ratio",
    "events_and_bits": "language: bits per byte against events and joules, spikes beside bits",
    "lava": "a program in compiled loops, beside the NumPy reference and Lava's simulation",
    "forecasting": "forecasters with a teacher that sees later, beside controls without one",
    "conversion": "ANNs as spiking networks: accuracy by ticks, beside SpikingJelly's ann2snn",
    "delays": "learned delays beside fixed random ones and none, on times of spikes",
    "integers": "training on a chip's integers, by levels of weights, beside a control",
    "imports": "imported networks of other libraries: spikes that differ, accuracy, speed",
    "energy": "searched mappings onto chips beside greedy ones; the model beside PilotNet",
    "reasoning": "thoughts in hidden states beside words, pauses and no thoughts",
    "flow": "images behind noisier images of their class (ARFlow) beside images alone (SiT)",
    "attribution": "corpora of texts by probes, gradients and retraining, against three truths",
    "bottlenecks": "narrow layers between chips: accuracy against bits, and controls",
    "driving": "trained drivers (--runs) in closed and open loop beside plain planners",
}

PARTS_OF = {  # for the list: an import of all benchmarks takes seconds and needs all extras
    "engine": "cuba, delta, brette4, large, silent, classifier, threads, memory, compile",
    "microcircuit": "tenth, third, full, one_delay, building, activity, rates",
    "fly_brain": "brain",
    "training": "digits, dense, cifar",
    "mixers": "recurrences, chunks, attention, steps",
    "decode": "matrix, layers, generation",
    "hybrids": "recall, text",
    "events_and_bits": "small, larger",
    "lava": "dense",
    "forecasting": "grid, few, lorenz, paper, gated, spiking, online, seizures, anchor",
    "conversion": "digits, cifar10, residual",
    "delays": "intervals, yinyang, digits, vowels",
    "integers": "dense",
    "imports": "tutorials, random, speed",
    "energy": "demo, alif, language, pilotnet",
    "reasoning": "reachability, multiplication, mixers, sudoku, reversal, addition, hop, hops, "
    "spiking_loop",
    "flow": "digits, seen, mnist, short",
    "attribution": "causes, answers, near, far, outside",
    "bottlenecks": "untrained, depth, controls, links, spikes",
    "driving": "closed, ceiling, open, maps",
}


# Modules with list_experiments; PARTS, where some parts train nothing; draw, where bars do not
# tell enough.
EXPERIMENTS = {
    "attribution": "tasks.attribution.bench",
    "bottlenecks": "tasks.bottlenecks.bench",
    "conversion": "tasks.imported.bench_conversion",
    "delays": "tasks.delays.bench",
    "events_and_bits": "tasks.language.bench_events",
    "flow": "tasks.flow.bench",
    "forecasting": "tasks.forecasting.bench.parts",
    "hybrids": "tasks.language.bench_hybrids",
    "integers": "tasks.imported.bench_integers",
    "reasoning": "tasks.reasoning.bench",
}


def find(name: str) -> Benchmark:
    """Return the benchmark of that name.

    Raises:
        UnknownName: there is no such benchmark.
    """
    if is_file(name):
        return _make_file(Path(name))
    require_one_of(name, tuple(NAMES), "benchmark")
    makers = {
        "engine": _engine,
        "microcircuit": _microcircuit,
        "decode": _decode,
        "imports": _imports,
        "energy": _energy,
        "driving": _driving,
    }
    if name in EXPERIMENTS:
        module = import_module(EXPERIMENTS[name])
        made = _make_experiments(name, module.list_experiments, NAMES[name], ("workers",))
        parts = {**made.parts, **getattr(module, "PARTS", {})}
        return replace(made, parts=parts, draw=getattr(module, "draw", made.draw))
    return makers[name]() if name in makers else _make_speeds(name)


def _of_cases(cases: Callable[[bool], list[Any]], options: BenchOptions) -> Iterator[Row]:
    from tasks.bench.comparison import measure_case

    for case in track("cases", cases(options.quick)):
        yield from measure_case(case, options.repeats)


def _make_speeds(name: str) -> Benchmark:
    """Return the benchmark of the cases of a module of :mod:`tasks.bench.peers`."""
    from tasks.bench import plot

    cases = import_module(f"tasks.bench.peers.{name}").CASES
    parts: dict[str, MeasurePart] = {k: partial(_of_cases, c) for k, c in cases.items()}
    return Benchmark(about=NAMES[name], parts=parts, draw=plot.speed)


def _decode() -> Benchmark:
    from tasks.bench import plot
    from tasks.language import decode

    parts: dict[str, MeasurePart] = {k: partial(decode.iterate_rows, k) for k in decode.CASES}
    return Benchmark(about=NAMES["decode"], parts=parts, draw=plot.speed)


def _engine() -> Benchmark:
    from tasks.bench.peers import cost

    def of_rows(rows: Callable[[bool], Iterator[Row]], options: BenchOptions) -> Iterator[Row]:
        return rows(options.quick)

    speeds = _make_speeds("engine")
    parts: dict[str, MeasurePart] = {
        **speeds.parts,
        "memory": partial(of_rows, cost.memory),
        "compile": partial(of_rows, cost.first_uses),
    }
    return replace(speeds, parts=parts)


def _microcircuit() -> Benchmark:
    from tasks.bench.peers.microcircuit import PARTS, draw

    return Benchmark(about=NAMES["microcircuit"], parts=PARTS, draw=draw)


def _make_experiments(
    name: str, make: Callable[[bool], Any], about: str, accepts: tuple[str, ...]
) -> Benchmark:
    """Return the benchmark of experiments. make: quick -> the experiments by part."""
    from tasks.bench import experiment

    def tabulate(part: str, rows: list[Row]) -> Iterator[Any]:
        if not experiment.list_arms(rows):
            yield from iterate_tables(part, rows)
            return
        yield from experiment.tabulate(part, rows)
        yield from make(False)[part].tabulate(experiment.list_arms(rows))

    return Benchmark(
        about=about,
        parts=experiment.make_parts(make, name),
        draw=experiment.draw,
        tabulate=tabulate,
        accepts=accepts,
        announce=partial(experiment.announce, make, name),
    )


def _make_file(path: Path) -> Benchmark:
    """Return the benchmark of the experiments in a task's file."""

    def make(_: bool) -> Mapping[str, Any]:
        found = load_experiments(path)
        return {
            part: replace(e, run=f"{path}:{split_name(e.run)[1]}") for part, e in found.items()
        }

    return _make_experiments(path.stem, make, f"experiments of {path}", ())


def _imports() -> Benchmark:
    from tasks.imported.bench import PARTS, TABLES, draw_imports

    def tabulate(part: str, rows: list[Row]) -> Iterator[Any]:
        yield from [TABLES[part](rows)] if part in TABLES else iterate_tables(part, rows)

    return Benchmark(about=NAMES["imports"], parts=PARTS, draw=draw_imports, tabulate=tabulate)


def _energy() -> Benchmark:
    from tasks.bench import plot
    from tasks.language.bench_energy import PARTS

    return Benchmark(about=NAMES["energy"], parts=PARTS, draw=plot.speed, accepts=("runs",))


def _driving() -> Benchmark:
    from tasks.driving.bench.draw import draw_planners, tabulate
    from tasks.driving.bench.parts import PARTS

    return Benchmark(
        about=NAMES["driving"],
        parts=PARTS,
        draw=draw_planners,
        tabulate=tabulate,
        accepts=("runs", "workers"),
    )


def show_names(console: Console) -> None:
    """Print the names of all benchmarks and of their parts."""
    title = "Benchmarks: neuro bench NAME [--only PART,PART]"
    rows = [(name, about, PARTS_OF[name]) for name, about in NAMES.items()]
    console.print(make_table(title, "name", "about", "parts", rows=rows))


def show(console: Console, name: str, options: BenchOptions) -> None:
    """Measure, print a table for each part, and write ``NAME.json`` and ``NAME.png``.

    The file is written after each part, so that it is complete after an interruption.

    Raises:
        UnknownName: there is no such benchmark, or no such part.
        ValueError: a flag has no effect on the benchmark.
    """
    from neuro.io.store import require_writable
    from tasks.measures.progress_bar import show_share

    benchmark = find(name)
    parts = benchmark.choose_parts(options.parts)
    if is_file(name) and options.quick:
        raise ValueError("--quick is for the benches of neuro; choose small arms in the file")
    if unused := benchmark.list_unused(options):
        raise ValueError(f"neuro bench {name} does not use {unused}; leave it out")
    require_writable(options.out)
    path = options.out / f"{Path(name).stem if is_file(name) else name}.json"
    rows: list[Row] = []
    if benchmark.announce:
        console.print(benchmark.announce(options), highlight=False, soft_wrap=True)
    for part, measure in parts.items():
        with show_share(f"bench {name}: {part}"):
            new = list(measure(options))
        rows += new
        for table in (benchmark.tabulate or iterate_tables)(part, new):
            console.print(table)
        for note in dict.fromkeys(row.note for row in new if row.note):
            console.print(Text(f"  {note}"), soft_wrap=True)
        write(rows, path)
    picture = path.with_suffix(".png")
    *files, last = [path, picture, *(benchmark.draw(rows, picture) or [])]
    if aimed := [row for row in rows if "target" in row.conditions]:
        kept, open_ = (sum(row.reached is value for row in aimed) for value in (True, None))
        more = f", {open_} not measured" if open_ else ""
        console.print(f"{kept} of {len(aimed)} targets reached{more}", highlight=False)
    console.print(f"wrote {', '.join(map(str, files))} and {last}")


def iterate_tables(part: str, rows: list[Row]) -> Iterator[Group]:
    """Yield a table for each case of a part; one for all cases if each has a single row."""
    cases = list(dict.fromkeys(row.case for row in rows))
    if len(cases) == len(rows):
        yield tabulate_results(part, rows)
        return
    for case in cases:
        yield tabulate_results(part, [row for row in rows if row.case == case])


def tabulate_results(part: str, rows: list[Row]) -> Group:
    """Return rows as a table; a line above it holds the values that all rows share."""
    columns: dict[str, list[Any]] = {
        "case": [row.case for row in rows],
        "beside": [row.peer for row in rows],
        "what": [row.subject for row in rows],
        "ours": [_number(row.ours) for row in rows],
        "theirs": [_number(row.theirs) for row in rows],
        "unit": [row.unit for row in rows],
        "ratio": [_number(row.ratio) for row in rows],
        "target": [_target(row) for row in rows],
        "Hz": [_rates(row) for row in rows],
        "M events / s": [_work(row, "synaptic_events_per_second", 1e-6) for row in rows],
        "% of scatter-add": [_work(row, "share_of_bound", 100.0) for row in rows],
    }
    shared = {
        k: columns.pop(k)[0]
        for k in ("case", "what", "ours", "unit", "M events / s", "% of scatter-add")
        if len(set(columns[k])) == 1
    }
    head = " ".join(shared[k] for k in ("what", "ours", "unit") if k in shared)
    work = [f"{shared[k]} {k}" for k in ("M events / s", "% of scatter-add") if shared.get(k)]
    filled = {k: column for k, column in columns.items() if any(column)}
    out = make_table("", *filled, rows=zip(*filled.values(), strict=True))
    heading = ": ".join(filter(None, (shared.get("case", part), ", ".join([head, *work]))))
    return Group(Text(heading, "bold"), out)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _target(row: Row) -> str | Text:
    target = row.conditions.get("target")
    if target is None:
        return ""
    mark = Text("?") if row.reached is None else DONE if row.reached else FAILED
    return Text.assemble(f">= {target:.3g} ", mark)


def _rates(row: Row) -> str:
    sides = [row.conditions.get(side, {}) for side in ("ours", "theirs")]
    rates = [_number(side["rate"]) for side in sides if "rate" in side]
    return " / ".join(rates)


def _work(row: Row, key: str, scale: float) -> str:
    return _number(scale * row.conditions[key]) if key in row.conditions else ""
