"""Stream the tokens of a text from disk, block by block; the reading position is a value.

A block is up to 64 kB of one file and ends after a line, so that a tokenizer's merges do not
depend on how many tokens are read at once.
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
    """A reading position: after ``token`` tokens of the block at address ``block``."""

    block: int = 0
    token: int = 0


class Read(NamedTuple):
    """Tokens, and the reading position after them."""

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

    again: start over at the end, forever; otherwise the last yield may have fewer tokens.

    Raises:
        ValueError: the position does not belong to this text and tokenizer, ``count`` is < 1,
            or a file has changed.
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
                f"{text.source}: {position} is after the {len(tokens)} tokens of its block; "
                "continue with the text and tokenizer of the position"
            )
        first, skip = skip, 0
        while first < len(tokens):
            part = tokens[first : first + count - have]
            ready.append(part)
            have, first = have + len(part), first + len(part)
            position = Position(block, first)
            if have == count:
                yield Read(np.concatenate(ready), position)
                ready, have = [], 0
    if ready:
        yield Read(np.concatenate(ready), position)


def require_lossless(text: Text, tokenizer: Tokenizer) -> None:
    """Check that the tokens of a text decode to the same text.

    Raises:
        ValueError: the tokens decode to another text.
    """
    for _, data, _ in _iterate_blocks(text, 0, again=False):
        decoded = tokenizer.decode(tokenizer.encode(data))
        if decoded != data:
            same = next(k for k, (a, b) in enumerate(zip_longest(data, decoded)) if a != b)
            raise ValueError(
                f"{text.source}: the tokens of {_show(data, same)} decode to "
                f"{_show(decoded, same)}, which would make bits per byte too low; use a "
                "tokenizer that keeps every character (World, or byte-level BPE with its "
                'decoder), or tokenizer="" for bytes'
            )


def _show(data: bytes, at: int) -> str:
    return repr(data[max(0, at - 8) : at + 12].decode(errors="replace"))


def _encode(tokenizer: Tokenizer, data: bytes, ends: bool) -> Int32[np.ndarray, " N"]:
    tokens = tokenizer.encode(data)
    if ends and tokenizer.end is not None:
        tokens = np.append(tokens, np.int32(tokenizer.end))
    return tokens


def _iterate_blocks(text: Text, address: int, again: bool) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (address, bytes, whether a file ends after them) of blocks from an address on."""
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
