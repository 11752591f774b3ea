"""What a run folder holds of another run, or in place of a file, is told and never shown."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from blank_pictures import leave_blank
from command_line import CommandLine

from neuro.io.store import StoreError, load_tensors, save_tensors
from tasks.cli import main
from tasks.report.report import write_report
from tasks.runs.find import open_folder
from tasks.runs.provenance import RESULTS, digest_file
from tasks.verbs.train import evaluate_run

SUPPORT = Path(__file__).parents[2] / "support"
SEEDS = (3, 8)
PICTURE, CURVE, LAST = "forecast.png", "metrics.jsonl", "last.safetensors"
BOTH_WAYS = [SEEDS, SEEDS[::-1]]


def call(*argv: object) -> None:
    main([str(word) for word in argv])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an evaluated run of each seed, whose pictures differ."""
    folder = tmp_path_factory.mktemp("runs")
    task = folder / "forecast_task.py"
    text = (SUPPORT / task.name).read_text()
    task.write_text(text.replace("(4, 4), 255", "(4, 4), 40 + run.seed"))
    for seed in SEEDS:
        call("train", task, "--out", folder / str(seed), "--seed", seed)
        call("eval", folder / str(seed))
    return folder


@pytest.fixture(scope="module")
def whole(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run where every verb has been."""
    folder = shutil.copytree(trained / "3", tmp_path_factory.mktemp("whole") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
        for verb in RESULTS[1:]:
            call(verb, folder)
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the runs; pictures of ours stay blank."""
    shutil.copytree(trained, tmp_path / "runs")
    with leave_blank():
        yield tmp_path / "runs"


def words(folder: Path) -> str:
    page = write_report(open_folder(folder)).read_text()
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.partition("</style>")[2])).split())


def show(row: Any) -> str:
    return f"{row['epoch']} {row['train_loss']:.4g} {row['val_rmse']:.4g}"


def read_rows(path: Path) -> list[str]:
    return [show(json.loads(line)) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("own", "other"), BOTH_WAYS)
def test_the_curve_of_another_run_is_told_and_written_again_by_train(
    own: int, other: int, runs: Path, cli: CommandLine
) -> None:
    folder, foreign = runs / str(own), runs / str(other) / CURVE
    path = folder / CURVE
    before, rows = path.read_bytes(), read_rows(path)
    assert all(row in words(folder) for row in rows)
    shutil.copy(foreign, path)
    again = f"train {folder / 'forecast_task.py'}:tiny --out {folder} --seed {own}"
    told = f"metrics.jsonl is the curve of another training than {LAST}; to write it again: "
    page = words(folder)
    assert f"Not shown: {told}neuro {again}." in page
    assert not any(row in page for row in (*rows, *read_rows(foreign)))
    assert f"{told}neuro {again}" in cli.run("eval", folder)
    checkpoint = (folder / LAST).read_bytes()
    assert told not in cli.run(*again.split())
    assert (path.read_bytes(), (folder / LAST).read_bytes()) == (before, checkpoint)
    assert all(row in words(folder) for row in rows)


def test_one_other_figure_makes_it_another_curve(runs: Path) -> None:
    path = runs / "3" / CURVE
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[-1]["val_rmse"] += 1e-9
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert "Not shown: metrics.jsonl is the curve of another training" in words(runs / "3")


def test_a_checkpoint_of_another_run_vouches_for_no_curve(runs: Path) -> None:
    for name in (CURVE, LAST):
        shutil.copy(runs / "8" / name, runs / "3" / name)
    told = f"{LAST} is of another task, configuration or seed; restore {LAST} from a copy"
    assert f"Not shown: metrics.jsonl cannot be compared: {told}." in words(runs / "3")


def test_a_damaged_checkpoint_is_named_on_the_page(runs: Path) -> None:
    path = runs / "3" / LAST
    path.write_bytes(path.read_bytes()[:-1])
    told = "Not shown: metrics.jsonl cannot be compared with the last checkpoint: "
    assert f"{told}{path}: damaged or cut short" in words(runs / "3")
    tensors, meta = load_tensors(runs / "8" / LAST, "checkpoint")
    del meta["state"]["mapping"][3]
    save_tensors(path, "checkpoint", tensors, meta)
    assert f"{told}{path}: incomplete checkpoint (" in words(runs / "3")
    assert "state.history: is missing" in words(runs / "3")


def test_a_killed_training_may_leave_a_row_less_than_its_checkpoint(runs: Path) -> None:
    path = runs / "3" / CURVE
    *rows, last = path.read_text().splitlines()
    path.write_text("\n".join(rows))
    page = words(runs / "3")
    assert all(row in page for row in read_rows(path))
    assert show(json.loads(last)) not in page


def test_without_a_checkpoint_the_curve_is_shown_and_nothing_vouches_for_it(runs: Path) -> None:
    told = f"Without {LAST} nothing says that the curve is of this training."
    assert told not in words(runs / "3")
    (runs / "3" / LAST).unlink()
    page = words(runs / "3")
    assert told in page
    assert all(row in page for row in read_rows(runs / "3" / CURVE))


def count_pictures(folder: Path) -> int:
    return (folder / "report.html").read_text().count("data:image/")


@pytest.mark.parametrize(("own", "other"), BOTH_WAYS)
def test_the_picture_of_another_run_is_told_and_not_shown(
    own: int, other: int, runs: Path
) -> None:
    folder, name = runs / str(own), PICTURE
    told = f"{name} is not shown: it is not the picture that eval.json belongs to: neuro eval"
    assert told not in words(folder)
    assert count_pictures(folder) == 1
    shutil.copy(runs / str(other) / name, folder / name)
    assert f"{told} {folder}" in words(folder)
    assert count_pictures(folder) == 0
    found = evaluate_run(open_folder(folder))["pictures"]
    assert found == json.loads((folder / "eval.json").read_text())["pictures"]
    assert [picture["digest"] for picture in found] == [digest_file(folder / name)]
    assert told not in words(folder)
    for copied in (name, "eval.json"):
        shutil.copy(runs / str(other) / copied, folder / copied)
    page = words(folder)
    assert "The result of eval below is of earlier weights and another configuration" in page
    assert told not in page


def change_pictures(folder: Path, **changes: Any) -> None:
    """Change what ``eval.json`` says of its picture; None takes a key out."""
    path = folder / "eval.json"
    result = json.loads(path.read_text())
    (picture,) = result["pictures"]
    picture |= changes
    result["pictures"] = [{k: v for k, v in picture.items() if v is not None}]
    path.write_text(json.dumps({k: v for k, v in result.items() if k != "checksum"}))


def test_a_picture_of_an_earlier_version_is_shown_and_nothing_vouches_for_it(
    runs: Path,
) -> None:
    told = f"eval.json has no digest of {PICTURE}, which may be of another run: neuro eval"
    assert told not in words(runs / "3")
    change_pictures(runs / "3", digest=None)
    assert told in words(runs / "3")
    assert count_pictures(runs / "3") == 1


@pytest.mark.parametrize("known", [True, False])
def test_what_is_no_picture_is_not_shown_whatever_its_name(known: bool, runs: Path) -> None:
    folder, path = runs / "3", runs / "3" / PICTURE
    whole = path.read_bytes()
    for data in (b"<script>alert(1)</script>", whole[:8], whole[:-20], b""):
        path.write_bytes(data)
        change_pictures(folder, digest=digest_file(path) if known else None)
        told = f"{PICTURE} is not shown: it is no PNG or GIF that can be decoded: neuro eval"
        assert told in words(folder)
        assert count_pictures(folder) == 0
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(StoreError, match=r"png: has 67,108,865 bytes; it must have <= 67,108"):
        words(folder)


READ = (
    *("config.json", "environment.json", "forecast_task.py", "best.safetensors"),
    *(CURVE, PICTURE, "records/events.safetensors", *(f"{verb}.json" for verb in RESULTS)),
)


@pytest.mark.parametrize("name", READ)
def test_a_pipe_in_place_of_a_file_is_named_and_never_read(
    name: str, whole: Path, tmp_path: Path, cli: CommandLine
) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    (folder / name).unlink()
    os.mkfifo(folder / name)  # nobody ever writes
    told = f"{folder / name}: is a pipe; it must be a regular file. Remove it"
    with leave_blank():
        assert told in cli.refuse("report", folder)


def test_a_pipe_in_place_of_weights_stops_every_verb(runs: Path, cli: CommandLine) -> None:
    for name in ("best.safetensors", LAST):
        (runs / "3" / name).unlink()
        os.mkfifo(runs / "3" / name)
    told = f"{runs / '3'}/%s: is a pipe; it must be a regular file"
    for verb in RESULTS:
        assert told % "best.safetensors" in cli.refuse(verb, runs / "3")
    train = ("train", runs / "forecast_task.py", "--out", runs / "3", "--seed", 3)
    assert told % LAST in cli.refuse(*train)
