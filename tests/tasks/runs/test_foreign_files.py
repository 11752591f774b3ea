"""What a run folder holds of another run, or in place of a file, is told and never shown."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

import pytest
from blank_pictures import leave_blank
from command_line import CommandLine

from neuro.io.store import StoreError
from tasks.cli import main
from tasks.report.report import write_report
from tasks.runs.find import open_folder
from tasks.runs.provenance import RESULTS, digest_file

TASK = Path(__file__).parents[2] / "support" / "forecast_task.py"
SEEDS = (3, 8)
BEST, LAST, CURVE, PICTURE = (
    *("best.safetensors", "last.safetensors"),
    *("metrics.jsonl", "forecast.png"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of each seed, whose pictures differ; "all" has all results."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / TASK.name).write_text(TASK.read_text().replace(", 255)", ", run.seed)"))
    for seed in SEEDS:
        out = str(folder / str(seed))
        main(["train", str(folder / TASK.name), "--out", out, "--seed", str(seed)])
        main(["eval", out])
    shutil.copytree(folder / "3", folder / "all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
        for verb in RESULTS[1:]:
            main([verb, str(folder / "all")])
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the runs; pictures of ours stay blank."""
    with leave_blank():
        yield shutil.copytree(trained, tmp_path / "runs")


def words(folder: Path) -> str:
    page = write_report(open_folder(folder)).read_text()
    page = page.partition("</style>")[2].replace("data:image/", ">a picture<")
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def read_rows(path: Path) -> list[str]:
    rows = map(json.loads, path.read_text().splitlines())
    return [f"{row['epoch']} {row['train_loss']:.4g} {row['val_rmse']:.4g}" for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(("own", "other"), [SEEDS, SEEDS[::-1]])
def test_curve_and_picture_of_another_run_are_told_and_made_again_by_their_verbs(
    own: int, other: int, runs: Path, cli: CommandLine
) -> None:
    folder, foreign = runs / str(own), runs / str(other)
    before, rows = (folder / CURVE).read_bytes(), read_rows(folder / CURVE)
    assert all(part in words(folder) for part in (*rows, "a picture"))
    for name in (CURVE, PICTURE):
        shutil.copy(foreign / name, folder)
    again = f"train {folder / TASK.name}:tiny --out {folder} --seed {own}"
    curve = f"metrics.jsonl is the curve of another training than {LAST}; to write it again: "
    picture = f"{PICTURE} is not shown: it is not the picture that eval.json records: neuro"
    page = words(folder)
    assert f"Not shown: {curve}neuro {again}." in page
    assert f"{picture} eval {folder}" in page
    assert not any(s in page for s in (*rows, *read_rows(foreign / CURVE), "a picture"))
    assert f"{curve}neuro {again}" in cli.run("eval", folder)
    assert curve not in cli.run(*again.split())
    assert (folder / CURVE).read_bytes() == before
    assert all(part in words(folder) for part in (*rows, "a picture"))
    for name in (LAST, PICTURE, "eval.json"):
        shutil.copy(foreign / name, folder)
    assert picture not in (page := words(folder))
    assert "The result of eval below is of earlier weights and another configuration" in page
    told = f"{LAST} is of another task, configuration or seed; restore {LAST} from a copy"
    assert f"Not shown: metrics.jsonl cannot be compared: {told}." in page


CHANGES: list[tuple[str, Callable[[bytes], bytes], str]] = [
    (
        CURVE,
        lambda data: data[:-4] + b"5}\n",
        "Not shown: metrics.jsonl is the curve of another",
    ),
    (CURVE, lambda data: data[: data[:-1].rindex(b"\n")], "the same in numbers"),  # was killed
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "change", "told"), CHANGES)
def test_rows_are_shown_that_stand_in_the_checkpoint(
    name: str, change: Callable[[bytes], bytes], told: str, runs: Path
) -> None:
    path, last = runs / "3" / name, read_rows(runs / "3" / CURVE)[-1]
    path.write_bytes(change(path.read_bytes()))
    assert re.search(told, page := words(runs / "3"))
    assert last not in page


@pytest.mark.slow
def test_what_has_no_digest_is_shown_with_a_sentence(runs: Path) -> None:
    told = (
        f"nothing says that the curve is of this training: there is no {LAST}.",
        f"eval.json has no digest of {PICTURE}, which may be of another run: neuro eval",
    )
    assert not any(sentence in words(runs / "3") for sentence in told)
    (runs / "3" / LAST).unlink()
    change_digest(runs / "3", None)
    page = words(runs / "3")
    assert all(s in page for s in (*told, *read_rows(runs / "3" / CURVE), "a picture"))
    (runs / "3" / LAST).write_bytes((runs / "8" / LAST).read_bytes()[:-1])
    page = words(runs / "3")
    assert re.search(r"nothing says that the curve is .*: .*last.*damaged or cut short", page)
    assert all(row in page for row in read_rows(runs / "3" / CURVE))


def change_digest(folder: Path, digest: str | None) -> None:
    """Change the digest of the picture in ``eval.json``; None: of an earlier version."""
    result = json.loads((folder / "eval.json").read_text())
    del result["checksum"], result["pictures"][0]["digest"]
    result["pictures"][0] |= {} if digest is None else {"digest": digest}
    (folder / "eval.json").write_text(json.dumps(result))


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"<script>alert(1)</script>", b"\x89PNG\r\n\x1a\n", b""])
@pytest.mark.parametrize("known", [True, False])
def test_what_is_no_picture_is_not_shown_whatever_its_name(
    data: bytes, known: bool, runs: Path
) -> None:
    (path := runs / "3" / PICTURE).write_bytes(data)
    change_digest(runs / "3", digest_file(path) if known else None)
    told = f"{PICTURE} is not shown: it is no PNG or GIF that can be decoded: neuro eval"
    assert told in (page := words(runs / "3"))
    assert "a picture" not in page
    path.unlink()
    assert "not measured yet: neuro eval" in words(runs / "3")
    path.touch()
    os.truncate(path, (64 << 20) + 1)
    with pytest.raises(StoreError, match=r"png: has 67,108,865 bytes; it must have <= 67,108"):
        words(runs / "3")


READ = (
    *("config.json", "environment.json", TASK.name, BEST, CURVE, PICTURE),
    *("records/events.safetensors", *(f"{verb}.json" for verb in RESULTS)),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "verb"),
    [
        *((name, "report") for name in READ),
        *((BEST, verb) for verb in RESULTS),
        (LAST, "train"),
    ],
)
def test_a_pipe_in_place_of_a_file_is_named_and_never_read(
    name: str, verb: str, runs: Path, cli: CommandLine
) -> None:
    (path := runs / "all" / name).unlink()
    os.mkfifo(path)  # nobody ever writes
    task = (runs / TASK.name, "--seed", 3, "--out") if verb == "train" else ()
    told = cli.refuse(verb, *task, runs / "all")
    assert f"{path}: is a pipe; it must be a regular file. Name another" in told
