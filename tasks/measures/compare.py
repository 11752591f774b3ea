"""``neuro compare``: compares runs by their results files.

The runs of a configuration form a group, and its seeds are the samples. Two groups are compared
on their common seeds by the exact sign-flip test (Fisher's randomization test): under the null
hypothesis both signs of a paired difference are equally likely, and the p-value is the share of
all 2^n choices of signs whose mean lies at least as far from 0 as the observed one. With n
seeds the p-value cannot be below 2 / 2^n.
"""

import glob
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from neuro.io.run_folder import RunError, read_header
from neuro.io.store import require_writable, write_json
from neuro.plot import ACCENT, LINE
from tasks.measures.statistics import (
    DRAWS,
    EXACT,
    Summary,
    compute_sign_flip_p,
    name_test,
    summarise_seeds,
)
from tasks.report.figures import save_png
from tasks.report.tables import list_chips
from tasks.runs.provenance import describe_trained, list_out_of_date
from tasks.runs.results import FIGURES, KEY, read_result
from tasks.runs.task import Metric, Table, from_json

COMPARED = ("eval", "verify", "energy")  # verbs whose results are compared
SHOWN = 6  # most seeds that get one column each


class Value(NamedTuple):
    """A value of a metric, and a note on what it depends on."""

    metric: Metric
    value: float
    note: str


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """The results in a run folder.

    group: "task:configuration".
    out_of_date, measured_on: of its results files, see :mod:`tasks.runs.provenance`.
    too_small: chips that the network does not fit.
    without_metric: networks that no metric of verify covers.
    seed_changes: see :class:`tasks.runs.task.Training`.
    """

    folder: Path
    group: str
    seed: int
    header: Mapping[str, Any]
    evaluated: bool
    values: Mapping[str, Value]
    out_of_date: Mapping[str, str]
    measured_on: Sequence[Mapping[str, str]]
    too_small: Sequence[str]
    without_metric: Sequence[str]
    seed_changes: str


@dataclass(frozen=True, kw_only=True)
class GroupValues:
    """The values of a metric in a group, by seed."""

    group: str
    metric: Metric
    values: Mapping[int, float]
    notes: frozenset[str] = frozenset()

    @property
    def summary(self) -> Summary:
        """The mean over the seeds and its spread."""
        return summarise_seeds(self.values.values())

    def as_json(self) -> dict[str, Any]:
        """Return metric, seeds, mean and spread as JSON values."""
        metric, summary = self.metric, self.summary
        return {
            "metric": metric.name,
            "better": metric.better,
            "unit": metric.unit,
            "seeds": {str(seed): value for seed, value in self.values.items()},
            "mean": summary.mean,
            "sd": summary.sd,
        }


@dataclass(frozen=True, kw_only=True)
class GroupDifference(GroupValues):
    """The difference group minus baseline on the seeds that both have."""

    baseline: str

    @property
    def p(self) -> float | None:
        """The p-value of the sign-flip test; None for fewer than two seeds."""
        differences = self.summary.seeds
        return compute_sign_flip_p(differences) if len(differences) > 1 else None

    @property
    def better_on(self) -> int:
        """The number of seeds on which the group is better."""
        sign = 1 if self.metric.better == "higher" else -1
        return sum(sign * d > 0 for d in self.values.values())


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Summaries by metric and group, differences from the first group, and remarks."""

    summaries: Sequence[GroupValues]
    differences: Sequence[GroupDifference]
    remarks: Sequence[str]

    def sheets(self) -> list[Table]:
        """Return one table per metric, and a table of the differences."""
        out = []
        for name in dict.fromkeys(s.metric.name for s in self.summaries):
            of_metric = [s for s in self.summaries if s.metric.name == name]
            out.append(_summary_sheet(of_metric))
        if self.differences:
            first = self.differences[0].baseline
            head = ["configuration", "metric", "mean ± sd", "better on", "p"]
            title = f"Paired differences: configuration minus {first}"
            rows = [_difference_row(d) for d in self.differences]
            out.append(Table(title=title, head=head, rows=rows))
        return out

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {
            "groups": [
                {"group": s.group, **s.as_json(), "n": len(s.values)} for s in self.summaries
            ],
            "differences": [
                {
                    "group": d.group,
                    "baseline": d.baseline,
                    **d.as_json(),
                    "better_on": d.better_on,
                    "p": d.p,
                    "test": name_test(len(d.values)),
                }
                for d in self.differences
            ],
            "remarks": list(self.remarks),
        }


def compare_runs(paths: Iterable[Path], out: Path) -> RunComparison:
    """Compare runs; write ``compare.json`` and ``compare.png`` into the folder ``out``.

    paths: run folders, or patterns of them. The group of the first is the baseline.

    Raises:
        RunError: there are no runs, some are not evaluated, or one is given twice; lists all.
    """
    runs = [_read(folder) for folder in find_runs(paths)]
    _require_comparable(runs)
    require_writable(out)
    comparison = compare(runs)
    write_json(out / "compare.json", comparison.as_json())
    draw(comparison.summaries, out / "compare.png")
    return comparison


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Return the run folders among paths and matches of patterns; other matches are ignored.

    Raises:
        RunError: a path is not a run or is given twice, or a pattern matches no run.
    """
    found: list[Path] = []
    paths = list(paths)
    twice = [str(path) for path in dict.fromkeys(paths) if paths.count(path) > 1]
    if twice:
        raise RunError(f"{', '.join(twice)}: named twice; a run is compared with others, once")
    for path in paths:
        if path.exists():
            if not (path / "config.json").exists():
                raise RunError(f"{path} is no run: it has no config.json")
            matches = [path]
        else:
            every = (Path(match) for match in sorted(glob.glob(str(path))))
            matches = [match for match in every if (match / "config.json").exists()]
        if not matches:
            raise RunError(f"{path}: no run of that name, or that matches")
        found += [match for match in matches if match not in found]
    if not found:
        raise RunError("nothing to compare; name run folders, or a pattern such as 'runs/*'")
    return found


def _read(folder: Path) -> MeasuredRun:
    header = read_header(folder)
    group = f"{header['task'].removesuffix('.py')}:{header['name']}"
    if header["gradient"] != "surrogate":
        group += f" ({header['gradient']})"
    now = describe_trained(folder)
    del now["code"]
    results = [read_result(folder, name, kinds=FIGURES) or {} for name in COMPARED]
    evaluation, verify, energy = results
    return MeasuredRun(
        folder=folder,
        group=group,
        seed=header["seed"],
        header=header,
        evaluated=bool(evaluation.get("metrics")),
        values={v.metric.name: v for v in _list_values(evaluation, verify, energy)},
        out_of_date={k: v for k, v in list_out_of_date(folder, now).items() if k in COMPARED},
        measured_on=[result[KEY] for result in results if KEY in result],
        too_small=[c for c in list_chips(energy) if energy[c].get("misfits")],
        without_metric=verify.get("without_metric", ()),
        seed_changes=evaluation.get("seed_changes", ""),
    )


def _list_values(
    evaluation: dict[str, Any], verify: dict[str, Any], energy: dict[str, Any]
) -> Iterator[Value]:
    """Yield the values in the results of eval, verify and energy."""
    metrics = from_json(evaluation.get("metrics", {}))
    notes = evaluation.get("notes", {})
    for m in metrics:
        yield Value(m, evaluation[m.name], notes.get(m.name, ""))
    for m in metrics:
        by_executor = verify.get("metrics", {}).get(m.name, {})
        for who in ("events", "integers"):
            if who in by_executor:
                yield Value(replace(m, name=f"{m.name}, {who}"), by_executor[who], "")
    joules = Metric(name="energy", better="lower", unit="µJ", format=".3g")
    for chip in list_chips(energy):
        for tier in ("core", "chip"):
            of_tier = replace(joules, name=f"energy, {chip} {tier}")
            yield Value(of_tier, 1e6 * energy[chip][tier]["nominal"], "")


def list_differences(one: Any, other: Any, name: str = "") -> list[str]:
    """Return "field (value and other value)" per field in which two configurations differ.

    one, other: contents of ``config.json``. Fields inside another field are named with a dot.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        names = dict.fromkeys((*one, *other))
        pairs = ((n, one.get(n, "none"), other.get(n, "none")) for n in names)
        before = f"{name}." if name else ""
        return [told for n, a, b in pairs for told in list_differences(a, b, f"{before}{n}")]
    told = [value if isinstance(value, str) else json.dumps(value) for value in (one, other)]
    return [] if one == other else [f"{name} ({' and '.join(told)})"]


def _require_comparable(runs: Sequence[MeasuredRun]) -> None:
    problems = [
        f"{run.folder}: not evaluated, or by an earlier version; neuro eval {run.folder} first"
        for run in runs
        if not run.evaluated
    ]
    problems += [
        f"{run.folder}: {verb}.json is {why}; neuro {verb} {run.folder} first"
        for run in runs
        for verb, why in run.out_of_date.items()
    ]
    seen: dict[tuple[str, int], MeasuredRun] = {}
    for run in runs:
        other = seen.setdefault((run.group, run.seed), run)
        if other is not run:
            problems.append(
                f"{other.folder} and {run.folder}: both are {run.group}, seed {run.seed}; "
                "leave one out"
            )
    first = {run.group: run for run in reversed(runs)}
    for run in runs:
        other = first[run.group]
        both = f"{other.folder} and {run.folder}: both are {run.group}"
        if run.header["digest"] != other.header["digest"]:
            problems.append(
                f"{both}, of two contents of the task's file: it has changed between them; "
                "leave one out"
            )
        elif differ := list_differences(other.header["config"], run.header["config"]):
            problems.append(
                f"{both}, and differ in {', '.join(differ)}: only the seed may differ; leave "
                "one out, train both from configurations that the task names, or make the "
                "settings arms of an Experiment (docs/recipes/experiment.md)"
            )
        elif len({m.get("data") for m in (*other.measured_on, *run.measured_on)}) > 1:
            problems.append(
                f"{other.folder} and {run.folder}: measured on different test data; measure "
                "both again"
            )
    own = {str(m["chip_file"]) for run in runs for m in run.measured_on if "chip_file" in m}
    if len({chip.split()[0] for chip in own}) < len(own):
        problems.append(
            "their energy is of chip files of one name and different content; neuro energy RUN "
            "--chip FILE of all with the same"
        )
    if problems:
        raise RunError("\n".join(["these runs cannot be compared:", *problems]))


def compare(runs: Sequence[MeasuredRun]) -> RunComparison:
    """Compare groups: means over seeds, and differences from the group of the first run."""
    groups = list(dict.fromkeys(run.group for run in runs))
    metrics = dict.fromkeys(v.metric for run in runs for v in run.values.values())
    summaries: list[GroupValues] = []
    differences: list[GroupDifference] = []
    remarks: list[str] = []
    for metric in metrics:
        of_metric = [s for group in groups if (s := _summarize(runs, group, metric)).values]
        summaries += of_metric
        baseline, *others = of_metric
        for other in others if baseline.group == groups[0] else ():
            common = [seed for seed in other.values if seed in baseline.values]
            if len(baseline.notes | other.notes) > 1:
                told = "; ".join(sorted(baseline.notes | other.notes))
                remarks.append(f"{metric.label}: not compared, for it depends on {told}")
            elif not common:
                remarks.append(f"{other.group}, {metric.label}: no seed of {groups[0]}'s")
            else:
                found = {seed: other.values[seed] - baseline.values[seed] for seed in common}
                differences.append(
                    GroupDifference(
                        metric=metric, group=other.group, baseline=groups[0], values=found
                    )
                )
    too_small = dict.fromkeys((run.group, chip) for run in runs for chip in run.too_small)
    remarks += [
        f"{group} does not fit {chip}: its energy there is of a network that would; neuro "
        "energy says why"
        for group, chip in too_small
    ]
    partly = dict.fromkeys((run.group, *run.without_metric) for run in runs)
    remarks += [
        f"{group}: metrics by events and integers do not cover {', '.join(names)}"
        for group, *names in partly
        if names
    ]
    if len({m.get("code") for run in runs for m in run.measured_on}) > 1:
        remarks.append("measured by different versions of the code; measure again to be sure")
    data = {run.group: {m.get("data") for m in run.measured_on} for run in runs}
    if elsewhere := [group for group in groups if data[group] != data[groups[0]]]:
        remarks.append(
            f"{', '.join(elsewhere)}: of other test data, or of other batches of them, than "
            f"{groups[0]}"
        )
    remarks += _list_seed_changes(runs)
    if any(d.p is not None for d in differences):
        most = max(len(d.values) for d in differences)
        least = 2 / 2**most if most <= EXACT else 1 / DRAWS
        test = f"p: {name_test(most)}; with these seeds it cannot be below {least:.2g}"
        remarks.append(test)
    return RunComparison(summaries=summaries, differences=differences, remarks=remarks)


def _list_seed_changes(runs: Sequence[MeasuredRun]) -> list[str]:
    """Return what a seed changes in each group, one line per distinct answer."""
    seeds: dict[str, set[int]] = {}
    groups: dict[str, list[str]] = {}  # by what a seed changes
    for run in runs:
        seeds.setdefault(run.group, set()).add(run.seed)
        if len(seeds[run.group]) == 2:
            names = groups.setdefault(run.seed_changes, [])
            names += [run.group] * (run.group not in names)
    unknown = (
        "what a seed changes is unknown: set Training.seed_changes of the task, and run neuro "
        "eval again"
    )
    return [
        f"{', '.join(names)}: {f'a seed changes {change}' if change else unknown}"
        for change, names in groups.items()
    ]


def _summarize(runs: Sequence[MeasuredRun], group: str, metric: Metric) -> GroupValues:
    found = {
        run.seed: run.values[metric.name]
        for run in runs
        if run.group == group and metric.name in run.values
    }
    return GroupValues(
        group=group,
        metric=metric,
        values={seed: found[seed].value for seed in sorted(found)},
        notes=frozenset(v.note for v in found.values()),
    )


def _summary_sheet(summaries: Sequence[GroupValues]) -> Table:
    seeds = sorted({seed for s in summaries for seed in s.values})
    shown = seeds if len(seeds) <= SHOWN else []
    metric = summaries[0].metric
    head = ["configuration", *(f"seed {seed}" for seed in shown), "seeds", "mean ± sd"]
    rows = [
        [
            s.group,
            *(metric.text(s.values[seed]) if seed in s.values else "" for seed in shown),
            str(len(s.values)),
            metric.text(s.summary.mean)
            + ("" if s.summary.sd is None else f" ± {metric.text(s.summary.sd)}"),
        ]
        for s in summaries
    ]
    title = f"{metric.label} ({metric.better} is better)"
    return Table(title=title, head=head, rows=rows)


def _difference_row(d: GroupDifference) -> list[str]:
    summary = d.summary
    sd = "" if summary.sd is None else d.metric.difference(summary.sd).removeprefix("+")
    mean = d.metric.difference(summary.mean) + (f" ± {sd}" if sd else "")
    p = "" if d.p is None else f"{d.p:.3g}"
    return [d.group, d.metric.label, mean, f"{d.better_on} of {len(summary.seeds)} seeds", p]


def as_markdown(comparison: RunComparison) -> str:
    """Return the tables of a comparison in Markdown."""
    parts = []
    for sheet in comparison.sheets():
        lines = [f"{sheet.title}:", ""]
        lines += [_row(sheet.head), _row(["---"] * len(sheet.head)), *map(_row, sheet.rows)]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *comparison.remarks])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(summaries: Sequence[GroupValues], path: Path) -> None:
    """Draw one panel per metric: all seeds, and mean ± sd of each group."""
    metrics = list(dict.fromkeys(s.metric for s in summaries))
    groups = list(dict.fromkeys(s.group for s in summaries))
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    size = (4.2 * columns, rows * (1.1 + 0.35 * len(groups)))
    figure = Figure(size, layout="constrained", dpi=120)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for ax in axes[len(metrics) :]:
        ax.set_visible(False)
    for ax, metric in zip(axes, metrics, strict=False):
        for s in (s for s in summaries if s.metric == metric):
            y = groups.index(s.group)
            values = list(s.values.values())
            ax.plot(values, [y] * len(values), "o", color=ACCENT, alpha=0.4)
            mean, sd = s.summary.mean, s.summary.sd or 0.0
            ax.errorbar([mean], [y], xerr=[sd], fmt="|", color=ACCENT, capsize=4)
        unit = f" [{metric.unit}]" if metric.unit else ""
        ax.set_title(f"{metric.label}{unit}, {metric.better} is better", fontsize=9)
        ax.set_yticks(range(len(groups)), groups)
        ax.set_ylim(len(groups) - 0.5, -0.5)
        ax.xaxis.set_major_locator(MaxNLocator(4))  # more labels would overlap
        if metric.percent:
            ax.xaxis.set_major_formatter(PercentFormatter(1))
        else:
            ax.ticklabel_format(axis="x", useOffset=False)
        ax.grid(axis="x", color=LINE, linewidth=0.6)
    save_png(figure, path)
