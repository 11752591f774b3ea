"""``neuro bench mixers``: sequence mixers in chunks and by steps, beside plain torch.

A step of training is forward and backward. The recurrences are those of neuro, token by token
in torch, with gradients recorded; attention is torch's. The same arguments for everyone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from neuro.mixers.delta import run_delta, run_delta_recurrence
from neuro.mixers.gla import run_gla, run_gla_recurrence
from neuro.mixers.scan import run_scan, run_scan_recurrence
from neuro.mixers.softmax import run_softmax
from tasks.bench.comparison import Case, Pair
from tasks.bench.harness import Build, Run
from tasks.bench.stopwatch import repeat

OURS, LOOP, ATTENTION = "neuro", "torch, token by token", "torch, attention"
DECODED = 64  # tokens of a run of steps
# The least that we aim for: beside the recorded loop, beside attention, of a step.
SCAN, CHUNKS, BESIDE_ATTENTION, STEP = 10.0, 8.0, 1.0, 1.5
Core = Callable[..., tuple[Tensor, Any]]
CORES: Mapping[str, tuple[Core, Core]] = {  # the fast form, and the recurrence
    "scan": (run_scan, run_scan_recurrence),
    "GLA": (run_gla, run_gla_recurrence),
    "delta rule": (run_delta, run_delta_recurrence),
    "softmax": (run_softmax, run_softmax),
}


@dataclass(frozen=True, kw_only=True)
class Text:
    """Arguments of a core: tokens, samples, heads and channels a head; and the core."""

    core: str
    tokens: int
    batch: int = 4
    heads: int = 4
    channels: int = 64

    def arguments(self) -> tuple[Tensor, ...]:
        """Return queries, keys of length 1, values, gates; of a scan decays and inputs."""
        rng = torch.Generator().manual_seed(0)
        shape = self.tokens, self.batch, self.heads, self.channels
        q, k, v, g = (torch.randn(shape, generator=rng) for _ in range(4))
        k, decay = F.normalize(k, dim=-1), F.logsigmoid(g) / 16
        rest = {
            "GLA": (decay,),
            "delta rule": (torch.sigmoid(q[..., 0]), decay[..., 0]),
            "softmax": (),
        }
        return (torch.sigmoid(g), v) if self.core == "scan" else (q, k, v, *rest[self.core])


def train(text: Text, fast: bool, threads: int) -> Run:
    """Return a step of training: forward, and gradients of all arguments."""
    torch.set_num_threads(threads)
    run = CORES[text.core][not fast]
    leaves = [x.requires_grad_() for x in text.arguments()]

    def once() -> tuple[int, int]:
        y, _ = run(*leaves)
        torch.autograd.grad(y.sum(), leaves)
        return text.tokens * text.batch, 0

    return repeat(once)


def decode(text: Text, fast: bool, threads: int) -> Run:
    """Return a generation of so many tokens, one after the other; its state is kept."""
    torch.set_num_threads(threads)
    run = CORES[text.core][not fast]
    rows = [torch.split(x, 1) for x in text.arguments()]

    @torch.no_grad()
    def once() -> tuple[int, int]:
        given: dict[str, Any] = {}
        for token in zip(*rows, strict=True):
            _, given["state"] = run(*token, **given)
        return text.tokens * text.batch, 0

    return repeat(once)


def _case(name: str, text: Text, subjects: Mapping[str, Build], target: float) -> Case:
    return Case(
        name=f"{name}, T {text.tokens}",
        subjects=subjects,
        pairs=tuple(Pair(OURS, (peer,), target) for peer in subjects if peer != OURS),
        unit="ms",
        per=1e-3,
        conditions={"batch": text.batch, "heads": text.heads, "channels": text.channels},
    )


def recurrences(quick: bool) -> list[Case]:
    """Return a step of training beside the recurrence, recorded token by token."""
    tokens = 32 if quick else 512
    return [
        _case(
            f"{core}, training",
            text := Text(core=core, tokens=tokens, batch=8 if core == "scan" else 4),
            {OURS: partial(train, text, True), LOOP: partial(train, text, False)},
            SCAN if core == "scan" else CHUNKS,
        )
        for core in ("scan", "GLA", "delta rule")
    ]


def attention(quick: bool) -> list[Case]:
    """Return a step of training on one long text beside softmax attention."""
    cases = []
    for tokens in (64,) if quick else (2048, 4096):
        for core in ("GLA", "delta rule"):
            text = Text(core=core, tokens=tokens, batch=1)
            peer = partial(train, replace(text, core="softmax"), True)
            subjects = {OURS: partial(train, text, True), ATTENTION: peer}
            cases.append(_case(f"{core}, training", text, subjects, BESIDE_ATTENTION))
    return cases


def steps(quick: bool) -> list[Case]:
    """Return generation token by token beside the same in torch."""
    return [
        _case(
            f"{core}, generation",
            text := Text(core=core, tokens=4 if quick else DECODED, batch=1),
            {OURS: partial(decode, text, True), LOOP: partial(decode, text, False)},
            STEP,
        )
        for core in ("GLA", "delta rule")
    ]


CASES: Mapping[str, Callable[[bool], list[Case]]] = {
    "recurrences": recurrences,
    "attention": attention,
    "steps": steps,
}
