"""A cell is trained and measured; what is known of it is not trained again.

Every training of a seed sees the same batches (on text, those of all seeds), and every model is
tested on the same sequences. The weights of the last step are measured: none is picked.
"""

import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.mixers.delta_net import TAPS, ShortConv
from neuro.training import Course, fit
from neuro.training.threads import limit_threads
from tasks.bench.results import complete_results, list_missing_results, share_work
from tasks.language.bench.cells import (
    SOFTMAX,
    TEXT,
    HybridCell,
    Part,
    Scale,
    count_share,
    list_cells,
    make_config,
)
from tasks.language.config import LanguageConfig
from tasks.language.data import NOTHING, batches as text_batches
from tasks.language.model import LanguageModel
from tasks.language.recall import TASKS, Sequences
from tasks.language.recipes import make_plan
from tasks.language.task import loss, measure_bits
from tasks.runs.allocator import keep_freed_memory
from tasks.runs.task import Pair, Split

FILE = "hybrids-cells.jsonl"  # beside the figures
SECONDS = "cpu_seconds"
VALIDATION, TEST = 1_000_000, 2_000_000  # seeds of sequences that no training sees
CONVOLVED = "conv"  # of mixers that have a short convolution of their own
Stack = tuple[str, int]  # variant, softmax layers
Found = dict[Stack, dict[str, list[float]]]  # by task, one value a seed


class Convolved(nn.Module):
    """A norm, and a short convolution over sequences that begin anew with each batch."""

    def __init__(self, norm: nn.Module, width: int) -> None:
        super().__init__()
        self.norm, self.conv = norm, ShortConv(width, TAPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the mixer reads; axes T B D."""
        read: Tensor
        read, _ = self.conv(self.norm(x), x.new_zeros(TAPS - 1, *x.shape[1:]))
        return read


def build(config: LanguageConfig) -> LanguageModel:
    """Return a fresh model in which every mixer sees the last tokens.

    DeltaNet and Gated DeltaNet have a convolution over 4 tokens; the others get one. To need
    few steps, embeddings begin with a standard deviation of 1, and mixers with outputs of 0.
    """
    model = LanguageModel(config)
    nn.init.normal_(model.embedding.weight)
    for block in model.blocks:
        mixer: Any = block.mixer
        nn.init.zeros_(mixer.output.weight)
        if not hasattr(mixer, CONVOLVED):
            block.mixer_norm = Convolved(block.mixer_norm, config.width)  # type: ignore[arg-type]
    return model


def train_cell(cell: HybridCell, scale: Scale) -> dict[str, float]:
    """Return what a cell reaches, by the name of its task, and the CPU time it took [s].

    That is the share of right answers, or bits per byte.

    Raises:
        TrainError: the training has diverged.
    """
    start, config = time.process_time(), make_config(cell, scale)
    keep_freed_memory(of_any_size=True)
    with limit_threads(1), TemporaryDirectory() as folder:
        with seeded(cell.seed):
            model = build(config)
        course = Course(
            batches=lambda _: draw_batches(cell, scale),
            steps=config.steps,
            loss=lambda net, batch, at: loss(config, net, batch, at)[0],
            validate=lambda net: measure(net, cell, scale, "val"),
            better="lower" if cell.task == TEXT else "higher",
            seed=cell.seed,
            batch_axis=1,
        )
        fabric = Fabric(accelerator="cpu", devices=1)
        fit(model, course, make_plan(config), fabric, Path(folder))
        score = measure(model.eval(), cell, scale, "test")
    return {cell.task: score, SECONDS: time.process_time() - start}


def draw_batches(cell: HybridCell, scale: Scale) -> Iterator[Pair]:
    """Yield the batches of a training: of recall by its seed, of text the same for all."""
    config = make_config(cell, scale)
    if cell.task == TEXT:
        yield from text_batches(config, "train", 0)
        return
    for step in range(config.steps):
        rng = np.random.default_rng([cell.seed, step])
        yield _as_tensors(TASKS[cell.task](rng, scale.sizes, scale.samples))


@torch.no_grad()
def measure(model: nn.Module, cell: HybridCell, scale: Scale, split: Split) -> float:
    """Return the share of right answers of a model on a held-out split, or bits per byte."""
    if cell.task == TEXT:
        return measure_bits(make_config(cell, scale), model, split)
    rng = np.random.default_rng(TEST if split == "test" else VALIDATION)
    x, y = _as_tensors(TASKS[cell.task](rng, scale.sizes, scale.tested))
    logits, _ = model(x)
    due = y != NOTHING
    return float((logits.argmax(-1) == y)[due].double().mean())


def _as_tensors(drawn: Sequences) -> Pair:
    return torch.from_numpy(drawn.x), torch.from_numpy(drawn.y)


def train_all(part: Part, scale: Scale, folder: Path, workers: int) -> Found:
    """Return what the cells of a part reach; what is in the folder is not trained again.

    Raises:
        StoreError: a result in the folder's file is damaged.
        TrainError: a training has diverged.
    """
    cells = list_cells(part, scale)

    train = share_work(train_cell, workers, scale)
    out: Found = {}
    about = {cell: asdict(cell) for cell in cells}
    values = complete_results(folder / FILE, about, dict[str, float], train, describe(scale))
    for cell, value in values.items():
        own = out.setdefault((cell.variant, cell.softmax), {})
        own.setdefault(cell.task, []).append(value[cell.task])
        own.setdefault(SECONDS, []).append(value[SECONDS])
    return out


def describe(scale: Scale) -> dict[str, Any]:
    """Return what the figures of all cells depend on, beside the code.

    The embedded text are the sources of this Python.
    """
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return {"scale": repr(scale), **versions}


def list_missing(part: Part, scale: Scale, folder: Path) -> list[HybridCell]:
    """Return the cells of a part that are still to be trained."""
    about = {cell: asdict(cell) for cell in list_cells(part, scale)}
    return list_missing_results(folder / FILE, about, describe(scale))


def estimate_seconds(cells: Sequence[HybridCell], scale: Scale) -> float:
    """Return how much CPU time [s] trainings take, from that of one step of each mixer.

    Tests and what a training begins with are not in it.
    """
    total = 0.0
    for task in (next(iter(TASKS)), TEXT):  # all tasks of recall take as long
        own = [cell for cell in cells if (cell.task == TEXT) == (task == TEXT)]
        for variant in dict.fromkeys([SOFTMAX, *(cell.variant for cell in own)]):
            softmax = scale.layers if variant == SOFTMAX else 0
            pure = HybridCell(task=task, variant=variant, softmax=softmax, seed=0)
            steps = make_config(pure, scale).steps * count_share(own, variant, scale.layers)
            total += time_step(pure, scale) * steps if steps else 0.0
    return total


def time_step(cell: HybridCell, scale: Scale) -> float:
    """Return the CPU time [s] of a step of training, the second of two."""
    config = make_config(cell, scale)
    with limit_threads(1), seeded(0):
        model, batches = build(config), draw_batches(cell, scale)
        optimizer = make_plan(config).build_optimizer(model)
        for _ in range(2):  # the first one compiles
            start = time.process_time()
            nats, _ = loss(config, model, next(batches), 0.0)
            torch.autograd.backward(nats)
            optimizer.step()
    return time.process_time() - start
