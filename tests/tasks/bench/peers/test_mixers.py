"""What ``neuro bench mixers`` measures beside each other computes the same."""

import pytest
import torch

from tasks.bench.peers import mixers
from tasks.bench.peers.mixers import (
    CASES,
    CORES,
    IN_TORCH,
    INDEXED,
    LOOP,
    CoreSizes,
    run_indexed_scan,
)


@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
def test_both_sides_return_the_same_numbers(core: str) -> None:
    fast, slow = CORES[core]
    given = CoreSizes(core=core, tokens=40, batch=2, heads=2, channels=8).arguments()
    for ours, theirs in zip(fast(*given), slow(*given), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_loop_that_one_writes_first_is_a_scan() -> None:
    given = CoreSizes(core="scan", tokens=40, batch=2, heads=2, channels=8).arguments()
    for ours, theirs in zip(CORES["scan"][1](*given), run_indexed_scan(*given), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("core", IN_TORCH)
def test_chunks_in_torch_return_the_same_numbers(core: str) -> None:
    given = CoreSizes(core=core, tokens=40, batch=2, heads=3, channels=8).arguments()
    theirs = IN_TORCH[core][0](*given, size=8)
    for ours, other in zip(CORES[core][1](*given), theirs, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


def test_chunks_are_compared_with_the_fastest_size_as_it_is_and_compiled() -> None:
    gla, delta = CASES["chunks"](True)
    plain = tuple(f"torch, chunks of {n}" for n in (16, 32, 64))
    compiled = tuple(f"torch.compile, chunks of {n}" for n in (16, 32, 64))
    assert [pair.theirs for pair in gla.pairs] == [plain, compiled]
    assert [pair.target for pair in (*gla.pairs, *delta.pairs)] == [1.2, 1.0, 1.5, 1.2]
    assert [(c.name, c.conditions["batch"]) for c in CASES["chunks"](False)] == [
        ("GLA, training, chunks, T 512", 4),
        ("delta rule, training, chunks, T 512", 4),
        ("GLA, training, chunks, T 2048", 1),
        ("delta rule, training, chunks, T 2048", 1),
    ]


@pytest.mark.slow
def test_every_subject_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixers, "repeat", lambda once: once)
    monkeypatch.setattr(mixers, "train_compiled", mixers.train)  # seconds for each
    names = []
    for cases in CASES.values():
        for case in cases(True):
            counted = {build(1)() for build in case.subjects.values()}
            assert len(counted) == 1
            free = [pair.theirs[0] for pair in case.pairs if pair.target is None]
            assert free == ([LOOP] if INDEXED in case.subjects else [])
            names.append(case.name)
    assert len(names) == len(set(names)) == 14
