"""The parts of ``neuro bench hybrids``: what cells reach becomes rows, and findings."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.bench.statistics import summarise_seeds
from tasks.language.hybrids.cells import (
    FULL,
    QUICK,
    SOFTMAX,
    TEXT,
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
from tasks.language.recall import TASKS, count_choices

BITS = "bits per byte"


def choose_scale(options: BenchOptions) -> Scale:
    """Return how large what is options for is."""
    return QUICK if options.quick else FULL


def measure_recall(options: BenchOptions) -> Iterator[Row]:
    """Yield right answers on synthetic recall, then what they show."""
    scale = choose_scale(options)
    trained = train_all("recall", scale, options.out, options.workers)
    for task in TASKS:
        yield from make_rows(trained, scale, task)
    yield from judge_recall(trained, scale)


def measure_text(options: BenchOptions) -> Iterator[Row]:
    """Yield bits per byte on text, then what they show."""
    scale = choose_scale(options)
    trained = train_all("text", scale, options.out, options.workers)
    yield from make_rows(trained, scale, TEXT)
    yield from judge_text(trained, scale)


PARTS = {"recall": measure_recall, "text": measure_text}


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
    parts: list[Part] = [
        p for p in ("recall", "text") if not options.parts or p in options.parts
    ]
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
