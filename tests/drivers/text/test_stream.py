from itertools import islice

import numpy as np
import pytest
from hypothesis import given, strategies as st

from drivers.text import (
    Bytes,
    Position,
    WorldTokenizer,
    load,
    stream as streams,
    stream_tokens,
)
from drivers.text.files import Text

PLAIN = {bytes([b]): b + 1 for b in range(256)}
WORLD = WorldTokenizer(
    PLAIN | {b"line": 257, b"line 1": 258, b"\n": 259, b"\nl": 260, b"e 11": 261}
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Text:
    folder = tmp_path_factory.mktemp("text")
    (folder / "a.txt").write_bytes(b"".join(b"line %d\n" % k for k in range(150)))
    (folder / "b.txt").write_bytes(b"x" * 700)
    (folder / "c.txt").write_bytes("é".encode() * 123)
    return load(folder)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BLOCK", 99)


@pytest.mark.parametrize("tokenizer", [Bytes(), WORLD])
@pytest.mark.parametrize("count", [7, 98, 5000])
def test_tokens_of_a_whole_text_are_its_bytes(
    text: Text, tokenizer: Bytes | WorldTokenizer, count: int
) -> None:
    reads = list(stream_tokens(text, tokenizer, count))
    assert all(len(r.tokens) == count for r in reads[:-1])
    tokens = np.concatenate([r.tokens for r in reads])
    whole = b"".join(s.path.read_bytes() for s in text.stretches)
    assert tokenizer.decode(tokens) == whole
    assert np.count_nonzero(tokens == tokenizer.end) == 3


@given(count=st.integers(1, 300), many=st.integers(1, 30), more=st.integers(1, 300))
def test_reading_goes_on_from_any_position(
    text: Text, count: int, many: int, more: int
) -> None:
    *_, (_, position) = islice(stream_tokens(text, WORLD, count, again=True), many)
    rest, ahead = (
        np.concatenate([r.tokens for r in islice(reads, number)])
        for reads, number in (
            (stream_tokens(text, WORLD, more, position, again=True), 3),
            (stream_tokens(text, WORLD, count, again=True), many + 3 * more // count + 1),
        )
    )
    assert np.array_equal(rest, ahead[many * count : many * count + 3 * more])


def test_a_byte_has_a_position_of_its_own(text: Text) -> None:
    (tokens, position) = next(stream_tokens(text, Bytes(), 4, Position(block=5)))
    assert bytes(tokens.astype(np.uint8)) == b"0\nli"
    again = next(stream_tokens(text, Bytes(), 3, position)).tokens
    assert bytes(again.astype(np.uint8)) == b"ne "


def test_what_is_no_position_of_the_text_is_refused(text: Text) -> None:
    with pytest.raises(ValueError, match=r"is after the 9[0-9] tokens"):
        next(stream_tokens(text, Bytes(), 4, Position(0, 101)))
    with pytest.raises(ValueError, match="count must be >= 1, got 0"):
        next(stream_tokens(text, Bytes(), 0))
