import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from command_line import CommandLine
from fake_data_sets import write_mnist

import neuro
from lava_export.binary import BinaryChipProgram
from lava_export.parity import Parity
from neuro.energy import chip_file
from neuro.training import Progress
from tasks.cli.parser import DATA_VERBS, VERBS, main
from tasks.cli.tell import console
from tasks.measures import progress_bar
from tasks.measures.earlier import Tell
from tasks.runs.find import name_train_command, open_folder
from tasks.runs.names import CONFIGURATIONS, SUMMARIES
from tasks.runs.share import REPORT
from tasks.runs.shipped import list_shipped_runs

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
        *("sharded", "dry_run", "set", "lr", "integers", "largest_weight"),
    ],
    "convert": [
        *("source", "out", "images", "shape", "ticks", "percentile", "by", "calibrated"),
        "samples",
    ],
    "import": [
        *("source", "out", "stimulus", "labels", "shape", "ticks", "samples", "rate", "seed"),
        "set",
    ],
    "get": ["name", "out"],
    "check": ["network", "target", "shape", "ticks", "set"],
    "eval": ["run", "device"],
    "simulate": ["run", "clock", "workers", "cluster"],
    "export": ["run", "net", "chip", "program", "c"],
    "verify": ["run"],
    "energy": ["run", "chip", "map"],
    "bottleneck": ["run", "chips", "chip", "link", "width", "out", "set"],
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


@pytest.mark.parametrize("verb", sorted(k for k, v in FLAGS.items() if "run" in v[:1]))
def test_a_verb_on_a_run_says_how_to_make_one(verb: str, cli: CommandLine) -> None:
    told = cli.refuse(verb, "none/here")
    assert told == (
        "neuro: none/here is no run: it has no config.json; make one with neuro train"
    )


def test_verbs_without_a_name_list_what_there_is(cli: CommandLine) -> None:
    assert {"mnist", "driving"} <= set(cli.run("tasks").split())
    assert {"engine", "flow"} <= set(cli.run("bench").split())
    listed = cli.run("get")
    assert listed.startswith("neuro get NAME copies a trained run; every verb takes its folder")
    assert all(run.name in listed for run in list_shipped_runs())
    assert "no trained run 'x'" in cli.refuse("get", "x")


def test_a_copy_lies_in_runs_unless_it_is_said_where(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = list_shipped_runs()[0].name
    told = cli.run("get", name)
    assert told.startswith(f"✓ runs/{name}: ")
    cli.run("get", name, "--out", "mine")
    kept = [
        {p.name: p.read_bytes() for p in Path(f).iterdir()} for f in (f"runs/{name}", "mine")
    ]
    assert kept[0] == kept[1]


def test_the_version_is_told_in_one_word(cli: CommandLine) -> None:
    assert cli.run("--version") == f"neuro {neuro.__version__}\n"
    cited = (Path(__file__).parents[3] / "CITATION.cff").read_text()
    assert f"\nversion: {neuro.__version__}\n" in cited


@pytest.mark.slow
def test_mistakes_suggest_what_was_meant(cli: CommandLine) -> None:
    assert cli.refuse("trian") == "neuro: no verb 'trian'; did you mean 'train'?"
    assert "did you mean 'mnist'?" in cli.refuse("train", "mnits")
    assert "did you mean 'mnist'?" in cli.refuse("train", "MNIST")
    assert "did you mean 'tiny'?" in cli.refuse("train", "mnist:tiyn")
    assert "did you mean 'engine'?" in cli.refuse("bench", "engin")
    assert "did you mean 'delta'?" in cli.refuse("bench", "engine", "--only", "cuba,dleta")
    assert "--repeats must be >= 1" in cli.refuse("bench", "engine", "--repeats", "0")
    assert "no part ''; there are cuba, delta" in cli.refuse("bench", "engine", "--only", ",")
    assert "flags without a NAME; without any" in cli.refuse("bench", "--quick")
    assert "no verb 'chek'; did you mean 'check'?" in cli.refuse("data", "chek")


def test_words_that_a_verb_does_not_take_are_told_with_what_it_takes(cli: CommandLine) -> None:
    text = cli.refuse("train", "mnist:tiny", "--epochs", "1")
    assert text == (
        "neuro: neuro train has no flag --epochs; it takes TASK:CONFIGURATION, --out, --seed, "
        "--device, --devices, --gradient, --logger, --skip-bad, --sharded, --dry-run, --set, "
        "--lr, --integers, --largest-weight; the same command resumes an interrupted run; "
        "everything else that a training depends on (epochs, batch) is a field of its "
        "configuration: neuro train mnist:tiny --set epochs=3 sets one, neuro tasks "
        "mnist:tiny lists them"
    )
    assert cli.refuse("train", "mnist", "tiny") == (
        "neuro: neuro train takes TASK:CONFIGURATION, --out, --seed, --device, --devices, "
        "--gradient, --logger, --skip-bad, --sharded, --dry-run, --set, --lr, --integers, "
        "--largest-weight; 'tiny' is one word too many"
    )
    assert cli.refuse("export", "runs/a", "--chips", "loihi2") == (
        "neuro: neuro export has no flag --chips; did you mean --chip?"
    )
    for argv in (["demo", "--batch", "9"], ["train", "mnist", "--decay", "1"]):
        assert "a field of its configuration" in cli.refuse(*argv)
    assert cli.refuse("data", "make", "nuscenes", "a", "--scene", "2") == (
        "neuro: neuro data make has no flag --scene; did you mean --scenes?"
    )
    assert "'abc' is not a whole number; write 0, 1, 2, ..." in cli.refuse(
        "train", "mnist", "--seed", "abc"
    )
    assert (
        "Error parsing --temperature: 'x' is not a number; write 0.5, 1, 2, ..."
        in cli.refuse("generate", "runs/a", "--temperature", "x")
    )
    assert "neuro train --help" in cli.refuse("train")


HEAVY = ("torch", "numpy", "numba", "scipy", "matplotlib", "lightning_fabric", "networkx")
UNUSED = ("lightning_fabric", "networkx", "matplotlib", "torch._dynamo", "nuscenes")


@pytest.mark.parametrize("argv", [None, ["--help"], ["train", "--help"], ["tasks"]])
def test_help_and_the_list_of_tasks_need_no_heavy_module(argv: list[str] | None) -> None:
    run = "" if argv is None else f"with suppress(SystemExit):\n    main({argv})"
    code = f"import sys\nfrom contextlib import suppress\nfrom tasks.cli import main\n{run}\n"
    code += f"sys.exit(' '.join({{*{HEAVY}}} & set(sys.modules)) or None)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_a_verb_imports_nothing_that_it_does_not_use() -> None:
    modules = "tasks.runs.find, tasks.measures.train, tasks.report.tables, tasks.images.yinyang"
    code = (
        f"import sys, {modules}; sys.exit(' '.join({{*{UNUSED}}} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_fields_are_set_on_the_command_line_and_kept_in_the_run(
    tmp_path: Path, cli: CommandLine
) -> None:
    out = tmp_path / "run"
    argv = ["train", "yinyang:tiny", "--out", str(out), "--set", "epochs=1", "--lr", "0.001"]
    main([*argv, "--set", "train=100"])
    config = json.loads((out / "config.json").read_text())["config"]
    assert (config["epochs"], config["lr"], config["train"]) == (1, 0.001, 100)
    opened = open_folder(out)
    assert (opened.config.epochs, opened.config.lr) == (1, 0.001)
    assert name_train_command(opened) == (
        f"neuro train yinyang:tiny --out {out} --seed 0 --set epochs=1 --set lr=0.001 --set "
        "train=100"
    )
    assert (
        "✓ trained 1 epoch" in cli.run(*name_train_command(opened).split()[1:]).splitlines()[-2]
    )
    assert (
        "holds another run: epochs is 1 there and 4 here; lr is 0.001 there and 0.003 here"
        in cli.refuse(*argv[:4])
    )
    text = cli.refuse(*argv[:4], "--set", "epoch=1")
    assert "--set: no field 'epoch'; did you mean epochs? there are epochs, batch, lr, " in text
    assert "Error parsing --lr: 'x' is not a number" in cli.refuse(*argv[:4], "--lr", "x")
    assert "--set: lr is set twice" in cli.refuse(*argv[:4], "--lr", "1", "--set", "lr=2")
    assert "no field 'lr'" in cli.refuse("train", "driving:small", "--lr", "1")


def test_configurations_and_their_fields_are_listed(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "width", 180)  # no sentence is broken
    text = cli.run("tasks")
    assert all(about in text and len(about) <= 60 for about in SUMMARIES.values())
    assert SUMMARIES.keys() == CONFIGURATIONS.keys()
    assert all(name in text for name in (*CONFIGURATIONS, "fast_adaptive", "matmulfree_3b"))
    text = cli.run("tasks", "yinyang")
    assert "yinyang:tiny" in text
    assert "yinyang:full" in text
    rows = [line.split() for line in cli.run("tasks", "yinyang:tiny").splitlines()]
    assert ["epochs", "4", "Passes", "over", "the", "training", "data."] in rows
    assert ["lr", "0.003", "Peak", "learning", "rate."] in rows
    text = " ".join(cli.run("tasks", "driving:small").split())
    assert "cells.threshold 1.0 Membrane at which a neuron fires" in text
    assert "no configuration 'tny'; did you mean 'tiny'?" in cli.refuse("tasks", "mnist:tny")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    main(["train", "mnist:tiny", "--out", str(folder)])
    return folder


@pytest.mark.slow
def test_every_verb_works_on_a_run_folder(run: Path, cli: CommandLine) -> None:
    verbs = ("eval", "simulate", "export", "verify", "energy")
    told = "".join(cli.run(verb, run) for verb in (*verbs, "report"))
    files = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert files == {
        *(f"{name}.json" for name in (*verbs, "config", "environment")),
        *(f"{name}.safetensors" for name in ("best", "last", "graph", "program")),
        *(
            "metrics.jsonl",
            "activity.png",
            "cores.png",
            "examples.png",
            "records/events.safetensors",
            "report.html",
        ),
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
    assert "accuracy 6" in told


@pytest.mark.slow
def test_the_chip_of_a_file_is_estimated_beside_the_others(
    run: Path, tmp_path: Path, cli: CommandLine
) -> None:
    text = (chip_file.FOLDER / "loihi1.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("nominal = 23.6, low = 23.6", "nominal = 47.2, low = 47.2"))
    broken = cli.refuse("energy", run, "--chip", path)
    assert "energy.synapse: low 47.2, nominal 47.2 and high 35.5 are not in order" in broken
    assert "energy.synapse_conv: low 47.2, nominal 47.2 and high 24 are not in order" in broken
    path.write_text(text)
    assert "mine: core energy per inference, layer by layer" in cli.run(
        "energy", run, "--chip", path
    )
    energy = json.loads((run / "energy.json").read_text())
    assert list(energy)[:4] == ["loihi1", "loihi1_sanafe", "loihi2", "mine"]
    assert energy["mine"] == energy["loihi1"]
    assert (
        "no chip 'loihi3'; there are loihi1, loihi1_sanafe, loihi2, xylo, or give the path"
        in cli.refuse("energy", run, "--chip", "loihi3")
    )
    assert "no chip 'loihi3'; did you mean 'loihi'? there are loihi, xylo" in cli.refuse(
        "export", run, "--chip", "loihi3"
    )


@pytest.mark.slow
def test_a_run_of_another_seed_is_not_overwritten(run: Path, cli: CommandLine) -> None:
    text = cli.refuse("train", "mnist:tiny", "--out", run, "--seed", "1")
    assert "holds another run: seed is 0 there and 1 here; choose another --out" in text


@pytest.mark.slow
def test_a_run_folder_is_no_task_and_a_task_no_run_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    assert cli.refuse("train", run) == (
        f"neuro: {run} is the folder of a run, not a task; to go on with its training: neuro "
        f"train mnist:tiny --out {run} --seed 0"
    )
    monkeypatch.chdir(run)
    for name in (run / "best.safetensors", Path("metrics.jsonl")):
        assert cli.refuse("eval", name) == (
            f"neuro: {name} is not a run folder; did you mean {name.parent}?"
        )
    Path("runs").mkdir()
    Path("runs/mnist-tiny").symlink_to(run)
    for name in ("mnist", "mnist:tiny"):
        text = cli.refuse("energy", name)
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
            assert cli.refuse(verb, name) == (
                f"neuro: {name} is a task, not a run folder; train it first: neuro train "
                f"{train}; then give its folder, {own}"
            )
    assert "none.py is no run: it has no config.json" in cli.refuse("generate", "none.py")


def test_a_seed_is_not_negative(tmp_path: Path, cli: CommandLine) -> None:
    for verb in (["train", "mnist:tiny"], ["demo"]):
        text = cli.refuse(*verb, "--out", tmp_path / "run", "--seed", "-1")
        assert "--seed must be >= 0 and < 2^63, got -1; use 0, 1, 2" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_file_that_ends_the_program_is_refused(tmp_path: Path, cli: CommandLine) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from argparse import ArgumentParser\n\nArgumentParser().parse_args(['-h'])\n"
    )
    told = (
        f"neuro: {file} line 3: ends the program (SystemExit: 0) before neuro has what it needs"
    )
    for verb in ("train", "import", "check"):
        assert told in cli.refuse(verb, file)


@pytest.mark.slow
def test_without_lava_the_rest_works_and_says_how_to_install_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
    for verb in ("export", "verify"):
        assert "--no-deps --ignore-requires-python lava-nc==0.10.0" in cli.run(verb, run)
    verify = json.loads((run / "verify.json").read_text())
    assert verify["reference_lava"]["samples"] == 0
    assert "make setup" in verify["reference_lava"]["skipped"]
    assert verify["torch_events"]["mismatches"] == 0


@pytest.mark.slow
def test_an_export_that_lava_computes_otherwise_ends_with_1(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    own = copytree(run, tmp_path / "run")
    differs = Parity(samples=2, mismatches=3, layers={"alif1": {}})
    monkeypatch.setattr(BinaryChipProgram, "compare_with_lava", lambda *_: differs)
    out, _ = cli.end(1, "export", own)
    assert "reference and Lava: 3 differences in 2 samples, 1 populations, inputs" in out
    assert json.loads((own / "export.json").read_text())["reference_lava"]["mismatches"] == 3


def test_the_full_set_is_never_replaced_by_the_embedded_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.delenv("NEURO_DATA", raising=False)
    out = str(tmp_path / "run")
    text = cli.refuse("train", "mnist:full", "--out", out)
    assert "mnist is not embedded in full" in text
    assert not (tmp_path / "run").exists()
    write_mnist(tmp_path / "mnist", 20)
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    assert "too few samples for 5000" in cli.refuse("train", "mnist:full", "--out", out)


@pytest.mark.slow
def test_devices_are_checked(
    run: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    assert "--devices must be >= 1" in cli.refuse("train", "mnist", "--devices", "0")
    if not torch.cuda.is_available():
        assert "sees no CUDA device" in cli.refuse("eval", run, "--device", "cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    argv = ["train", "mnist", "--device", "cuda", "--devices", "3"]
    assert cli.refuse(*argv) == (
        "neuro: --devices 3: torch sees 2 CUDA devices here; use fewer"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "what"),
    [("eval", "test batches"), *((v, "samples") for v in ("simulate", "verify", "energy"))],
)
def test_verbs_show_the_share_that_is_done(
    run: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine, verb: str, what: str
) -> None:
    told: list[tuple[str, float]] = []

    @contextmanager
    def record(name: str) -> Iterator[None]:
        token = REPORT.set(lambda what, share: told.append((what, share)))
        yield told.append((name, 0.0))
        REPORT.reset(token)

    monkeypatch.setattr(progress_bar, "show_share", record)
    cli.run(verb, run)
    assert (told[0], told[-1]) == ((verb, 0.0), (what, 1.0))
    assert all(of == what and 0 < share <= 1 for of, share in told[1:])


def test_an_interruption_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    for name in ("tyro.cli", "tyro.extras.subcommand_cli_from_dict"):
        monkeypatch.setattr(name, Mock(side_effect=KeyboardInterrupt))
    kept = "interrupted; no file is cut off; the same command goes on from what is kept\n"
    nothing = "interrupted; kept: nothing yet; the next start begins anew\n"
    for words in (("train", "mnist"), ("data", "make", "nuscenes", "world")):
        assert cli.end(130, *words)[0] == kept
    for words in (("verify", "run"), ()):
        assert cli.end(130, *words)[0] == nothing
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert cli.end(130, "verify", "run")[0] == ""


@pytest.mark.parametrize(
    ("at", "seconds", "kept"),
    [
        ((0, 2), 0, "kept: nothing yet; the next start begins anew"),
        ((1, 1), 0, "kept: epoch 1, step 3; the same command continues"),
        ((1, 1), 60, "kept: epoch 2, step 1; the same command continues"),
    ],
)
def test_an_interrupted_training_says_what_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: CommandLine,
    at: tuple[int, int],
    seconds: int,
    kept: str,
) -> None:
    now = [0]

    @contextmanager
    def stop(*_: object) -> Iterator[Tell]:
        def tell(progress: Progress, step: int, steps: int) -> None:
            assert steps == 3
            now[0] += seconds
            if (progress.epoch, step) == at:
                raise KeyboardInterrupt

        yield tell

    monkeypatch.setattr(progress_bar, "show_progress", stop)
    monkeypatch.setattr("neuro.training.loop.time", SimpleNamespace(monotonic=lambda: now[0]))
    sizes = ("--set", "train=60", "--set", "batch=20", "--set", "held=20")
    told = cli.end(130, "train", "mnist:tiny", "--out", tmp_path, *sizes)[0]
    assert told.splitlines()[-1] == f"interrupted; {kept}"
