import json
import tracemalloc
from pathlib import Path

import pytest
from corpus_files import NAMES, PILE_NAMES, write_corpus_folders, write_pile

from drivers.text import Corpus, Document, corpora, read_folders, read_pile
from neuro.io.store import StoreError


def test_a_folder_is_a_corpus_and_a_file_or_a_line_a_document(tmp_path: Path) -> None:
    corpora = read_folders(write_corpus_folders(tmp_path, each=3))
    assert tuple(corpus.name for corpus in corpora) == NAMES
    assert [len(corpus.documents) for corpus in corpora] == [3] * 5
    fable, letter = corpora[0].documents[1], corpora[1].documents[2]
    path = tmp_path / "fables" / "001.txt"
    assert fable == Document(text=path.read_text(), place=str(path), licence="MIT")
    assert letter.place == f"{tmp_path / 'letters' / 'all.jsonl'}:3"
    assert (corpora[0].licences, corpora[1].licences) == (("MIT",), ("CC0-1.0",))


@pytest.mark.parametrize("name", ["LICENCE", "licence.txt", "LICENSE.txt", "license"])
def test_a_licence_stands_in_the_folder_or_in_the_line(tmp_path: Path, name: str) -> None:
    write_corpus_folders(tmp_path, ["one"], each=1)
    (tmp_path / "one" / "LICENCE").unlink()
    assert read_folders(tmp_path)[0].licences == ("",)
    (tmp_path / "one" / name).write_text("\n  GPL-2.0 \nand more")
    lines = ['{"text": "a b"}', "", '{"text": "c\u2028d", "license": " CC0 "}']
    (tmp_path / "one" / "more.jsonl").write_text("\n".join(lines))
    (corpus,) = read_folders(tmp_path)
    assert [d.licence for d in corpus.documents] == ["GPL-2.0", "GPL-2.0", "CC0"]
    assert corpus.licences == ("CC0", "GPL-2.0")
    assert corpus.documents[2].text == "c\u2028d"  # no end of a line of .jsonl
    assert corpus.documents[2].place.endswith("more.jsonl:3")


def test_what_is_no_document_does_not_count(tmp_path: Path) -> None:
    write_corpus_folders(tmp_path, ["one"], each=2)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("beside")
    (tmp_path / "one" / ".x.txt").write_text("hidden")
    (tmp_path / "one" / "x.md").write_text("of another kind")
    (corpus,) = read_folders(tmp_path)
    assert len(corpus.documents) == 2


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    write_corpus_folders(tmp_path, ["one", "two"], each=2)
    (tmp_path / "none").mkdir()
    one = tmp_path / "one"
    (one / "bad.txt").write_bytes(b"caf\xe9 x")
    (one / "binary.txt").write_bytes(b"ab\0")
    (one / "empty.txt").write_text(" \n")
    (one / "licence.txt").write_text("CC0")
    (one / "same.txt").write_text((one / "000.txt").read_text().replace(" ", "  \n"))
    lines = [
        b'{"text": 3}',
        b"[]",
        b'{"text": "\\ud800x"}',
        b'{"text": "y", "licence": ""}',
        b'{"text": "\xff"}',
        json.dumps({"text": (one / "001.txt").read_text()}).encode(),
    ]
    (tmp_path / "two" / "b.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "two" / "c.jsonl").write_bytes(b'{"text": NaN}\n')
    with pytest.raises(StoreError) as told:
        read_folders(tmp_path)
    problems = str(told.value).splitlines()
    two = tmp_path / "two"
    assert problems == [
        f"{tmp_path}: refused as corpora:",
        f"{one}: 2 files of its licence; leave one",
        f"{one}/bad.txt: no UTF-8: invalid continuation byte at offset 3",
        f"{one}/binary.txt: a NUL at character 2, so it is no text",
        f"{one}/empty.txt: empty",
        f"{two}/b.jsonl:5: no UTF-8: invalid start byte at offset 10",
        f'{two}/b.jsonl:1: no {{"text": ...}} with a text',
        f'{two}/b.jsonl:2: no {{"text": ...}} with a text',
        f"{two}/b.jsonl:3: half a surrogate pair at character 0",
        f'{two}/b.jsonl:4: "licence" is one text that is not empty',
        f"{two}/c.jsonl: line 1: cannot be read as JSON (NaN is no number of JSON)",
        "none: no document",
        f"{one}/same.txt of one: the same words as {one}/000.txt of one",
        "and 1 more",
        problems[-1],
    ]
    assert "remove, convert or complete" in problems[-1]


def test_a_document_in_two_corpora_is_told(tmp_path: Path) -> None:
    write_corpus_folders(tmp_path, ["one", "two"], each=2)
    (tmp_path / "two" / "x.txt").write_text((tmp_path / "one" / "001.txt").read_text())
    where = f"two/x.txt of two: the same words as {tmp_path}/one/001.txt of one"
    with pytest.raises(StoreError, match=where):
        read_folders(tmp_path)


def test_no_folder_and_no_corpus_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no folder; found .* expected"):
        read_folders(tmp_path / "none")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(StoreError, match=r"no corpus in it; found a\.txt"):
        read_folders(tmp_path)


def test_the_name_of_a_part_of_the_pile_is_a_corpus(tmp_path: Path) -> None:
    path = write_pile(tmp_path / "val" / "00.jsonl", each=3)
    corpora = read_pile(path)
    assert tuple(corpus.name for corpus in corpora) == PILE_NAMES
    assert corpora[1].documents[0].place == f"{path}:2"
    first = json.loads(path.read_text().splitlines()[1])["text"]
    assert corpora[1].documents[0].text == first
    assert read_pile(tmp_path) == corpora  # of a folder: all files in it
    some = read_pile(path, ("Github", "Enron Emails"), most=2)
    assert [(c.name, len(c.documents)) for c in some] == [("Github", 2), ("Enron Emails", 2)]
    assert some[0].documents == corpora[1].documents[:2]


def test_reading_the_pile_ends_when_there_is_enough(tmp_path: Path) -> None:
    path = write_pile(tmp_path / "a.jsonl", each=3)
    path.write_text(path.read_text() + "no JSON\n")
    assert len(read_pile(path, PILE_NAMES, most=3)) == 4
    with pytest.raises(StoreError, match=r"a\.jsonl: line 13: cannot be read as JSON"):
        read_pile(path, PILE_NAMES, most=4)


def test_the_pile_repeats_parts_and_copies_are_counted(tmp_path: Path) -> None:
    path = write_pile(tmp_path / "a.jsonl", each=3)
    path.write_text(path.read_text() + path.read_text().splitlines()[4] + "\n")
    assert [corpus.copies for corpus in read_pile(path)] == [1, 0, 0, 0]
    other = path.read_text().splitlines()[4].replace("Enron Emails", "Github")
    path.write_text(path.read_text() + other + "\n")
    with pytest.raises(StoreError, match=r"a\.jsonl:14 of Github: the same words as"):
        read_pile(path)


def test_a_corpus_that_the_pile_lacks_is_told_with_those_that_it_has(tmp_path: Path) -> None:
    path = write_pile(tmp_path / "a.jsonl", each=1)
    with pytest.raises(StoreError, match=r"(?s)have Enron Emails, Pub.* besides.*Books: no d"):
        read_pile(path, ("Books", "Github"))
    path.write_text('{"text": "x", "meta": {}}\n')
    with pytest.raises(StoreError, match=r'a\.jsonl:1: no "meta".*\n.*no corpus'):
        read_pile(path)
    with pytest.raises(FileNotFoundError, match=r"no file of the Pile; found a\.jsonl"):
        read_pile(tmp_path / "b.jsonl")


def test_a_packed_file_holds_the_same(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = write_pile(tmp_path / "a.jsonl", each=3)
    data, packed = path.read_bytes(), tmp_path / "a.jsonl.zst"
    pack = zstandard.ZstdCompressor().compress
    packed.write_bytes(pack(data[:100]) + pack(data[100:]))  # two frames
    read = [[d.text for d in corpus.documents] for corpus in read_pile(packed)]
    assert read == [[d.text for d in corpus.documents] for corpus in read_pile(path)]
    packed.write_bytes(pack(data)[:-9])
    with pytest.raises(StoreError, match=r"a\.jsonl\.zst: not readable: cut off"):
        read_pile(packed)
    packed.write_bytes(b"no zstd" * 9)
    with pytest.raises(StoreError, match=r"a\.jsonl\.zst: not readable: not packed by zstd"):
        read_pile(packed)


def test_a_packed_file_without_the_library_is_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    (tmp_path / "a.jsonl.zst").write_bytes(b"")
    with pytest.raises(RuntimeError, match=r"zstd -d.*\[language\]"):
        read_pile(tmp_path / "a.jsonl.zst")


def test_copies_are_left_to_no_corpus_alone() -> None:
    one = Document(text="a b\n", place="x")
    assert one.digest == Document(text=" a  b", place="y").digest
    assert one.digest != Document(text="ab", place="z").digest
    assert Corpus(name="n", documents=(one,)).licences == ("",)


@pytest.mark.slow
@pytest.mark.parametrize("line", [b" ", b"[]\n", b'{"text": "x", "meta": {}}\n'])
def test_a_packed_file_that_unpacks_to_far_more_is_refused_early(
    tmp_path: Path, line: bytes
) -> None:
    zstandard = pytest.importorskip("zstandard")
    bomb, what = tmp_path / "a.jsonl.zst", "reading ended here"
    bomb.write_bytes(zstandard.ZstdCompressor().compress(line * (2**27 // len(line))))
    if line == b" ":
        what = f"unpacks to more than {2**24:,} bytes, 100 times its size; unpack it with"
    tracemalloc.start()
    with pytest.raises(StoreError, match=what):
        read_pile(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


def test_a_packed_file_may_unpack_to_exactly_a_ratio_or_to_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = pytest.importorskip("zstandard").ZstdCompressor().compress
    packed = pack(b'{"text": "x", "meta": {"pile_set_name": "n"}}' + b" " * 2000)
    (tmp_path / "a.jsonl.zst").write_bytes(packed + pack(b" ") * 7)
    size, content = (tmp_path / "a.jsonl.zst").stat().st_size, 45 + 2000 + 7
    monkeypatch.setattr(corpora, "EXPANSION", content / size)
    monkeypatch.setattr(corpora, "SMALL", 0)
    assert read_pile(tmp_path)[0].name == "n"
    monkeypatch.setattr(corpora, "EXPANSION", (content - 1) / size)
    with pytest.raises(StoreError, match="it unpacks to more than"):
        read_pile(tmp_path)
    monkeypatch.setattr(corpora, "SMALL", content)
    assert read_pile(tmp_path)[0].name == "n"


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_and_a_text_have_a_longest_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(corpora, "LONGEST", 100)
    line = '{"text": "x", "meta": {"pile_set_name": "n"}}'.ljust(99) + "\n"
    pack = pytest.importorskip("zstandard").ZstdCompressor().compress if packed else bytes
    path = tmp_path / f"a.jsonl{'.zst' * packed}"
    path.write_bytes(pack((line + line).encode()))
    assert read_pile(path)[0].copies == 1
    for long in ("  " + line, "x" * 101):
        path.write_bytes(pack((line + long).encode()))
        what = f"{path.name}: not readable: a line of more than 100"
        with pytest.raises(StoreError, match=what):
            read_pile(path)
    write_corpus_folders(tmp_path / "all", ["one"], each=1, words=10)
    text = tmp_path / "all" / "one" / "b.txt"
    text.write_text("y" * 100)
    assert len(read_folders(tmp_path / "all")[0].documents[1].text) == 100
    text.write_text("y" * 101)
    with pytest.raises(StoreError, match=r"b\.txt: more than 100 bytes; cut it into several"):
        read_folders(tmp_path / "all")


def test_links_out_of_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    root = write_corpus_folders(tmp_path / "all", ["one", "two"], each=2)
    secret = tmp_path / "secret.txt"
    secret.write_text('{"text": "secret", "meta": {"pile_set_name": "n"}}\n')
    (root / "one" / "x.txt").symlink_to(secret)
    (root / "linked").symlink_to(root / "one")  # inside: the same documents twice
    with pytest.raises(
        StoreError, match=r"one/x\.txt: a link out of the folder, .* put"
    ) as told:
        read_folders(root)
    assert "linked/x.txt: a link out of the folder" in str(told.value)
    assert "the same words" in str(told.value)
    (root / "linked").unlink()
    (root / "one" / "x.txt").unlink()
    (tmp_path / "alias").symlink_to(root)  # the folder that is given may be a link
    assert len(read_folders(tmp_path / "alias")) == 2
    (root / "three").symlink_to(write_corpus_folders(tmp_path / "other", ["o"], each=1) / "o")
    with pytest.raises(StoreError, match=r"three/000\.txt: a link out of the folder"):
        read_folders(root)
    pile = write_pile(tmp_path / "pile" / "a.jsonl").parent
    (pile / "b.jsonl").symlink_to(secret)
    with pytest.raises(StoreError, match=r"b\.jsonl: a link out of the folder") as told:
        read_pile(pile)
    (pile / "a.jsonl").unlink()
    with pytest.raises(StoreError, match=r"b\.jsonl: a link out of the folder"):
        read_pile(pile)
    assert read_pile(pile / "b.jsonl")[0].name == "n"  # a file that is given may be one


def test_many_problems_and_many_names_are_told_in_few_words(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": "x", "meta": {"pile_set_name": f"n{k}"}}) for k in range(99)]
    path.write_text("\n".join(lines))
    with pytest.raises(StoreError, match="the files have n0, n1, n10, n11, n2") as told:
        read_pile(path, ("other",))
    assert "n12" not in str(told.value)
    path.write_text("[]\n" * 1200)
    with pytest.raises(StoreError, match=r"a\.jsonl:1001: reading ended here\n") as told:
        read_pile(path)
    assert "\nand 990 more\n" in str(told.value)  # 1,000, that reading ended, and no corpus
    path.write_text(json.dumps({"text": "x", "meta": {"pile_set_name": "n" * 256}}))
    with pytest.raises(StoreError, match=r'a\.jsonl:1: no "meta"'):
        read_pile(path)
