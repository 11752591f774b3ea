"""What the mutation run changes, which tests it runs, and what it prints."""

import subprocess
import tomllib
from pathlib import Path

import pytest
import sample_mutants
from sample_mutants import (
    Mutant,
    choose_tests,
    draw_mutants,
    find_lines,
    print_rates,
    try_mutant,
)

CODE = """\
def add(a: int | None, *, b: int = 2) -> int:
    if a is None and b < 3:
        raise ValueError(f"a is {a}")
    return a * b
"""
TEST = "from code_of_test import add\n\ndef test_add():\n    assert add(2, b=2) == 4\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one file with one commit."""
    monkeypatch.setattr(sample_mutants, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code_of_test.py").write_text(CODE)
    (tmp_path / "test_it.py").write_text(TEST)
    git = ["git", "-c", "user.name=a", "-c", "user.email=b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    return tmp_path


def test_lines_are_all_or_those_changed_since_a_commit(root: Path) -> None:
    all_lines = {"code_of_test.py": {1, 2, 3, 4}}
    assert find_lines(["code_of_test.py"], sample_mutants.EMPTY) == all_lines
    assert find_lines(["."], "HEAD") == {}
    (root / "code_of_test.py").write_text(CODE.replace("< 3", "< 4") + "\n\nONE = 1\n")
    (root / "new.py").write_text("TWO = 2\n")
    subprocess.run(["git", "add", "-N", "new.py"], check=True)
    assert find_lines(["."], "HEAD") == {"code_of_test.py": {2, 5, 6, 7}, "new.py": {1}}


def test_a_seed_draws_one_mutant_of_each_line_but_none_of_what_does_nothing(root: Path) -> None:
    mutants = draw_mutants({"code_of_test.py": {1, 2, 3, 4}}, 9, 1)
    assert [mutant.line for mutant in mutants] == [1, 2, 4]
    for mutant in mutants:
        changed = [
            (a, b)
            for a, b in zip(CODE.splitlines(), mutant.code.splitlines(), strict=True)
            if a != b
        ]
        assert [(a.strip(), b.strip()) for a, b in changed] == [(mutant.old, mutant.new)]
    # Of the signature only the default can change.
    assert "int | None, *, b: int =" in mutants[0].new
    assert mutants == draw_mutants({"code_of_test.py": {1, 2, 3, 4}}, 9, 1)
    firsts = {draw_mutants({"code_of_test.py": {1, 2}}, 1, seed)[0].line for seed in range(9)}
    assert firsts == {1, 2}
    nothing = "def f(a: 'A | B', *, b): ...\nif TYPE_CHECKING: ...\nzip([], strict=True)\n"
    (root / "code_of_test.py").write_text(nothing)
    assert draw_mutants({"code_of_test.py": {1, 2, 3}}, 9, 1) == []


def test_tests_are_those_that_execute_the_line() -> None:
    near, far = "tests/neuro/test_plot.py::test_a", "tests/neuro/test_other.py::test_b"
    by_line = {"neuro/plot.py:1": {""}, "neuro/plot.py:4": {near, far}}
    by_line |= {"neuro/plot.py:9": {far}, "neuro/b.py:3": {"tests/other"}}

    def choose(line: int) -> list[list[str]]:
        return choose_tests("neuro/plot.py", line, by_line)

    assert choose(4) == choose(5) == [[near], [far]]  # 5 is in the statement of 4
    assert choose(9) == [[far]]
    assert choose(1) == choose(2) == [["tests/neuro/test_plot.py"]]


@pytest.mark.slow
@pytest.mark.usefixtures("root")
def test_a_mutant_is_killed_if_a_test_fails_and_the_file_is_as_before() -> None:
    kill = Mutant("code_of_test.py", 4, "", "", CODE.replace("a * b", "a - b"))
    live = Mutant("code_of_test.py", 4, "", "", CODE.replace("a * b", "a + b"))
    assert try_mutant(kill, [["test_it.py"]], 60) == "killed"
    assert try_mutant(live, [["test_it.py"]], 60) == "SURVIVED"
    assert try_mutant(live, [["test_it.py"]], 0.01) == "too slow"
    assert Path("code_of_test.py").read_text() == CODE


def test_the_table_has_a_row_for_each_package(capsys: pytest.CaptureFixture[str]) -> None:
    files = ["neuro/energy/a.py"] * 4 + ["lava_export/b.py"] * 2
    mutants = [Mutant(file, k, "", "", "") for k, file in enumerate(files)]
    verdicts = ["killed", "killed", "SURVIVED", "equivalent", "killed", "too slow"]
    assert print_rates(dict(zip(mutants, verdicts, strict=True))) == 0.75
    assert capsys.readouterr().out.splitlines()[1:] == [
        "     1   1  100%    21% to 100%           0         1  lava_export",
        "     2   3   67%    21% to  94%           1         0  neuro/energy",
        "     3   4   75%    30% to  95%           1         1  all",
    ]


def test_equivalent_mutants_stand_in_the_source_and_have_a_reason() -> None:
    listed = tomllib.loads(Path("tests/equivalent_mutants.toml").read_text())["mutant"]
    for entry in listed:
        assert entry.keys() == {"file", "old", "new", "reason"}
        lines = [line.strip() for line in Path(entry["file"]).read_text().splitlines()]
        assert entry["old"] in lines, entry
        assert entry["new"] != entry["old"]
        assert entry["reason"].endswith(".")
