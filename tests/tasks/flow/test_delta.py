"""Delta codes between steps: the counts sent, the events, and quantisers that are restored."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from neuro.base.seeds import seeded
from neuro.nn.ternary import BitLinear, SpikeCount
from tasks.flow.chip import list_maps
from tasks.flow.config import FlowConfig, tiny_spiking
from tasks.flow.delta import code_counts, code_deltas, quantise_by
from tasks.flow.evaluate import measure_deltas
from tasks.flow.generate import Start, draw_start, generate, generate_path, list_contexts
from tasks.flow.model import FlowModel, build
from tasks.flow.sampler import list_steps

COUNT = SpikeCount(ticks=4, threshold=0.75)
HALF = 0.375  # half the threshold


def make(**change: object) -> tuple[FlowConfig, FlowModel]:
    config = replace(tiny_spiking(), width=16, heads=2, depth=1, side=4, steps=4, classes=3)
    config = replace(config, **change)  # type: ignore[arg-type]
    with seeded(0):
        model = build(config)
        for p in model.parameters():
            nn.init.normal_(p, std=0.3)
    return config, model.eval()


def record_counts(model: FlowModel, run: object) -> dict[str, list[torch.Tensor]]:
    """Return the normed inputs that reach each map while something runs, call by call."""
    seen: dict[str, list[torch.Tensor]] = {name: [] for name, _ in list_maps(model)}
    hooks = [
        layer.register_forward_pre_hook(
            lambda layer, x, name=name: seen[name].append(
                x[0] / (x[0].square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.gain
            )
        )
        for name, layer in list_maps(model)
    ]
    run()  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    return seen


def test_changes_of_a_few_inputs_by_hand() -> None:
    """One count is 0.75; an input within 1 of the value sent before sends nothing."""
    last = torch.tensor([0.0, 0, 1, 1, 4, -2])
    n = torch.tensor([0.9, 1.1, 1.7, -0.3, 9.0, -1.5])
    sent, changes = code_counts(n, last, COUNT, 1.0)
    assert sent.tolist() == [0, 1, 1, 0, 4, -2]
    assert changes.tolist() == [0, 1, 0, -1, 0, 0]
    sent, changes = code_counts(n, None, COUNT, 1.0)
    assert sent.tolist() == changes.tolist() == [1, 1, 2, 0, 4, -2]


@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=9), st.floats(0.25, 4))
def test_changes_add_up_to_counts_that_are_within_delta(way: list[float], delta: float) -> None:
    held, last = torch.zeros(1), None
    for value in way:
        n = torch.tensor([value])
        counts, _ = COUNT(n)
        last, change = code_counts(n, last, COUNT, delta)
        held = held + change
        assert torch.equal(held, last)
        assert last == counts or (n - 0.75 * last).abs() < delta
        exact, _ = code_counts(n, counts, COUNT, delta)
        assert exact == counts or delta > HALF


@pytest.mark.parametrize("change", [{}, {"guidance": 1.5}, {"sampler": "sde"}, {"arm": "sit"}])
def test_up_to_half_a_threshold_images_are_the_same_and_events_are_fewer(
    change: dict[str, object],
) -> None:
    config, model = make(**change)
    start = draw_start(config, 3, 0)
    for context in list_contexts(config):
        anew, changes = list[int](), list[int]()
        plain = generate(config, model, start, context)
        assert torch.equal(generate(config, model, start, context, 0.0, anew), plain)
        for delta in (1e-6, HALF):
            changes.clear()
            coded = generate(config, model, start, context, delta, changes)
            assert torch.equal(coded, plain)
        assert len(anew) == len(changes) == config.steps
        assert changes[0] == anew[0]
        assert all(c < a for c, a in zip(changes[1:], anew[1:], strict=True))


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_events_are_the_changes_of_all_counts_of_all_calls(guidance: float) -> None:
    config, model = make(guidance=guidance)
    start, events = draw_start(config, 2, 0), list[int]()
    seen = record_counts(model, lambda: generate(config, model, start, "own", HALF, events))
    branches = 1 if guidance == 1 else 2
    expected = [0] * config.steps
    for way in seen.values():
        counts = [COUNT(n)[0] for n in way]
        assert len(counts) == config.steps * branches
        for k, now in enumerate(counts):
            before = counts[k - branches] if k >= branches else torch.zeros_like(now)
            expected[k // branches] += int((now != before).sum())
    assert events == expected


def test_an_infinite_delta_sends_the_first_counts_alone() -> None:
    config, model = make()
    start, events = draw_start(config, 3, 0), list[int]()
    coded = generate(config, model, start, "own", 1e9, events)
    assert events[0] > 0
    assert events[1:] == [0] * (config.steps - 1)
    assert not torch.allclose(coded, generate(config, model, start))


def test_a_batch_leaves_no_trace_and_samples_do_not_depend_on_the_others() -> None:
    config, model = make()
    own = [layer.quantise for _, layer in list_maps(model)]
    start = draw_start(config, 4, 0)
    plain, first = generate(config, model, start), generate(config, model, start, "own", 1.5)
    assert torch.equal(generate(config, model, start, "own", 1.5), first)
    alone = generate(config, model, Start(*(x[2:3] for x in start)), "own", 1.5)
    torch.testing.assert_close(alone[0], first[2])
    assert [layer.quantise for _, layer in list_maps(model)] == own
    assert torch.equal(generate(config, model, start), plain)
    assert not torch.allclose(plain, first)


def test_images_in_several_batches_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    config, model = make()
    start, whole, parts = draw_start(config, 4, 0), list[int](), list[int]()
    expected = generate(config, model, start, "own", 1.5, whole)
    monkeypatch.setattr("tasks.flow.generate.AT_ONCE", 2)
    torch.testing.assert_close(generate(config, model, start, "own", 1.5, parts), expected)
    assert len(parts) == 2 * config.steps
    assert sum(parts) == sum(whole)


def test_quantisers_come_back_after_an_error() -> None:
    _, model = make()
    maps = dict(list_maps(model))
    own = {name: layer.quantise for name, layer in maps.items()}
    others = {name: SpikeCount(1, 1.0) for name in maps}
    with quantise_by(maps, others):
        assert all(layer.quantise is others[name] for name, layer in maps.items())
    with pytest.raises(RuntimeError, match="must match the size"), quantise_by(maps, others):
        maps["block0_up"](torch.zeros(1, 3))
    assert {name: layer.quantise for name, layer in maps.items()} == own


def test_the_states_of_a_velocity_are_not_changed_in_place() -> None:
    """Repeating a step from the same state gives the same result every time."""
    config, model = make()
    maps, start = dict(list_maps(model)), draw_start(config, 2, 0)
    events = list[int]()

    def velocity(x: torch.Tensor, t: float, state: object) -> tuple[torch.Tensor, object]:
        v, state = model(x[None], torch.full((1, 2), t), start.labels[None], state or ())
        return v[0], state

    coded = code_deltas(velocity, maps, 1.5, events)
    (t0, _), (t1, _), *_ = list_steps("euler", 4)
    with torch.no_grad():
        v, state = coded(start.noise, t0, None)
        one, _ = coded(start.noise + v / 4, t1, state)
        two, _ = coded(start.noise + v / 4, t1, state)
    assert torch.equal(one, two)
    assert events[1] == events[2] < events[0]


def test_events_fall_as_delta_grows_and_the_first_images_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.flow.features.STEPS", 5)
    config, model = make(samples=70, classes=10, train=200, held=50, test=80, steps=2)
    found = measure_deltas(config, model, 0)
    assert list(found) == [0.0, *(0.75 * k for k in (0.5, 1.0, 1.5, 2.0, 3.0))]
    events = [each for each, _ in found.values()]
    assert events == sorted(events, reverse=True)
    assert found[0.0][1] == found[HALF][1] != found[2.25][1]
    counted = list[int]()
    generate(config, model, draw_start(config, 70, 0), "own", 0.0, counted)
    assert events[0] == sum(counted) / 70


def test_what_has_no_delta_codes_is_refused_with_a_cure() -> None:
    config, model = make()
    start = draw_start(config, 2, 0)
    with pytest.raises(ValueError, match=r"delta is -1\.0; give a number >= 0"):
        generate(config, model, start, "own", -1.0)
    heun = replace(config, sampler="heun")
    with pytest.raises(ValueError, match="sampler=euler, sampler=sde or delta=0"):
        generate(heun, model, start, "own", 0.5)
    counted = list[int]()
    generate(heun, model, start, "own", 0.0, counted)
    assert len(counted) == 2 * heun.steps  # one per call
    config, model = make(maps="float")
    with pytest.raises(TypeError, match="set maps=spiking"):
        generate_path(config, model, start, "own", 0.0, [])
    eight = {"map": BitLinear(4, 4)}
    coded = code_deltas(lambda x, _, state: (x, state), eight, 1.0, [])
    with pytest.raises(TypeError, match="map: delta codes need counts of spikes, got AbsMax"):
        coded(torch.zeros(1), 0.0, None)
