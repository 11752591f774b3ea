"""All programs that ``neuro bench decode`` compares compute the same results."""

import sys

import pytest
import torch

from neuro.nn.ternary import pack_model
from tasks.bench.rows import Row
from tasks.language import decode
from tasks.language.decode import (
    CASES,
    LITESPARK,
    OURS,
    SMALL,
    StepLoop,
    list_maps,
    take_median,
    write,
)


@torch.no_grad()
def test_all_forms_of_the_ternary_model_write_the_same_tokens() -> None:
    model = decode._make(SMALL.config())
    prompt = torch.arange(9)[:, None]
    found = [
        write(form, form(prompt, None), 12)
        for form in (model, pack_model(model), StepLoop(model).run)
    ]
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) > 1


def test_the_transformer_is_as_large() -> None:
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in decode._make(decode.SIZE.config(mixer)).parameters())
            for mixer in ("mlgru", "softmax")
        ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.001)
    weights = 6 * (4 * 1024**2 + 3 * 1024 * 2816) + 1024 * 4096
    assert sum(n * m for n, m in list_maps(decode.SIZE)) == weights


@pytest.mark.slow
def test_every_subject_runs_or_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "repeat", lambda once, before=None: once)  # noqa: ARG005
    monkeypatch.setitem(sys.modules, "litespark_inference.torchless", None)
    for cases in CASES.values():
        for case in cases(True):
            counted = set()
            for name, build in case.subjects.items():
                if name == LITESPARK:
                    with pytest.raises(RuntimeError, match="pip install --no-deps litespark"):
                        build(1)
                else:
                    counted.add(build(1)())
            assert len(counted) == 1
            assert all(pair.ours == OURS for pair in case.pairs)


def test_the_memory_of_a_subject_is_that_of_its_model_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[str] = []

    def measure() -> int:
        steps.append("measured")
        return 100 + len(steps)

    def build(_: decode.DecodeSize) -> decode.Step:
        steps.append("built")
        return lambda token, state: (torch.zeros(*token.shape, 256), state)

    monkeypatch.setattr(decode, "measure_resident", measure)
    monkeypatch.setattr(decode, "pack_model", lambda _: torch.nn.Identity())
    monkeypatch.setattr(decode, "repeat", lambda once, before=None: lambda: before)  # noqa: ARG005
    monkeypatch.setattr(decode, "FORMS", {"new": build})
    assert decode.write_text(SMALL, "new", 1)() == 101
    assert steps == ["measured", "built", "measured"]


def test_rows_tell_medians_and_text_as_tokens_a_second() -> None:
    times = {"cpu": {"best": 1.0, "median": 2.0}, "wall": {"best": 3.0, "median": 8.0}}
    half = {clock: {k: v / 2 for k, v in both.items()} for clock, both in times.items()}
    row = Row(
        case="c",
        subject=OURS,
        peer="p",
        unit="tokens/s",
        ours=1.0,
        theirs=1.0,
        ratio=1.0,
        conditions={"ours": half, "theirs": times},
    )
    found = take_median(row, "wall", 3)
    assert (found.ours, found.theirs, found.ratio) == (250.0, 125.0, 2.0)
    assert (found.case, found.conditions["time"]) == ("c, wall time", "wall, median of 3")
    missing = Row(**{**vars(row), "unit": "ms", "conditions": {"ours": half}})
    found = take_median(missing, "cpu", 3)
    assert (found.ours, found.theirs, found.ratio) == (1.0, None, None)
