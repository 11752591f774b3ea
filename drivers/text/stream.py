"""Tokens of a text, read from disk block by block; where reading stands is a value.

A block is up to 64 kB of one file, ended behind a line: what a tokenizer merges ends there,
whatever is read at once.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from drivers.text.files import Text, count_to_line_end, read_bytes
from drivers.text.tokenizer import Tokenizer

BLOCK = 2**16  # bytes


class Position(NamedTuple):
    """Where reading stands: behind ``token`` tokens of the block at address ``block``."""

    block: int = 0
    token: int = 0


class Read(NamedTuple):
    """Tokens, and where reading stands behind them."""

    tokens: Int32[np.ndarray, " N"]
    position: Position


def stream_tokens(
    text: Text,
    tokenizer: Tokenizer,
    count: int,
    start: Position | None = None,
    *,
    again: bool = False,
) -> Iterator[Read]:
    """Yield ``count`` tokens at a time, from a position on.

    again: start over at the end, for ever; else the last may be fewer.

    Raises:
        ValueError: the position is not of this text and tokenizer, ``count`` is less than 1, or
            a file has changed.
    """
    if count < 1:
        raise ValueError(f"stream_tokens: count must be >= 1, got {count}")
    position = start or Position()
    skip = position.token
    ready: list[np.ndarray] = []
    have = 0
    for block, data, ends in _iterate_blocks(text, position.block, again):
        tokens = _encode(tokenizer, data, ends)
        if skip > len(tokens):
            raise ValueError(
                f"{text.source}: {position} lies behind the {len(tokens)} tokens of its block; "
                "go on with the text and tokenizer that it was read with"
            )
        taken, skip = skip, 0
        while taken < len(tokens):
            part = tokens[taken : taken + count - have]
            ready.append(part)
            have, taken = have + len(part), taken + len(part)
            position = Position(block, taken)
            if have == count:
                yield Read(np.concatenate(ready), position)
                ready, have = [], 0
    if ready:
        yield Read(np.concatenate(ready), position)


def count_tokens(text: Text, tokenizer: Tokenizer) -> int:
    """Return the tokens of a whole text."""
    blocks = _iterate_blocks(text, 0, again=False)
    return sum(len(_encode(tokenizer, data, ends)) for _, data, ends in blocks)


def require_lossless(text: Text, tokenizer: Tokenizer) -> None:
    """Raise unless the tokens of a text tell all of it.

    Raises:
        ValueError: they decode to another one.
    """
    for _, data, _ in _iterate_blocks(text, 0, again=False):
        found = tokenizer.decode(tokenizer.encode(data))
        if found != data:
            same = next(k for k, (a, b) in enumerate(zip_longest(data, found)) if a != b)
            raise ValueError(
                f"{text.source}: the tokens of {_show(data, same)} decode to "
                f"{_show(found, same)}, and bits per byte of a text that tokens do not tell "
                "would be too low; take a tokenizer that keeps every character (World, or "
                'byte-level BPE with its decoder), or tokenizer="" for bytes'
            )


def _show(data: bytes, at: int) -> str:
    return repr(data[max(0, at - 8) : at + 12].decode(errors="replace"))


def _encode(tokenizer: Tokenizer, data: bytes, ends: bool) -> Int32[np.ndarray, " N"]:
    tokens = tokenizer.encode(data)
    if ends and tokenizer.end is not None:
        tokens = np.append(tokens, np.int32(tokenizer.end))
    return tokens


def _iterate_blocks(text: Text, address: int, again: bool) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (address, bytes, whether a file ends behind them) of blocks from an address on."""
    while True:
        while address < text.length:
            data, ends = read_bytes(text, address, BLOCK)
            if len(data) == BLOCK and not ends:
                data = data[: count_to_line_end(data)]
            yield address, data, ends
            address += len(data) + ends
        if not again:
            return
        address = 0
