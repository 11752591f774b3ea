"""Fields that are set on the command line have the type of the field, or are refused."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pytest
import torch

from neuro.io.schema import SchemaError
from tasks.runs.names import UnknownName
from tasks.runs.settings import MOST_SEEDS, list_fields, list_settings, require_seed, set_fields


@dataclass(frozen=True, kw_only=True)
class Inner:
    scenes: int = 60


@dataclass(frozen=True, kw_only=True)
class Config:
    lr: float = 5e-3
    epochs: int = 3
    text: str = ""
    norm: bool = True
    pool: Literal["average", "max"] = "average"
    blocks: tuple[int, ...] = (4, 0)
    limit: int | None = None
    source: Inner = field(default_factory=Inner)
    parts: tuple[Inner, ...] = (Inner(),)


@pytest.mark.parametrize(
    ("word", "changed"),
    [
        ("lr=1", {"lr": 1.0}),
        ("lr=.5", {"lr": 0.5}),
        ("lr=1e-4", {"lr": 1e-4}),
        ("epochs=20", {"epochs": 20}),
        ("text=1", {"text": "1"}),
        ("text=a=b c", {"text": "a=b c"}),
        ("text=", {"text": ""}),
        ("norm=false", {"norm": False}),
        ("norm=False", {"norm": False}),
        ("pool=max", {"pool": "max"}),
        ("blocks=[8, 0, 16]", {"blocks": (8, 0, 16)}),
        ("limit=7", {"limit": 7}),
        ("limit=null", {"limit": None}),
        ("source.scenes=5", {"source": Inner(scenes=5)}),
        ('parts=[{"scenes": 9}]', {"parts": (Inner(scenes=9),)}),
    ],
)
def test_a_value_has_the_type_of_its_field(word: str, changed: dict[str, object]) -> None:
    made = set_fields(Config(), [word])
    assert made == replace(Config(), **changed)  # type: ignore[arg-type]
    assert [type(v) for _, v in list_fields(made)] == [
        type(v)
        for _, v in list_fields(replace(Config(), **changed))  # type: ignore[arg-type]
    ]
    assert set_fields(Config(), list_settings(Config(), made)) == made


def test_several_fields_are_set_and_listed() -> None:
    made = set_fields(Config(), ["epochs=5", "source.scenes=2"])
    assert list_settings(Config(), made) == ["epochs=5", "source.scenes=2"]
    assert dict(list_fields(made))["source.scenes"] == 2
    assert list_settings(made, made) == []


def test_fields_that_need_each_other_are_set_at_once_in_any_order() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Pair:
        a: int = 0
        source: Inner = field(default_factory=Inner)

        def __post_init__(self) -> None:
            assert self.source.scenes == 60 + self.a

    for words in (["a=5", "source.scenes=65"], ["source.scenes=65", "a=5"]):
        assert set_fields(Pair(), words) == Pair(a=5, source=Inner(scenes=65))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("lr=fast", "--set: lr: is 'fast', expected a number"),
        ("epochs=2.5", "--set: epochs: is '2.5', expected a whole number"),
        ("epochs=true", "--set: epochs: is 'true', expected a whole number"),
        ("norm=1", "--set: norm: is '1', expected true or false"),
        ("pool=min", "--set: pool: is 'min', expected one of 'average', 'max'"),
        ("blocks=[1, 2.5]", "--set: blocks[1]: is 2.5, expected a whole number"),
        ("blocks=3", "--set: blocks: is '3', expected a list"),
        ("parts=[{}]", "--set: parts[0].scenes: is missing"),
        (
            "blocks=[0,nan]",
            "--set: blocks: cannot read '[0,nan]' as JSON or Python; write it like [0, 1.5], "
            "with finite numbers, and text in quotes",
        ),
    ],
)
def test_a_value_of_another_type_is_refused(word: str, told: str) -> None:
    with pytest.raises(SchemaError) as e:
        set_fields(Config(), [word])
    assert str(e.value) == told


def test_an_unknown_field_is_refused_with_the_nearest_and_all() -> None:
    every = "lr, epochs, text, norm, pool, blocks, limit, source, parts"
    with pytest.raises(UnknownName) as e:
        set_fields(Config(), ["epoch=3"])
    assert str(e.value) == f"--set: no field 'epoch'; did you mean epochs? there are {every}"
    with pytest.raises(UnknownName, match="no field 'zzz'; there are lr, epochs"):
        set_fields(Config(), ["zzz=3"])
    with pytest.raises(UnknownName, match=r"no field 'source.scene'; did you mean scenes\?"):
        set_fields(Config(), ["source.scene=3"])
    with pytest.raises(UnknownName, match=r"no field 'scenes'; did you mean source.scenes\?"):
        set_fields(Config(), ["scenes=3"])
    with pytest.raises(UnknownName, match=r"no field 'lr.x': lr is 0.005, without fields"):
        set_fields(Config(), ["lr.x=3"])


def test_words_that_set_nothing_or_twice_are_refused() -> None:
    for word in ("lr", "=3", ""):
        with pytest.raises(ValueError, match="--set takes name=value, got"):
            set_fields(Config(), [word])
    with pytest.raises(ValueError, match="--set: lr is set twice; leave one of them out"):
        set_fields(Config(), ["lr=1", "lr=2"])


def test_a_seed_is_what_every_generator_takes() -> None:
    for seed in (0, MOST_SEEDS - 1):
        require_seed(seed)
        torch.Generator().manual_seed(seed)
        np.random.default_rng(seed)
    for seed in (-1, MOST_SEEDS):
        with pytest.raises(ValueError, match=r"--seed must be >= 0 and < 2\^63, got -?\d+"):
            require_seed(seed)
