"""A delay of a Net costs no more than the run; its state holds the ticks that there were."""

import numpy as np
import pytest
import torch
from torch import Tensor
from written_graphs import wire

from neuro.graph import Dense, Graph, Input
from neuro.neurons import LIF
from neuro.nn import Net, NetState

LONGEST = 2**31 - 1


def network(ahead: int, back: int) -> Graph:
    """Return x -> cells with a late edge into the output, and one into a loop."""
    rng = np.random.default_rng(1)
    return wire(
        f"x>fc fc>cells cells>loop:{back} loop>cells cells>far:{ahead} far>out x>far",
        {
            "x": Input(shape=(3,)),
            "fc": Dense(weight=rng.normal(size=(3, 3))),
            "loop": Dense(weight=rng.normal(size=(3, 3))),
            "far": Dense(weight=rng.normal(size=(2, 3)), bias=np.array([0.5, 0.25])),
            "cells": LIF(tau=0.01, threshold=0.5),
            "out": LIF(tau=0.02, threshold=0.4),
        },
    )


def run(
    graph: Graph, stops: tuple[int, ...], state: NetState | None = None
) -> tuple[list[Tensor], NetState]:
    """Return spikes of all ticks with gradients of all weights, and the state."""
    rng, net, out = torch.Generator().manual_seed(2), Net(graph), []
    x = (torch.rand(12, 2, 3, generator=rng) < 0.5).float()
    for start, stop in zip((0, *stops), stops, strict=False):
        y, state = net({"x": x[start:stop]}, state)
        out.append(y["out"])
    spikes = torch.cat(out)
    (spikes * torch.rand(spikes.shape, generator=rng)).sum().backward(retain_graph=True)
    assert state is not None
    return [spikes.detach(), *(p.grad for p in net.parameters() if p.grad is not None)], state


@pytest.mark.parametrize(
    ("ahead", "back"), [(0, 1), (3, 2), (7, 5), (11, 12), (13, 40), (LONGEST, LONGEST)]
)
def test_a_run_in_parts_is_one_run_with_its_gradients(ahead: int, back: int) -> None:
    graph = network(ahead, back)
    whole, end = run(graph, (12,))
    parts, state = run(graph, (3, 4, 12))
    assert len(whole) == 5
    assert whole[0].sum() > 5
    for ours, theirs in zip(parts, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert torch.equal(parts[0], whole[0])
    for edge, held in end.edges.items():
        assert len(held) == min(edge.delay, 12)
        assert torch.equal(held, state.edges[edge])


def test_a_state_of_all_ticks_and_one_of_those_since_rest_are_the_same() -> None:
    graph = network(9, 6)
    _, short = run(graph, (4,))
    assert {e.delay: len(held) for e, held in short.edges.items()} == {6: 4, 9: 4}
    rest = {e: h.new_zeros(e.delay - 4, 2, 3) for e, h in short.edges.items()}
    full = short._replace(edges={e: torch.cat([rest[e], h]) for e, h in short.edges.items()})
    for one, other in zip(run(graph, (12,), short)[0], run(graph, (12,), full)[0], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(7, 2, 3), torch.zeros(4, 2, 2), torch.tensor(0.0)]
)
def test_a_state_of_more_ticks_or_other_neurons_is_refused(wrong: Tensor) -> None:
    graph = network(9, 6)
    _, state = run(graph, (4,))
    edges = {e: wrong if e.delay == 6 else held for e, held in state.edges.items()}
    with pytest.raises(ValueError, match=r"cells -> loop \(6 ticks\) of shape .*, x needs \("):
        run(graph, (12,), state._replace(edges=edges))
