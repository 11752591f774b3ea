"""What is wrong in texts, checkpoints, states and prompts is told with its cure."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neuro.io.store import StoreError, load_tensors
from neuro.training import TrainError, load_weights
from neuro.training.checkpoint import load_checkpoint, save_weights
from tasks.cli import main
from tasks.language.config import Config
from tasks.language.model import LanguageModel
from tasks.language.task import build
from tasks.verbs.generate import Writer, generate_text, load_writer

TASK_FILE = """
from dataclasses import replace
from tasks.language import TASK as WHOLE
from tasks.language.config import Config


def tiny():
    return Config(
        stack="mlgru", width=8, hidden=8, text={text!r}, tokens=16, lanes=4, steps=12,
        validations=3,
    )


def loss(config, model, batch, at, state=None):
    mean, state = WHOLE.training.loss(config, model, batch, at, state)
    return mean * (float("nan") if at > 0.8 else 1), state


TRAINING = replace(WHOLE.training, loss=loss)
TASK = replace(WHOLE, configs={{"tiny": tiny}}, training=TRAINING)
"""


def refuse(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a task whose loss is not a number in its last epoch."""
    folder = tmp_path_factory.mktemp("bad")
    text = folder / "a.txt"
    text.write_bytes(b"".join(b"%d and %d.\n" % (k, k % 5) for k in range(400)))
    (folder / "task.py").write_text(TASK_FILE.format(text=str(text)))
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(folder / "task.py"), "--out", str(folder / "run")])
    return folder


def test_where_the_loss_is_no_number_the_last_good_checkpoint_is_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "run"
    before = (run / "last.safetensors").read_bytes()
    told = refuse(["train", str(folder / "task.py"), "--out", str(run)], capsys)
    assert "the loss is not finite" in told
    assert "the last good checkpoint is kept; lower the learning rate" in told
    assert (run / "last.safetensors").read_bytes() == before
    found = load_checkpoint(run)
    assert found is not None
    assert (found.state["epoch"], found.state["step"]) == (2, 0)
    assert all(torch.isfinite(w).all() for w in found.weights.values())
    written = list(generate_text(load_writer(run), "1 and", 4, 0.0, 0))
    assert written[0] == "1 and"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", ": empty"),
        (b"text\xff\xfe and more", "UTF-8"),
        (b"\0\1\2" * 99, "binary: a NUL at offset 0"),
    ],
)
def test_a_text_that_is_none_is_named(
    data: bytes, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "b.txt"
    text.write_bytes(data)
    (tmp_path / "task.py").write_text(TASK_FILE.format(text=str(text)))
    said = refuse(["train", str(tmp_path / "task.py"), "--out", str(tmp_path / "r")], capsys)
    assert str(text) in said
    assert told in said


def test_a_checkpoint_that_is_cut_short_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    shutil.copy(folder / "task.py", tmp_path)
    for name in ("best.safetensors", "last.safetensors"):
        path = run / name
        path.write_bytes(path.read_bytes()[:-100])
    said = refuse(["generate", str(run)], capsys)
    assert f"{run / 'best.safetensors'}: damaged or cut short" in said
    assert "restore it from a copy" in said
    with pytest.raises(StoreError, match=r"last.safetensors: damaged or cut short"):
        load_checkpoint(run)


def test_weights_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    config = Config(stack="mlgru", width=8, hidden=8)
    path = tmp_path / "best.safetensors"
    save_weights(path, build(replace(config, vocabulary=300)).state_dict(), {})
    assert load_tensors(path, "weights")[0]["embedding.weight"].shape == (300, 8)
    with pytest.raises(TrainError, match=r"embedding.weight, head.weight differ in name"):
        load_weights(path, build(config))


def test_states_of_other_samples_or_layers_are_refused() -> None:
    config = Config(stack="mlgru+softmax", width=8, hidden=8, heads=2)
    model = LanguageModel(config)
    with torch.no_grad():
        _, state = model(torch.zeros(3, 2, dtype=torch.int64))
        for k in (0, 1):
            other = [None, None]
            other[k] = state[k]
            with pytest.raises(ValueError, match=r"of the state is .*begin anew: state=None"):
                model(torch.zeros(1, 5, dtype=torch.int64), tuple(other))
        for wrong in (state[:1], (*state, state[0])):
            with pytest.raises(ValueError, match=f"2 layers, and the state is of {len(wrong)}"):
                model(torch.zeros(1, 2, dtype=torch.int64), wrong)


def test_a_transformer_reads_no_more_than_its_limit() -> None:
    config = Config(stack="softmax", width=8, hidden=8, heads=2, tokens=8, limit=10)
    writer = Writer(build(config).eval(), config)
    with torch.no_grad():
        writer.model.head.weight.zero_()
        writer.model.head.weight[65] = 1.0  # so that a text does not end
    assert len(list(generate_text(writer, "abc", 7, 1.0, 0))) == 9
    said = "has 3 tokens, --tokens asks for 8 behind them, and this model reads 10 at most; .*7"
    with pytest.raises(ValueError, match=said):
        list(generate_text(writer, "abc", 8, 1.0, 0))
    with pytest.raises(ValueError, match="0 \\+ 11 tokens are more than its limit, 10"):
        writer.model(torch.zeros(11, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="batches of 11 tokens are longer than the limit, 10"):
        replace(config, tokens=11)
    with pytest.raises(ValueError, match="held_out and limit >= 0, got 200000 and -1"):
        replace(config, limit=-1)
    assert replace(config, stack="mlgru", tokens=11).carries  # of which none grows
