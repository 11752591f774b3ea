"""Delta codes: at each step of the sampler a map receives only changes of its spike counts.

    sent[1] = count(n[1])
    sent[i] = sent[i-1] where |n[i] - threshold sent[i-1]| < delta, else count(n[i])
    events of step i: non-zero values of sent[i] - sent[i-1], with sent[0] = 0

The map adds W (sent[i] - sent[i-1]) to its last output, so it puts out W sent[i]. n: the normed
input. A delta up to half a threshold changes no count: fewer events, the same images. A larger
delta lets an input deviate by up to delta. Every token and channel has its own count.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuro.nn.ternary import BitLinear, Quantise, SpikeCount
from tasks.flow.sampler import Velocity


def code_counts(
    n: Float[Tensor, "*T N"], last: Tensor | None, count: SpikeCount, delta: float
) -> tuple[Float[Tensor, "*T N"], Float[Tensor, "*T N"]]:
    """Return (counts that the map now holds, their change). last: counts before, or None."""
    counts, threshold = count(n)
    if last is None:
        return counts, counts
    sent = torch.where((n - threshold * last).abs() < delta, last, counts)
    return sent, sent - last


class DeltaCount:
    """Quantiser of a map for one sampler step; it records what the step sends.

    before: counts of the previous step, one entry per call; () sends all counts anew.
    sent: counts of this step, call by call. events: number of changed counts.
    """

    def __init__(self, count: SpikeCount, delta: float, before: tuple[Tensor, ...]) -> None:
        self.count, self.delta, self.before = count, delta, before
        self.sent: tuple[Tensor, ...] = ()
        self.events = 0

    def __call__(
        self, n: Float[Tensor, "*T N"]
    ) -> tuple[Float[Tensor, "*T N"], Float[Tensor, "*T 1"]]:
        """Return (counts, threshold)."""
        last = self.before[len(self.sent)] if self.before else None
        sent, changes = code_counts(n, last, self.count, self.delta)
        self.sent = (*self.sent, sent)
        self.events += int(changes.count_nonzero())
        return sent, torch.full_like(n[..., :1], self.count.threshold)


def code_deltas(
    velocity: Velocity, maps: Mapping[str, BitLinear], delta: float, events: list[int]
) -> Velocity:
    """Return a velocity that codes the inputs of its maps as deltas and counts the events.

    Each call appends its number of events to ``events``. The state holds the counts of each map
    (with guidance, of both branches). A delta of 0 sends all counts at every step, which leaves
    the velocity as it is. The maps get their own quantisers back after each call.
    """

    def coded(x: Tensor, t: float, state: Any) -> tuple[Tensor, Any]:
        sent: dict[str, tuple[Tensor, ...]] = state[0] if state else {}
        inner = state[1] if state else None
        coders = {
            name: DeltaCount(_require_count(name, layer), delta, sent.get(name, ()))
            for name, layer in maps.items()
        }
        with quantise_by(maps, coders):
            v, inner = velocity(x, t, inner)
        events.append(sum(coder.events for coder in coders.values()))
        kept = {name: coder.sent for name, coder in coders.items()} if delta else {}
        return v, (kept, inner)

    return coded


@contextmanager
def quantise_by(
    maps: Mapping[str, BitLinear], quantisers: Mapping[str, Quantise]
) -> Iterator[None]:
    """Replace the quantisers of maps within this context."""
    own = {name: layer.quantise for name, layer in maps.items()}
    try:
        for name, layer in maps.items():
            layer.quantise = quantisers[name]
        yield
    finally:
        for name, layer in maps.items():
            layer.quantise = own[name]


def _require_count(name: str, layer: BitLinear) -> SpikeCount:
    if not isinstance(layer.quantise, SpikeCount):
        raise TypeError(
            f"{name}: delta codes need counts of spikes, got {type(layer.quantise).__name__}; "
            "set maps=spiking"
        )
    return layer.quantise
