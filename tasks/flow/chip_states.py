"""The states of a spiking network on a chip: gated leaky integrators, one tick per step.

    S <- f S + (1 - f) c        f = exp(mean of g)        c = k^T v / (1 - f)

S is linear in c, so the host sends c 2^-n and multiplies what it reads by 2^n. n is the least
exponent for which every c 2^-n stays within half the range of the chip. S is a mean of earlier
c, so it stays in that range, too.
Axes: T steps of the sampler, B samples, M values of a state (heads, keys, values).
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.io.run_folder import RunError
from tasks.flow.config import FlowConfig
from tasks.flow.generate import Start, generate_path
from tasks.flow.model import FlowBlock, FlowModel, HybridAttention
from tasks.flow.sampler import count_calls

HALF = 64.0  # half the largest value of a chip
FARTHEST_GATE = 8.0  # largest logit of a chip's logistic function: f = 0.9997


class StateRecord(NamedTuple):
    """The inputs of a state and its values, step by step. exponent: n of the module text."""

    x: Float[Tensor, "T B 2*M"]
    state: Float[Tensor, "T B M"]
    exponent: int


def list_states(model: FlowModel) -> dict[str, HybridAttention]:
    """Return the attention layers that carry a state, by the name of the state."""
    blocks = [block for block in model.blocks if isinstance(block, FlowBlock)]
    return {
        f"block{k}_state": block.attention
        for k, block in enumerate(blocks)
        if isinstance(block.attention, HybridAttention)
    }


def record_state(config: FlowConfig, model: FlowModel, name: str, start: Start) -> StateRecord:
    """Record one state while images are generated; with guidance, in the labelled branch.

    Raises:
        RunError: a step keeps a share of the state that the chip cannot tell from 1.
    """
    written, decays, states = list[Tensor](), list[Tensor](), list[Tensor]()

    def keep(attention: HybridAttention, given: tuple[Any, ...], out: tuple[Any, ...]) -> None:
        _, k, v, g = attention.project(given[0], given[1])
        written.append(torch.einsum("bnhk,bnhv->bhkv", k[0], v[0]).double().cpu())
        decays.append(g[0].mean(1).double().cpu())
        states.append(out[1].double().cpu())

    attention: nn.Module = list_states(model)[name]
    with attention.register_forward_hook(keep):
        generate_path(config, model, start)
    every = count_calls(config.sampler, config.steps, config.guidance) // config.steps
    own, mean = torch.stack(written[::every]), torch.stack(decays[::every])
    shares = -torch.expm1(mean)  # 1 - f
    logits = mean - shares.log()
    if not bool((logits <= FARTHEST_GATE).all()):
        raise RunError(
            f"{name}: a step keeps all but {float(shares.min()):.1g} of the state, and a chip "
            f"tells shares down to {1 / (1 + math.exp(FARTHEST_GATE)):.1g}; train again"
        )
    drive = own / shares[..., None, None]
    exponent = max(0, math.ceil(math.log2(max(float(drive.abs().max()), HALF) / HALF)))
    gates = logits[..., None, None].expand_as(drive)
    x = torch.cat([gates.flatten(2), drive.flatten(2) / 2.0**exponent], -1)
    state = torch.stack(states[::every]).flatten(2)
    return StateRecord(x.float(), state.float(), exponent)
