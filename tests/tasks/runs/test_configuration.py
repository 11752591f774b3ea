"""Configurations of all tasks: bounds at the fields, docstrings beneath them, their values."""

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from annotated_types import Ge, Gt, Le, Lt, MinLen
from hypothesis import given, strategies as st

from neuro.base.bounds import Count, Positive, Share, list_wrong_fields
from tasks.forecasting.config import ForecastConfig
from tasks.forecasting.seizures import SeizureConfig
from tasks.images.task_template import Config
from tasks.imported.files import ImportConfig
from tasks.measures.list_tasks import list_described_fields, read_field_docstrings
from tasks.runs.configuration import (
    ClippedConfig,
    ScheduledConfig,
    TrainingConfig,
    list_problems,
    make_plan,
    require_sound,
)
from tasks.runs.find import NAMES, find_task
from tasks.runs.settings import list_fields

MADE = [
    (name, config, make()) for name in NAMES for config, make in find_task(name).configs.items()
]
SAMPLES = {type(config): config for *_, config in MADE} | {Config: Config()}
CLASSES = sorted({ImportConfig, *SAMPLES}, key=lambda cls: cls.__name__)
VALUES = json.loads((Path(__file__).parent / "configurations.json").read_text())
OUTSIDE = {
    Ge: lambda x, kind: math.nextafter(x, -math.inf) if kind is float else x - 1,
    Le: lambda x, kind: math.nextafter(x, math.inf) if kind is float else x + 1,
    Gt: lambda x, _: x,
    Lt: lambda x, _: x,
}


def make(cls: type, values: dict[str, Any]) -> Any:
    """Return a configuration that nothing has checked."""
    config = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(config, name, value)
    return config


def is_finite(value: Any) -> bool:
    items = value if isinstance(value, tuple) else (value,)
    return all(math.isfinite(x) for x in items if isinstance(x, float))


def list_parts(hint: Any) -> list[type]:
    """Return the dataclasses that the items of a tuple are of."""
    if get_origin(hint) is Annotated:
        return list_parts(get_args(hint)[0])
    return [a for a in get_args(hint) if isinstance(a, type) and is_dataclass(a)]


@cache
def draw(hint: Any) -> st.SearchStrategy[Any]:
    """Return values of a type in its bounds; hypothesis reads the bounds of numbers itself."""
    if is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        parts = {f.name: draw(hints[f.name]) for f in fields(hint)}
        return st.fixed_dictionaries(parts).map(lambda values: make(hint, values))
    if parts := list_parts(hint):
        return st.lists(draw(parts[0]), min_size=1, max_size=3).map(tuple)
    return st.from_type(hint).filter(is_finite)


def list_outside(hint: Any) -> list[Any]:
    """Return values one step outside each bound of a type; the bounds are read here anew."""
    marks, origin = [], get_origin(hint)
    if origin is Annotated:
        marks, hint = list(hint.__metadata__), get_args(hint)[0]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ["no choice"]
    if origin is Union or type(None) in args:
        return list_outside(args[0])
    if origin is tuple:
        short = [()] if any(isinstance(m, MinLen) for m in marks) else []
        items = args[:1] if args[-1] is ... else args
        return [*short, *((x,) * len(items) for x in list_outside(args[0]))]
    kind = getattr(hint, "__supertype__", hint)
    bounds = [m for m in marks if type(m) in OUTSIDE]
    limits = [getattr(m, type(m).__name__.lower()) for m in bounds]
    outside = [OUTSIDE[type(m)](x, kind) for m, x in zip(bounds, limits, strict=True)]
    return outside + ([math.nan, math.inf, -math.inf] if kind is float else [])


def list_places(
    cls: type, prefix: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path of each field that has a bound, and a value outside of it."""
    for name, hint in get_type_hints(cls, include_extras=True).items():
        if is_dataclass(hint):
            yield from list_places(hint, (*prefix, name))
        elif not list_parts(hint):
            yield from (((*prefix, name), value) for value in list_outside(hint))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
class TestEveryConfiguration:
    @given(data=st.data())
    def test_values_in_their_bounds_are_no_problem(
        self, cls: type, data: st.DataObject
    ) -> None:
        assert list_wrong_fields(data.draw(draw(cls))) == []

    def test_a_value_one_step_outside_its_bound_is_named(self, cls: type) -> None:
        for path, value in list_places(cls):
            config = part = deepcopy(SAMPLES[cls])
            for name in path[:-1]:
                part = getattr(part, name)
            object.__setattr__(part, path[-1], value)
            problems = list_wrong_fields(config)
            assert problems, (path, value)
            assert {p.split(" is ")[0].split("[")[0] for p in problems} == {".".join(path)}

    def test_each_field_has_its_docstring(self, cls: type) -> None:
        if cls is Config:  # what neuro new writes is short
            return
        hints = get_type_hints(cls).values()
        parts = [cls, *(p for h in hints for p in ([h] if is_dataclass(h) else list_parts(h)))]
        for part in parts:
            described = read_field_docstrings(part)
            for field in fields(part):
                assert described.get(field.name, "").endswith("."), (
                    f"{part.__name__}.{field.name}"
                )


@pytest.mark.parametrize(("task", "name", "config"), MADE)
def test_each_configuration_is_sound_and_has_its_values(
    task: str, name: str, config: Any
) -> None:
    assert list_problems(config) == []
    plain = json.loads(json.dumps(dict(list_fields(config)), default=asdict))
    expected = dict(VALUES[task][name])
    expected = {**VALUES[task].get(expected.pop("as", ""), {}), **expected}
    assert plain == expected


@dataclass(frozen=True, kw_only=True)
class Layers:
    sizes: Annotated[tuple[Count, ...], MinLen(1)] = (4,)
    rate: Annotated[float, Ge(0), Lt(1)]
    kind: Literal["relu", "lif"]
    gain: Positive


@dataclass(frozen=True, kw_only=True)
class BoundedConfig(ScheduledConfig):
    epochs: Count = 7
    batch: Count = 5
    lr: Positive = 0.25
    warm: Share = 0.5
    layers: Layers
    limit: Count | None = None
    text: str = "a"

    def list_conflicts(self) -> list[str]:
        return [f"{1 / self.epochs:.2f}"]


def test_all_problems_are_told_at_once_with_name_value_bound_and_cure() -> None:
    layers = Layers(sizes=(3, 0), rate=1.0, kind="sine", gain=0.0)  # type: ignore[arg-type]
    config = BoundedConfig(epochs=0, lr=-math.inf, warm=1.5, layers=layers, limit=0)
    assert list_problems(config) == [
        "epochs is 0; it must be >= 1. Use --set epochs=7, the default.",
        "lr is -inf; it must be finite and > 0. Use --set lr=0.25, the default.",
        "warm is 1.5; it must be >= 0 and <= 1. Use --set warm=0.5, the default.",
        "layers.sizes[1] is 0; it must be >= 1. Use --set layers.sizes=[4], the default.",
        "layers.rate is 1.0; it must be >= 0 and < 1. Use 0, for example.",
        "layers.kind is 'sine'; it must be one of relu, lif. Use relu, for example.",
        "layers.gain is 0.0; it must be > 0. Use 1, for example.",
        "limit is 0; it must be >= 1. Use --set limit=null, the default.",
    ]
    with pytest.raises(ValueError, match=r"^the configuration cannot be used:\nepochs is 0;"):
        require_sound(config)


def test_rules_between_fields_run_once_all_fields_are_sound() -> None:
    layers = Layers(sizes=(), rate=0.5, kind="lif", gain=2.0)
    (problem,) = list_problems(BoundedConfig(layers=layers))
    assert problem.startswith("layers.sizes is (); it must have 1 or more items. Use --set lay")
    config = BoundedConfig(layers=Layers(rate=0.5, kind="lif", gain=2.0))
    assert list_problems(config) == ["0.14"]
    with pytest.raises(ValueError, match=r"\n0\.14$"):
        make_plan(config)


def test_a_plan_has_the_numbers_of_its_configuration() -> None:
    config = ClippedConfig(epochs=3, batch=2, lr=0.5, warm=0.25, decay=0.125, clip=4.0)
    plan = make_plan(config, keep="last")
    assert (plan.epochs, plan.lr, plan.warm, plan.decay) == (3, 0.5, 0.25, 0.125)
    assert (plan.clip, plan.keep) == (4.0, "last")
    assert make_plan(TrainingConfig(epochs=3, batch=2, lr=0.5), lr=2.0).lr == 2.0


def test_the_docstring_of_a_subclass_replaces_that_of_its_base() -> None:
    described = [
        read_field_docstrings(cls)["lookback"] for cls in (ForecastConfig, SeizureConfig)
    ]
    assert described == ["Samples in a window.", "Windows that a student sees."]


@dataclass(frozen=True)
class Inner:
    """A part of a configuration."""

    width: int = 3
    """Neurons."""


@dataclass(frozen=True)
class Outer:
    """A configuration with a part."""

    inner: Inner = Inner()
    rate: float = 0.5
    """Spikes per tick."""


def test_the_fields_of_parts_are_listed_by_their_path() -> None:
    assert [*list_described_fields(Outer())] == [
        ("inner.width", "3", "Neurons."),
        ("rate", "0.5", "Spikes per tick."),
    ]
