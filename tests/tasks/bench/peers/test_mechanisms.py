"""What is measured beside neuro is neuro: it spikes alike without each of its mechanisms."""

import importlib
import platform
from dataclasses import replace

import pytest

from neuro.events.exact.compile import compile_exactly
from neuro.events.exact.scaled_state import GENERAL
from neuro.events.grid.compile import compile_graph
from tasks.bench.harness import measure
from tasks.bench.peers import engine, mechanisms, subjects_neuro, subjects_training
from tasks.bench.peers.mechanisms import LAYERS, SMALL, Replaced, ReturnConstant
from tasks.bench.peers.subjects_training import Work

KINDS = [
    (name, replace(SMALL[w.name], trains=w.trains))
    for name, (_, ws) in LAYERS.items()
    for w in ws
]


def leave_out(changes: tuple[Replaced, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for change in changes:
        monkeypatch.setattr(importlib.import_module(change.module), change.name, change.by)


@pytest.mark.parametrize(("name", "work"), KINDS)
def test_layers_count_the_same_spikes(
    name: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects_training, "repeat", lambda once: once)
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    want = subjects_training.neuro(work, 1)()
    leave_out(LAYERS[name][0], monkeypatch)
    assert subjects_training.neuro(work, 1)() == want
    assert want[0] > 0


def test_the_general_family_of_windows_finds_the_same_spikes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subjects_neuro, "repeat", lambda once: once)
    want = subjects_neuro.exact(lambda: engine.of_delta(*engine.SMALL), 1)()
    general = Replaced("neuro.events.exact.compile", "_choose_family", ReturnConstant(GENERAL))
    leave_out((general,), monkeypatch)
    compile_exactly.cache_clear()
    assert subjects_neuro.exact(lambda: engine.of_delta(*engine.SMALL), 1)() == want
    compile_exactly.cache_clear()
    assert want[0] > 0


def test_neurons_that_are_skipped_would_not_have_fired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechanisms, "repeat", lambda once: once)
    want = mechanisms.of_camera(24, 1)()
    bounds = "neuro.events.grid.updates", "_compute_bounds", mechanisms._always_may_fire
    leave_out((Replaced(*bounds),), monkeypatch)
    compile_graph.cache_clear()
    assert mechanisms.of_camera(24, 1)() == want
    compile_graph.cache_clear()
    assert want[0] > 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_only_one_of_two_subjects_keeps_freed_memory() -> None:
    case = mechanisms.kept(quick=True)[0]
    keeping = case.subjects[mechanisms.WITH]
    found = measure(dict.fromkeys(case.subjects, keeping), 1, environments=case.environments)
    assert found[mechanisms.WITH].problem == ""
    assert "cannot keep freed memory" in found[mechanisms.WITHOUT].problem


def test_the_subject_beside_it_does_not_ask_to_keep_freed_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subjects_training, "neuro", lambda work, _: lambda: work)
    monkeypatch.setattr(mechanisms, "keep_freed_memory", lambda **_: False)
    for case, work in zip(mechanisms.kept(quick=True), SMALL.values(), strict=True):
        with pytest.raises(RuntimeError, match="cannot keep freed memory"):
            case.subjects[mechanisms.WITH](1)
        assert case.subjects[mechanisms.WITHOUT](1)() == replace(work, trains=True)
