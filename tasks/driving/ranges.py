"""The numbers of a configuration of driving: the range of each, and which are outside."""

from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

from tasks.runs.settings import list_fields

Rule = tuple[Callable[[float], bool], str, str]  # a test, the range in words, and a cure


def _count(usual: str) -> Rule:
    return lambda x: x >= 1, ">= 1", f"usual: {usual}"


def _positive(cure: str) -> Rule:
    return lambda x: isfinite(x) and x > 0, "> 0 and finite", cure


def _not_negative(cure: str) -> Rule:
    return lambda x: isfinite(x) and x >= 0, ">= 0 and finite", cure


# By the names of fields in list_fields; of lists, each number. Cells, PlannerConfig, Source,
# ImageSize and GroundGrid check their own.
RANGES: Mapping[str, Rule] = {
    "encoder.ticks": _count("2 to 4"),
    "encoder.channels": _count("24 to 192"),
    "encoder.stem": _count("2 or 4"),
    "encoder.blocks": _count("1 or 2"),
    "encoder.expansion": _count("1 to 4"),
    "encoder.far": _count("64 to 384"),
    "encoder.aspp": _count("24 to 64"),
    "encoder.dilations": _count("2 and 4, or 12, 24 and 36"),
    "encoder.dropout": (lambda x: 0 <= x < 1, "in [0, 1)", "0 drops nothing"),
    "depth.first": _not_negative("usual: 2 m"),
    "depth.last": _positive("usual: 34 or 50 m"),
    "depth.step": _positive("usual: 1 or 2 m"),
    "decoder.channels": _count("32 to 256"),
    "decoder.blocks": _count("1 or 2"),
    "prediction.hidden": _count("32 or 70"),
    "prediction.kernel": (lambda x: x >= 1 and x % 2 == 1, "odd and >= 1", "usual: 3 or 5"),
    "prediction.latent": _not_negative("0 draws no random numbers"),
    "prediction.refine": _count("16 to 384"),
    "prediction.stride": _count("1 or 2"),
    "planner.candidates": _count("300 or 1800"),
    "planner.hidden": _count("64 or 256"),
    "planner.dilations": _count("2 and 4"),
    "channels": _count("24 or 64"),
    "heads": _count("16 or 70"),
    "phases.futures": _not_negative("0 predicts nothing"),
    "phases.epochs": _count("1 to 20; leave a phase out that trains nothing"),
    "phases.lr": _positive("usual: 0.0002 to 0.003"),
    "batch": _count("4"),
    "hardest": (lambda x: 0 < x <= 1, "in (0, 1]", "1 uses all cells"),
    "past": _count("3"),
    "future": _count("6"),
    "road_cells": _count("1 or 2"),
    "discount": (lambda x: 0 <= x <= 1, "in [0, 1]", "0 forgets past frames; usual: 0.5"),
    **{
        f"weights.{name}": _positive("1 weighs it like the other cells")
        for name in ("vehicle", "pedestrian", "lane", "drivable")
    },
    "clip": _positive("usual: 5"),
    "decay": _not_negative("0 disables it"),
}
LISTS = ("encoder.channels", "decoder.channels", "phases")  # which need an item


def list_out_of_range(config: Any) -> list[str]:
    """Return the problems of all numbers of a DrivingConfig that are out of range."""
    wrong = [
        f"{name} must be {words}, got {value}; {cure}"
        for name, value, (fits, words, cure) in _find_rules(config)
        if not fits(value)
    ]
    named = dict(list_fields(config))
    wrong += [f"{name} must have an item at least" for name in LISTS if not named[name]]
    depth = config.depth
    if depth.step > 0:
        bins = (depth.last - depth.first) / depth.step
        if not (bins > 0.5 and abs(bins - round(bins)) < 1e-6):
            wrong.append(
                f"depth from {depth.first} to {depth.last} m is no whole number of bins of "
                f"{depth.step} m; change depth.last or depth.step"
            )
    return wrong


def _find_rules(config: Any) -> Iterator[tuple[str, float, Rule]]:
    """Yield (name, number, rule) of each number of a configuration that has a rule."""
    for name, value in list_fields(config):
        if name == "phases":
            for k, phase in enumerate(value):
                for field, number in list_fields(phase):
                    if rule := RANGES.get(f"phases.{field}"):
                        yield f"phases[{k}].{field}", number, rule
        elif rule := RANGES.get(name):
            for number in value if isinstance(value, tuple) else (value,):
                yield name, number, rule
