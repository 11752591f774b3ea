"""Messages about bad texts, checkpoints, states and prompts name the problem and its cure."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine

from neuro.io.run_folder import Run, begin_run
from neuro.io.store import StoreError, load_tensors
from neuro.training import TrainError, load_weights
from neuro.training.checkpoint import load_checkpoint, save_weights
from tasks.cli import main
from tasks.language import data
from tasks.language.config import LanguageConfig
from tasks.language.data import count_bytes, make_tokenizer
from tasks.language.model import LanguageModel
from tasks.language.task import build
from tasks.language.writer import Writer, generate_text, load_writer
from tasks.runs.find import open_folder

TASK_FILE = """
from dataclasses import replace
from tasks.language import TASK as WHOLE
from tasks.runs.find import open_folder
from tasks.language.config import LanguageConfig
from tasks.language.data import make_tokenizer


def tiny():
    return LanguageConfig(
        stack="mlgru", width=8, hidden=8, text={text!r}, tokens=16, lanes=4, steps=12,
        validations=3, {more}
    )


def loss(config, model, batch, at, state=None):
    mean, state = WHOLE.training.loss(config, model, batch, at, state)
    return mean * (float("nan") if at > {good} else 1), state


TRAINING = replace(WHOLE.training, loss=loss)
TASK = replace(WHOLE, configs={{"tiny": tiny}}, training=TRAINING)
"""


def write_task(folder: Path, text: Path, good: float = 0.8, more: str = "") -> Path:
    """Write a task whose loss turns NaN after the share ``good`` of its training."""
    path = folder / "task.py"
    path.write_text(TASK_FILE.format(text=str(text), good=good, more=more))
    return path


def clear_texts() -> None:
    """Clear the caches of texts, as in a new process."""
    for known in (data._find_text, data.find_part, data._split, data.measured_lanes):
        known.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a task whose loss is NaN in its last epoch."""
    folder = tmp_path_factory.mktemp("bad")
    text = folder / "a.txt"
    text.write_bytes(b"".join(b"%d and %d.\n" % (k, k % 5) for k in range(400)))
    write_task(folder, text)
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(folder / "task.py"), "--out", str(folder / "run")])
    return folder


def test_where_the_loss_is_no_number_the_last_good_checkpoint_is_kept(
    folder: Path, cli: CommandLine
) -> None:
    run = folder / "run"
    before = (run / "last.safetensors").read_bytes()
    told = cli.refuse("train", folder / "task.py", "--out", run)
    assert "the loss is not finite" in told
    assert "the last good checkpoint remains; lower the learning rate" in told
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
    data: bytes, told: str, tmp_path: Path, cli: CommandLine
) -> None:
    text = tmp_path / "b.txt"
    text.write_bytes(data)
    write_task(tmp_path, text)
    said = cli.refuse("train", tmp_path / "task.py", "--out", tmp_path / "r")
    assert str(text) in said
    assert told in said


def test_a_checkpoint_that_is_cut_short_is_named(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    shutil.copy(folder / "task.py", tmp_path)
    for name in ("best.safetensors", "last.safetensors"):
        path = run / name
        path.write_bytes(path.read_bytes()[:-100])
    said = cli.refuse("generate", run)
    assert f"{run / 'best.safetensors'}: damaged or cut short" in said
    assert "restore it from a copy" in said
    with pytest.raises(StoreError, match=r"last.safetensors: damaged or cut short"):
        load_checkpoint(run)


def test_a_tokenizer_that_changed_after_the_training_is_refused(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    words = tmp_path / "words.txt"
    lines = [f"{b + 1} {bytes([b])!r} 1\n" for b in range(256)]
    words.write_text("".join([*lines, "257 b' and ' 5\n"]), encoding="utf-8")
    more, run = f"vocabulary=258, tokenizer={str(words)!r}", str(tmp_path / "run")
    task = write_task(tmp_path, folder / "a.txt", good=1.0, more=more)
    train = ["train", str(task), "--out", run]
    main(train)
    main(["generate", run, "--tokens", "2"])
    words.write_text("".join([*lines, "257 b'. and' 5\n"]), encoding="utf-8")
    make_tokenizer.cache_clear()  # as in a new process
    for argv in (["generate", run], ["eval", run]):
        said = cli.refuse(*argv)
        assert f"{words} has changed since the model was trained" in said
        assert "put the file of digest" in said
    said = cli.refuse(*train)
    assert "holds another run" in said
    assert "tokenizer_digest" in said
    words.unlink()
    assert f"{words} cannot be read (No such file or directory); give" in cli.refuse(*train)
    assert f"{words} cannot be read" in cli.refuse("generate", run)


def test_a_tokenizer_that_loses_text_is_refused_before_the_training(
    tmp_path: Path, cli: CommandLine
) -> None:
    library = pytest.importorskip("tokenizers")
    models, words = library.models, str(tmp_path / "tokenizer.json")
    (text := tmp_path / "a.txt").write_text("one and two.\n" * 300)
    known = {"?": 0, "one": 1, "and": 2, "two": 3}
    made = library.Tokenizer(models.WordLevel(known, unk_token="?"))
    made.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    made.save(words)
    task, out = write_task(tmp_path, text, more=f"tokenizer={words!r}"), tmp_path / "run"
    said = cli.refuse("train", task, "--out", out)
    assert "the tokens of 'one and two.\\none and' decode to 'one and ? one and ? '" in said
    assert "use a tokenizer that keeps every character" in said
    assert not out.exists()


def test_a_text_that_changed_after_the_training_began_is_refused(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, run = tmp_path / "texts", tmp_path / "run"
    texts.mkdir()
    for k in range(60):
        (texts / f"f{k}.txt").write_bytes(b"%d and so on.\n" % k * 20)
    monkeypatch.chdir(tmp_path)
    task = write_task(tmp_path, Path("texts"), good=1.0)
    train = ["train", str(task), "--out", str(run)]
    main(train)
    monkeypatch.chdir(texts)
    main(["eval", str(run)])  # the run holds the absolute path
    before = json.loads((run / "eval.json").read_text())
    assert (before["counted"], before["n"]) == (
        "bytes",
        count_bytes(open_folder(run).config, "test"),
    )
    monkeypatch.chdir(tmp_path)
    changed = texts / "f1.txt"
    whole = changed.read_bytes()
    for change in (b"1 or so on.\n" * 20, None):
        changed.write_bytes(change or whole)
        if change is None:
            changed.rename(texts / "f1.text")  # keeps its position in the order of files
        clear_texts()
        said = cli.refuse("eval", run)
        assert f"60 files of {texts} are not the text that was trained on" in said
        assert "put them back as they were" in said
        said = cli.refuse(*train)
        assert "holds another run" in said
        assert "text_digest" in said
    main(["generate", str(run), "--tokens", "2"])  # which reads no text


def test_files_that_are_no_text_are_left_out_if_asked(tmp_path: Path, cli: CommandLine) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for k in range(60):
        (texts / f"f{k}.txt").write_bytes(b"%d and so on.\n" % k * 20)
    (texts / "x.bin").write_bytes(b"\0\1")
    task = write_task(tmp_path, texts, good=1.0)
    train = ["train", str(task), "--out", str(tmp_path / "run")]
    assert "skip them (--skip-bad; in Python skip=True)" in cli.refuse(*train)
    main([*train, "--skip-bad"])
    main(["eval", str(tmp_path / "run")])
    assert open_folder(tmp_path / "run").config.skip_bad


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"), [("head.weight", math.nan), ("blocks.0.mixer.norm.weight", -math.inf)]
)
def test_weights_that_are_not_finite_are_refused_by_name(
    name: str, value: float, tmp_path: Path, cli: CommandLine
) -> None:
    config = LanguageConfig(stack="mlgru", width=8, hidden=8, linear="ternary")
    own = begin_run(Run(folder=tmp_path, task="language", name="tiny", seed=0, config=config))
    weights = build(config).state_dict()
    weights[name].view(-1)[3] = value
    save_weights(tmp_path / "best.safetensors", weights, {"run": own})
    for verb in ("eval", "generate", "pack"):
        said = cli.refuse(verb, tmp_path)
        assert f"best.safetensors: {name} hold values that are not finite" in said
    assert not (tmp_path / "packed.safetensors").exists()


def test_a_file_that_is_no_packed_model_is_named_with_what_could_be_given(
    tmp_path: Path, cli: CommandLine
) -> None:
    torch.save({"emb.weight": torch.zeros(3, 3)}, tmp_path / "rwkv.pth")
    said = cli.refuse("generate", tmp_path / "rwkv.pth")
    assert "takes the folder of a run, or a file that neuro pack wrote" in said
    assert "published checkpoints of RWKV: tasks.language.rwkv" in said


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"width": -32, "held_out": -5},
            "used:\\nwidth is -32; it must be >= 1",
        ),
        (
            {"steps": 8, "validations": 3},
            "steps is 8; it must be a multiple of validations, 3",
        ),
        ({"held_out": 3, "lanes": 4}, "held_out is 3; it must be 0 or >= 4, a byte per lane"),
        ({"end": "</s>"}, "end is '</s>'; it must be empty without a tokenizer.json"),
        ({"stack": "nonsense"}, "nonsense"),
        (
            {"event_penalty": 0.5, "linear": "ternary"},
            "event_penalty is 0.5; it must be 0 for linear 'ternary'. Use --set event_penalty=",
        ),
        (
            {"learns_threshold": True, "linear": "int8"},
            "learns_threshold is True; it must be False for linear 'int8'. Use --set "
            "learns_threshold=False, or linear=spiking",
        ),
        ({"bits": 7, "linear": "spiking"}, "bits is 7; it must be 8 for linear 'spiking'"),
        (
            {"block": "rwkv", "stack": "rwkv6", "linear": "ternary"},
            "block is 'rwkv'; it must",
        ),
    ],
)
def test_each_field_that_is_wrong_is_named(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        LanguageConfig(**wrong)


def test_a_value_that_is_no_number_is_named_by_field(tmp_path: Path, cli: CommandLine) -> None:
    (tmp_path / "a.txt").write_bytes(b"1 and 2.\n" * 400)
    task = write_task(tmp_path, tmp_path / "a.txt", more="threshold=float('nan'), lr=1e999")
    said = cli.refuse("train", task, "--out", tmp_path / "run")
    for name in ("threshold is nan", "lr is inf"):
        assert f"{name}; it must be finite and > 0" in said


def test_weights_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    config = LanguageConfig(stack="mlgru", width=8, hidden=8)
    path = tmp_path / "best.safetensors"
    save_weights(path, build(replace(config, vocabulary=300)).state_dict(), {"run": ""})
    assert load_tensors(path, "weights")[0]["embedding.weight"].shape == (300, 8)
    with pytest.raises(TrainError, match=r"embedding.weight, head.weight differ in name"):
        load_weights(path, build(config))


def test_states_of_other_samples_or_layers_are_refused() -> None:
    config = LanguageConfig(stack="mlgru+softmax", width=8, hidden=8, heads=2)
    model = LanguageModel(config)
    with torch.no_grad():
        _, state = model(torch.zeros(3, 2, dtype=torch.int64))
        for k in (0, 1):
            other = [None, None]
            other[k] = state[k]
            with pytest.raises(ValueError, match="of the state is"):
                model(torch.zeros(1, 5, dtype=torch.int64), tuple(other))
        for wrong in (state[:1], (*state, state[0])):
            with pytest.raises(ValueError, match=f"2 layers, and the state is of {len(wrong)}"):
                model(torch.zeros(1, 2, dtype=torch.int64), wrong)


def test_a_transformer_reads_no_more_than_its_limit() -> None:
    config = LanguageConfig(stack="softmax", width=8, hidden=8, heads=2, tokens=8, limit=10)
    writer = Writer(build(config).eval(), config)
    with torch.no_grad():
        writer.model.head.weight.zero_()
        writer.model.head.weight[65] = 1.0  # so that a text does not end
    assert len(list(generate_text(writer, "abc", 7, 1.0, 0))) == 9
    said = "has 3 tokens, --tokens 8 follow, and this model reads 10 at most; .*7"
    with pytest.raises(ValueError, match=said):
        list(generate_text(writer, "abc", 8, 1.0, 0))
    with pytest.raises(ValueError, match="0 \\+ 11 tokens exceed the limit of 10"):
        writer.model(torch.zeros(11, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="tokens is 11; it must be <= limit, 10"):
        replace(config, tokens=11)
    with pytest.raises(ValueError, match="limit is -1; it must be >= 0"):
        replace(config, limit=-1)
    with pytest.raises(ValueError, match=r"--tokens 8 follow.*; shorten the prompt, or tra"):
        list(generate_text(writer, "a" * 11, 8, 1.0, 0))
    assert replace(config, stack="mlgru", tokens=11).carries  # of which none grows
