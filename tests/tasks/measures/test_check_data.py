import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import CommandLine
from nuscenes_files import write_data_set

from drivers.nuscenes.problem import Problem
from tasks.measures.check_data import shorten_problems


def test_a_data_set_is_checked_from_the_command_line(tmp_path: Path, cli: CommandLine) -> None:
    write_data_set(tmp_path, 3, ["scene-0061"])
    assert cli.run("data", "check", "nuscenes", tmp_path) == f"✓ {tmp_path} is sound\n"
    path = tmp_path / "v1.0-mini" / "sample_annotation.json"
    rows = json.loads(path.read_text())
    rows[0]["size"] = [4.6, 1.9, 1.6]
    path.write_text(json.dumps(rows))
    found, _ = cli.end(1, "data", "check", "nuscenes", tmp_path, "--version", "v1.0-mini")
    assert found == (
        "sample_annotation scene-0061-ahead0 size: a vehicle.car is 4.6 m wide and 1.9 m long; "
        "write width, length, height [m]: length along the heading\n1 problem\n"
    )


def test_what_cannot_be_checked_is_told(tmp_path: Path, cli: CommandLine) -> None:
    for kind, path, told in (
        ("nuscnes", tmp_path, "no kind of data set 'nuscnes'; did you mean 'nuscenes'?"),
        ("nuscenes", tmp_path, "expected one folder of tables such as v1.0-mini"),
        ("nuscenes", tmp_path / "a[/b]", "a[/b]: no such folder; give that of a data set"),
    ):
        assert told in cli.refuse("data", "check", kind, path)


def test_the_verbs_of_data_are_listed(cli: CommandLine) -> None:
    assert "usage: neuro data" in cli.end(0, "data")[0]


def test_problems_that_are_alike_are_counted() -> None:
    def of(token: int, field: str = "size") -> Problem:
        return Problem(table="t", token=str(token), field=field, what="bad", cure="mend it")

    told = list(shorten_problems([*map(of, range(7)), of(1, "prev")]))
    assert told[:5] == [f"t {k} size: bad; mend it" for k in range(5)]
    assert told[5:] == ["t size: 2 more like these", "t 1 prev: bad; mend it", "8 problems"]
    assert list(shorten_problems([])) == []


@pytest.mark.slow
def test_without_the_devkit_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['shapely'] = None\n"
        "from tasks.cli.parser import main\n"
        f"main(['data', 'check', 'nuscenes', {str(tmp_path)!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert (
        "pip install --no-deps nuscenes-devkit==1.2.0 in a clone of neuro brings it"
        in " ".join(done.stderr.split())
    )
