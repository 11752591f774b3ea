"""The parts of ``neuro bench hybrids``: what cells reach becomes rows, and findings."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tasks.bench.catalog import Asked
from tasks.bench.hybrids.cells import (
    FULL,
    QUICK,
    SOFTMAX,
    TEXT,
    VARIANTS,
    Part,
    Scale,
    name_ratio,
)
from tasks.bench.hybrids.findings import judge_recall, judge_text
from tasks.bench.hybrids.train import (
    FILE,
    SECONDS,
    Found,
    Stack,
    estimate_seconds,
    list_missing,
    train_all,
)
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.bench.statistics import summarise
from tasks.language.recall import TASKS, count_choices

BITS = "bits per byte"


def choose_scale(asked: Asked) -> Scale:
    """Return how large what is asked for is."""
    return QUICK if asked.quick else FULL


def measure_recall(asked: Asked) -> Iterator[Row]:
    """Yield right answers on synthetic recall, then what they show."""
    scale = choose_scale(asked)
    found = train_all("recall", scale, asked.out, asked.workers)
    for task in TASKS:
        yield from make_rows(found, scale, task)
    yield from judge_recall(found, scale)


def measure_text(asked: Asked) -> Iterator[Row]:
    """Yield bits per byte on text, then what they show."""
    scale = choose_scale(asked)
    found = train_all("text", scale, asked.out, asked.workers)
    yield from make_rows(found, scale, TEXT)
    yield from judge_text(found, scale)


PARTS = {"recall": measure_recall, "text": measure_text}


def make_rows(found: Found, scale: Scale, task: str) -> Iterator[Row]:
    """Yield a row a stack, beside softmax attention alone."""
    shares = task != TEXT
    factor, better = (100.0, "higher") if shares else (1.0, "lower")
    reference = (SOFTMAX, scale.layers)
    sides = {k: _summarise(own[task], factor) for k, own in found.items()}
    theirs = sides[reference]
    for stack, ours in sides.items():
        yield Row(
            case=task,
            subject=_name(stack, scale),
            peer=SOFTMAX,
            unit="% right" if shares else BITS,
            ours=ours["mean"],
            theirs=theirs["mean"],
            ratio=find_ratio(ours["mean"], theirs["mean"], better),
            conditions={
                "mixer": VARIANTS.get(stack[0], SOFTMAX),
                "ratio": name_ratio(scale.layers, stack[1]),
                "better": better,
                "chance": 100 / count_choices(scale.sizes)[task] if shares else None,
                "ours": ours,
                "theirs": theirs,
                "cpu_seconds": float(np.mean(found[stack][SECONDS])),
                "scale": repr(scale),
                "versions": list_versions("torch"),
            },
        )


def _name(stack: Stack, scale: Scale) -> str:
    variant, softmax = stack
    ratio = name_ratio(scale.layers, softmax)
    return SOFTMAX if variant == SOFTMAX else f"{VARIANTS[variant]} {ratio}"


def _summarise(values: list[float], factor: float) -> dict[str, Any]:
    found = summarise(factor * np.array(values)[:, None])
    return {"mean": found.mean, "sd": found.sd, "seeds": list(found.seeds)}


def announce(asked: Asked) -> str:
    """Return what is about to be trained, and how long that takes on this machine."""
    scale = choose_scale(asked)
    parts: list[Part] = [p for p in ("recall", "text") if not asked.parts or p in asked.parts]
    every = [len(list_missing(p, scale, asked.out)) for p in parts]
    missing = [cell for p in parts for cell in list_missing(p, scale, asked.out)]
    seconds = estimate_seconds(missing, scale)
    told = " and ".join(f"{n} of {p}" for n, p in zip(every, parts, strict=True))
    return (
        f"{told} trainings are to be made, about {seconds / 60:.0f} CPU minutes, "
        f"{seconds / 60 / asked.workers:.0f} minutes with --workers {asked.workers}; each is "
        f"kept in {asked.out / FILE}, and the same command goes on after an interruption"
        f"{'; networks too small to judge' if asked.quick else ''}"
    )
