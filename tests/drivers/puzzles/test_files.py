"""Files of questions in their published layouts, and what is wrong in them."""

import json
from pathlib import Path

import pytest
from toy_puzzles import write_gsm8k, write_implicit, write_prosqa

from drivers.puzzles import read_items, read_splits, split_words
from neuro.io.store import StoreError


def test_a_list_of_question_steps_and_answer(tmp_path: Path) -> None:
    write_prosqa(tmp_path, 12)
    found = read_splits(tmp_path)
    assert {split: len(own) for split, own in found.items()} == {
        "train": 12,
        "val": 4,
        "test": 4,
    }
    item = found["train"][0]
    assert item.question[:2] == ("Every", item.question[1])
    assert all(step[0] == "Every" and step[-1] == "." for step in item.steps)
    assert item.answer[-2:] == (item.steps[-1][-2], ".")


def test_a_line_of_gsm8k_and_its_validation_part(tmp_path: Path) -> None:
    write_gsm8k(tmp_path, 20)
    found = read_splits(tmp_path)
    assert {s: len(own) for s, own in found.items()} == {"train": 18, "val": 2, "test": 20}
    item = found["train"][0]
    assert item.steps[0] == split_words("She has 2 + 2 = <<2+2=4>>4 cards.")
    assert item.answer == ("8",)
    assert found["val"][0].answer == ("4",)
    numbers = [item.question for own in found.values() for item in own]
    assert len(numbers) == 40


def test_a_line_of_implicit_chain_of_thought(tmp_path: Path) -> None:
    write_implicit(tmp_path, 5)
    found = read_splits(tmp_path)
    assert {s: len(own) for s, own in found.items()} == {"train": 5, "val": 5, "test": 5}
    first = found["train"][0]
    assert first.steps == (split_words("<<1+1=2>>"), split_words("<<2*2=4>>"))
    (tmp_path / "product.txt").write_text("1 3 * 2 4||2 6 0 + 0 4 2 1 #### 2 0 3 1\n")
    (item,) = read_items(tmp_path / "product.txt")
    assert item.question == ("1", "3", "*", "2", "4")
    assert item.steps == (("2", "6", "0", "+", "0", "4", "2", "1"),)
    assert item.answer == ("2", "0", "3", "1")


def test_words_of_a_text() -> None:
    assert split_words("Is Tom 12, or <<3>>?") == (*("Is", "Tom", *"12,", "or"), *"<<3>>?")


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "some_train.json"
    good = {"question": "a", "steps": ["b"], "answer": "c"}
    broken = [good, 3, {**good, "steps": "b"}, {**good, "answer": " "}, {**good, "steps": [""]}]
    broken.append({**good, "steps": ["b", 3]})
    path.write_text(json.dumps([*broken, {"steps": []}]))
    with pytest.raises(StoreError) as error:
        read_items(path)
    told = str(error.value)
    for line in (
        f"{path}: items cannot be read:",
        'item 1: it is no object; write {"question": ..., "steps": [...], "answer": ...}',
        "item 2: steps must be a list of text; write [] where there are none",
        "item 3: the question or the answer is empty; write it, or leave the item out",
        "item 4: a step is empty; write it, or leave the step out",
        "item 5: steps must be a list of text; write [] where there are none",
        "item 6: question and answer must be text; add them",
    ):
        assert line in told
    assert "item 0" not in told
    path.write_text(json.dumps([3] * 10))
    with pytest.raises(StoreError) as error:
        read_items(path)
    assert len(str(error.value).splitlines()) == 1 + 8 + 1
    assert str(error.value).endswith("\nand 2 more")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", "{}", "it is no list"),
        ("a.json", "[]", "there are no items"),
        ("a.json", "[", "cannot be read as JSON"),
        ("a.jsonl", '{"question": "a"}', "line 1: it needs"),
        ("a.jsonl", '\n{"question": "a", "answer": "b"}', "line 2: the answer has no ####"),
        ("a.jsonl", "3", "line 1: it needs"),
        ("a.txt", "a|b #### c", "line 1: it is not question||steps #### answer"),
        ("a.txt", "a||b c", "line 1: it is not question||steps #### answer"),
        ("a.csv", "", "ends with .json, .jsonl, .txt; rename it"),
    ],
)
def test_files_of_another_layout_are_refused(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StoreError) as error:
        read_items(tmp_path / name)
    assert told in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_a_split_has_one_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"0 files are for train; name one \*_train.json"):
        read_splits(tmp_path / "nowhere")
    write_prosqa(tmp_path, 3)
    (tmp_path / "other_test.json").write_text("[]")
    with pytest.raises(StoreError, match=r"2 files are for test .*leave one"):
        read_splits(tmp_path)
