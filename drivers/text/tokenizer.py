"""The tokenizer protocol, and two tokenizers: bytes, and files of Hugging Face."""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

from neuro.base.extras import require_extra


@runtime_checkable
class Tokenizer(Protocol):
    """Turns bytes into tokens and back.

    size: size of the vocabulary; every token is less. end: end-of-file token, or None.
    begin: the token before the first one of a text.
    """

    @property
    def size(self) -> int: ...  # noqa: D102

    @property
    def end(self) -> int | None: ...  # noqa: D102

    @property
    def begin(self) -> int: ...  # noqa: D102

    def encode(self, data: bytes) -> Int32[np.ndarray, " N"]:
        """Return the tokens of a stretch of text."""
        ...

    def decode(self, tokens: Sequence[int] | np.ndarray) -> bytes:
        """Return the bytes of tokens; the end-of-file token has none."""
        ...

    def follow(self, before: Sequence[int]) -> Callable[[int], bytes]:
        """Return a function that decodes one token at a time, after the tokens ``before``."""
        ...


class Bytes:
    """Every byte is a token: 256 in total. Text has no NUL, so 0 is the end of a file.

    >>> Bytes().encode("né".encode())
    array([110, 195, 169], dtype=int32)
    """

    size = 256
    begin = end = 0

    def encode(self, data: bytes) -> Int32[np.ndarray, " N"]:
        """Return the bytes as integers."""
        return np.frombuffer(data, np.uint8).astype(np.int32)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> bytes:
        """Return the bytes of tokens, without ends of files.

        Raises:
            ValueError: a token is not in the vocabulary.
        """
        values = np.asarray(tokens, np.int64)
        require_tokens(values, self.size)
        return bytes(values[values != self.end].astype(np.uint8))

    def follow(self, before: Sequence[int]) -> Callable[[int], bytes]:  # noqa: ARG002
        """Return a function that decodes one token at a time."""
        return lambda token: self.decode([token])


class HuggingFace:
    """A tokenizer from a ``tokenizer.json``, run by the library ``tokenizers``.

    Ignores truncation and padding in the file. If a text spells a special token, or the end,
    its characters become separate tokens. Numbers below ``size`` without a token decode to
    nothing.

    Args:
        path: the file.
        end: the text of its end-of-file token, such as ``</s>``; None: there is none.
        begin: the text of the token that begins a text, such as ``<s>``; None: that which ends
            one, or token 0.

    Raises:
        RuntimeError: the library is not installed.
        ValueError: the file is not a tokenizer, or has no token ``end`` or ``begin``.
    """

    def __init__(self, path: Path, end: str | None = None, begin: str | None = None) -> None:
        with require_extra("language", f"{path} needs the library tokenizers"):
            self._library: Any = import_module("tokenizers")
        try:
            self._tokenizer = self._library.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise ValueError(
                f"{path}: no tokenizer: {error}; give the tokenizer.json of a model"
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self.size: int = 1 + max(self._tokenizer.get_vocab().values(), default=-1)
        ids = {name: self._tokenizer.token_to_id(name) for name in (end, begin) if name}
        if missing := [name for name, own in ids.items() if own is None]:
            raise ValueError(
                f"{path}: has no token {' and no '.join(map(repr, missing))}; give those that "
                "end and begin a text, or None"
            )
        self.end: int | None = ids.get(end or "")
        self.begin: int = ids.get(begin or "", self.end or 0)
        added = self._tokenizer.get_added_tokens_decoder()
        self._reserved = {k: token.content for k, token in added.items() if token.special}
        if end is not None and self.end is not None:
            self._reserved[self.end] = end
        self._path = path

    def encode(self, data: bytes) -> Int32[np.ndarray, " N"]:
        """Return the tokens of UTF-8, without those that a model adds around a text.

        Raises:
            ValueError: the bytes are not UTF-8, or spell the end-of-file token.
        """
        text = data.decode()
        out = _encode(self._tokenizer, text)
        if np.isin(out, list(self._reserved)).any():
            out = _encode(self._apart, text)
        if self.end is not None and (out == self.end).any():
            raise ValueError(
                f"{self._path}: a text spells {self._reserved[self.end]!r}, which this "
                "tokenizer takes for the end of a file, also in the middle; remove it from the "
                "text, or take another tokenizer"
            )
        return out

    @cached_property
    def _apart(self) -> Any:
        """The tokenizer with a cut around the first character of each spelled special token.

        Without it, models with special tokens in their vocabulary (Unigram, words) match them.
        """
        out = self._library.Tokenizer.from_str(self._tokenizer.to_str())
        out.encode_special_tokens = True
        spelled = [s for s in self._reserved.values() if len(s) > 1]
        first = "|".join(f"{re.escape(s[0])}(?={re.escape(s[1:])})" for s in spelled)
        parts = self._library.pre_tokenizers
        cut = parts.Split(self._library.Regex(first), "isolated")
        before = [] if out.pre_tokenizer is None else [out.pre_tokenizer]
        out.pre_tokenizer = parts.Sequence([*before, cut])
        return out

    def decode(self, tokens: Sequence[int] | np.ndarray) -> bytes:
        """Return the text of tokens in UTF-8, without the end of a file.

        Raises:
            ValueError: a token is not in the vocabulary.
        """
        values = np.asarray(tokens, np.int64)
        require_tokens(values, self.size)
        kept = [int(t) for t in values if t != self.end]
        text: str = self._tokenizer.decode(kept, skip_special_tokens=False)
        return text.encode()

    def follow(self, before: Sequence[int]) -> Callable[[int], bytes]:
        """Return a function that decodes one token at a time to UTF-8.

        A character of several tokens is returned with the last one. Whether a token begins with
        a space depends on the tokens before it.
        """
        stream = self._library.decoders.DecodeStream(skip_special_tokens=False)

        def step(token: int) -> bytes:
            text: str | None = stream.step(self._tokenizer, token)
            return (text or "").encode()

        for token in before:
            step(token)
        return step


def _encode(tokenizer: Any, text: str) -> Int32[np.ndarray, " N"]:
    return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int32)


def require_tokens(tokens: np.ndarray, size: int) -> None:
    """Raise unless all tokens belong to a vocabulary of this size."""
    wrong = tokens[(tokens < 0) | (tokens >= size)]
    if len(wrong):
        raise ValueError(
            f"{len(wrong)} tokens are not in this vocabulary of {size}, such as {wrong[0]}; "
            "decode with the tokenizer of the model"
        )
