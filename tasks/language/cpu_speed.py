"""Tokens a second that this machine's processor writes with packed weights.

Measured token by token behind each other, one text, in the thread that calls: by its CPU time
and by the clock on the wall. Other work on the machine slows both, the latter more.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from neuro.nn.ternary import pack_model
from tasks.bench.rows import name_processor
from tasks.language.config import LanguageConfig
from tasks.language.packed import make_empty, measure_size
from tasks.runs.task import Table

TOKENS = 32
# A byte of four codes, none of which is 3.
CODES = np.array([b for b in range(256) if not b & b >> 1 & 0b01010101], np.uint8)


class Speed(NamedTuple):
    """Tokens a second: by CPU time of the thread, and by the wall; medians."""

    cpu: float
    wall: float


def measure_speed(model: nn.Module, tokens: int = TOKENS) -> Speed:
    """Return how fast a model writes its likeliest tokens, one after the other.

    Args:
        model: a LanguageModel, packed or not, in evaluation mode.
        tokens: that are timed, behind a first one, which may compile.
    """
    clocks: tuple[Callable[[], float], ...] = (time.thread_time, time.perf_counter)
    token, state, times = torch.zeros(1, 1, dtype=torch.int64), None, []
    with torch.inference_mode():
        for _ in range(1 + tokens):
            start = [clock() for clock in clocks]
            logits, state = model(token, state)
            token = logits[-1:].argmax(-1)
            times.append([clock() - at for clock, at in zip(clocks, start, strict=True)])
    cpu, wall = (1 / median(column) for column in zip(*times[1:], strict=True))
    return Speed(cpu, wall)


def make_random(config: LanguageConfig, seed: int = 0) -> nn.Module:
    """Return a packed model with random ternary weights; all that is not ternary is 1.

    The largest matrix is drawn, and the others are cut out of it, each in memory of its own.
    """
    model = make_empty(config).to_empty(device="cpu").eval()
    tensors = model.state_dict().values()
    codes = [t for t in tensors if t.dtype is torch.uint8]
    most = max(t.numel() for t in codes)
    drawn = np.random.default_rng(seed).integers(len(CODES), size=most, dtype=np.uint8)
    weights = torch.from_numpy(CODES[drawn])
    for tensor in tensors:
        if tensor.dtype is torch.uint8:
            tensor.copy_(weights[: tensor.numel()].view(tensor.shape))
        else:
            tensor.fill_(1.0)
    return model


def tabulate_speed(
    model: nn.Module, big: LanguageConfig, chip: tuple[str, str], published: float
) -> Table:
    """Return what the processor reaches beside the chip: of a run, and at published sizes.

    Args:
        model: of the run, not packed.
        big: the published sizes, measured with random weights.
        chip: tokens/s of generation that were computed of both, in words.
        published: tokens/s of the published sizes, measured on chips.
    """
    packed = {"this run": pack_model(model), "370M, random ternary weights": make_random(big)}
    measured = ("", f"{published:g}")
    rows, speeds = [], []
    for (name, network), computed, known in zip(packed.items(), chip, measured, strict=True):
        size, speed = measure_size(network), measure_speed(network)
        speeds.append(speed)
        whole = f"{(size.packed + size.rest) / 1e6:.3g}"
        cells = (f"{speed.cpu:.4g}", f"{speed.wall:.4g}", computed, known)
        rows.append([name, f"{size.weights:,}", whole, *cells])
    ratio = speeds[-1].cpu / published
    verdict = (
        "faster than the chips: energy may be claimed, speed may not"
        if ratio > 1
        else "slower than the chips"
    )
    return Table(
        title="A token on this machine's processor, packed weights",
        head=(
            "model",
            "ternary weights",
            "size [MB]",
            "CPU time [tokens/s]",
            "wall time [tokens/s]",
            "chip, computed [tokens/s]",
            "chip, measured [tokens/s]",
        ),
        rows=rows,
        caption=(
            f"Generation on {name_processor()}, one thread, one text: medians of {TOKENS} "
            "tokens, by the CPU time of the thread and by the wall clock; other work on the "
            f"machine slows both. 370M over the measured chips: x {ratio:.2g} by CPU time; "
            f"this processor is {verdict}. What energy it takes was not measured."
        ),
    )
