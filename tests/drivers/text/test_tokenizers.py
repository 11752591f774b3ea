from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from drivers.text import Bytes, HuggingFace, WorldTokenizer, load, load_world, require_lossless

PLAIN = {bytes([b]): b + 1 for b in range(256)}
few = st.text("abc", max_size=40).map(str.encode)


def match_greedily(data: bytes, tokens: dict[bytes, int]) -> list[int]:
    """Return the tokens by the definition: the longest that fits, again and again."""
    out = []
    while data:
        size = max(n for n in range(1, len(data) + 1) if data[:n] in tokens)
        out.append(tokens[data[:size]])
        data = data[size:]
    return out


@given(data=few | st.binary(max_size=40), words=st.sets(few, max_size=20))
def test_world_takes_the_longest_token_at_each_place(data: bytes, words: set[bytes]) -> None:
    more = sorted(w for w in words if len(w) > 1)
    tokens = PLAIN | {w: 300 + 2 * k for k, w in enumerate(more)}
    world = WorldTokenizer(tokens)
    found = world.encode(data)
    assert found.tolist() == match_greedily(data, tokens)
    assert world.decode(found) == data
    assert world.size == max(tokens.values()) + 1


@settings(max_examples=20)
@given(data=st.binary())
def test_bytes_are_their_own_tokens(data: bytes) -> None:
    assert Bytes().encode(data).tolist() == list(data)
    assert Bytes().decode(list(data)) == data.replace(b"\0", b"")


def test_the_end_of_a_file_stands_for_no_byte() -> None:
    assert Bytes().decode([65, 0, 66]) == b"AB"
    assert WorldTokenizer(PLAIN).decode([66, 0, 67]) == b"AB"


def test_tokens_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="not in this vocabulary of 256, such as 256"):
        Bytes().decode([3, 256])
    with pytest.raises(ValueError, match="such as -1"):
        Bytes().decode([-1])
    with pytest.raises(ValueError, match="no token 300"):
        WorldTokenizer(PLAIN | {b"ab": 301}).decode([300])


def write_vocabulary(path: Path, tokens: dict[bytes, int]) -> Path:
    lines = []
    for token, own in tokens.items():
        try:
            literal = repr(token.decode())
        except UnicodeDecodeError:
            literal = repr(token)
        lines.append(f"{own} {literal} {len(token)}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_a_vocabulary_file_holds_strings_and_bytes(tmp_path: Path) -> None:
    tokens = PLAIN | {"né 'x' \" 1".encode(): 257, b"\xff\xfe 2": 258, b" \n ": 300}
    world = load_world(write_vocabulary(tmp_path / "vocab.txt", tokens))
    assert world.encode(b"\xff\xfe 2 \n " + "né 'x' \" 1".encode()).tolist() == [258, 300, 257]
    assert world.size == 301


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("66 'A' 1", "66 'A' 2", "line 66: .*1 bytes instead of 2"),
        ("66 'A' 1", "66 'B' 1", "line 67: b'B' occurs twice"),
        ("66 'A' 1", "67 'A' 1", "two tokens have the same id"),
        ("66 'A' 1\n", "", "lacks 1 of the 256 single bytes"),
        ("66 'A' 1", "-1 'A' 1", "line 66: .* is no `id literal length`"),
        ("66 'A' 1", "0 'A' 1", r"ids out of 1\.\."),
        ("66 'A' 1", "66 65 1", "line 66"),
        ("66 'A' 1", "66 A 1", "line 66"),
        ("66 'A' 1", "66 'A 1", "line 66"),
        ("66 'A' 1", "66 'A' 1\n\n", "line 67"),
        ("66 'A' 1", "66 'A' 1\n400 '' 0", "an empty token"),
    ],
)
def test_a_damaged_vocabulary_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = write_vocabulary(tmp_path / "vocab.txt", PLAIN)
    whole = path.read_text(encoding="utf-8")
    assert old in whole
    path.write_text(whole.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=f"vocab.txt.*{told}.*again"):
        load_world(path)


def test_a_tokenizer_of_hugging_face_reads_its_file(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    vocab = {"<s>": 0, "a": 1, "b": 2, "ab": 3, "é": 4}
    made = library.Tokenizer(library.models.BPE(vocab, [("a", "b")]))
    made.decoder = library.decoders.Fuse()
    made.save(str(tmp_path / "tokenizer.json"))
    found = HuggingFace(tmp_path / "tokenizer.json", end="<s>")
    assert (found.size, found.end) == (5, 0)
    assert found.encode("abbaé".encode()).tolist() == [3, 2, 1, 4]
    assert found.decode(np.array([3, 0, 4])) == "abé".encode()
    with pytest.raises(ValueError, match="no token '</s>'"):
        HuggingFace(tmp_path / "tokenizer.json", end="</s>")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="no tokenizer"):
        HuggingFace(tmp_path / "tokenizer.json")


def make_words(path: Path, decoder: str) -> Path:
    """Write a tokenizer.json of bytes, whose words may begin with a space."""
    library = pytest.importorskip("tokenizers")
    special = ["<unk>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    made = library.Tokenizer(library.models.BPE(unk_token="<unk>", byte_fallback=True))
    made.pre_tokenizer = library.pre_tokenizers.Metaspace()
    parts = library.decoders
    made.decoder = parts.Sequence(
        [parts.Replace("▁", " "), parts.ByteFallback(), parts.Fuse(), parts.Strip(" ", 1, 0)]
    )
    if decoder == "bytes":
        made = library.Tokenizer(library.models.BPE())
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder, special = parts.ByteLevel(), ["</s>"]
    alphabet = library.pre_tokenizers.ByteLevel.alphabet() if decoder == "bytes" else []
    trainer = library.trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(["The quick brown fox jumps over the lazy dog."] * 5, trainer)
    made.save(str(path))
    return path


@pytest.mark.parametrize("decoder", ["spaces", "bytes"])
def test_tokens_one_by_one_are_the_text_of_all(tmp_path: Path, decoder: str) -> None:
    found = HuggingFace(make_words(tmp_path / "tokenizer.json", decoder), end="</s>")
    text = "The quick brown fox jumps over größe 日本 ok".encode()
    tokens = found.encode(text).tolist()
    assert found.decode(tokens) == text
    for cut in range(len(tokens)):
        before = found.decode(tokens[:cut])
        if "�" in before.decode():
            continue  # in the middle of a character
        step = found.follow(tokens[:cut])
        assert before + b"".join(map(step, tokens[cut:])) == text


def test_bytes_and_world_go_on_byte_by_byte() -> None:
    for tokenizer in (Bytes(), WorldTokenizer(PLAIN | {b"ab": 301})):
        data = b"abc\xff"
        step = tokenizer.follow([])
        assert b"".join(step(t) for t in tokenizer.encode(data).tolist()) == data


def test_tokens_that_do_not_tell_their_text_are_refused(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    (path := tmp_path / "text.txt").write_bytes(b"The quick brown fox\n" * 3)
    plain = HuggingFace(make_words(tmp_path / "tokenizer.json", "bytes"), end="</s>")
    for tokenizer in (Bytes(), plain):
        require_lossless(load(path), tokenizer)
    small = library.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    small.normalizer = library.normalizers.Lowercase()
    small.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"'The quick br' decode to 'the quick br'.*too low"):
        require_lossless(load(path), HuggingFace(tmp_path / "tokenizer.json", end="</s>"))


def test_truncation_and_padding_of_a_file_do_not_apply(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    path = make_words(tmp_path / "tokenizer.json", "bytes")
    want = HuggingFace(path).encode(b"The quick brown fox " * 40)
    cut = library.Tokenizer.from_file(str(path))
    cut.enable_truncation(16)
    cut.enable_padding(length=512)
    cut.save(str(path))
    assert HuggingFace(path).encode(b"The quick brown fox " * 40).tolist() == want.tolist()


def test_a_text_that_spells_a_special_token_does_not_end(tmp_path: Path) -> None:
    found = HuggingFace(make_words(tmp_path / "tokenizer.json", "bytes"), end="</s>")
    tokens = found.encode(b"say </s> twice")
    assert found.end not in tokens
    assert found.decode(tokens) == b"say </s> twice"


SPELLED = ["<pad>", "</s>", "<unk>"]


def make_model(kind: str, words: list[str]) -> Any:
    """Return a tokenizer of special tokens and words, whose ids are their places."""
    library = pytest.importorskip("tokenizers")
    models, parts = library.models, library.pre_tokenizers
    ids = {word: k for k, word in enumerate([*SPELLED, *words])}
    if kind == "unigram":  # T5, XLM-R
        made = library.Tokenizer(models.Unigram([(w, -1.0) for w in ids], unk_id=2))
        made.pre_tokenizer, made.decoder = parts.Metaspace(), library.decoders.Metaspace()
    elif kind == "words":
        made = library.Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
        made.pre_tokenizer = parts.WhitespaceSplit()
    elif kind == "pieces":
        made = library.Tokenizer(models.WordPiece(ids, unk_token="<unk>"))
        made.pre_tokenizer, made.decoder = parts.WhitespaceSplit(), library.decoders.WordPiece()
    else:
        made = library.Tokenizer(models.BPE(ids, [], ignore_merges=True))
        made.decoder = library.decoders.Fuse()
    return made


@pytest.mark.parametrize(
    ("kind", "words", "tokens"),
    [
        ("unigram", ["▁", "▁say", *"</s>"], ["▁say", "▁", *"</s>", "▁", *"</s>", *"</s>"]),
        ("words", ["say", "<", "/s>"], ["say", "<", "/s>", "<", "/s>", "<", "/s>"]),
        ("pieces", ["say", *"<", "/s>"], ["say", "<", "/s>", "<", "/s>", "<", "/s>"]),
    ],
)
@pytest.mark.parametrize("special", [True, False])
def test_a_text_that_spells_the_end_is_told_apart_from_it(
    tmp_path: Path, kind: str, words: list[str], tokens: list[str], special: bool
) -> None:
    made = make_model(kind, words)
    if special:
        made.add_special_tokens(SPELLED)
    made.save(str(tmp_path / "tokenizer.json"))
    found = HuggingFace(tmp_path / "tokenizer.json", end="</s>")
    ids = found.encode(b"say </s> </s></s>")
    assert [made.id_to_token(k) for k in ids] == tokens
    assert found.encode(b"say").tolist() == [made.token_to_id(tokens[0])]
    if kind == "unigram":
        assert found.decode(ids) == b"say </s> </s></s>"


def test_a_whole_pretoken_that_spells_the_end_is_told_apart_from_it(tmp_path: Path) -> None:
    made = make_model("bpe", list("</s>"))
    made.save(str(tmp_path / "tokenizer.json"))
    found = HuggingFace(tmp_path / "tokenizer.json", end="</s>")
    assert [made.id_to_token(k) for k in found.encode(b"</s>")] == list("</s>")


def test_an_end_that_any_text_may_spell_is_refused(tmp_path: Path) -> None:
    made = make_model("unigram", ["▁", "a", "|"])
    made.save(str(tmp_path / "tokenizer.json"))
    found = HuggingFace(tmp_path / "tokenizer.json", end="|")
    assert found.encode(b"a").tolist() == [3, 4]
    with pytest.raises(ValueError, match=r"r.json: a text spells '\|', which .* remove"):
        found.encode(b"a|a")
    made.add_tokens(["</s>"])  # which takes it out of a text before anything splits
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="a text spells '</s>'"):
        HuggingFace(tmp_path / "tokenizer.json", end="</s>").encode(b"a</s>")


def test_ids_with_gaps_are_all_below_the_size(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer(library.models.WordLevel({"a": 0, "b": 7}, unk_token="a"))
    made.decoder = library.decoders.Fuse()
    made.save(str(tmp_path / "tokenizer.json"))
    found = HuggingFace(tmp_path / "tokenizer.json")
    assert (found.size, found.encode(b"b").tolist()) == (8, [7])
    assert found.decode([7, 3, 0]) == b"ba"
    with pytest.raises(ValueError, match="vocabulary of 8, such as 8"):
        found.decode([8])


def test_without_its_library_the_cure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(RuntimeError, match=r"pip install -e '\.\[language\]'"):
        HuggingFace(tmp_path / "tokenizer.json")


@pytest.mark.slow
def test_the_published_vocabulary_agrees_with_its_own_tokenizer() -> None:
    package = Path(pytest.importorskip("rwkv").__file__).parent
    theirs = pytest.importorskip("rwkv.rwkv_tokenizer")
    path = package / "rwkv_vocab_v20230424.txt"
    world, peer = load_world(path), theirs.TRIE_TOKENIZER(str(path))
    assert world.size == 65530
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, 20_000, np.uint8).tobytes()
    for data in (Path(__file__).read_bytes(), "The quick 棕色狐狸 naïve".encode(), noise):
        assert world.encode(data).tolist() == peer.encodeBytes(data)
