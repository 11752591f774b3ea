"""The parts of ``neuro bench hybrids``: what cells reach becomes rows, and findings."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

import numpy as np

from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.bench.statistics import summarise_seeds
from tasks.language.hybrids.cells import (
    FULL,
    QUICK,
    SOFTMAX,
    TEXT,
    TRAINED,
    VARIANTS,
    Part,
    Scale,
    name_ratio,
)
from tasks.language.hybrids.findings import judge_recall, judge_text
from tasks.language.hybrids.train import (
    FILE,
    SECONDS,
    Found,
    estimate_seconds,
    list_missing,
    train_all,
)
from tasks.language.recall import count_choices

BITS = "bits per byte"


def choose_scale(options: BenchOptions) -> Scale:
    """Return how large what is options for is."""
    return QUICK if options.quick else FULL


def measure(part: Part, options: BenchOptions) -> Iterator[Row]:
    """Yield right answers on synthetic recall, or bits per byte on text, and what they show."""
    scale = choose_scale(options)
    trained = train_all(part, scale, options.out, options.workers)
    for task in TRAINED[part]:
        yield from make_rows(trained, scale, task)
    yield from (judge_recall if part == "recall" else judge_text)(trained, scale)


PARTS: dict[str, MeasurePart] = {part: partial(measure, part) for part in TRAINED}


def make_rows(trained: Found, scale: Scale, task: str) -> Iterator[Row]:
    """Yield a row a stack, beside softmax attention alone."""
    shares = task != TEXT
    factor, better = (100.0, "higher") if shares else (1.0, "lower")
    reference = (SOFTMAX, scale.layers)
    sides = {
        stack: asdict(summarise_seeds(factor * value for value in own[task]))
        for stack, own in trained.items()
    }
    theirs = sides[reference]
    for stack, ours in sides.items():
        ratio = name_ratio(scale.layers, stack[1])
        yield Row(
            case=task,
            subject=SOFTMAX if stack == reference else f"{VARIANTS[stack[0]]} {ratio}",
            peer=SOFTMAX,
            unit="% right" if shares else BITS,
            ours=ours["mean"],
            theirs=theirs["mean"],
            ratio=find_ratio(ours["mean"], theirs["mean"], better),
            conditions={
                "mixer": VARIANTS.get(stack[0], SOFTMAX),
                "ratio": ratio,
                "better": better,
                "chance": 100 / count_choices(scale.sizes)[task] if shares else None,
                "ours": ours,
                "theirs": theirs,
                "cpu_seconds": float(np.mean(trained[stack][SECONDS])),
                "scale": repr(scale),
                "versions": list_versions("torch"),
            },
        )


def announce(options: BenchOptions) -> str:
    """Return what is about to be trained, and how long that takes on this machine."""
    scale = choose_scale(options)
    parts = [p for p in TRAINED if not options.parts or p in options.parts]
    every = [len(list_missing(p, scale, options.out)) for p in parts]
    missing = [cell for p in parts for cell in list_missing(p, scale, options.out)]
    seconds = estimate_seconds(missing, scale)
    amounts = " and ".join(f"{n} of {p}" for n, p in zip(every, parts, strict=True))
    return (
        f"{amounts} trainings are to be made, about {seconds / 60:.0f} CPU minutes, "
        f"{seconds / 60 / options.workers:.0f} minutes with --workers {options.workers}; each "
        f"is kept in {options.out / FILE}, and the same command goes on after an interruption"
        f"{'; networks too small to judge' if options.quick else ''}"
    )
