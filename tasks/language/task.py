"""The task: loss, bits per byte of held-out text, and the functions that the verbs need."""

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.io.run_folder import Run
from neuro.mixers import DeltaState, MatrixState, RetentionState, TimeMixState, VectorState
from neuro.mixers.mixer import divide
from neuro.nn.ternary import average_counts, watch_inputs
from tasks.language import config as configs
from tasks.language.config import LanguageConfig
from tasks.language.data import (
    NOTHING,
    batches,
    batches_from,
    count_bytes,
    find_tokenizer,
    make_dummy_batch,
    measured_lanes,
    pin_files,
    skip_bad,
)
from tasks.language.deployment import (
    EXECUTED,
    FIRST_BITS,
    chip_part,
    decode,
    explain_only_torch,
    measure,
    stimuli,
)
from tasks.language.model import LanguageModel
from tasks.language.ngrams import measure_ngrams
from tasks.language.price import tabulate_prices
from tasks.language.recipes import make_plan
from tasks.language.rwkv import RWKV, BlockState, RWKVSizes, initialise
from tasks.runs.names import CONFIGURATIONS, SUMMARIES
from tasks.runs.share import track_test
from tasks.runs.task import (
    Deployment,
    Evaluation,
    Findings,
    Pair,
    Split,
    Table,
    Task,
    Training,
)

BITS = replace(FIRST_BITS, name="bits_per_byte", format=".3f")
FITTED = 5_000_000  # most training tokens that n-grams learn
SHOWN = 64  # most tokens of the example's prompt, and of its continuation


def build(config: LanguageConfig) -> nn.Module:
    """Return a fresh model."""
    if config.block == "gated":
        return LanguageModel(config)
    model = RWKV(
        RWKVSizes(
            version=int(config.layers[0].removeprefix("rwkv")),
            vocabulary=config.vocabulary,
            width=config.width,
            layers=len(config.layers),
            hidden=config.hidden,
            head_width=divide("RWKV", "width", config.width, config.heads),
        )
    )
    initialise(model)
    return model


def loss(
    config: LanguageConfig,
    model: nn.Module,
    batch: Pair,
    at: float,  # noqa: ARG001
    state: Any = None,
) -> tuple[Tensor, Any]:
    """Return (mean cross-entropy [nat] and the penalty on events, state for the next batch).

    The state is None if it grows with the text: every batch then begins with a new state.
    """
    x, y = batch
    with watch_inputs(model) if config.event_penalty else nullcontext() as seen:
        logits, state = model(x, state)
    nats = F.cross_entropy(logits.flatten(0, 1).float(), y.flatten(), ignore_index=NOTHING)
    if seen:
        nats = nats + config.event_penalty * average_counts(seen)
    return nats, state if config.carries else None


@torch.no_grad()
def measure_bits(config: LanguageConfig, model: nn.Module, split: Split) -> float:
    """Return bits per byte of a held-out part, over the bytes of :func:`count_bytes`.

    Recurrent models read each lane as one stream. Others read windows of ``tokens`` tokens,
    each half a window after the one before, of which the second half counts: each token follows
    at least ``tokens // 2`` others.
    """
    device, training = next(model.parameters()).device, model.training
    model.eval()
    nats = 0.0
    for logits, y in read_lanes(config, model, track_test(batches(config, split, 0), split)):
        batch_nats = F.cross_entropy(
            logits.flatten(0, 1).double(),
            y.to(device).flatten(),
            ignore_index=NOTHING,
            reduction="sum",
        )
        nats += float(batch_nats)
    model.train(training)
    return nats / math.log(2) / count_bytes(config, split)


def read_lanes(
    config: LanguageConfig, model: nn.Module, pairs: Iterable[Pair]
) -> Iterator[Pair]:
    """Yield (logits, targets) of successive tokens, with the context of :func:`measure_bits`.

    pairs: (tokens T B, next tokens T B), of which each continues the one before.
    """
    device, state = next(model.parameters()).device, None
    keep = config.tokens // 2
    half = config.tokens if config.carries else max(1, keep)
    before = torch.empty(0, 1, dtype=torch.int64)
    for pair in pairs:
        before = before.expand(-1, pair[0].shape[1])
        for x, y in zip(*(torch.split(tokens, half) for tokens in pair), strict=True):
            if config.carries:
                logits, state = model(x.to(device), state)
                yield logits, y
            else:
                logits, _ = model(torch.cat([before, x]).to(device))
                yield logits[len(before) :], y
                before = torch.cat([before, x])[-keep:] if keep else before


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return bits per byte of the test part, beside those of n-grams, and an example."""
    config: LanguageConfig = run.config
    lanes = measured_lanes(config, "test")
    return Findings(
        values={BITS.name: measure_bits(config, model, "test")},
        n=count_bytes(config, "test"),
        counted="bytes",
        facts={
            "text": lanes[0].source,
            "files": len({s.path for lane in lanes for s in lane.stretches}),
        },
        tables=[continue_text(config, model)],
        beside=measure_baselines(config),
    )


def measure_baselines(config: LanguageConfig) -> dict[str, dict[str, float]]:
    """Return the bits per byte of n-grams that learned the tokens which training read."""
    size, n = config.tokens * config.lanes, count_bytes(config, "test")
    epochs = (batches(config, "train", epoch) for epoch in range(config.validations))
    train = list(islice(chain.from_iterable(epochs), max(1, FITTED // size)))
    bits = measure_ngrams(train, batches(config, "test", 0), find_tokenizer(config).size)
    fitted = f"{len(train) * size:,} training tokens"
    return {f"{k} counts of {fitted}": {BITS.name: value / n} for k, value in bits.items()}


@torch.no_grad()
def continue_text(config: LanguageConfig, model: nn.Module) -> Table:
    """Return the beginning of a test text, the most probable continuation, and the true one."""
    tokenizer, device = find_tokenizer(config), next(model.parameters()).device
    _, y = next(iter(batches(config, "test", 0)))
    true = y[y[:, 0] != NOTHING, 0].tolist()
    n = min(len(true) // 2, SHOWN)
    read = [tokenizer.begin, *true[:n]]
    for _ in range(n):
        logits, _ = model(torch.tensor(read, device=device)[:, None])
        read.append(int(logits[-1, 0, : tokenizer.size].argmax()))
    parts = {"prompt": true[:n], "the network": read[1 + n :], "true text": true[n : 2 * n]}
    texts = {who: tokenizer.decode(k).decode(errors="replace") for who, k in parts.items()}
    rows = [(who, text.replace("\n", "↵ ")) for who, text in texts.items()]
    title = "A test text, continued by the most probable tokens (↵: end of a line)"
    return Table(title=title, head=("", "text"), rows=rows, example=True)


def list_controls(config: LanguageConfig) -> dict[str, dict[str, Any]]:
    """Return the twins of a spiking model; ternary weights train best at half the rate."""
    if config.linear != "spiking":
        return {}
    spiking = {"learns_threshold": False, "event_penalty": 0.0}
    plain = {name: value for name, value in spiking.items() if getattr(config, name)}
    return {
        "the same layers in floats": {"linear": "float", **plain},
        "ternary layers without spikes": {"linear": "ternary", "lr": config.lr / 2, **plain},
    }


TASK = Task(
    summary=SUMMARIES["language"],
    about=lambda config: (
        "A text goes in token by token (by default a byte), and the probability of every next "
        "token comes out. What goes into all linear layers is "
        f"{'counts of spikes' if config.linear == 'spiking' else 'real numbers, no spikes'}."
    ),
    configs={name: getattr(configs, name) for name in CONFIGURATIONS["language"]},
    training=Training(
        build=build,
        plan=make_plan,
        steps=lambda config: config.steps // config.validations,
        batches=batches,
        dummy_batch=make_dummy_batch,
        batches_from=batches_from,
        batch_axis=1,
        loss=loss,
        carry="training",
        carry_types=(
            *(BlockState, DeltaState, MatrixState, RetentionState, TimeMixState),
            VectorState,
        ),
        validation=BITS,
        validate=lambda config, model: measure_bits(config, model, "val"),
        pin=pin_files,
        seed_changes="the initial weights; the text is read in the same order",
        skip_bad=skip_bad,
    ),
    deployment=Deployment(
        part=chip_part,
        stimuli=stimuli,
        ann_passes=lambda config: config.tokens,
        step="token",
        prices=tabulate_prices,
        only_torch=explain_only_torch,
    ),
    evaluation=Evaluation(
        metrics=(BITS, *EXECUTED),
        evaluate=evaluate,
        decode=decode,
        measure=measure,
        controls=list_controls,
    ),
)
