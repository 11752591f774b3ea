"""Which words a verb takes; the values behind its flags are words of their own."""

from pathlib import Path
from typing import Annotated

import pytest
import tyro

from tasks.cli.words import FreeText, Number, Whole, require_words
from tasks.runs.names import UnknownName

Place = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
Places = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]


def verb(file: Place, out: str = "", number: Whole = 1, markdown: bool = False) -> None:
    """Take a file."""


def several(name: Place, runs: tuple[Path, ...] = (), out: str = "") -> None:
    """Take a flag with several values."""


def many(files: Places, out: str = "") -> None:
    """Take files."""


def nothing() -> None:
    """Take nothing."""


@pytest.mark.parametrize(
    "words",
    [
        "",
        "a",
        "a --out b",
        "--out b a",
        "--out=b a",
        "a --number -1",
        "--markdown a",
        "a --no-markdown --out b",
        "a --out",
        "--anything b c --help",
        "-h",
    ],
)
def test_words_that_a_verb_takes_pass(words: str) -> None:
    require_words("neuro verb", verb, words.split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("a --oout b", "has no flag --oout; did you mean --out?"),
        ("a --epochs=3", "has no flag --epochs; it takes FILE, --out, --number, --markdown"),
        ("a -o b", "has no flag -o; it takes FILE, --out, --number, --markdown"),
        ("a --no-out", "has no flag --no-out; did you mean --out?"),
        ("a b", "takes FILE, --out, --number, --markdown; 'b' is one word too many"),
        ("a --out b c", "takes FILE, --out, --number, --markdown; 'c' is one word too many"),
        ("a --out=b c", "takes FILE, --out, --number, --markdown; 'c' is one word too many"),
        ("a --markdown c", "takes FILE, --out, --number, --markdown; 'c' is one word too many"),
        ("a --out --lr", "has no flag --lr; it takes"),
    ],
)
def test_others_are_told(words: str, told: str) -> None:
    with pytest.raises(UnknownName) as e:
        require_words("neuro verb", verb, words.split())
    assert str(e.value).startswith(f"neuro verb {told}")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a", "--out", "b", "--out", "c"], "--out is given twice; leave one of them out"),
        (["a", "--out=b", "--out=b"], "--out is given twice"),
        (["a", "--markdown", "--no-markdown"], "--markdown is given twice"),
        (["a", "--no-markdown", "--no-markdown"], "--markdown is given twice"),
        (["a", "--markdown=yes"], "--markdown takes no value; leave =yes out"),
        ([""], "FILE is an empty word; write it out, or look at the variable of your shell"),
        (["a", "--out", ""], "--out is an empty word"),
        (["a", "--out="], "--out is an empty word"),
        (["--number", "", "a"], "--number is an empty word"),
    ],
)
def test_what_would_be_passed_over_is_told(words: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=r"^neuro verb: ") as e:
        require_words("neuro verb", verb, words)
    assert str(e.value).startswith(f"neuro verb: {told}")


def test_text_may_be_empty() -> None:
    def writes(prompt: FreeText = "", name: str = "") -> None:
        """Take a text."""

    for words in (["--prompt", ""], ["--prompt="]):
        require_words("neuro writes", writes, words)
    with pytest.raises(ValueError, match="--name is an empty word"):
        require_words("neuro writes", writes, ["--prompt", "", "--name", ""])
    with pytest.raises(ValueError, match="FILES is an empty word"):
        require_words("neuro many", many, ["a", ""])
    with pytest.raises(ValueError, match="--runs is an empty word"):
        require_words("neuro verb", several, ["a", "--runs", "b", "", "--out", "c"])


def test_a_flag_of_several_values_takes_all_words_up_to_the_next_flag() -> None:
    for words in ("a --runs b c d", "a --runs b c --out d", "--out d --runs b c d"):
        require_words("neuro verb", several, words.split())
    with pytest.raises(UnknownName, match="'e' is one word too many"):
        require_words("neuro verb", several, ["a", "--runs", "b", "c", "--out", "d", "e"])


def test_the_cure_stands_where_no_flag_is_meant() -> None:
    with pytest.raises(UnknownName, match=r"--markdown; write it into a file$"):
        require_words("neuro verb", verb, ["--epochs"], "write it into a file")
    with pytest.raises(UnknownName, match=r"did you mean --out\?$"):
        require_words("neuro verb", verb, ["--oout"], "write it into a file")


def test_some_verbs_take_any_number_of_words_and_some_none() -> None:
    require_words("neuro many", many, ["a", "b", "c", "--out", "d"])
    with pytest.raises(UnknownName, match="takes nothing; 'a' is one word too many"):
        require_words("neuro nothing", nothing, ["a"])


@pytest.mark.parametrize("text", ["abc", "1.5", "", "two"])
def test_a_whole_number_is_asked_for(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tyro.cli(verb, prog="neuro verb", args=["a", "--number", text])
    err = " ".join(capsys.readouterr().err.split())
    assert f"Error parsing --number: {text!r} is not a whole number; write 0, 1, 2, ..." in err


def test_whole_numbers_are_read() -> None:
    got: list[int] = []

    def keep(number: Whole = 3) -> None:
        got.append(number)

    tyro.cli(keep, args=[])
    tyro.cli(keep, args=["--number", "-2"])
    assert got == [3, -2]


def test_numbers_are_read() -> None:
    got: list[float] = []

    def keep(number: Number = 1.5) -> None:
        got.append(number)

    for words in ([], ["--number", "2"], ["--number=1e-3"], ["--number", "-0.5"]):
        tyro.cli(keep, args=words)
    assert got == [1.5, 2.0, 1e-3, -0.5]
