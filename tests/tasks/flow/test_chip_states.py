"""The states on a chip: gates compute the states of torch; integers stay within a bound."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lava_export.graded import is_graded, lower_graded, run_graded, to_floats
from neuro.base.seeds import seeded
from neuro.io.run_folder import RunError
from neuro.nn.net import Net
from neuro.spikes import to_events
from tasks.flow.chip import INPUT, make_state_graph
from tasks.flow.chip_states import StateRecord, list_states, record_state
from tasks.flow.config import FlowConfig, tiny_spiking
from tasks.flow.deployment import count_branches, host, list_further_maps
from tasks.flow.generate import draw_start
from tasks.flow.model import FlowModel, build

NAME = "block0_state"
SIZE = 2 * 8 * 8


def make(**change: object) -> tuple[FlowConfig, FlowModel]:
    config = replace(tiny_spiking(), width=16, heads=2, depth=1, side=4, steps=5)
    config = replace(config, **change)  # type: ignore[arg-type]
    with seeded(0):
        model = build(config)
        for p in model.parameters():
            nn.init.normal_(p, std=0.3)
    return config, model.eval()


def record(config: FlowConfig, model: FlowModel) -> StateRecord:
    return record_state(config, model, NAME, draw_start(config, 3, 0))


@pytest.mark.parametrize(
    "change", [{}, {"guidance": 1.5}, {"sampler": "heun"}, {"guidance": 2.0, "sampler": "heun"}]
)
def test_a_gate_follows_the_state_of_the_network(change: dict[str, object]) -> None:
    config, model = make(**change)
    seen = record(config, model)
    assert seen.x.shape == (5, 3, 2 * SIZE)
    part = Net(make_state_graph(NAME, SIZE))
    with torch.no_grad():
        every, _ = part({INPUT: seen.x})
    found = 2.0**seen.exponent * every[NAME]
    # In each of 5 steps float32 rounds the small 1 - f by 2^-24, which the drives multiply.
    within = 5 * 2**-23 * 2.0**seen.exponent * float(seen.x[..., SIZE:].abs().max())
    torch.testing.assert_close(found, seen.state, rtol=1e-4, atol=within)
    assert within < 0.01 * seen.state.std()
    assert seen.state.std() > 0.1
    (attention,) = list_states(model).values()
    assert not attention._forward_hooks


@pytest.mark.parametrize("temperature", [16.0, 1000.0])
def test_integers_stay_within_a_bound_of_the_state(
    monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    """The bound b grows as b <- (f + e) b + e |v - c| + 3 / 2 units of 2^-16.

    e: error of f, from a gate in 2^-16, a table with steps of 2^-5, and a share in 2^-18.
    """
    monkeypatch.setattr("tasks.flow.model.TEMPERATURE", temperature)
    config, model = make()
    model.blocks[0].attention.decay.weight.data.zero_()  # type: ignore[union-attr,operator]
    seen = record(config, model)
    program = lower_graded(make_state_graph(NAME, SIZE))
    x = seen.x.double().numpy()
    result = run_graded(program, {INPUT: to_events(x)})
    found = to_floats(result).values[NAME]
    keeps, drive = 1 / (1 + np.exp(-x[..., :SIZE])), x[..., SIZE:]
    e = 2**-17 / 4 + (2**-5) ** 2 / 8 / (6 * 3**0.5) + 1.5 * 2**-18
    v, bound = np.zeros(drive[0].shape), np.zeros(drive[0].shape)
    for t, (f, c) in enumerate(zip(keeps, drive, strict=True)):
        bound = (f + e) * bound + e * np.abs(v - c) + 1.5 * 2**-16
        v = f * v + (1 - f) * c
        assert (np.abs(found[t] - v) <= bound).all()
    assert np.abs(drive).max() <= 64
    assert seen.exponent == (1 if temperature == 16 else 7)
    assert seen.exponent == 0 or np.abs(drive).max() > 32
    scaled = 2.0**seen.exponent * found
    assert np.abs(scaled - seen.state.numpy()).max() < 0.02 * seen.state.abs().max()


def test_what_a_chip_cannot_tell_from_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.flow.model.TEMPERATURE", 1e6)
    config, model = make()
    with pytest.raises(RunError, match=r"block0_state: a step keeps all but .*; train again"):
        record(config, model)


@pytest.mark.parametrize(("guidance", "branches"), [(1.0, 1), (1.5, 2)])
def test_each_branch_has_a_state_and_the_host_does_not_decay_it(
    guidance: float, branches: int
) -> None:
    config, model = make(guidance=guidance)
    assert count_branches(config) == branches
    further = list_further_maps(config, model)[NAME]
    assert (further.runs, further.ann_passes) == (branches, 5)
    (driven,) = further.stimuli("test")
    assert driven.inputs[INPUT].shape == (5, 2, 2 * SIZE)
    ((label, _),) = host(config, model).items()
    assert label == "attention, outer products, embeddings"
    assert list_states(make(arm="sit")[1]) == {}


def test_a_graph_of_gates_alone_is_graded() -> None:
    graph = make_state_graph(NAME, 3)
    assert is_graded(graph)
    assert [g.kind for g in lower_graded(graph).groups] == ["input", "gated", "add"]
