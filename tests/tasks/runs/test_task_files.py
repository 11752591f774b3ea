"""A user's own task: a file, anywhere, that every verb takes as it takes a task of ours."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from blank_pictures import leave_blank
from command_line import CommandLine

from neuro.io.run_folder import RunError, begin_run
from tasks.cli import main
from tasks.images import task_template
from tasks.runs.find import (
    digest,
    find_task,
    keep_task_file,
    load_task,
    make_run,
    name_train_command,
    open_folder,
    split_name,
)

VERBS = ("eval", "simulate", "export", "verify", "energy", "report")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with my_task.py, as ``neuro new`` writes it, and a run of it."""
    here = tmp_path_factory.mktemp("elsewhere")
    main(["new", str(here / "my_task.py")])
    main(["train", f"{here / 'my_task.py'}:tiny", "--out", str(here / "run")])
    return here


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder, to spoil."""
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_template_is_short() -> None:
    assert len(Path(task_template.__file__).read_text().splitlines()) < 80


@pytest.mark.slow
def test_every_verb_takes_the_run_when_the_file_is_gone(
    folder: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied / "my_task.py").unlink()
    run = copied / "run"
    for verb in VERBS:
        with monkeypatch.context() as patch:
            if verb == "export":  # of the two verbs that run Lava one is enough
                patch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
            with leave_blank():
                main([verb, str(run)])
    found = json.loads((run / "eval.json").read_text())
    assert found["n"] == 1000
    assert found["accuracy"] > 0.75
    verify = json.loads((run / "verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    assert verify["reference_lava"].get("mismatches", 0) == 0
    assert "my_task.py:tiny" in (run / "report.html").read_text()
    assert (run / "my_task.py").read_bytes() == (folder / "my_task.py").read_bytes()


@pytest.mark.slow
def test_a_run_goes_to_runs_under_the_name_of_the_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "my_task.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    main(["train", "my_task.py"])
    assert (tmp_path / "runs/my_task-tiny/my_task.py").exists()
    first, again = (
        p / "metrics.jsonl" for p in (tmp_path / "runs/my_task-tiny", folder / "run")
    )
    assert first.read_text() == again.read_text()


@pytest.mark.slow
def test_a_changed_file_does_not_go_on_with_the_old_run(copied: Path, cli: CommandLine) -> None:
    file, run = copied / "my_task.py", copied / "run"
    file.write_text(file.read_text().replace("lr: float = 5e-3", "lr: float = 6e-3"))
    text = cli.refuse("train", file, "--out", run)
    assert f"my_task.py has changed since the run in {run} began" in text
    assert f"neuro train {run / 'my_task.py'}:tiny --out {run} --seed 0" in text
    cure = f"neuro train {run / 'my_task.py'}:tiny --out {run}"
    assert cure in text
    main(cure.split()[1:])
    main(["eval", str(run)])


def write_task(path: Path, old: str, new: str) -> None:
    """Write the template with a slip, and little to train."""
    text = Path(task_template.__file__).read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.slow
def test_a_slip_in_the_file_is_told_with_its_line_and_may_be_mended_in_the_same_folder(
    tmp_path: Path, cli: CommandLine
) -> None:
    file, run = tmp_path / "a.py", tmp_path / "run"
    write_task(file, "bias=False", "bias=Flase")
    line = 1 + next(k for k, row in enumerate(file.read_text().splitlines()) if "Flase" in row)
    err = cli.refuse("train", f"{file}:tiny", "--out", run)
    assert f"a.py line {line}: NameError: name 'Flase' is not defined" in err
    assert "NEURO_DEBUG=1 shows the traceback" in err
    write_task(file, "bias=False", "bias=True")
    main(["train", f"{file}:tiny", "--out", str(run)])
    assert (run / "a.py").read_text() == file.read_text()
    write_task(file, "bias=False", "bias=False or False")
    assert "a.py has changed since the run" in cli.refuse("train", f"{file}:tiny", "--out", run)


def test_a_changed_copy_is_refused(copied: Path, cli: CommandLine) -> None:
    copy = copied / "run" / "my_task.py"
    whole = copy.read_text()
    copy.write_text(whole + "\n# changed\n")
    assert f"{copy} has changed since the run began" in cli.refuse("eval", copied / "run")
    copy.unlink()
    assert f"{copy} is gone" in cli.refuse("eval", copied / "run")
    copy.write_text(whole)
    assert open_folder(copied / "run").config.batch == 50


def test_a_file_that_defines_no_task_is_told(tmp_path: Path, cli: CommandLine) -> None:
    file = tmp_path / "bad.py"
    assert f"no such file; neuro new {file} writes a task" in cli.refuse("train", file)
    file.write_text("x = 1\n")
    assert "defines no task; assign a tasks.runs.task.Task to TASK" in cli.refuse("train", file)
    file.write_text("import no_such_module\n")
    text = cli.refuse("train", file)
    assert "cannot be loaded (ModuleNotFoundError: No module named 'no_such_module')" in text
    shutil.copy(task_template.__file__, file)
    assert "no configuration 'ful'; did you mean 'full'?" in cli.refuse("train", f"{file}:ful")


@pytest.mark.parametrize("name", ["../evil.py", "{}/evil.py", "link.py", "in/../../evil.py"])
def test_a_file_outside_the_run_folder_is_not_run(
    tmp_path: Path, name: str, cli: CommandLine
) -> None:
    folder, name = tmp_path / "run", name.format(tmp_path)
    (folder / "in").mkdir(parents=True)
    evil = tmp_path / "evil.py"
    evil.write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'was_run')!r}).touch()")
    (folder / "link.py").symlink_to(evil)
    header = {"neuro": "0", "task": name, "name": "tiny", "seed": 0, "config": {}}
    header |= {"gradient": "surrogate", "digest": digest(evil.read_bytes())}
    (folder / "config.json").write_text(json.dumps(header))
    for verb in VERBS:
        text = cli.refuse(verb, folder)
        assert f"config.json: '{name}' is no file of the run folder, and no other is" in text
    assert not (tmp_path / "was_run").exists()
    shutil.copy(evil, folder / "mine.py")
    (folder / "config.json").write_text(json.dumps({**header, "task": "mine.py"}))
    assert "mine.py: defines no task" in cli.refuse("report", folder)
    assert (tmp_path / "was_run").exists()


def test_a_mended_file_begins_anew_under_the_same_seed_alone(tmp_path: Path) -> None:
    """A training of another seed may be on its way there, before its first checkpoint."""
    file, run = tmp_path / "a.py", tmp_path / "run"
    write_task(file, "bias=False", "bias=True")
    begin_run(make_run(str(file), run, seed=1))
    write_task(file, "bias=False", "bias=False or False")
    with pytest.raises(RunError, match=r"a.py has changed since the run in .* began; train it"):
        make_run(str(file), run, seed=2)
    assert (run / "config.json").exists()
    make_run(str(file), run, seed=1)
    assert not (run / "config.json").exists()


@pytest.mark.slow
def test_neuro_new_overwrites_nothing(
    folder: Path, tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "exists; take another name" in cli.refuse("new", folder / "my_task.py")
    for name, cure in (
        *(("my_task", "my_task.py"), ("mine.py:tiny", "mine.py"), ("mine.txt", "mine.py")),
        *((".py", "my_task.py"), (".", "my_task.py")),
    ):
        assert cli.refuse("new", name).endswith(f"ends in .py; take {cure}")
    assert not list(tmp_path.iterdir())


def test_one_content_is_loaded_once_wherever_it_lies(folder: Path) -> None:
    one, other = (load_task(folder / name) for name in ("my_task.py", "run/my_task.py"))
    assert one is other is find_task(str(folder / "my_task.py"))


def test_names_of_files_and_tasks_are_told_apart() -> None:
    assert split_name("some/my_task.py:full") == ("some/my_task.py", "full")
    assert split_name("my_task.py") == ("my_task.py", "tiny")
    assert split_name("C:\\tasks\\my_task.py:full") == ("C:\\tasks\\my_task.py", "full")


@pytest.mark.slow
def test_curves_go_to_a_csv_file(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    main(["train", str(folder / "my_task.py"), "--out", str(run), "--logger", "csv"])
    head, *rows = (run / "logs/version_0/metrics.csv").read_text().splitlines()
    assert {"loss", "train_loss", "val_accuracy", "step"} <= set(head.split(","))
    assert len(rows) >= 30  # steps


@pytest.mark.slow
def test_curves_go_to_tensorboard_where_it_is_installed(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    main(["train", str(folder / "my_task.py"), "--out", str(run), "--logger", "tensorboard"])
    assert list((run / "logs").glob("events.out.tfevents.*"))


def test_without_tensorboard_the_message_names_a_cure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(f"lightning_fabric.loggers.tensorboard.{name}", False)
    out = str(tmp_path / "run")
    argv = ["train", str(folder / "my_task.py"), "--out", out, "--logger", "tensorboard"]
    assert "needs TensorBoard: pip install tensorboard; or take csv" in cli.refuse(*argv)
    assert not (tmp_path / "run").exists()


def test_a_header_without_the_digest_of_its_file_is_told(
    tmp_path: Path, cli: CommandLine
) -> None:
    known = {"neuro": "0", "task": "mine.py", "name": "tiny", "seed": 0, "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(known))
    (tmp_path / "mine.py").write_text("TASK = None")
    assert "gradient: is missing" in cli.refuse("eval", tmp_path)


def test_the_command_to_train_a_run_names_folder_seed_and_gradient(tmp_path: Path) -> None:
    run = make_run("yinyang:tiny", tmp_path / "a run", seed=3, gradient="eventprop")
    out = f"--out '{tmp_path}/a run' --seed 3"
    assert name_train_command(run) == f"neuro train yinyang:tiny {out} --gradient eventprop"
    surrogate = replace(run, gradient="surrogate")
    assert name_train_command(surrogate) == f"neuro train yinyang:tiny {out}"


def test_a_run_keeps_the_content_that_was_loaded_whatever_became_of_the_first_file(
    tmp_path: Path,
) -> None:
    source = Path(task_template.__file__).read_text() + "# another content\n"
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text(source)
    second.write_text(source)
    load_task(first)
    first.write_text("TASK = 3\n")
    second_run = make_run(f"{second}:tiny", tmp_path / "run")
    begin_run(second_run)
    second.unlink()
    keep_task_file(second_run)
    assert (tmp_path / "run" / "b.py").read_text() == source
