"""A spiking core in closed loop: every executor continues from its own previous s."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lava_export import available
from lava_export.graded import lower_graded, run_graded, run_graded_on_lava
from neuro.base.seeds import seeded
from neuro.nn.mixer_graph import DRIVEN, LOGITS, MEMBRANE, make_loop_graph
from neuro.spikes import to_events
from tasks.reasoning.config import ReasoningConfig, tiny_depth
from tasks.reasoning.loop import find_exits, list_executors, run_loop
from tasks.reasoning.model import ReasoningModel, build

TOKENS, SAMPLES, DEPTH = 4, 3, 5


def make(**change: float) -> tuple[ReasoningConfig, ReasoningModel, torch.Tensor]:
    """Return a core, and embeddings of random words."""
    config = replace(tiny_depth(), width=16, hidden=16, stack="mlgru*2", **change)  # type: ignore[arg-type]
    with seeded(0):
        model = build(config).eval()
        words = torch.randint(6, 16, (TOKENS, SAMPLES))
    return config, model, 8 * model.embedding(words).detach()


@torch.no_grad()
def test_torch_and_events_agree_with_the_network_and_integers_come_near() -> None:
    _, model, e = make()
    executors = list_executors(make_loop_graph(model))
    found = {name: run_loop(run, e, DEPTH) for name, run in executors.items()}
    clock, events = found["torch"], found["events"]
    assert len(events.records) == DEPTH
    torch.testing.assert_close(clock.membrane, events.membrane, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(clock.logits, events.logits, rtol=1e-12, atol=1e-12)
    for i in range(DEPTH):
        want = model.head(model.read(e, depth=i + 1).hidden).double()
        torch.testing.assert_close(clock.logits[i], want, rtol=1e-4, atol=1e-5)
    apart = (found["integers"].membrane - clock.membrane).abs()
    assert 0 < float(apart[0].max()) < 0.02 * float(clock.membrane[0].abs().max())


def test_the_membrane_of_a_run_enters_the_next_one() -> None:
    _, model, e = make()
    run = list_executors(make_loop_graph(model))["integers"]
    whole = run_loop(run, e, 3)
    s = whole.membrane[1].numpy()
    again = run({DRIVEN: to_events(e.double().numpy() + s)})
    assert np.array_equal(again.values[MEMBRANE], whole.membrane[2].numpy())
    assert np.array_equal(again.values[LOGITS], whole.logits[2].numpy())
    assert np.abs(whole.membrane[2].numpy() - s).max() > 0.1


@torch.no_grad()
def test_a_loop_ends_where_every_token_has_come_to_its_exit() -> None:
    _, model, e = make()
    full = run_loop(list_executors(make_loop_graph(model))["torch"], e, 9).logits
    logs = full.log_softmax(-1)
    apart = (logs[:-1].exp() * (logs[:-1] - logs[1:])).sum(-1)
    threshold = 1.01 * float(apart[:4].amax((1, 2)).min())  # all tokens exit by run 5
    config, deep, _ = make(exit_kl=threshold, depth=9)
    reading = deep.read(e)
    for name, run in list_executors(make_loop_graph(deep)).items():
        loop = run_loop(run, e, config.depth)
        exits = find_exits(loop.logits, threshold)
        if name != "integers":
            assert not exits.left.any()
            assert int(exits.depth.max()) <= 5
            assert torch.equal(exits.depth, reading.depth)
            want = deep.head(reading.hidden).double()
            torch.testing.assert_close(exits.hidden, want, rtol=1e-4, atol=1e-5)
    assert find_exits(full, 0.0).left.all()


@pytest.mark.slow
@pytest.mark.skipif(not available(), reason="Lava is not installed")
def test_lava_in_closed_loop_is_the_reference_bit_for_bit() -> None:
    _, model, e = make()
    program = lower_graded(make_loop_graph(model))
    s = np.zeros((TOKENS, 1, 16))
    for _ in range(2):
        inputs = {DRIVEN: to_events(e[:, :1].double().numpy() + s)}
        reference = run_graded(program, inputs)
        lava = run_graded_on_lava(program, inputs)
        for name in (LOGITS, MEMBRANE):
            assert np.array_equal(lava.values[name], reference.values[name])
        s = lava.values[MEMBRANE] / 2**16
