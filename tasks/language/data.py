"""Batches of tokens: a text is split into lanes, which continue from batch to batch."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice, zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from drivers.text import (
    Bytes,
    HuggingFace,
    Part,
    Position,
    Text,
    Tokenizer,
    load,
    load_default,
    load_world,
    require_lossless,
    select_part,
    split_evenly,
    stream_tokens,
    take_first,
)
from tasks.language.config import LanguageConfig
from tasks.runs.find import digest
from tasks.runs.task import Pair

C = TypeVar("C", bound=LanguageConfig)
NOTHING = -1  # target after the end of a lane; no loss counts it


def pin_files(config: C) -> C:
    """Return a configuration with absolute paths and the digests of text and tokenizer.

    Raises:
        OSError: the text cannot be read.
        ValueError: the tokenizer cannot be read or loses text that will be measured, or the
            files hold no text.
    """
    text, tokenizer = (p and str(Path(p).resolve()) for p in (config.text, config.tokenizer))
    pinned = replace(
        config,
        text=text,
        text_digest=_find_text(text, config.skip_bad).digest,
        tokenizer=tokenizer,
        tokenizer_digest=digest_file(tokenizer) if tokenizer else "",
    )
    for part in ("val", "test") if tokenizer.endswith(".json") else ():
        measured_lanes(pinned, part)
    return pinned


def skip_bad(config: LanguageConfig) -> LanguageConfig:
    """Return a configuration that skips files which are empty or not text."""
    return replace(config, skip_bad=True)


def digest_file(path: str) -> str:
    """Return the SHA-256 of a tokenizer's file; raise a ValueError if it cannot be read."""
    try:
        return digest(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(
            f"the tokenizer {path} cannot be read ({error.strerror}); give the path of a World "
            'vocabulary (.txt) or of a tokenizer.json, or tokenizer="" for bytes'
        ) from error


@cache
def make_tokenizer(tokenizer: str, end: str = "", sha: str = "", begin: str = "") -> Tokenizer:
    """Return the tokenizer in the file ``tokenizer``; "" means bytes as tokens.

    end, begin: tokens of a tokenizer.json. sha: digest that the file must have; "" accepts any.

    Raises:
        ValueError: the file is damaged, missing, or has another digest.
        ModuleNotFoundError: the library of the tokenizer is not installed.
    """
    if not tokenizer:
        return Bytes()
    if sha and digest_file(tokenizer) != sha:
        raise ValueError(
            f"{tokenizer} has changed since the model was trained, and its tokens may be "
            f"others; put the file of digest {sha[:16]} back, or train a new model with this "
            "one: neuro train NAME --out FOLDER"
        )
    if tokenizer.endswith(".json"):
        return HuggingFace(Path(tokenizer), end or None, begin or None)
    return load_world(Path(tokenizer))


def find_tokenizer(config: LanguageConfig) -> Tokenizer:
    """Return the tokenizer of a configuration.

    Raises:
        ValueError: the tokenizer has more tokens than the model, or its file has changed since
            training.
    """
    out = make_tokenizer(config.tokenizer, config.end, config.tokenizer_digest, config.begin)
    if out.size > config.vocabulary:
        raise ValueError(
            f"the tokenizer {config.tokenizer or 'of bytes'} has {out.size:,} tokens, the "
            f"model {config.vocabulary:,}; set vocabulary to {out.size} or more"
        )
    return out


@cache
def _find_text(text: str, skip: bool) -> Text:
    return load(Path(text), skip=skip) if text else load_default()


@cache
def find_part(config: LanguageConfig, part: Part) -> Text:
    """Return a part of the text.

    Raises:
        ValueError: the text is not the one that the model was trained on.
    """
    text = _find_text(config.text, config.skip_bad)
    if config.text_digest and text.digest != config.text_digest:
        raise ValueError(
            f"{text.source} are not the text that was trained on: files were added, removed or "
            "changed, or this Python is of another version; put them back as they were (digest "
            f"{config.text_digest[:16]}), or train a new model: neuro train NAME --out FOLDER"
        )
    return select_part(text, part)


def batches(config: LanguageConfig, part: Part, epoch: int) -> Iterator[Pair]:
    """Yield (tokens T B, the next tokens T B). The first token is the end of a text.

    Training: ``steps / validations`` batches per epoch, which continue where the previous epoch
    ended; a lane restarts after its end. Other parts: each of :func:`measured_lanes` once, with
    the target NOTHING after its end.
    """
    if part == "train":
        yield from batches_from(config, epoch, 0)
        return
    lanes = measured_lanes(config, part)
    streams = (
        (r.tokens for r in stream_tokens(lane, find_tokenizer(config), config.tokens))
        for lane in lanes
    )
    last = np.full(len(lanes), find_tokenizer(config).begin, np.int64)
    for reads in zip_longest(*streams, fillvalue=np.empty(0, np.int32)):
        y = np.full((max(map(len, reads)), len(lanes)), NOTHING, np.int64)
        for k, tokens in enumerate(reads):
            y[: len(tokens), k] = tokens
        x = np.maximum(np.vstack([last, y[:-1]]), 0)
        last = np.maximum(y[-1], 0)
        yield torch.from_numpy(x), torch.from_numpy(y)


def make_dummy_batch(config: LanguageConfig) -> Pair:
    """Return a training batch in which every token is token 0."""
    x = torch.zeros(config.tokens, config.lanes, dtype=torch.int64)
    return x, x.clone()


def batches_from(config: LanguageConfig, epoch: int, step: int) -> Iterator[Pair]:
    """Yield the training batches from a step of an epoch on.

    Epoch and step give the position in the text. A lane of bytes is entered at this position; a
    lane of another tokenizer is read up to it.
    """
    each = config.steps // config.validations
    passed = (epoch * each + step) * config.tokens
    lanes = [_stream_lane(config, lane, passed) for lane in _split(config, "train")]
    for _ in range(each - step):
        both = [next(lane) for lane in lanes]
        x, y = (torch.from_numpy(np.stack(rows, 1)) for rows in zip(*both, strict=True))
        yield x, y


def _stream_lane(
    config: LanguageConfig, lane: Text, passed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (tokens, next tokens) without end, after the first ``passed`` tokens."""
    tokenizer, last = find_tokenizer(config), None
    start = Position()
    if passed and isinstance(tokenizer, Bytes):
        before = Position(block=(passed - 1) % lane.length)
        first = next(stream_tokens(lane, tokenizer, 1, before, again=True))
        last, start, passed = int(first.tokens[0]), first.position, 0
    if last is None:
        last = tokenizer.begin
    reads = stream_tokens(lane, tokenizer, config.tokens, start, again=True)
    for read in islice(reads, passed // config.tokens):
        last = int(read.tokens[-1])
    for read in reads:
        y = read.tokens.astype(np.int64)
        yield np.concatenate([[last], y[:-1]]), y
        last = int(y[-1])


@cache
def _split(config: LanguageConfig, part: Part) -> tuple[Text, ...]:
    return split_evenly(find_part(config, part), config.lanes)


@cache
def measured_lanes(config: LanguageConfig, part: Part) -> tuple[Text, ...]:
    """Return the lanes of a held-out part, each cut to the beginning that is measured.

    Raises:
        ValueError: the tokens of a tokenizer.json do not restore the text.
    """
    lanes = _split(config, part)
    if config.held_out:
        each = config.held_out // config.lanes
        lanes = tuple(take_first(lane, each) for lane in lanes)
    if isinstance(find_tokenizer(config), HuggingFace):
        for lane in lanes:
            require_lossless(lane, find_tokenizer(config))
    return lanes


def count_bytes(config: LanguageConfig, part: Part) -> int:
    """Return the number of measured bytes in a part.

    The end of a file counts as one byte if the tokenizer has a token for it.
    """
    lanes = measured_lanes(config, part)
    ends = sum(stretch.last for lane in lanes for stretch in lane.stretches)
    counts_ends = find_tokenizer(config).end is not None
    return sum(lane.length for lane in lanes) - (0 if counts_ends else ends)


def count_target_bytes(config: LanguageConfig, tokens: Int64[Tensor, " N"]) -> int | None:
    """Return the number of bytes that tokens stand for; the end of a file counts as one.

    None: unknown, because a token of a Hugging Face tokenizer may be part of a character.
    """
    tokenizer = find_tokenizer(config)
    if isinstance(tokenizer, HuggingFace):
        return None
    numbers = tokens.numpy()
    return len(tokenizer.decode(numbers)) + int((numbers == tokenizer.end).sum())
