import os
import subprocess
import sys
from pathlib import Path

from neuro.io.store import name_own, remove_stale, write_json


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_only_what_dead_processes_of_this_machine_left_is_removed(tmp_path: Path) -> None:
    own, pid = name_own("a.json"), os.getpid()
    dead = own.replace(f"-{pid}.", f"-{dead_pid()}.")
    kept = [
        own,
        own.replace(f"-{pid}.", f"-{os.getppid()}."),
        f".a.json.elsewhere-{dead_pid()}.tmp",
        ".a.json.tmp",
        "a.json.tmp",
        ".profile",
    ]
    for name in [dead, *kept]:
        (tmp_path / name).write_text("half")
    (tmp_path / f"{dead}abc").mkdir()
    (tmp_path / f"{dead}abc" / "job.npz").write_text("half")
    remove_stale(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)


def test_a_name_keeps_what_was_made_for_others(tmp_path: Path) -> None:
    for name in ("a", "b"):
        left = name_own(name).replace(f"-{os.getpid()}.", f"-{dead_pid()}.")
        (tmp_path / left).write_text("half")
    remove_stale(tmp_path, "a")
    assert [p.name[:3] for p in tmp_path.iterdir()] == [".b."]


def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove_stale(tmp_path / "nowhere")


def test_the_first_write_into_a_folder_removes_what_was_left(tmp_path: Path) -> None:
    left = name_own("b.json").replace(f"-{os.getpid()}.", f"-{dead_pid()}.")
    (tmp_path / left).write_text("half")
    write_json(tmp_path / "a.json", 1)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
