"""What whoever writes a task file is likely to write: told in one message, with the cure."""

import json
from pathlib import Path

import jaxtyping
import pytest
from command_line import CommandLine

from tasks.cli import main
from tasks.images import task_template

TEMPLATE = Path(task_template.__file__).read_text()

# What is written: (a line of the template, what stands there instead, the message)
SLIPS = {
    "a configuration, not its function": (
        'configs={"tiny": tiny, "full": Config}',
        'configs={"tiny": tiny(), "full": Config}',
        'the configurations tiny must be functions that return one, got a Config; give the '
        'function itself, without brackets: configs={"tiny": tiny}',
    ),
    "a configuration that is a class": (
        'configs={"tiny": tiny, "full": Config}',
        'configs={"tiny": lambda: Config}',
        "its configuration tiny returns the class Config, not a value of a frozen dataclass",
    ),
    "a configuration that is a dictionary": (
        'configs={"tiny": tiny, "full": Config}',
        'configs={"tiny": lambda: {"lr": 0.1}}',
        "its configuration tiny returns a dict, not a value of a frozen dataclass",
    ),
    "a value of another type": (
        'configs={"tiny": tiny, "full": Config}',
        'configs={"tiny": lambda: Config(epochs=2.5, lr=None)}',
        "its configuration tiny cannot be used: epochs: is 2.5, expected a whole number",
    ),
    "a model, not its function": (
        "build=build,",
        "build=build(tiny()),",
        "build must be a function, got a Stack; write it as a def or a lambda",
    ),
    "a plan, not its function": (
        "plan=lambda config: Plan(epochs=config.epochs, lr=config.lr)",
        "plan=Plan(epochs=3, lr=0.1)",
        "plan must be a function, got a Plan; write it as a def or a lambda",
    ),
    "steps, not their function": (
        "steps=lambda config: -(-config.train // config.batch)",
        "steps=10",
        "Training: steps must be a function, got 10; write it as a def or a lambda",
    ),
    "a class of a model": (
        "build=build,",
        "build=lambda _: Stack,",
        "Training.build must return a model, got the class Stack; return an nn.Module",
    ),
    "a plan that is none": (
        "plan=lambda config: Plan(epochs=config.epochs, lr=config.lr)",
        "plan=lambda config: config.epochs",
        "Training.plan must return a Plan, got 3; return Plan(epochs=3, lr=5e-3)",
    ),
    "a plan of no epoch": (
        "Plan(epochs=config.epochs, lr=config.lr)",
        'Plan(epochs=0, lr="0.1")',
        "Plan: epochs must be a whole number >= 1, got 0; lr must be a finite number > 0",
    ),
    "steps that are a float": (
        "-(-config.train // config.batch)",
        "config.train / config.batch",
        "Training.steps must be a whole number of batches >= 1, got 10.0; -(-samples // batch)",
    ),
    "no steps": (
        "-(-config.train // config.batch)",
        "0",
        "Training.steps must be a whole number of batches >= 1, got 0",
    ),
    "labels in a column": (
        "torch.from_numpy(labels[some])\n",
        "torch.from_numpy(labels[some])[:, None]\n",
        "batches of 'train': the labels of a stimulus T B ... must be one whole number per "
        "sample, (50,) of torch.int64, got a Tensor of shape (50, 1), torch.int64",
    ),
    "labels that are floats": (
        "torch.from_numpy(labels[some])\n",
        "torch.from_numpy(labels[some]).float()\n",
        "got a Tensor of shape (50,), torch.float32",
    ),
    "labels from 1": (
        "torch.from_numpy(labels[some])\n",
        "torch.from_numpy(labels[some]) + 1\n",
        "there are 10 classes, but labels from 1 to 10",
    ),
    "labels below 0": (
        "torch.from_numpy(labels[some])\n",
        "torch.from_numpy(labels[some]) - 1\n",
        "there are 10 classes, but labels from -1 to 8",
    ),
    "a configuration that can be changed": (
        "@dataclass(frozen=True, kw_only=True)",
        "@dataclass(kw_only=True)",
        "its configuration tiny is a Config, a dataclass that can change after the run "
        "began; write @dataclass(frozen=True) above it",
    ),
    "a Sequential": (
        "from neuro import ALIF, LI, Spiking, Stack, Ticks\n",
        "from collections import OrderedDict\n\nfrom neuro import ALIF, LI, Spiking, Ticks\n\n"
        "Stack = lambda **layers: nn.Sequential(OrderedDict(layers))\n",
        "the model is a Sequential, which hands on neither ticks nor states; make it a Stack",
    ),
    "too few answers": (
        "fc2=nn.Linear(64, 10, bias=False)",
        "fc2=nn.Linear(64, 8, bias=False)",
        "there are 10 classes, so the scores of a batch must have shape (samples, 10), got "
        "(50, 8)",
    ),
    "a loss that returns nothing": (
        "lambda _, y, labels: F.cross_entropy(y.mean(0), labels)",
        "lambda _, y, labels: None",
        "a loss must return one number, a tensor without axes, got None; return torch.nn",
    ),
    "a loss of each sample": (
        "F.cross_entropy(y.mean(0), labels)",
        'F.cross_entropy(y.mean(0), labels, reduction="none")',
        "got a Tensor of shape (50,), torch.float32; return its mean, loss.mean()",
    ),
    "a module that is not installed": (
        "import numpy as np\n",
        "import numpy as np, my_helpers\n",
        "No module named 'my_helpers'); a task is one file, which imports installed",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def types_are_checked_by_the_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users run it: in tests beartype would be there first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_a_task_file_is_told_with_the_cure(
    slip: str, tmp_path: Path, cli: CommandLine
) -> None:
    line, instead, message = SLIPS[slip]
    assert TEMPLATE.count(line) == 1
    file = tmp_path / "mine.py"
    file.write_text(TEMPLATE.replace(line, instead))
    text = cli.refuse("train", file, "--out", tmp_path / "run")
    assert message in text
    if "ModuleNotFoundError" not in text:
        assert "installed packages" not in text


def test_a_file_named_without_its_suffix_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("order.py").write_text(TEMPLATE)
    for name in ("order", "order:full"):
        text = cli.refuse("train", name)
        assert "no task 'order'; did you mean the file order.py?" in text
    assert "no task 'orders'; there are mnist, cifar10" in cli.refuse("train", "orders")
    Path("mnist.py").write_text("TASK = None")
    assert "no configuration 'x'" in cli.refuse("train", "mnist:x")


def test_a_training_that_diverged_ends_without_a_check_mark(
    tmp_path: Path, cli: CommandLine
) -> None:
    file, out = tmp_path / "mine.py", str(tmp_path / "run")
    text = TEMPLATE.replace("Config(train=500, epochs=3)", "Config(train=100, epochs=1)")
    diverges = text.replace(
        "Plan(epochs=config.epochs, lr=config.lr)", "Plan(epochs=1, lr=3.0)"
    )
    assert diverges != text != TEMPLATE
    diverges = diverges.replace("import ALIF, LI,", "import LI, LIF,")  # nothing to be learned
    diverges = diverges.replace("Spiking(ALIF())", "Spiking(LIF(tau=0.02))")
    file.write_text(diverges)
    found = " ".join(cli.end(1, "train", file, "--out", out)[0].split())
    assert "✗ trained 1 epoch, best validation accuracy" in found
    assert "the loss rose from 2." in found
    assert ": the training has diverged; fc1.weight grew from 0.0357 to " in found
    assert " at a learning rate of 3; lower the learning rate" in found
    assert "✓" not in found
    file.write_text(text)
    found = " ".join(cli.run("train", file, "--out", f"{out}2").split())
    assert "✓ trained 1 epoch" in found
    assert "the loss rose" not in found
    assert not (tmp_path / "run2" / "silent.json").exists()


def test_a_training_whose_hidden_layer_never_fires_says_so(
    tmp_path: Path, cli: CommandLine
) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "run"
    text = TEMPLATE.replace("Config(train=500, epochs=3)", "Config(train=100, epochs=2)")
    file.write_text(text.replace("Spiking(ALIF())", "Spiking(ALIF(threshold=1e6))"))
    first, told, second, last, again, step = cli.run(
        "train", f"{file}:tiny", "--out", out
    ).splitlines()
    assert (first[:9], second[:9]) == ("epoch 1/2", "epoch 2/2")
    assert last.startswith("✗ trained 2 epochs, best validation accuracy ")
    assert step == f"next: neuro eval {out}"
    assert told == again
    assert told == (
        "no spike of hidden in the whole validation: the layers behind it learn nothing about "
        "the input; raise its weights or input, or lower its threshold; if it fired in an "
        "earlier epoch, lower the learning rate"
    )
    assert json.loads((out / "silent.json").read_text()) == {"epoch": 2, "silent": ["hidden"]}


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_without_samples_is_told(split: str, tmp_path: Path, cli: CommandLine) -> None:
    file, out = tmp_path / "mine.py", str(tmp_path / "run")
    text = TEMPLATE.replace("Config(train=500, epochs=3)", "Config(train=100, epochs=1)")
    line = "    return d.images[part], d.labels[part]\n"
    assert line in text
    file.write_text(
        text.replace(line, f"    part = slice(0) if split == {split!r} else part\n{line}")
    )
    if split == "test":
        main(["train", str(file), "--out", out])
    verb = ["train", str(file), "--out", out] if split == "val" else ["eval", out]
    assert f"batches of '{split}': there are no samples" in cli.refuse(*verb)
