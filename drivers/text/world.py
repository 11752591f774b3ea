"""RWKV's World tokenizer over bytes: at each position it takes the longest matching token.

The vocabulary is a text file with a token per line, ``id literal length``: a number from 1, the
token as a Python literal (str or bytes), and its length in bytes. Id 0 ends a text. (Published
with the models of Peng et al. 2024, arXiv 2404.05892, as ``rwkv_vocab_v20230424.txt``.)
A trie holds the tokens; its edges are in a hash table.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from drivers.text.tokenizer import require_tokens
from neuro.ops.jit import inlined, kernel

EMPTY = -1
MAX_NODES = 2**23  # times 256, this fits in the 32 bits of an edge's key
CURE = "fetch rwkv_vocab_v20230424.txt again"


class WorldTokenizer:
    """A vocabulary of byte strings for greedy matching; it has all 256 single bytes.

    >>> plain = {bytes([b]): b + 1 for b in range(256)}
    >>> world = WorldTokenizer(plain | {b"ab": 257, b"abc": 258})
    >>> world.encode(b"abcabd").tolist(), world.decode([258, 257, 101])
    ([258, 257, 101], b'abcabd')

    Args:
        tokens: ids by bytes; ids are >= 1, 0 is the end of a file.

    Raises:
        ValueError: an id is out of range or occurs twice, a token is empty, or a single byte is
            missing.
    """

    begin = end = 0

    def __init__(self, tokens: Mapping[bytes, int]) -> None:
        missing = [b for b in range(256) if bytes([b]) not in tokens]
        ids = np.array(list(tokens.values()), np.int64)
        if missing or ids.min() < 1 or ids.max() >= 2**31 or b"" in tokens:
            raise ValueError(
                f"World: lacks {len(missing)} of the 256 single bytes, has an empty token, or "
                f"ids out of 1..{2**31 - 1} (found {ids.min() if len(ids) else 'none'} to "
                f"{ids.max() if len(ids) else 'none'}); {CURE}"
            )
        if len(set(ids.tolist())) < len(ids):
            raise ValueError(f"World: two tokens have the same id; {CURE}")
        self.size = int(ids.max()) + 1
        self._bytes: dict[int, bytes] = {int(i): t for t, i in tokens.items()}
        flat = np.frombuffer(b"".join(tokens), np.uint8)
        ends = np.cumsum([len(t) for t in tokens])
        if len(flat) >= MAX_NODES:
            raise ValueError(
                f"World: tokens of {len(flat):,} bytes, more than {MAX_NODES:,}; {CURE}"
            )
        slots = 1 << int(2 * len(flat) + 1).bit_length()  # at most half full
        self._edges = np.full((slots, 2), EMPTY, np.int32)
        self._ids = np.zeros(len(flat) + 1, np.int32)
        _insert(flat, ends, ids.astype(np.int32), self._edges, self._ids)

    def encode(self, data: bytes) -> Int32[np.ndarray, " N"]:
        """Return the tokens of any bytes."""
        source = np.frombuffer(data, np.uint8)
        out = np.empty(len(source), np.int32)
        return out[: _encode(source, self._edges, self._ids, out)].copy()

    def decode(self, tokens: Sequence[int] | np.ndarray) -> bytes:
        """Return the bytes of tokens, without ends of files.

        Raises:
            ValueError: a token is not in the vocabulary.
        """
        values = np.asarray(tokens, np.int64)
        require_tokens(values, self.size)
        values = values[values != self.end]
        try:
            return b"".join([self._bytes[i] for i in values.tolist()])
        except KeyError as error:
            raise ValueError(
                f"the vocabulary has no token {error}; decode with the tokenizer of the model"
            ) from error

    def follow(self, before: Sequence[int]) -> Callable[[int], bytes]:  # noqa: ARG002
        """Return a function that decodes one token at a time."""
        return lambda token: self.decode([token])


def load_world(path: str | Path) -> WorldTokenizer:
    """Return the tokenizer of a vocabulary file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged; the message names the line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: no text ({error}); {CURE}") from error
    tokens: dict[bytes, int] = {}
    for number, line in enumerate(lines, 1):
        if not line and number == len(lines):
            break
        token, token_id = _parse(path, number, line)
        if token in tokens:
            raise ValueError(f"{path} line {number}: {token!r} occurs twice; {CURE}")
        tokens[token] = token_id
    try:
        return WorldTokenizer(tokens)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parse(path: Path, number: int, line: str) -> tuple[bytes, int]:
    """Return token and id of a line."""
    token_id, _, rest = line.partition(" ")
    literal, _, length = rest.rpartition(" ")
    try:
        value = ast.literal_eval(literal)
        token = value.encode() if isinstance(value, str) else bytes(memoryview(value))
        if not (token_id.isdecimal() and length.isdecimal() and len(token) == int(length)):
            raise ValueError(f"{len(token)} bytes instead of {length}")
        return token, int(token_id)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(
            f"{path} line {number}: {line[:60]!r} is no `id literal length` ({error}); {CURE}"
        ) from error


@inlined
def _find_slot(edges: np.ndarray, key: np.int64) -> int:
    """Return the slot of an edge's key, or the empty one where it belongs."""
    mask = len(edges) - 1
    slot = int(((key * 0x9E3779B1) >> 8) & mask)
    while edges[slot, 0] != key and edges[slot, 0] != EMPTY:
        slot = (slot + 1) & mask
    return slot


@kernel
def _insert(
    flat: np.ndarray, ends: np.ndarray, ids: np.ndarray, edges: np.ndarray, node_ids: np.ndarray
) -> None:
    """Fill the trie: an edge is (node * 256 + byte, next node); ids by node, 0: no token."""
    nodes, start = 1, 0
    for token in range(len(ends)):
        node = 0
        for k in range(start, ends[token]):
            key = node * 256 + np.int64(flat[k])
            slot = _find_slot(edges, key)
            if edges[slot, 0] == EMPTY:
                edges[slot, 0], edges[slot, 1] = key, nodes
                nodes += 1
            node = edges[slot, 1]
        node_ids[node] = ids[token]
        start = ends[token]


@kernel
def _encode(
    source: np.ndarray, edges: np.ndarray, node_ids: np.ndarray, out: np.ndarray
) -> int:
    """Write the tokens of ``source`` into ``out``; return their number."""
    at, count = 0, 0
    while at < len(source):
        node, here, found, stop = np.int64(0), at, np.int32(0), at
        while here < len(source):
            key = node * 256 + np.int64(source[here])
            slot = _find_slot(edges, key)
            if edges[slot, 0] == EMPTY:
                break
            node = np.int64(edges[slot, 1])
            here += 1
            if node_ids[node]:
                found, stop = node_ids[node], here
        out[count] = found
        count += 1
        at = stop
    return count
