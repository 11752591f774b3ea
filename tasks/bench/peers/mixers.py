"""``neuro bench mixers``: sequence mixers in chunks and by steps, beside plain torch.

A training step is forward and backward. The recurrences are neuro's, token by token in torch,
with gradients recorded. A scan also runs as the naive loop that indexes tokens, in which the
gradient of each f[t] is as large as all of f. Attention is torch's. Chunks in torch are
those of :mod:`tasks.bench.peers.torch_chunks`, as they are or compiled, of the fastest of three
sizes. All subjects get the same arguments.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from neuro.mixers.delta import run_delta, run_delta_recurrence
from neuro.mixers.dplr import run_dplr, run_dplr_recurrence
from neuro.mixers.gla import run_gla, run_gla_recurrence
from neuro.mixers.scan import run_scan, run_scan_recurrence
from neuro.mixers.softmax import run_softmax
from tasks.bench.comparison import Case, Pair
from tasks.bench.harness import Build, Run
from tasks.bench.peers.torch_chunks import run_delta_in_torch, run_gla_in_torch
from tasks.bench.stopwatch import repeat

OURS, LOOP, ATTENTION = "neuro", "torch, token by token", "torch, attention"
INDEXED = "torch, f[t] by number"
DECODED = 64  # tokens that a run generates
HEADS = 4, 16  # of a small model, and of one of 370 million parameters
Core = Callable[..., tuple[Tensor, Any]]
Targets = Mapping[tuple[str, ...], float | None]
SIZES = 16, 32, 64  # tokens in a chunk in torch
# Smallest ratios that we aim for: beside the recorded loop (scan, chunks), attention, a step.
# A chunk of RWKV-7 takes four products of tokens by tokens where others take one or two.
RWKV7_CHUNKS = 5.0
SCAN, CHUNKS, BESIDE_ATTENTION, STEP = 10.0, 8.0, 1.5, 1.5
# The same beside chunks in torch: as they are, and compiled.
IN_TORCH: Mapping[str, tuple[Core, float, float]] = {
    "GLA": (run_gla_in_torch, 1.2, 1.0),
    "delta rule": (run_delta_in_torch, 1.5, 1.2),
}


def run_indexed_scan(f: Tensor, i: Tensor) -> tuple[Tensor, Tensor]:
    """Compute a scan as a naive loop that indexes tokens."""
    h, out = torch.zeros_like(i[0]), []
    for t in range(len(i)):
        h = f[t] * h + i[t]
        out.append(h)
    return torch.stack(out), h


CORES: Mapping[str, tuple[Core, Core]] = {  # the fast form, and the recurrence
    "scan": (run_scan, run_scan_recurrence),
    "GLA": (run_gla, run_gla_recurrence),
    "delta rule": (run_delta, run_delta_recurrence),
    "RWKV-7": (run_dplr, run_dplr_recurrence),
}


@dataclass(frozen=True, kw_only=True)
class CoreSizes:
    """A core and the sizes of its arguments: tokens, samples, heads, channels per head.

    The width, heads times channels, is the length of a token.
    """

    core: str
    tokens: int
    batch: int = 4
    heads: int = 4
    channels: int = 64

    def arguments(self) -> tuple[Tensor, ...]:
        """Return queries, keys of length 1, values and gates; for a scan decays and inputs."""
        rng = torch.Generator().manual_seed(0)
        shape = self.tokens, self.batch, self.heads, self.channels
        q, k, v, g = (torch.randn(shape, generator=rng) for _ in range(4))
        k, decay = F.normalize(k, dim=-1), F.logsigmoid(g) / 16
        rest = {
            "GLA": (decay,),
            "delta rule": (torch.sigmoid(q[..., 0]), decay[..., 0]),
            "RWKV-7": (decay, -k, torch.sigmoid(q) * k),
            "softmax": (),
        }
        return (torch.sigmoid(g), v) if self.core == "scan" else (q, k, v, *rest[self.core])


def train(text: CoreSizes, run: Core, threads: int) -> Run:
    """Return a run of a training step: forward, and gradients of all arguments."""
    torch.set_num_threads(threads)
    leaves = [x.requires_grad_() for x in text.arguments()]

    def once() -> tuple[int, int]:
        y, _ = run(*leaves)
        torch.autograd.grad(y.sum(), leaves)
        return text.tokens * text.batch, 0

    return repeat(once)


def train_compiled(text: CoreSizes, run: Core, threads: int) -> Run:
    """Return a run of a training step in code of ``torch.compile``, without its cache."""
    torch._inductor.config.force_disable_caches = True
    return train(text, torch.compile(run, fullgraph=True, dynamic=False), threads)


def decode(text: CoreSizes, run: Core, threads: int) -> Run:
    """Return a run that generates tokens one by one and keeps the state."""
    torch.set_num_threads(threads)
    rows = [torch.split(x, 1) for x in text.arguments()]

    @torch.no_grad()
    def once() -> tuple[int, int]:
        arguments: dict[str, Any] = {}
        for token in zip(*rows, strict=True):
            _, arguments["state"] = run(*token, **arguments)
        return text.tokens * text.batch, 0

    return repeat(once)


def _case(
    name: str,
    text: CoreSizes,
    subjects: Mapping[str, Build],
    targets: Targets,
) -> Case:
    """Return ours beside the fastest of each group of others; targets: smallest ratios."""
    return Case(
        name=f"{name}, T {text.tokens}",
        subjects=subjects,
        pairs=tuple(Pair(OURS, peers, target) for peers, target in targets.items()),
        unit="ms",
        per=1e-3,
        conditions={"batch": text.batch, "heads": text.heads, "channels": text.channels},
    )


def recurrences(quick: bool) -> list[Case]:
    """Return a training step beside the recurrence, recorded token by token."""
    tokens, cases = 32 if quick else 512, []
    for core in CORES:
        text = CoreSizes(core=core, tokens=tokens, batch=8 if core == "scan" else 4)
        runs = dict(zip((OURS, LOOP), CORES[core], strict=True))
        targets: Targets = {(LOOP,): RWKV7_CHUNKS if core == "RWKV-7" else CHUNKS}
        if core == "scan":
            runs[INDEXED], targets = run_indexed_scan, {(LOOP,): None, (INDEXED,): SCAN}
        subjects = {who: partial(train, text, run) for who, run in runs.items()}
        cases.append(_case(f"{core}, training", text, subjects, targets))
    return cases


def chunks(quick: bool) -> list[Case]:
    """Return a training step beside chunks in torch, as they are and compiled."""
    cases = []
    for tokens, batch in ((64, 1),) if quick else ((512, 4), (2048, 1)):
        for core, (chunked, plain, compiled) in IN_TORCH.items():
            text = CoreSizes(core=core, tokens=tokens, batch=batch)
            subjects: dict[str, Build] = {OURS: partial(train, text, CORES[core][0])}
            targets: dict[tuple[str, ...], float | None] = {}
            ways = ("torch", train, plain), ("torch.compile", train_compiled, compiled)
            for way, step, target in ways:
                peers = {n: f"{way}, chunks of {n}" for n in SIZES}
                targets[tuple(peers.values())] = target
                for n, who in peers.items():
                    subjects[who] = partial(step, text, partial(chunked, size=n))
            cases.append(_case(f"{core}, training, chunks", text, subjects, targets))
    return cases


def attention(quick: bool) -> list[Case]:
    """Return a training step on one long text beside softmax attention."""
    cases = []
    for tokens in (64,) if quick else (2048, 4096):
        for core in ("GLA", "delta rule"):
            text = CoreSizes(core=core, tokens=tokens, batch=1)
            peer = partial(train, replace(text, core="softmax"), run_softmax)
            subjects = {OURS: partial(train, text, CORES[core][0]), ATTENTION: peer}
            targets: Targets = {(ATTENTION,): BESIDE_ATTENTION}
            cases.append(_case(f"{core}, training", text, subjects, targets))
    return cases


def steps(quick: bool) -> list[Case]:
    """Return generation token by token, beside the same generation in torch."""
    cases = []
    for heads in HEADS:
        for core in ("GLA", "delta rule", "RWKV-7"):
            text = CoreSizes(core=core, tokens=4 if quick else DECODED, batch=1, heads=heads)
            ours, loop = (partial(decode, text, run) for run in CORES[core])
            name = f"{core}, generation, width {heads * text.channels:,}"
            cases.append(_case(name, text, {OURS: ours, LOOP: loop}, {(LOOP,): STEP}))
    return cases


CASES: Mapping[str, Callable[[bool], list[Case]]] = {
    "recurrences": recurrences,
    "chunks": chunks,
    "attention": attention,
    "steps": steps,
}
