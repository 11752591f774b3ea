"""Experiments: arms of a task, trained from the same seeds and compared on them.

Each training is an ordinary run in ``OUT/BENCH/PART/ARM/seed-K``: ``neuro report`` shows it,
and what is finished is not trained again. The task's own evaluation measures it, and all
numbers here come from its ``eval.json``.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.table import Table

from neuro.io.run_folder import RunError
from neuro.io.store import read_json
from neuro.plot import ACCENT, INK, STYLE
from neuro.training.threads import limit_threads
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.results import share_work
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.measures.statistics import judge_pairs, summarise_seeds
from tasks.measures.train import evaluate_run, launch_fabric, train_run
from tasks.report.figures import save_png
from tasks.report.tables import make_table
from tasks.runs.find import make_run
from tasks.runs.provenance import describe_trained, digest_code, list_out_of_date
from tasks.runs.task import Metric, TaskRun, from_json

CODE = "code.json"  # in a run folder: the digest of the code that trains it
Measured = dict[str, dict[str, float]]  # metrics by variant of a training; "" is the training


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Arms of a task, compared seed by seed.

    title: for tables. run: "task:configuration", which the arms vary. arms: their complete
    configurations, by name. seeds: of the weights; with ``data_varies`` the field
    ``seed_of_data`` of a training has the same number. beside: the arm that an arm is compared
    with, by name. metrics: names of metrics of the task, the first is judged. variants: the
    fact of ``eval.json`` that holds the metrics of other uses of the same weights, by name;
    each is compared with the arm itself. costs: configuration -> numbers for the table, by
    name.
    """

    title: str
    run: str
    arms: Mapping[str, Any]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    data_varies: bool = False
    beside: Mapping[str, str] = field(default_factory=dict)
    variants: str = ""
    costs: Callable[[Any], Mapping[str, int]] = lambda _: {}

    def __post_init__(self) -> None:
        named = {*self.beside, *self.beside.values()}
        problems = [f"beside names {name!r}, which is no arm" for name in named - {*self.arms}]
        problems += [
            f"{what} are empty" for what in ("arms", "seeds", "metrics") if not vars(self)[what]
        ]
        if len({name_folder(arm) for arm in self.arms}) < len(self.arms):
            problems.append("two arms have names of the same letters, and need folders")
        if problems:
            raise ValueError(f"experiment {self.title!r}: {'; '.join(sorted(problems))}")

    def make_runs(self, folder: Path) -> dict[tuple[str, int], TaskRun]:
        """Return the run of each arm and seed; nothing is written."""
        return {
            (arm, seed): replace(
                make_run(self.run, folder / name_folder(arm) / f"seed-{seed}", seed),
                config=replace(config, seed_of_data=seed) if self.data_varies else config,
            )
            for seed in self.seeds
            for arm, config in self.arms.items()
        }


Experiments = Callable[[bool], Mapping[str, Experiment]]  # quick -> by part


def name_folder(arm: str) -> str:
    """Return the folder of an arm: its name in lower case, with hyphens."""
    return re.sub(r"\W+", "-", arm.lower()).strip("-")


def is_measured(run: TaskRun) -> bool:
    """Say whether the present code has trained and measured a run."""
    if not (run.folder / "eval.json").exists():
        return False
    return "eval" not in list_out_of_date(run.folder, describe_trained(run.folder))


def complete_run(run: TaskRun) -> None:
    """Train a run to the end and measure it, on one thread; a finished one does not change.

    Raises:
        RunError: another version of the code has begun it, or the training has diverged.
    """
    code = run.folder / CODE
    if code.exists() and read_json(code) != digest_code():
        raise RunError(
            f"{run.folder} was trained by another version of the code; delete that folder, or "
            "give another --out"
        )
    if is_measured(run):
        return
    run.write(CODE, digest_code())
    with limit_threads(1):
        progress = train_run(run, launch_fabric(run, "cpu", 1))
        if progress.has_diverged:
            raise RunError(f"{run.folder}: the training has diverged")
        evaluate_run(run)


def measure(make: Experiments, bench: str, part: str, options: BenchOptions) -> Iterator[Row]:
    """Train what is missing of a part, and yield a row an arm and variant."""
    experiment = make(options.quick)[part]
    runs = experiment.make_runs(options.out / bench / part)
    for _ in share_work(complete_run, options.workers)(runs.values()):
        pass
    results = {key: read_json(run.folder / "eval.json") for key, run in runs.items()}
    yield from make_rows(part, experiment, results)


def announce(make: Experiments, bench: str, options: BenchOptions) -> str:
    """Return how many trainings are about to be made, and where they are kept."""
    folder = options.out / bench
    runs = [
        run
        for part, experiment in make(options.quick).items()
        if not options.parts or part in options.parts
        for run in experiment.make_runs(folder / part).values()
    ]
    missing = sum(not is_measured(run) for run in runs)
    return (
        f"{missing} of {len(runs)} trainings are to be made; each is a run in {folder}, and "
        "the same command goes on after an interruption"
        f"{'; trainings too short to judge' * options.quick}"
    )


def make_parts(make: Experiments, bench: str) -> dict[str, MeasurePart]:
    """Return the parts of a bench, each an experiment."""

    def make_part(part: str) -> MeasurePart:
        return lambda options: measure(make, bench, part, options)

    return {part: make_part(part) for part in make(True)}


def list_measured(experiment: Experiment, result: Mapping[str, Any]) -> Measured:
    """Return the metrics of a training by variant, from its ``eval.json``."""
    variants = result[experiment.variants] if experiment.variants else {}
    every = {"": result, **variants}
    return {
        name: {m: own[m] for m in experiment.metrics if m in own} for name, own in every.items()
    }


def make_rows(
    part: str, experiment: Experiment, results: Mapping[tuple[str, int], Mapping[str, Any]]
) -> Iterator[Row]:
    """Yield a row an arm and variant, beside its baseline. results: ``eval.json`` of each."""
    measured = {key: list_measured(experiment, result) for key, result in results.items()}
    first, judged = next(iter(results.values())), experiment.metrics[0]
    metric = {m.name: m for m in from_json(first["metrics"])}[judged]

    def read(arm: str, variant: str, name: str) -> list[float]:
        return [measured[arm, seed][variant][name] for seed in experiment.seeds]

    for arm, config in experiment.arms.items():
        for variant, own in measured[arm, experiment.seeds[0]].items():
            peer = arm if variant else experiment.beside.get(arm, "")
            ours, theirs = read(arm, variant, judged), read(peer, "", judged) if peer else None
            mean = summarise_seeds(ours).mean
            other = None if theirs is None else summarise_seeds(theirs).mean
            yield Row(
                case=f"{part}: {experiment.title}",
                subject=f"{arm}, {variant}" if variant else arm,
                peer=peer,
                unit=metric.label,
                ours=mean,
                theirs=other,
                ratio=find_ratio(mean, other, metric.better),
                conditions={
                    "reached": {m: asdict(summarise_seeds(read(arm, variant, m))) for m in own},
                    "compared": theirs and asdict(judge_pairs(ours, theirs, metric.better)),
                    "cost": dict(experiment.costs(config)),
                    "seeds": list(experiment.seeds),
                    "note": first.get("notes", {}).get(judged, ""),
                    "metrics": {m: first["metrics"][m] for m in own},
                    "versions": list_versions("torch"),
                },
            )


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:  # noqa: ARG001
    """Yield the table of a part: what arms and variants reach, and what they cost."""
    about = rows[0].conditions
    metrics = from_json(about["metrics"])
    costs = list(about["cost"])
    head = ("", *(m.label for m in metrics), "beside", "difference", "p", *costs)
    out = make_table(rows[0].case, *head)
    for row in rows:
        compared = row.conditions["compared"]
        out.add_row(
            row.subject,
            *(_show_reached(row, metric) for metric in metrics),
            row.peer,
            "" if compared is None else f"{compared['difference']:+.3f}",
            "" if compared is None or compared["p"] is None else f"{compared['p']:.2f}",
            *(f"{row.conditions['cost'][name]:,}" for name in costs),
        )
    judged = "; ".join(filter(None, (metrics[0].label, about["note"])))
    out.caption = (
        f"mean ± deviation of {len(about['seeds'])} seeds; difference and p (sign-flip test of "
        f"pairs): {judged}"
    )
    yield out


def _show_reached(row: Row, metric: Metric) -> str:
    own = row.conditions["reached"].get(metric.name)
    if own is None:
        return ""
    spread = "" if own["sd"] is None else f" ± {metric.text(own['sd'])}"
    return f"{metric.text(own['mean'])}{spread}"


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> None:
    """Draw the judged metric of each arm and variant, a panel a part; points are seeds."""
    cases = list(dict.fromkeys(row.case for row in rows))
    heights = [1 + 0.22 * sum(row.case == case for row in rows) for case in cases]
    figure = Figure((9.58, sum(heights)), layout="constrained")
    panels = figure.subplots(len(cases), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, case in zip(panels, cases, strict=True):
        own = [row for row in rows if row.case == case][::-1]
        ax.barh([r.subject for r in own], [r.ours or 0.0 for r in own], color=ACCENT)
        for k, row in enumerate(own):
            seeds = next(iter(row.conditions["reached"].values()))["seeds"]
            ax.plot(seeds, [k] * len(seeds), "o", color=INK, markersize=3)
        ax.set(xlabel=own[0].unit, title=case)
    save_png(figure, path)
