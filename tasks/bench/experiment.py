"""Experiments: arms of a task, trained from the same seeds and compared on them.

Each training is an ordinary run in ``OUT/BENCH/PART/ARM/seed-K``: ``neuro report`` shows it,
and finished runs are not trained again. The task's own evaluation measures it, and all
numbers here come from its ``eval.json``, and from ``measures.json`` where an experiment
measures more.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.table import Table

from neuro.io.pytree import digest
from neuro.io.run_folder import RunError
from neuro.plot import ACCENT, INK, STYLE
from neuro.training.threads import limit_threads
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.results import share_work
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.measures.statistics import judge_pairs, summarise_seeds
from tasks.measures.train import evaluate_run, launch_fabric, train_run
from tasks.report.figures import save_png
from tasks.report.tables import make_table
from tasks.runs.find import make_run, open_folder
from tasks.runs.provenance import describe_trained, digest_code, list_out_of_date
from tasks.runs.share import track
from tasks.runs.task import Metric, TaskRun, as_json, from_json

MADE_BY = "made_by.json"  # in a run folder: digests of the code and of the configuration
MEASURES = "measures.json"  # in a run folder: values that the evaluation lacks, by variant
VARIANTS = "variants"  # key of these values beside those of eval.json
Variants = Mapping[str, Mapping[str, float]]  # variant -> name -> value; "": the training
Reached = dict[str, dict[str, dict[int, float]]]  # arm or variant -> name -> seed -> value
Runs = Mapping[tuple[str, int], TaskRun]  # (arm, seed) -> run


def train_as_task(run: TaskRun) -> bool:
    """Train a run to the end on one thread; return whether it has diverged."""
    return train_run(run, launch_fabric(run, "cpu", 1)).has_diverged


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Arms of a task, compared seed by seed.

    title: for tables. run: "task:configuration", which the arms vary.
    arms: their complete configurations, by name; arms called "setting: arm" have one table per
    setting.
    seeds: of the weights; the configuration's ``seed_fields`` are set to the number of the
    unit.
    further: more seeds of single arms.
    unit: seed -> the unit that it repeats, such as a patient; values of one unit's seeds are
    averaged before arms are compared. By default each seed is its own unit.
    sources: for an arm that begins from a finished run of another arm with the same seed, the
    name of that arm, which precedes it; see :func:`open_beside`.
    beside: the arms that an arm is compared with, by name; the first is the peer of its row.
    baseline: the peer if ``beside`` names none: an arm, or a method of ``together``.
    metrics: the columns of the table; the first is judged.
    measures: a trained run -> values that its evaluation lacks, by variant. "" is the training
    itself; another name is a further use of the same weights, with its own row, compared with
    the training.
    costs: (configuration, mean values of an arm) -> numbers for the table, by name.
    together: all trained runs -> values that need several of them, and rows of methods without
    training, by title of their table ("" for the table of the arms). An arm may then lack the
    judged metric, and gets no row.
    judge: values of all arms -> rows of findings, each with a note.
    tabulate: rows of arms -> further tables.
    train: trains a run, and returns whether it has diverged; it may complete the run's
    configuration from finished runs.
    """

    title: str
    run: str
    arms: Mapping[str, Any]
    seeds: tuple[int, ...]
    metrics: tuple[Metric, ...]
    seed_fields: tuple[str, ...] = ()
    unit: Callable[[int], int] = int
    further: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    baseline: str = ""
    measures: Callable[[TaskRun], Variants] | None = None
    costs: Callable[[Any, Mapping[str, float]], Mapping[str, int]] = lambda *_: {}
    together: Callable[[Runs], Mapping[str, Reached]] = lambda _: {}
    judge: Callable[[Reached], Iterable[Row]] = lambda _: ()
    tabulate: Callable[[list[Row]], Iterable[Table]] = lambda _: ()
    train: Callable[[TaskRun], bool] = train_as_task

    def __post_init__(self) -> None:
        beside = {*self.beside, *(peer for peers in self.beside.values() for peer in peers)}
        sources = {*self.sources, *self.sources.values()}
        named = {"beside": beside, "further": {*self.further}, "sources": sources}
        problems = [
            f"{what} names {name!r}, which is no arm"
            for what, names in named.items()
            for name in names - {*self.arms}
        ]
        problems += [
            f"{what} are empty" for what in ("arms", "seeds", "metrics") if not vars(self)[what]
        ]
        if self.baseline not in {"", *self.arms} and self.together is Experiment.together:
            problems.append(f"baseline is {self.baseline!r}; it must be an arm: {[*self.arms]}")
        if len({name_folder(arm) for arm in self.arms}) < len(self.arms):
            problems.append("two arms have names of the same letters, and need folders")
        order = [*self.arms]
        problems += [
            f"{arm!r} begins from {source!r}, which must stand before it"
            for arm, source in self.sources.items()
            if {arm, source} <= {*order} and order.index(source) >= order.index(arm)
        ]
        if problems:
            raise ValueError(f"experiment {self.title!r}: {'; '.join(sorted(problems))}")

    def make_runs(self, folder: Path) -> dict[tuple[str, int], TaskRun]:
        """Return the run of each arm and seed, seed by seed; nothing is written."""
        seeds = {arm: (*self.seeds, *self.further.get(arm, ())) for arm in self.arms}
        return {
            (arm, seed): replace(
                make_run(self.run, folder / name_folder(arm) / f"seed-{seed}", seed),
                config=replace(config, **dict.fromkeys(self.seed_fields, self.unit(seed))),
            )
            for seed in dict.fromkeys(seed for own in seeds.values() for seed in own)
            for arm, config in self.arms.items()
            if seed in seeds[arm]
        }

    def list_stages(self) -> list[list[str]]:
        """Return the arms of each stage; arms begin only from arms of earlier stages."""
        stage = dict[str, int]()
        for arm in self.arms:
            stage[arm] = stage[self.sources[arm]] + 1 if arm in self.sources else 0
        last = max(stage.values())
        return [[arm for arm in stage if stage[arm] == k] for k in range(last + 1)]


Experiments = Callable[[bool], Mapping[str, Experiment]]  # quick -> part -> experiment


def name_folder(arm: str) -> str:
    """Return the folder of an arm: its name in lower case, with hyphens."""
    return re.sub(r"\W+", "-", arm.lower()).strip("-")


def open_beside(run: TaskRun, arm: str) -> TaskRun:
    """Return the finished run of another arm with the seed of a run."""
    return open_folder(run.folder.parents[1] / name_folder(arm) / run.folder.name)


def describe_maker(run: TaskRun) -> dict[str, str]:
    """Return the digests of everything that determines a training, except its seed."""
    return {"code": digest_code(), "configuration": digest(asdict(run.config))}


def is_measured(run: TaskRun, experiment: Experiment) -> bool:
    """Say whether a run was trained and measured by the present code."""
    files = ["eval.json", *([MEASURES] if experiment.measures else [])]
    if not all((run.folder / file).exists() for file in files):
        return False
    if run.read(MADE_BY) != describe_maker(run):
        return False
    return "eval" not in list_out_of_date(run.folder, describe_trained(run.folder))


def complete_run(run: TaskRun, experiment: Experiment) -> None:
    """Train a run to the end and measure it, on one thread; a finished run is left as it is.

    Raises:
        RunError: the run began with other code or another configuration, or it has diverged.
    """
    maker = describe_maker(run)
    begun = run.read(MADE_BY)
    if begun not in (None, maker):
        other = "version of the code" if begun["code"] != maker["code"] else "configuration"
        raise RunError(
            f"{run.folder} was trained by another {other}; delete that folder, or give another "
            "--out"
        )
    if is_measured(run, experiment):
        return
    run.write(MADE_BY, maker)
    with limit_threads(1):
        if experiment.train(run):
            raise RunError(f"{run.folder}: the training has diverged")
        run = open_folder(run.folder)  # with the configuration as completed by training
        evaluate_run(run)
        if experiment.measures:
            run.write(MEASURES, experiment.measures(run))


def measure(make: Experiments, bench: str, part: str, options: BenchOptions) -> Iterator[Row]:
    """Train the missing runs of a part; yield one row per arm and variant, then findings."""
    experiment = make(options.quick)[part]
    runs = experiment.make_runs(options.out / bench / part)
    complete_all = share_work(complete_run, options.workers, experiment)
    done = (
        complete_all(run for (arm, _), run in runs.items() if arm in stage)
        for stage in experiment.list_stages()
    )
    for _ in track("trainings", chain.from_iterable(done), len(runs)):
        pass
    results = {key: read_result(run, experiment) for key, run in runs.items()}
    yield from make_rows(part, experiment, results, experiment.together(runs))


def read_result(run: TaskRun, experiment: Experiment) -> dict[str, Any]:
    """Return ``eval.json``, with the experiment's own measures by variant."""
    measures = run.read(MEASURES) if experiment.measures else {}
    return {**run.read("eval.json"), VARIANTS: measures}


def collect_reached(arm: str, results: Mapping[int, Mapping[str, Any]]) -> Reached:
    """Return the values of an arm and its variants, from its results by seed."""
    reached = Reached()
    for seed, result in results.items():
        own = {name: result[name] for name in result["metrics"] if name in result}
        further = dict(result[VARIANTS])
        every = {"": {**own, **further.pop("", {})}, **further}
        for variant, values in every.items():
            name = f"{arm}, {variant}" if variant else arm
            for metric, value in values.items():
                reached.setdefault(name, {}).setdefault(metric, {})[seed] = value
    return reached


def average_units(reached: Reached, unit: Callable[[int], int]) -> Reached:
    """Average the values of arms over the seeds of each unit."""

    def average(by_seed: Mapping[int, float]) -> dict[int, float]:
        units: dict[int, list[float]] = {}
        for seed, value in by_seed.items():
            units.setdefault(unit(seed), []).append(value)
        return {name: sum(values) / len(values) for name, values in units.items()}

    return {
        name: {metric: average(by_seed) for metric, by_seed in own.items()}
        for name, own in reached.items()
    }


def make_rows(
    part: str,
    experiment: Experiment,
    results: Mapping[tuple[str, int], Mapping[str, Any]],
    together: Mapping[str, Reached] = MappingProxyType({}),
) -> Iterator[Row]:
    """Yield a row per arm, variant and method beside its peers, then the findings.

    results: by arm and seed, see :func:`read_result`. together: see :class:`Experiment`.
    """
    by_arm = {
        arm: average_units(
            collect_reached(
                arm, {seed: own for (of, seed), own in results.items() if of == arm}
            ),
            experiment.unit,
        )
        for arm in experiment.arms
    }
    arms = {name: arm for arm, own in by_arm.items() for name in own}
    reached = {name: by_arm[arm][name] for name, arm in arms.items()}
    for name, own in together.get("", {}).items():
        reached[name] = {**own, **reached.get(name, {})}
    judged = experiment.metrics[0].name
    note = next(iter(results.values())).get("notes", {}).get(judged, "")
    for title, table in {**together, "": reached}.items():
        for name, own in table.items():
            if together and judged not in own:
                continue  # the experiment measures methods behind this arm, not the arm
            arm = arms.get(name, name)
            default = tuple({experiment.baseline} - {name, ""})
            peers = experiment.beside.get(name, default) if name == arm else (arm,)
            row = make_row(experiment, table, name, peers)
            means = {metric: one["mean"] for metric, one in row.conditions["reached"].items()}
            costs = experiment.costs(experiment.arms[arm], means) if arm in arms else {}
            about = {**row.conditions, "cost": dict(costs), "note": note}
            yield replace(row, case=f"{part}: {title or row.case}", conditions=about)
    yield from experiment.judge(reached)


def announce(make: Experiments, bench: str, options: BenchOptions) -> str:
    """Say how many trainings will run, and where they are kept."""
    folder = options.out / bench
    measured = [
        is_measured(run, experiment)
        for part, experiment in make(options.quick).items()
        if not options.parts or part in options.parts
        for run in experiment.make_runs(folder / part).values()
    ]
    return (
        f"{measured.count(False)} of {len(measured)} trainings are to be made; each is a run "
        f"in {folder}, and the same command goes on after an interruption"
        f"{'; trainings too short to judge' * options.quick}"
    )


def make_parts(make: Experiments, bench: str) -> dict[str, MeasurePart]:
    """Return the parts of a benchmark, each of which is an experiment."""
    return {part: partial(measure, make, bench, part) for part in make(True)}


def make_row(experiment: Experiment, reached: Reached, name: str, peers: Sequence[str]) -> Row:
    """Return the row of an arm or variant beside its peers; pairs are seeds that both have."""
    judged, own = experiment.metrics[0], reached[name]
    values = own[judged.name]
    compared = {}
    for peer in peers:
        others = reached[peer][judged.name]
        pairs = [(value, others[seed]) for seed, value in values.items() if seed in others]
        ours, theirs = zip(*pairs, strict=True)
        compared[peer] = asdict(judge_pairs(ours, theirs, judged.better))
    mean = summarise_seeds(values.values()).mean
    other = summarise_seeds(reached[peers[0]][judged.name].values()).mean if peers else None
    return Row(
        case=experiment.title,
        subject=name,
        peer=peers[0] if peers else "",
        unit=judged.label,
        ours=mean,
        theirs=other,
        ratio=find_ratio(mean, other, judged.better),
        conditions={
            "reached": {k: asdict(summarise_seeds(v.values())) for k, v in own.items()},
            "compared": compared,
            "seeds": list(values),
            "metrics": as_json(experiment.metrics),
            "versions": list_versions("torch"),
        },
    )


def list_arms(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of arms and variants, without those of findings."""
    return [row for row in rows if "reached" in row.conditions]


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:  # noqa: ARG001
    """Yield the tables of a part, one per setting: values and costs of its rows."""
    tables: dict[tuple[str, str], list[Row]] = {}
    for row in list_arms(rows):
        setting = row.subject.partition(": ")[0] if ": " in row.subject else ""
        tables.setdefault((row.case, setting), []).append(row)
    for (_, setting), own in tables.items():
        yield tabulate_setting(setting, own)


def tabulate_setting(setting: str, rows: Sequence[Row]) -> Table:
    """Return the table of the arms, variants and methods of a setting."""
    about = rows[0].conditions
    metrics = [
        metric
        for metric in from_json(about["metrics"])
        if any(metric.name in row.conditions["reached"] for row in rows)
    ]
    costs = list(dict.fromkeys(name for row in rows for name in row.conditions["cost"]))
    head = ("", *(m.label for m in metrics), "beside", "difference", "p", *costs)
    out = make_table(", ".join(filter(None, (rows[0].case, setting))), *head)
    for row in rows:
        compared, own = row.conditions["compared"], row.conditions["cost"]
        out.add_row(
            row.subject.removeprefix(f"{setting}: "),
            *(_show_reached(row, metric) for metric in metrics),
            "\n".join(peer.removeprefix(f"{setting}: ") for peer in compared),
            "\n".join(metrics[0].difference(c["difference"]) for c in compared.values()),
            "\n".join("" if c["p"] is None else f"{c['p']:.2f}" for c in compared.values()),
            *(f"{own[name]:,}" if name in own else "" for name in costs),
        )
    numbers = " or ".join(map(str, sorted({len(row.conditions["seeds"]) for row in rows})))
    judged = "; ".join(filter(None, (metrics[0].label, about["note"])))
    out.caption = (
        f"mean ± deviation of {numbers} seeds; difference and p (sign-flip test of pairs): "
        f"{judged}"
    )
    return out


def _show_reached(row: Row, metric: Metric) -> str:
    own = row.conditions["reached"].get(metric.name)
    if own is None:
        return ""
    if own["sd"] is None:
        return metric.text(own["mean"])
    return f"{own['mean']:{metric.format}} ± {metric.text(own['sd'])}"


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> None:
    """Draw the judged metric of each arm and variant, a panel per part; points are seeds.

    Shares are drawn in percent, on an axis from 0 to 100.
    """
    rows = list_arms(rows)
    cases = list(dict.fromkeys(row.case for row in rows))
    heights = [1 + 0.22 * sum(row.case == case for row in rows) for case in cases]
    figure = Figure((9.58, sum(heights)), layout="constrained")
    panels = figure.subplots(len(cases), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, case in zip(panels, cases, strict=True):
        own = [row for row in rows if row.case == case][::-1]
        metric = from_json(own[0].conditions["metrics"])[0]
        scale = 100.0 if metric.percent else 1.0
        ax.barh([r.subject for r in own], [scale * (r.ours or 0.0) for r in own], color=ACCENT)
        for k, row in enumerate(own):
            seeds = [scale * x for x in row.conditions["reached"][metric.name]["seeds"]]
            ax.plot(seeds, [k] * len(seeds), "o", color=INK, markersize=3)
        ax.set(xlabel=f"{own[0].unit} [%]" if metric.percent else own[0].unit, title=case)
        if metric.percent:
            ax.set_xlim(0, 100)
    save_png(figure, path)
