"""The order in which the modules of a Stack run: how many samples and ticks at a time.

The outputs equal those of running each module in turn over all samples and ticks. On one CPU
thread, a part of the samples and ticks runs through all modules, so that values between two
modules stay in the cache. With several threads this would be slower, because threads wait for
each other at the end of each part.
Axes: T ticks, B batch.
"""

from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from neuro.base.units import Ticks
from neuro.neurons import FusedContext
from neuro.neurons.fused_linear import FusedLinear, fused_linear
from neuro.nn.fold_time import has_hooks, is_one_tick, is_sample_wise, is_timeless, run_on_ticks
from neuro.nn.spiking import RESTART, LayerError, Spiking, Temporal
from neuro.ops.avg_pool import find_blocks
from neuro.ops.sparse_linear import ArrangeWeights, arrange_weights

IMAGES = 64  # images per part with gradients: the values between two modules fit in the cache
SAMPLE_VALUES = 2**18  # most values of a sample over all ticks that fit in the cache
PART_VALUES = 2**18  # values between two modules per part, without gradients

States = tuple[Any, ...]  # one state per module; None for a module without state


class Prepared(NamedTuple):
    """Values that all parts of a run share.

    arrange: arranges weights, and caches the results.
    fused: linear layers joined with the population after them, by index in the sequence.
    """

    arrange: ArrangeWeights = arrange_weights
    fused: Mapping[int, FusedLinear] = {}


NOTHING_PREPARED = Prepared()


def run_sequence(
    modules: list[nn.Module], x: Tensor, states: States, independent: tuple[type, ...]
) -> tuple[Tensor, States]:
    """Run modules one after the other over all ticks; return (output, states).

    independent: classes of temporal modules whose samples are independent, and whose ticks
        depend on each other only through states with one row per sample.
    """
    ticks, first = len(x), 0
    if is_one_tick(x):  # for all samples, with the gradient of one tick
        x = x[:1]
        while first < len(modules) and is_timeless(modules[first]):
            x, first = run_on_ticks(modules[first], x), first + 1
    rest = modules[first:]
    if not rest:
        return x.expand(ticks, *x.shape[1:]), states
    alone = x.device.type == "cpu" and torch.get_num_threads() == 1
    run = _run_in_parts if alone and _is_divisible(rest, independent) else _run_in_turn
    y, after = run(rest, x, ticks, states[first:])
    return y, (*states[:first], *after)


def _run_in_parts(
    modules: list[nn.Module], x: Tensor, ticks: int, states: States
) -> tuple[Tensor, States]:
    """Run modules on parts of the samples and ticks that fit in the cache.

    x: all ticks, or one that is repeated ``ticks`` times.
    """
    training, images = torch.is_grad_enabled(), x.dim() == 5
    whole = training or ticks == 1 or (images and ticks * x[0, 0].numel() <= SAMPLE_VALUES)
    run = _run_in_turn if whole else _run_some_ticks
    most = IMAGES if training else 4 * IMAGES  # without gradients fewer values are kept
    samples = max(1, most // (ticks if whole else 1)) if images else x.shape[1]
    if samples >= x.shape[1]:
        return run(modules, x, ticks, states)
    for module, state in zip(modules, states, strict=True):
        if {len(c) for c in tree_leaves(state) if c is not None} - {x.shape[1]}:
            raise LayerError(
                module, f"its state must have {x.shape[1]} samples, like x; {RESTART}"
            )
    outs, ends = [], []
    for k, part in enumerate(torch.split(x, samples, 1)):
        rows = slice(k * samples, (k + 1) * samples)
        own = tree_map_only(Tensor, itemgetter(rows), states)
        y, after = run(modules, part, ticks, own)
        outs.append(y)
        ends.append(after)
    joined = tree_map(lambda *c: None if c[0] is None else torch.cat(c), *ends)
    return torch.cat(outs, 1), joined


def _run_some_ticks(
    modules: list[nn.Module], x: Tensor, ticks: int, states: States
) -> tuple[Tensor, States]:
    """Run modules as :func:`_run_in_turn` does, some ticks at a time and without gradients.

    The first tick determines the number of values between two modules, and so the size of a
    part.
    """
    arrange = cache(arrange_weights)
    y, states = _run_in_turn(modules, x[:1], 1, states, Prepared(arrange))
    cells = (c for c in tree_leaves(states) if c is not None)
    many = max(1, PART_VALUES // max(v.numel() for v in (x[0], y[0], *cells)))
    prepared = Prepared(arrange, _fuse_linears(modules, states, arrange))
    out = y.expand(ticks, *y.shape[1:]).clone()
    for first in range(1, ticks, many):
        now = slice(first, min(first + many, ticks))
        part = x[now] if len(x) == ticks else x
        out[now], states = _run_in_turn(modules, part, now.stop - first, states, prepared)
    return out, states


def _fuse_linears(
    modules: list[nn.Module], states: States, arrange: ArrangeWeights
) -> dict[int, FusedLinear]:
    """Return each linear layer joined with the population after it, by index."""
    by_place = {}
    for k, (linear, cells) in enumerate(pairwise(modules)):
        if type(linear) is nn.Linear and type(cells) is Spiking:
            if has_hooks(linear) or has_hooks(cells):
                continue
            fused = fused_linear(linear, cells.bound(), states[k + 1], cells.dt, arrange)
            if fused is not None:
                by_place[k] = fused
    return by_place


def _run_in_turn(
    modules: list[nn.Module],
    x: Tensor,
    ticks: int,
    states: States,
    prepared: Prepared = NOTHING_PREPARED,
) -> tuple[Tensor, States]:
    """Run modules one after the other; a population runs together with the pool after it.

    x: all ticks, or one that is repeated ``ticks`` times.
    """
    after: list[Any] = []
    while len(after) < len(modules):
        (module, *rest), state = modules[len(after) :], states[len(after)]
        if fused := prepared.fused.get(len(after)):
            x = fused(x.expand(ticks, *x.shape[1:]))
            after += [None, fused.state]
        elif type(module) is Spiking and not has_hooks(module):
            pool = _pool_size(rest)
            context = FusedContext(Ticks(ticks if len(x) < ticks else 0), pool)
            module.require_state(x, state)
            x, state = module.run_in_context(context, x, state)
            after += [state] if pool is None else [state, None]
        else:
            x = x.expand(ticks, *x.shape[1:])
            x, state = run_module(module, x, state, prepared.arrange)
            after.append(state)
    return x, tuple(after)


def _pool_size(modules: list[nn.Module]) -> tuple[int, int] | None:
    """Return the window size if the first module is an average pool over disjoint windows."""
    pool = modules[0] if modules else None
    return find_blocks(pool) if type(pool) is nn.AvgPool2d and not has_hooks(pool) else None


def _is_divisible(modules: list[nn.Module], independent: tuple[type, ...]) -> bool:
    """Say whether samples are independent, and ticks too except through states."""
    return all(
        (type(m) in independent and not has_hooks(m)) or is_sample_wise(m)
        for module in modules
        for m in module.modules()
    )


def run_module(
    module: nn.Module, x: Tensor, state: Any, arrange: ArrangeWeights = arrange_weights
) -> tuple[Tensor, Any]:
    """Run a temporal module over time, or another module on each tick: (output, state)."""
    if isinstance(module, Temporal):
        y, state = module(x, state)
        return y, state
    return run_on_ticks(module, x, arrange), None
