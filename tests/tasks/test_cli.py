import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_data_sets import write_mnist

import neuro
from neuro.energy import chip_file
from tasks.cli import DATA_VERBS, VERBS, main
from tasks.runs.find import name_train_command, open_folder
from tasks.runs.names import CONFIGURATIONS

FLAGS = {
    "tasks": ["name"],
    "train": [
        "name",
        "out",
        "seed",
        "device",
        "devices",
        "gradient",
        "logger",
        "skip_bad",
        *("sharded", "dry_run", "set", "lr"),
    ],
    "eval": ["run", "device"],
    "simulate": ["run", "clock", "workers", "cluster"],
    "export": ["run"],
    "verify": ["run"],
    "energy": ["run", "chip"],
    "report": ["run"],
    "compare": ["runs", "out", "markdown"],
    "pack": ["run", "out"],
    "generate": ["run", "prompt", "tokens", "temperature", "seed", "packed"],
    "new": ["path"],
    "demo": ["out", "seed", "device"],
    "bench": ["name", "out", "repeats", "only", "quick", "runs", "workers"],
    "data": [],
    "data check": ["kind", "path", "version"],
    "data make": ["kind", "path", "scenes", "seed", "workers"],
}


def test_the_command_line_does_not_grow() -> None:
    """A new knob is a field of a configuration, which --set sets, not a flag."""
    verbs = VERBS | {f"data {name}": verb for name, verb in DATA_VERBS.items()}
    assert {k: list(inspect.signature(v).parameters) for k, v in verbs.items()} == FLAGS


def test_the_version_is_told_in_one_word(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"neuro {neuro.__version__}\n"
    cited = (Path(__file__).parents[2] / "CITATION.cff").read_text()
    assert f"\nversion: {neuro.__version__}\n" in cited


def told(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as e:
        main(argv)
    assert e.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_mistakes_suggest_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(["trian"], capsys) == "neuro: no verb 'trian'; did you mean 'train'?"
    assert "did you mean 'mnist'?" in told(["train", "mnits"], capsys)
    assert "did you mean 'mnist'?" in told(["train", "MNIST"], capsys)
    assert "did you mean 'tiny'?" in told(["train", "mnist:tiyn"], capsys)
    assert "did you mean 'engine'?" in told(["bench", "engin"], capsys)
    assert "did you mean 'delta'?" in told(["bench", "engine", "--only", "cuba,dleta"], capsys)
    assert "--repeats must be >= 1" in told(["bench", "engine", "--repeats", "0"], capsys)
    assert "no part ''; there are cuba, delta" in told(
        ["bench", "engine", "--only", ","], capsys
    )
    assert "flags without a NAME; without any" in told(["bench", "--quick"], capsys)
    assert "no verb 'chek'; did you mean 'check'?" in told(["data", "chek"], capsys)


def test_words_that_a_verb_does_not_take_are_told_with_what_it_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = told(["train", "mnist:tiny", "--epochs", "1"], capsys)
    assert text == (
        "neuro: neuro train has no flag --epochs; it takes TASK:CONFIGURATION, --out, --seed, "
        "--device, --devices, --gradient, --logger, --skip-bad, --sharded, --dry-run, --set, "
        "--lr; the same command resumes an interrupted run; everything else that a training "
        "depends on (epochs, batch) is a field of its configuration: neuro train mnist:tiny "
        "--set epochs=3 sets one, neuro tasks mnist:tiny lists them"
    )
    assert told(["train", "mnist", "tiny"], capsys) == (
        "neuro: neuro train takes TASK:CONFIGURATION, --out, --seed, --device, --devices, "
        "--gradient, --logger, --skip-bad, --sharded, --dry-run, --set, --lr; 'tiny' is one "
        "word too many"
    )
    assert told(["export", "runs/a", "--chip", "loihi2"], capsys) == (
        "neuro: neuro export has no flag --chip; it takes RUN"
    )
    for argv in (["demo", "--batch", "9"], ["train", "mnist", "--decay", "1"]):
        assert "a field of its configuration" in told(argv, capsys)
    assert told(["data", "make", "nuscenes", "a", "--scene", "2"], capsys) == (
        "neuro: neuro data make has no flag --scene; did you mean --scenes?"
    )
    assert "'abc' is not a whole number; write 0, 1, 2, ..." in told(
        ["train", "mnist", "--seed", "abc"], capsys
    )
    assert "Error parsing --temperature: 'x' is not a number; write 0.5, 1, 2, ..." in told(
        ["generate", "runs/a", "--temperature", "x"], capsys
    )
    assert "neuro train --help" in told(["train"], capsys)


def test_a_folder_without_a_run_is_told_for_every_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("eval", "simulate", "export", "verify", "energy", "report"):
        assert "is no run: it has no config.json" in told([verb, str(tmp_path)], capsys)


HEAVY = ("torch", "numpy", "numba", "scipy", "matplotlib", "lightning_fabric", "networkx")
UNUSED = ("lightning_fabric", "networkx", "matplotlib", "torch._dynamo", "nuscenes")


@pytest.mark.parametrize("argv", [None, ["--help"], ["train", "--help"], ["tasks"]])
def test_help_and_the_list_of_tasks_need_no_heavy_module(argv: list[str] | None) -> None:
    run = "" if argv is None else f"with suppress(SystemExit):\n    main({argv})"
    code = f"import sys\nfrom contextlib import suppress\nfrom tasks.cli import main\n{run}\n"
    code += f"sys.exit(' '.join({{*{HEAVY}}} & set(sys.modules)) or None)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_verb_imports_nothing_that_it_does_not_use() -> None:
    modules = "tasks.runs.find, tasks.verbs.train, tasks.report.tables, tasks.yinyang"
    code = (
        f"import sys, {modules}; sys.exit(' '.join({{*{UNUSED}}} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_fields_are_set_on_the_command_line_and_kept_in_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    argv = ["train", "yinyang:tiny", "--out", str(out), "--set", "epochs=1", "--lr", "0.001"]
    main([*argv, "--set", "train=100"])
    config = json.loads((out / "config.json").read_text())["config"]
    assert (config["epochs"], config["lr"], config["train"]) == (1, 0.001, 100)
    opened = open_folder(out)
    assert (opened.config.epochs, opened.config.lr) == (1, 0.001)
    assert name_train_command(opened) == (
        f"neuro train yinyang:tiny --out {out} --seed 0 --set train=100 --set epochs=1 --set "
        "lr=0.001"
    )
    main(name_train_command(opened).split()[1:])  # goes on with it: nothing is left to do
    assert "✓ trained 1 epoch" in capsys.readouterr().out.splitlines()[-1]
    assert "config.lr is 0.001 there and 0.003 here" in told(argv[:4], capsys)
    text = told([*argv[:4], "--set", "epoch=1"], capsys)
    assert "--set: no field 'epoch'; did you mean epochs? there are ticks, dt, coded" in text
    assert "--set: lr: is 'x', expected a number" in told([*argv[:4], "--lr", "x"], capsys)
    assert "--set: lr is set twice" in told([*argv[:4], "--lr", "1", "--set", "lr=2"], capsys)
    assert "no field 'lr'" in told(["train", "driving:tiny", "--lr", "1"], capsys)


def test_configurations_and_their_fields_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks"])
    text = capsys.readouterr().out
    assert all(name in text for name in (*CONFIGURATIONS, "fast_adaptive", "matmulfree_3b"))
    main(["tasks", "yinyang"])
    text = capsys.readouterr().out
    assert "yinyang:tiny" in text
    assert "yinyang:full" in text
    main(["tasks", "yinyang:tiny"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["epochs", "4"] in rows
    assert ["lr", "0.003"] in rows
    assert "no configuration 'tny'; did you mean 'tiny'?" in told(
        ["tasks", "mnist:tny"], capsys
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    main(["train", "mnist:tiny", "--out", str(folder)])
    return folder


def test_every_verb_works_on_a_run_folder(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("eval", "simulate", "export", "verify", "energy", "report"):
        main([verb, str(run)])
    files = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert files == {
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "last.safetensors",
        "activity.png",
        "best.safetensors",
        "eval.json",
        "simulate.json",
        "graph.safetensors",
        "program.safetensors",
        "export.json",
        "verify.json",
        "energy.json",
        "records/events.safetensors",
        "report.html",
    }
    evaluation = json.loads((run / "eval.json").read_text())
    assert evaluation["n"] == 100
    assert evaluation["accuracy"] == evaluation["correct"] / 100
    verify = json.loads((run / "verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    assert set(verify["torch_events"]["layers"]) == {"alif1", "alif2", "readout"}
    assert set(verify["metrics"]["accuracy"]) == {"torch", "events", "integers"}
    assert verify["reference_lava"].get("mismatches", 0) == 0
    energy = json.loads((run / "energy.json").read_text())
    for chip in ("loihi1", "loihi2"):
        for tier in ("core", "chip", "system"):
            joules = energy[chip][tier]
            assert 0 < joules["low"] <= joules["high"]
            if (chip, tier) == ("loihi2", "system"):
                assert joules["nominal"] is None
            else:
                assert joules["low"] <= joules["nominal"] <= joules["high"]
    assert "accuracy 6" in capsys.readouterr().out


def test_the_chip_of_a_file_is_estimated_beside_the_others(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (chip_file.FOLDER / "loihi1.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("nominal = 23.6, low = 23.6", "nominal = 47.2, low = 47.2"))
    broken = told(["energy", str(run), "--chip", str(path)], capsys)
    assert "energy.synapse: low 47.2, nominal 47.2 and high 35.5 are not in order" in broken
    assert "energy.synapse_conv: low 47.2, nominal 47.2 and high 24 are not in order" in broken
    path.write_text(text)
    main(["energy", str(run), "--chip", str(path)])
    assert "mine: core energy per inference, layer by layer" in capsys.readouterr().out
    energy = json.loads((run / "energy.json").read_text())
    assert list(energy)[:4] == ["loihi1", "loihi1_sanafe", "loihi2", "mine"]
    assert energy["mine"] == energy["loihi1"]
    assert (
        "no chip 'loihi3'; there are loihi1, loihi1_sanafe, loihi2, or give the path"
        in told(["energy", str(run), "--chip", "loihi3"], capsys)
    )


def test_a_run_of_another_seed_is_not_overwritten(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(["train", "mnist:tiny", "--out", str(run), "--seed", "1"], capsys)
    assert "holds another run: seed is 0 there and 1 here; choose another --out" in text


def test_a_run_folder_is_no_task_and_a_task_no_run_folder(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told(["train", str(run)], capsys) == (
        f"neuro: {run} is the folder of a run, not a task; to go on with its training: neuro "
        f"train mnist:tiny --out {run} --seed 0"
    )
    monkeypatch.chdir(run)
    for name in (run / "best.safetensors", Path("metrics.jsonl")):
        assert told(["eval", str(name)], capsys) == (
            f"neuro: {name} is not a run folder; did you mean {name.parent}?"
        )
    Path("runs").mkdir()
    Path("runs/mnist-tiny").symlink_to(run)
    for name in ("mnist", "mnist:tiny"):
        text = told(["energy", name], capsys)
        assert text == f"neuro: {name} is not a run folder; did you mean runs/mnist-tiny?"
    Path("runs/mnist-tiny").unlink()
    Path("runs").rmdir()
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text("TASK = None")
    for name, train, own in (
        ("mnist", "mnist:tiny", "runs/mnist-tiny"),
        ("my.py", "my.py:tiny", "runs/my-tiny"),
        ("my.py:full", "my.py:full", "runs/my-full"),
    ):
        for verb in ("energy", "generate"):
            assert told([verb, name], capsys) == (
                f"neuro: {name} is a task, not a run folder; train it first: neuro train "
                f"{train}; then give its folder, {own}"
            )
    assert "none.py is no run: it has no config.json" in told(["generate", "none.py"], capsys)


def test_a_seed_is_not_negative(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["train", "mnist:tiny"], ["demo"]):
        text = told([*verb, "--out", str(tmp_path / "run"), "--seed", "-1"], capsys)
        assert "--seed must be >= 0 and < 2^63, got -1; use 0, 1, 2" in text
    assert not (tmp_path / "run").exists()


def test_weights_cut_short_are_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config.json", "best.safetensors"):
        data = (run / name).read_bytes()
        (tmp_path / name).write_bytes(data if name == "config.json" else data[:-200])
    assert "best.safetensors: damaged or cut short" in told(["eval", str(tmp_path)], capsys)


def test_a_killed_train_goes_on_where_it_was(tmp_path: Path, run: Path) -> None:
    code = f"""
import os
import neuro.training.loop as t
save = t.save_checkpoint
def die_after_the_first_epoch(folder, weights, best_meta, state):
    if state["epoch"] == 2:
        os._exit(9)
    save(folder, weights, best_meta, state)
t.save_checkpoint = die_after_the_first_epoch
from tasks.cli import main
main(["train", "mnist:tiny", "--out", {str(tmp_path / "killed")!r}])
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    main(["train", "mnist:tiny", "--out", str(tmp_path / "killed")])
    assert (tmp_path / "killed/metrics.jsonl").read_text() == (
        run / "metrics.jsonl"
    ).read_text()


def test_without_lava_the_rest_works_and_says_how_to_install_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
    for verb in ("export", "verify"):
        main([verb, str(run)])
        assert "--no-deps --ignore-requires-python lava-nc==0.10.0" in capsys.readouterr().out
    verify = json.loads((run / "verify.json").read_text())
    assert verify["reference_lava"]["samples"] == 0
    assert "make setup" in verify["reference_lava"]["skipped"]
    assert verify["torch_events"]["mismatches"] == 0


def test_the_full_set_is_never_replaced_by_the_embedded_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NEURO_DATA", raising=False)
    out = str(tmp_path / "run")
    text = told(["train", "mnist:full", "--out", out], capsys)
    assert "mnist is not embedded in full" in text
    assert not (tmp_path / "run").exists()
    write_mnist(tmp_path / "mnist", 20)
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    assert "too few images for 5000" in told(["train", "mnist:full", "--out", out], capsys)


def test_devices_are_checked(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--devices must be >= 1" in told(["train", "mnist", "--devices", "0"], capsys)
    if not torch.cuda.is_available():
        assert "sees no CUDA device" in told(["eval", str(run), "--device", "cuda"], capsys)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    argv = ["train", "mnist", "--device", "cuda", "--devices", "3"]
    assert told(argv, capsys) == (
        "neuro: --devices 3: torch sees 2 CUDA devices here; use fewer"
    )


def test_an_interruption_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tyro.cli", interrupted)
    with pytest.raises(SystemExit) as e:
        main(["tasks"])
    assert e.value.code == 130
    assert "interrupted; all files are complete" in capsys.readouterr().out
