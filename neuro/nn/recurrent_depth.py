"""Recurrent depth: a core of blocks runs repeatedly on a hidden state (Huginn).

    e = prelude(x)        s_0 = 0; in training, noise
    s_i = core(W [s_{i-1}; e]), or core(s_{i-1} + e) if s is a membrane
    hidden = norm(coda(norm(s_r))); without a coda, norm(s_r)

Blocks add to their input, so the second form is s_i = s_{i-1} + e + what the blocks add: a
membrane without leak that integrates a constant current and the core's currents. No norm and no
map resets it between iterations.
(Geiping et al. 2025, arXiv 2502.05171.) Axes: T tokens, B samples, D channels.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.bounds import Count, Natural, NotNegative
from neuro.mixers import parse_stack
from neuro.mixers.mixer import CURE
from neuro.nn.mixer_block import (
    SPREAD,
    BlockSizes,
    MixerBlock,
    MixerModel,
    Reading,
    make_blocks,
    make_floors,
    make_linear,
    run_blocks,
)
from neuro.training.distributed import draw_shard

DepthSampling = Literal["fixed", "poisson"]
Injection = Literal["adapter", "membrane"]
SIGMA = 0.5  # standard deviation of the logarithm of a sampled depth's rate
VARIANCE = 2 / 5  # variance of the initial weights of W, times D


@dataclass(frozen=True, kw_only=True)
class DepthSizes(BlockSizes):
    """The fields of a configuration that say how often its blocks run."""

    depth: Natural = 0
    """Iterations of the core, "stack"; 0 runs each block once."""
    prelude: str = ""
    """Stack in front of the core, written as "stack" is."""
    coda: str = ""
    """Stack behind the core, written as "stack" is."""
    depth_sampling: DepthSampling = "fixed"
    """Iterations in training: always "depth", or drawn from a "poisson" mixture around it."""
    gradient_depth: Count = 8
    """Last iterations that the gradient reaches."""
    sandwich: bool = False
    """Whether a norm also follows each sum of a block and its residual."""
    injection: Injection = "adapter"
    """How the input enters an iteration: by an "adapter", or added to a "membrane"."""
    exit_kl: NotNegative = 0.0
    """Divergence [nat] below which evaluation stops to iterate; 0 runs all iterations."""
    tied: bool = False
    """Whether the read-out has the weights of the embedding."""


def list_depth_problems(sizes: DepthSizes) -> list[str]:
    """Return the problems between the fields of recurrent depth, each with its cure."""
    problems = list[str]()
    if sizes.sandwich and sizes.injection == "membrane":
        problems.append(
            "sandwich is True; it must be False for a membrane, which norms would reset. Use "
            "--set sandwich=false or injection=adapter."
        )
    initial = DepthSizes()
    names = ("prelude", "coda", "depth_sampling", "sandwich", "injection", "exit_kl")
    idle = [name for name in names if getattr(sizes, name) != getattr(initial, name)]
    if sizes.depth == 0 and idle:
        problems.append(
            f"{', '.join(idle)} without depth: no core recurs; set depth=4, say, or leave "
            f"{'them' if len(idle) > 1 else 'it'} out"
        )
    for name in ("prelude", "coda"):
        if stack := getattr(sizes, name):
            try:
                parse_stack(stack)
            except ValueError as error:
                problems.append(f"{name}: {error}")
    return problems


def draw_depth(sizes: DepthSizes) -> int:
    """Draw the number of iterations of one training step, for the whole batch.

    "poisson": r = 1 + Poisson(exp tau), tau ~ N(log depth - SIGMA^2 / 2, SIGMA^2); its mean is
    depth + 1. It is drawn from torch's global generator on the CPU, which the training loop
    seeds at each step equally in every process.
    """
    if sizes.depth_sampling == "fixed":
        return sizes.depth
    rate = torch.empty(()).log_normal_(math.log(sizes.depth) - SIGMA**2 / 2, SIGMA)
    return 1 + int(torch.poisson(rate))


class SandwichBlock(MixerBlock):
    """A block with norms around its sublayers: x <- n2(x + mixer(n1 x)), n4(x + unit(n3 x))."""

    def __init__(self, sizes: BlockSizes, layer: int, causal: bool = True) -> None:
        super().__init__(sizes, layer, causal)
        self.mixed_norm = nn.RMSNorm(sizes.width, eps=sizes.eps)
        self.end_norm = nn.RMSNorm(sizes.width, eps=sizes.eps)

    def forward(
        self, x: Float[Tensor, "T B D"], state: Any, floor: Float[Tensor, " D"] | None
    ) -> tuple[Float[Tensor, "T B D"], Any]:
        """Return (x, state of the mixer)."""
        mixed, state = self.mix(x, state, floor)
        x = self.mixed_norm(x + mixed)
        return self.end_norm(x + self.transform(x)), state


class BlockStack(nn.Module):
    """The blocks of a prelude or coda, and the floors of their mixers."""

    def __init__(self, sizes: BlockSizes, block: type[MixerBlock]) -> None:
        super().__init__()
        self.blocks, self.floors = make_blocks(sizes, block), make_floors(sizes)


class RecurrentModel(MixerModel):
    """A MixerModel whose blocks are a core that runs ``depth`` times; 0: a plain MixerModel.

    The state of a reading lists, in this order, the states of the prelude's blocks, of the
    core's blocks iteration by iteration, and of the coda's blocks. With an exit, every
    iteration has a coda, whose states follow those of its core. A reading continues with the
    number of iterations that its state has.
    """

    prelude: BlockStack | None
    coda: BlockStack | None

    def __init__(self, sizes: DepthSizes, vocabulary: int, causal: bool = True) -> None:
        block = SandwichBlock if sizes.sandwich else MixerBlock
        super().__init__(sizes, vocabulary, causal, block)
        self.depth_sizes = sizes
        if sizes.tied:
            self.head.weight = self.embedding.weight
        if not sizes.depth:
            return
        # Created last, so that the other weights are drawn as without recurrence.
        if sizes.injection == "adapter":
            self.adapter = make_linear(sizes, 2 * sizes.width, sizes.width)
            nn.init.normal_(self.adapter.weight, std=(VARIANCE / sizes.width) ** 0.5)
        for name in ("prelude", "coda"):
            stack = getattr(sizes, name)
            own = BlockStack(replace(sizes, stack=stack), block) if stack else None
            self.register_module(name, own)

    def read(
        self,
        x: Float[Tensor, "T B D"],
        state: tuple[Any, ...] | None = None,
        keep_layers: bool = False,
        depth: int | None = None,
    ) -> Reading:
        """Run the model on embeddings; the state None is the start of a sequence.

        keep_layers: whether to return the layers of the core's last iteration.
        depth: number of iterations; None: that of the state, or of the configuration without a
            state.

        Raises:
            ValueError: depth is < 1 or differs from the state's; the model has no recurrent
                core; or the state belongs to another model or to other samples.
        """
        sizes = self.depth_sizes
        if not sizes.depth:
            if depth is not None:
                raise ValueError(
                    f"{type(self).__name__}: depth is {depth}, and no core of it recurs; build "
                    "it with depth=4, say"
                )
            return super().read(x, state, keep_layers)
        count, states = self._find_depth(state, depth), _States(state)
        e = states.run(self.prelude, x, keep_layers) if self.prelude else x
        s, exits = self._start(e), Exits(sizes.exit_kl) if self._has_exit() else None
        for i in range(count):
            keep = keep_layers and i + 1 == count
            learns = i >= count - sizes.gradient_depth
            with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
                s = states.run(self, self.inject(s, e), keep)
                if exits is not None:
                    hidden = self._finish(states, s, keep)
                    exits.add(hidden, self.head(hidden))
        if exits is None:
            hidden = self._finish(states, s, keep_layers)
            used = torch.full(x.shape[:2], count, device=x.device)
        else:
            hidden, used = exits.hidden, exits.depth
        layers = (*states.layers[:-1], hidden) if keep_layers else ()
        return Reading(hidden, layers, tuple(states.after), used)

    def run_iteration(
        self, s: Float[Tensor, "T B D"], e: Float[Tensor, "T B D"]
    ) -> tuple[Float[Tensor, "T B D"], Float[Tensor, "T B D"]]:
        """Run one iteration of the core over tokens from the first one on: (next s, hidden).

        hidden: output of the final norm, for a model without a coda.
        """
        s = _States(None).run(self, self.inject(s, e), False)
        return s, self.norm(s)

    def inject(
        self, s: Float[Tensor, "T B D"], e: Float[Tensor, "T B D"]
    ) -> Float[Tensor, "T B D"]:
        """Combine hidden state and prelude output into the input of the core."""
        if self.depth_sizes.injection == "membrane":
            return s + e
        out: Tensor = self.adapter(torch.cat([s, e], -1))
        return out

    def _start(self, e: Float[Tensor, "T B D"]) -> Float[Tensor, "T B D"]:
        """Return s_0: noise in training, otherwise its mean 0; a membrane starts at rest.

        The noise has the variance of the initial embeddings. Huginn does the same with a
        variance of 2/5 for both.
        """
        if not self.training or self.depth_sizes.injection == "membrane":
            return torch.zeros_like(e)

        def draw(samples: int) -> Tensor:
            noise = e.new_empty(len(e), samples, e.shape[2])
            return nn.init.trunc_normal_(noise, std=SPREAD, a=-3 * SPREAD, b=3 * SPREAD)

        return draw_shard(draw, e.shape[1], axis=1)

    def _finish(
        self, states: "_States", s: Float[Tensor, "T B D"], keep_layers: bool
    ) -> Float[Tensor, "T B D"]:
        hidden: Tensor = self.norm(s)
        if self.coda is not None:
            hidden = self.norm(states.run(self.coda, hidden, keep_layers))
        return hidden

    def _has_exit(self) -> bool:
        return not self.training and self.depth_sizes.exit_kl > 0

    def _find_depth(self, state: tuple[Any, ...] | None, depth: int | None) -> int:
        """Return the number of iterations to run."""
        name = type(self).__name__
        if depth is not None and depth < 1:
            raise ValueError(f"{name}: depth is {depth}; give a number of iterations >= 1")
        if state is None:
            return self.depth_sizes.depth if depth is None else depth
        prelude, coda = (len(x.blocks) if x else 0 for x in (self.prelude, self.coda))
        each, once = len(self.blocks), prelude + coda
        if self._has_exit():
            each, once = each + coda, prelude
        found, left = divmod(len(state) - once, each)
        if left or found < 1 or (depth or found) != found:
            wanted = f"{each} for each iteration" + (f" and {once}" if once else "")
            raise ValueError(
                f"{name}: the state has {len(state)} layers, and {wanted} are needed"
                f"{'' if depth is None else f', in {depth} iterations'}; {CURE}"
            )
        return found


class _States:
    """The states of a reading: an iterator over those before it, and a list of those after."""

    def __init__(self, before: tuple[Any, ...] | None) -> None:
        self.before = None if before is None else iter(before)
        self.after, self.layers = list[Any](), list[Tensor]()

    def run(
        self, stack: BlockStack | RecurrentModel, x: Float[Tensor, "T B D"], keep_layers: bool
    ) -> Float[Tensor, "T B D"]:
        """Return the output of the last block of a stack."""
        blocks, before = stack.blocks, self.before
        own = None if before is None else [next(before) for _ in blocks]
        x, after, layers = run_blocks(blocks, stack.floors, x, own, keep_layers)
        self.after += after
        self.layers += layers
        return x


class Exits:
    """Chooses the iteration each token's output comes from: the first one that changes little.

    An iteration changes little if KL(p_{i-1} || p_i) is below the threshold, as in the
    published code; the first iteration has no predecessor. Tokens without such an iteration,
    and all tokens if the threshold is 0, take the last one.
    hidden: hidden states at the exits.
    depth: iterations up to the exits.
    left: tokens that have not reached their exit.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold, self.count = threshold, 0
        self.hidden, self.depth, self.left = (torch.empty(0) for _ in range(3))
        self.log = torch.empty(0)

    def add(self, hidden: Float[Tensor, "T B D"], logits: Float[Tensor, "T B V"]) -> None:
        """Add the result of one iteration."""
        self.count += 1
        before, self.log = self.log, F.log_softmax(logits.float(), -1)
        if self.count == 1:
            self.hidden, self.left = hidden, torch.ones_like(hidden[..., 0], dtype=torch.bool)
            self.depth = torch.ones_like(self.left, dtype=torch.int64)
            return
        self.hidden = torch.where(self.left[..., None], hidden, self.hidden)
        self.depth = torch.where(self.left, self.count, self.depth)
        self.left = self.left & ~has_settled(before, self.log, self.threshold)


def has_settled(
    before: Float[Tensor, "*N V"], log: Float[Tensor, "*N V"], threshold: float
) -> Bool[Tensor, "*N"]:
    """Say where KL(before || present) < threshold, given the distributions' logarithms."""
    return (
        F.kl_div(log, before, reduction="none", log_target=True).sum(-1).clamp(min=0)
        < threshold
    )
