"""Detectors of foreign documents over several seeds: trained, compared, tabulated, drawn.

The primary metric, fixed before any training, is the AUROC of unseen documents. A seed is one
of authors, documents, language model and probe; all detectors of a seed read the same model.
Each stands beside k-NN on the same states, the filter without its contrast. AUROC of 500
protected and 300 foreign documents has a deviation of about 0.02 a seed.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from neuro.base.seeds import seeded
from neuro.plot import ACCENT, INK, STYLE
from neuro.training.threads import limit_threads
from tasks.attribution.answers import measure_gap
from tasks.attribution.config import AttributionConfig, four, tiny
from tasks.attribution.detectors import FOREIGN, Contrast
from tasks.attribution.model import require_attribution
from tasks.attribution.outside import compare_foreign, measure_foreign
from tasks.attribution.task import TASK
from tasks.bench.options import BenchOptions
from tasks.bench.results import complete_results, list_missing_results, share_work
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.bench.training import train_task
from tasks.measures.statistics import judge_pairs, summarise_seeds
from tasks.report.figures import save_png
from tasks.report.tables import make_table

PART = "outside"
FILE = "attribution-outside.jsonl"  # beside the figures
BASELINE = "k-NN"
UNIT = "AUROC"
MEASURES = ("auroc", "aupr", "fpr95")
GAP, SECONDS = "gap_closed", "cpu_seconds"
Values = dict[
    str, float
]  # "unseen: k-NN: auroc" for each kind, detector, measure; the two above


@dataclass(frozen=True, kw_only=True)
class OutsideSetting:
    """One training. seed: of everything."""

    seed: int


@dataclass(frozen=True, kw_only=True)
class OutsideScale:
    """How much is trained."""

    config: AttributionConfig
    seeds: tuple[int, ...]
    contrast: Contrast = field(default_factory=Contrast)


FULL = OutsideScale(config=four(), seeds=tuple(range(8)))
QUICK = OutsideScale(  # an untrained language model: a small one is refused in so short a time
    config=replace(
        tiny(),
        arm="random_lm",
        vocabulary=8,
        tokens=16,
        width=16,
        hidden=16,
        documents=400,
        held_out=60,
        train=80,
        val=20,
        test=40,
        composed=10,
        outside=30,
        epochs=1,
        probe_width=8,
    ),
    seeds=(0, 1),
    contrast=Contrast(steps=5, crops=2),
)


def choose_scale(options: BenchOptions) -> OutsideScale:
    """Return how much is trained."""
    return QUICK if options.quick else FULL


def make_config(setting: OutsideSetting, scale: OutsideScale) -> AttributionConfig:
    """Return the configuration of one training."""
    return replace(scale.config, seed_of_data=setting.seed, seed_of_lm=setting.seed)


def train_setting(setting: OutsideSetting, scale: OutsideScale) -> Values:
    """Return what every detector reaches on the model of a seed.

    Raises:
        RunError: the language model has not learned its corpora.
        TrainError: a training has diverged.
    """
    start, config = time.process_time(), make_config(setting, scale)
    with limit_threads(1), TemporaryDirectory() as folder, seeded(setting.seed):
        model = require_attribution(train_task(TASK, config, setting.seed, Path(folder)))
        found = measure_foreign(compare_foreign(config, model, scale.contrast))
        values = {
            f"{kind}: {name}: {measure}": float(getattr(one, measure))
            for name, own in found.items()
            for kind, one in own.items()
            for measure in MEASURES
        }
        gap = measure_gap(config, model.lm).closed
    return {**values, GAP: gap, SECONDS: time.process_time() - start}


def describe(setting: OutsideSetting, scale: OutsideScale) -> Mapping[str, Any]:
    """Return what a training depends on, beside code and versions."""
    return {
        **asdict(setting),
        "contrast": asdict(scale.contrast),
        "config": asdict(make_config(setting, scale)),
    }


def list_settings(scale: OutsideScale) -> list[OutsideSetting]:
    """Return the trainings."""
    return [OutsideSetting(seed=seed) for seed in scale.seeds]


def list_missing(scale: OutsideScale, folder: Path) -> list[OutsideSetting]:
    """Return the trainings that are still to be made."""
    about = {s: describe(s, scale) for s in list_settings(scale)}
    return list_missing_results(folder / FILE, about, list_versions("torch"))


def announce(options: BenchOptions) -> Iterator[str]:
    """Yield how many trainings are about to be made; nothing where the part is not chosen."""
    if not options.parts or PART in options.parts:
        scale = choose_scale(options)
        missing = len(list_missing(scale, options.out))
        yield f"{PART}: {missing} of {len(scale.seeds)}, kept in {options.out / FILE}"


def measure(options: BenchOptions) -> Iterator[Row]:
    """Yield a row a kind and detector; what is in the folder is not trained again.

    Raises:
        StoreError: a result in the folder's file is damaged.
    """
    scale = choose_scale(options)
    about = {s: describe(s, scale) for s in list_settings(scale)}
    found = complete_results(
        options.out / FILE,
        about,
        Values,
        share_work(train_setting, options.workers, scale),
        list_versions("torch"),
    )
    yield from make_rows([found[s] for s in list_settings(scale)], scale)


def make_rows(found: list[Values], scale: OutsideScale) -> Iterator[Row]:
    """Yield a row a kind and detector, beside k-NN on the same states; found: by seed."""
    names = dict.fromkeys(key.split(": ")[1] for key in found[0] if ": " in key)
    for kind in FOREIGN:
        for name in names:
            values = {
                m: [
                    own[f"{kind}: {name}: {m}"]
                    for own in found
                    if f"{kind}: {name}: {m}" in own
                ]
                for m in MEASURES
            }
            if not values["auroc"]:
                continue
            theirs = [own[f"{kind}: {BASELINE}: auroc"] for own in found]
            alone = name == BASELINE
            ours, other = float(np.mean(values["auroc"])), float(np.mean(theirs))
            yield Row(
                case=f"{PART}: {kind}",
                subject=name,
                peer="" if alone else BASELINE,
                unit=UNIT,
                ours=ours,
                theirs=None if alone else other,
                ratio=None if alone else find_ratio(ours, other, "higher"),
                conditions={
                    "reached": {m: asdict(summarise_seeds(v)) for m, v in values.items()},
                    "compared": None
                    if alone
                    else asdict(judge_pairs(values["auroc"], theirs, "higher")),
                    "known": scale.config.test,
                    "foreign": scale.config.test if kind == "fresh" else scale.config.outside,
                    GAP: asdict(summarise_seeds([own[GAP] for own in found])),
                    SECONDS: sum(own[SECONDS] for own in found),
                    "seeds": list(scale.seeds),
                    "versions": list_versions("torch"),
                },
            )


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:  # noqa: ARG001
    """Yield a table a kind: a line a detector."""
    for case in dict.fromkeys(row.case for row in rows):
        own = [row for row in rows if row.case == case]
        out = make_table(case, "", UNIT, "AUPR", "FPR95", "against k-NN", "p")
        for row in own:
            compared = row.conditions["compared"]
            out.add_row(
                row.subject,
                *(_tell(row.conditions["reached"][m]) for m in MEASURES),
                "" if compared is None else f"{compared['difference']:+.3f}",
                "" if compared is None or compared["p"] is None else f"{compared['p']:.3f}",
            )
        about = own[0].conditions
        chance = about["foreign"] / (about["foreign"] + about["known"])
        out.caption = (
            f"mean ± deviation of {len(about['seeds'])} seeds; p of the sign-flip test of "
            f"pairs, AUROC; AUPR by chance {chance:.2f}; language models close "
            f"{about[GAP]['mean']:.0%} of the gap"
        )
        yield out


def _tell(summary: Mapping[str, Any]) -> str:
    spread = "" if summary["sd"] is None else f" ± {summary['sd']:.3f}"
    return f"{summary['mean']:.3f}{spread}"


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> None:
    """Draw the AUROC of every detector, a panel a kind; points are seeds."""
    cases = list(dict.fromkeys(row.case for row in rows))
    figure = Figure((9.58, 4.2), layout="constrained")
    panels = figure.subplots(1, len(cases), sharey=True, squeeze=False)[0]
    for ax, case in zip(panels, cases, strict=True):
        own = [row for row in rows if row.case == case][::-1]
        ax.barh([row.subject for row in own], [row.ours or 0.0 for row in own], color=ACCENT)
        for k, row in enumerate(own):
            seeds = row.conditions["reached"]["auroc"]["seeds"]
            ax.plot(seeds, [k] * len(seeds), "o", color=INK, markersize=2)
        ax.axvline(0.5, color=INK, linestyle=":")
        ax.set(xlim=(0.3, 1.02), title=case.partition(": ")[2], xlabel=UNIT)
    save_png(figure, path)
