import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from blank_pictures import leave_blank
from command_line import CommandLine

import neuro.training.loop as loop
from drivers.text import Bytes, WorldTokenizer
from lava_export import LavaMissing, load_program
from tasks.cli import main
from tasks.language import data
from tasks.language.config import LanguageConfig, small
from tasks.language.data import NOTHING, batches, batches_from, count_bytes
from tasks.language.deployment import FARTHEST, FIRST_BITS, GREEDY, MEAN_APART
from tasks.language.ngrams import measure_ngrams
from tasks.language.task import TASK, build, continue_text, measure_baselines, measure_bits
from tasks.report.tables import format_joules
from tasks.runs.find import find_task

BESIDE = GREEDY, MEAN_APART, FARTHEST  # metrics relative to the trained model
LINES = b"".join(b"%d and %d is %d\n" % (k, k % 5, k + k % 5) for k in range(900))
TASK_FILE = """
from dataclasses import replace
from tasks.language import TASK as WHOLE
from tasks.language.config import LanguageConfig


def tiny() -> LanguageConfig:
    return LanguageConfig(
        stack="mlgru+rwkv6", width=16, hidden=24, heads=2, linear="ternary", text={text!r},
        tokens=16, lanes=4, steps=45, validations=3, lr=1e-2,
    )


TASK = replace(WHOLE, configs={{"tiny": tiny}})
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("text") / "sums.txt"
    path.write_bytes(LINES)
    return str(path)


@pytest.fixture
def config(text: str) -> LanguageConfig:
    return LanguageConfig(
        stack="mlgru", width=16, hidden=24, text=text, tokens=50, lanes=4, steps=120
    )


def test_lanes_are_streams_that_go_on_from_epoch_to_epoch(config: LanguageConfig) -> None:
    rounds = [list(batches(config, "train", epoch)) for epoch in range(4)]
    assert [len(r) for r in rounds] == [30, 30, 30, 30]
    x, y = (torch.cat([b[k] for r in rounds for b in r]) for k in (0, 1))
    assert x.shape == y.shape == (6000, 4)
    assert torch.equal(x[1:], y[:-1])
    assert x[0].tolist() == [0, 0, 0, 0]
    train = count_bytes(config, "train")
    lanes = [bytes(y[: train // 4 - 20, k].tolist()) for k in range(4)]
    assert all(lane in LINES for lane in lanes)
    assert LINES.startswith(lanes[0])
    assert len({lane[:40] for lane in lanes}) == 4
    assert bytes(y[:, 0].tolist()).count(lanes[0][:200]) == 2  # a lane starts over


@pytest.mark.parametrize("world", [False, True])
def test_training_goes_on_from_any_step(
    config: LanguageConfig, world: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if world:
        plain = {bytes([b]): b + 1 for b in range(256)}
        tokenizer = WorldTokenizer(plain | {b" and ": 257, b" is 1": 258})
        monkeypatch.setattr(data, "find_tokenizer", lambda _: tokenizer)
    for epoch, step in ((0, 0), (0, 7), (2, 0), (3, 29)):
        whole = islice(batches(config, "train", epoch), step, None)
        for (x, y), (a, b) in zip(whole, batches_from(config, epoch, step), strict=True):
            assert torch.equal(x, a)
            assert torch.equal(y, b)


def test_held_out_lanes_hold_every_byte_once(config: LanguageConfig) -> None:
    every, some = (
        read_lanes(replace(config, held_out=held_out), "test") for held_out in (0, 400)
    )
    assert LINES.endswith(b"".join(every)[:-1])
    assert count_bytes(replace(config, held_out=0), "test") == sum(map(len, every))
    for lane, whole in zip(some, every, strict=True):
        assert whole.startswith(lane)  # the first 100 bytes, cut after the end of a line
        assert 100 - 20 < len(lane) <= 100
        assert lane.endswith(b"\n")
    assert count_bytes(replace(config, held_out=400), "test") == sum(map(len, some))


def read_lanes(config: LanguageConfig, part: Literal["val", "test"]) -> list[bytes]:
    y = torch.cat([b[1] for b in batches(config, part, 0)])
    return [bytes(v for v in y[:, k].tolist() if v != NOTHING) for k in range(4)]


def test_an_end_of_a_file_that_no_token_tells_counts_no_byte(
    config: LanguageConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless(Bytes):
        end = None

    whole = replace(config, held_out=0)
    before = count_bytes(whole, "test")
    monkeypatch.setattr(data, "find_tokenizer", lambda _: Endless())
    assert count_bytes(whole, "test") == before - 1 == sum(map(len, read_lanes(whole, "test")))


class Successor(torch.nn.Embedding):
    """A model of bytes that finds the byte after the last one most probable."""

    def forward(self, x: torch.Tensor, _: object = None) -> tuple[torch.Tensor, None]:
        return torch.nn.functional.one_hot(x + 1, 300).float(), None


def test_an_example_continues_the_text_by_the_most_probable_bytes(
    config: LanguageConfig,
) -> None:
    lane = read_lanes(config, "test")[0].decode()
    table = continue_text(config, Successor(1, 1))
    assert table.example
    assert [text for _, text in table.rows] == [
        lane[:25].replace("\n", "↵ "),
        "".join(chr(ord(lane[24]) + 1 + k) for k in range(25)),
        lane[25:50].replace("\n", "↵ "),
    ]


def test_n_grams_learn_what_training_reads(config: LanguageConfig) -> None:
    some = replace(config, held_out=400, validations=2, steps=4, vocabulary=300)
    train = [b for epoch in range(2) for b in batches(some, "train", epoch)]
    bits = measure_ngrams(train, batches(some, "test", 0), 256)
    n, fitted = count_bytes(some, "test"), "counts of 800 training tokens"
    expected = {f"{k} {fitted}": {"bits_per_byte": x / n} for k, x in bits.items()}
    assert measure_baselines(some) == expected


@pytest.mark.parametrize("stack", ["mlgru", "softmax"])
def test_a_model_that_knows_nothing_needs_8_bits_a_byte(
    config: LanguageConfig, stack: str
) -> None:
    some = replace(config, stack=stack)
    model = build(some)
    torch.nn.init.zeros_(model.head.weight)
    assert measure_bits(some, model, "val") == pytest.approx(8, abs=1e-9)
    assert model.training


def test_bits_are_those_of_streams_without_breaks(config: LanguageConfig) -> None:
    model = build(config)
    torch.nn.init.normal_(model.head.weight)
    short = measure_bits(config, model, "val")
    assert short == pytest.approx(
        measure_bits(replace(config, tokens=77), model, "val"), rel=1e-5
    )
    assert abs(short - 8) > 0.1


@pytest.mark.parametrize("tokens", [7, 1])
def test_attention_reads_windows_of_which_the_second_half_counts(
    config: LanguageConfig, tokens: int
) -> None:
    some = replace(config, stack="softmax", tokens=tokens, limit=tokens, held_out=160)
    model = build(some).eval()
    torch.nn.init.normal_(model.head.weight)
    half, nats = max(1, tokens // 2), 0.0
    for lane in read_lanes(some, "test"):
        read = [0, *lane]  # the end of a text comes first
        for n, target in enumerate(lane):
            batch, within = divmod(n, tokens)  # pieces of a batch of 7 tokens: 3, 3 and 1
            start = batch * tokens + within // half * half
            first = max(0, start - tokens // 2)
            logits, _ = model(torch.tensor(read[first : n + 1])[:, None])
            nats -= float(logits[-1, 0].detach().double().log_softmax(0)[target])
    bits = nats / math.log(2) / count_bytes(some, "test")
    assert measure_bits(some, model, "test") == pytest.approx(bits, rel=1e-6)


def test_a_tokenizer_too_large_for_the_model_is_refused(config: LanguageConfig) -> None:
    with pytest.raises(ValueError, match="has 256 tokens, the model 255; set vocabulary to"):
        next(batches(replace(config, vocabulary=255), "train", 0))
    with pytest.raises(ValueError, match="steps is 45; it must be a multiple of"):
        replace(config, steps=45)


@pytest.fixture(scope="module")
def run(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trained run of a small ternary model."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "task.py").write_text(TASK_FILE.format(text=text))
    main(["train", str(folder / "task.py"), "--out", str(folder / "run")])
    return folder / "run"


def test_training_lowers_the_bits_of_held_out_text(run: Path) -> None:
    main(["eval", str(run)])
    rows = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert rows[-1]["val_bits_per_byte"] < rows[0]["val_bits_per_byte"] < 8
    found = json.loads((run / "eval.json").read_text())
    assert found["bits_per_byte"] < 7
    assert found["metrics"]["bits_per_byte"]["better"] == "lower"
    assert found["files"] == 1


@pytest.mark.slow
def test_a_killed_training_goes_on_in_the_text_to_the_same_curve(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["train", str(run.parent / "task.py"), "--out", str(tmp_path / "killed")]
    save = loop.save_checkpoint

    def die(folder: Path, weights: dict, best_meta: dict | None, state: dict) -> None:
        if state["epoch"] == 2:
            raise KeyboardInterrupt
        save(folder, weights, best_meta, state)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "save_checkpoint", die)
        with pytest.raises(SystemExit, match="130"):
            main(argv)
    main(argv)
    after, before = ((f / "metrics.jsonl").read_text() for f in (tmp_path / "killed", run))
    assert after == before


def test_a_run_writes_text(run: Path, cli: CommandLine) -> None:
    words = ("generate", run, "--prompt", "3 and é", "--tokens", "30")
    first, second = (cli.run(*words).rstrip("\n") for _ in range(2))
    assert first == second
    assert len(second) > 10 + len("3 and é")
    for flags, told in (
        ("--tokens -1", "--tokens must be >= 0, got -1; 200 is usual"),
        ("--temperature -1 --tokens 0", "--temperature must be >= 0 and finite, got -1.0; 1 "),
        ("--temperature nan", "--temperature must be >= 0 and finite, got nan"),
        ("--temperature inf", "--temperature must be >= 0 and finite, got inf"),
        ("--seed -1 --tokens 0", "--seed must be >= 0 and < 2^63, got -1; use 0, 1, 2"),
        (
            "--seed 9223372036854775808",
            "--seed must be >= 0 and < 2^63, got 9223372036854775808",
        ),
        ("--prompt caf\udce9", "--prompt is not UTF-8 at character 3; convert it, with iconv"),
    ):
        assert told in cli.refuse("generate", run, *flags.split())


@pytest.mark.slow
def test_who_reads_a_part_alone_is_told_nothing(run: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "tasks.cli", "generate", str(run), "--prompt", "3"]
    ended = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_a_packed_run_and_its_file_write_the_same_text(
    run: Path, tmp_path: Path, cli: CommandLine
) -> None:
    how = ("--prompt", "7 and ", "--tokens", "40", "--temperature", "0.5")
    file = tmp_path / "elsewhere" / "small.bin"
    told = " ".join(cli.run("pack", run, "--out", file).split())
    # Mixers 4 x 16 x 16 and 5 x 16 x 16, units 3 x 16 x 24 in both layers, read-out 16 x 256.
    assert f"wrote {file}: 8,704 ternary weights in 2.05 bits each" in told
    text = cli.run("generate", run, *how)
    assert len(text) > 20
    assert cli.run("generate", run, "--packed", *how) == text
    assert cli.run("generate", file, *how) == text
    main(["pack", str(run)])
    assert (run / "packed.safetensors").read_bytes() == file.read_bytes()
    main(["pack", str(run), "--out", str(file)])  # overwrites a packed model
    torch.save({}, other := tmp_path / "other.pth")
    kept = (run / "best.safetensors").read_bytes()
    lost = "would be overwritten, but is not a packed model; name another file, or remove it"
    for path, cure in (
        (run / "best.safetensors", lost),
        (run / "config.json", lost),
        (tmp_path, "name a file, such as"),
    ):
        assert cure in cli.refuse("pack", run, "--out", path)
    for path, cure in (
        (tmp_path / "none", "is no run: it has no config.json"),
        (run / "best.safetensors", "holds a weights, expected a packed"),
        (other, f"{other} is a checkpoint of torch. neuro generate takes"),
    ):
        assert cure in cli.refuse("generate", path)
    assert (run / "best.safetensors").read_bytes() == kept


def test_what_sends_no_spikes_is_refused_by_name(run: Path, cli: CommandLine) -> None:
    for verb in ("energy", "simulate", "verify", "export"):
        told = cli.refuse(verb, run)
        assert "its maps are ternary, and only spikes run on events and chips" in told
        assert "take a run of language:small_spiking" in told


SPIKING_FILE = """
from tasks.language import TASK as WHOLE
from tasks.language.config import LanguageConfig
from dataclasses import replace


def tiny() -> LanguageConfig:
    return LanguageConfig(
        stack="mlgru", width=16, hidden=24, linear="spiking", text={text!r},
        tokens=16, lanes=4, steps=12, validations=1, lr=1e-2,
    )


TASK = replace(WHOLE, configs={{"tiny": tiny}})
"""


@pytest.mark.slow
def test_a_spiking_run_goes_through_all_verbs(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    no_lava = Mock(side_effect=LavaMissing("left out of this test"))
    monkeypatch.setattr("lava_export.graded.chip.run_graded_on_lava", no_lava)
    (tmp_path / "task.py").write_text(SPIKING_FILE.format(text=text))
    folder = tmp_path / "run"
    main(["train", str(tmp_path / "task.py"), "--out", str(folder)])
    verbs = ("simulate", "verify", "export", "energy", "report")
    with leave_blank():
        told = "".join(cli.run(verb, folder) for verb in verbs)
    verified = json.loads((folder / "verify.json").read_text())
    assert verified["n"] == 4
    assert verified["torch_events"]["mismatches"] == 0
    assert "misfits" not in verified
    assert verified["quantisation"].keys() == {"logits"}
    assert 0 < verified["quantisation"]["logits"] < 0.05
    assert (verified["n"], verified["ticks"]) == (4, 16)
    bits, greedy, mean, largest = (verified["metrics"][m.name] for m in (FIRST_BITS, *BESIDE))
    assert bits["torch"] == pytest.approx(bits["events"], abs=1e-9)
    assert bits["torch"] == pytest.approx(bits["integers"], abs=0.01)
    assert greedy["torch"] == greedy["events"] == 1  # in float64 as in float32
    assert largest["torch"] == pytest.approx(largest["events"], abs=1e-12)
    assert mean["torch"] < largest["torch"] < 1e-5 < mean["integers"] < largest["integers"] < 1
    assert 0.9 < greedy["integers"] <= 1
    assert "carried to later ones); bits per byte of first tokens: torch " in told
    assert f"events 100.00%, integers {greedy['integers']:.2%}; mean logit difference" in told
    exported = json.loads((folder / "export.json").read_text())
    assert exported["fits"]["loihi2"] == []
    assert "graded spikes" in exported["fits"]["loihi1"][0]
    assert load_program(folder / "program.safetensors").program.latency == 5
    energy = json.loads((folder / "energy.json").read_text())
    assert energy["tables"][0]["rows"][-1][3] == "70.8"
    assert energy["sequence"] == {"step": "token", "steps": 16}
    assert "Energy per inference of 16 tokens" in told
    token = format_joules(energy["loihi2"]["chip"]["nominal"] / 16)
    assert re.search(rf"loihi2 +chip, per token +{token} \(", told)
    assert "misfits" in energy["loihi1"]
    assert not energy["loihi2"]["misfits"]
    assert "A token on Loihi 2" in told
    page = (folder / "report.html").read_text()
    assert "A token on Loihi 2" in page
    assert f" per inference of 16 tokens; {token} per token<" in page
    assert "greedy tokens as trained, integers" in page
    assert "4 test samples of 16 ticks (the first tokens of each stream" in page


def test_it_is_a_task_of_the_table() -> None:
    assert find_task("language") is TASK
    assert TASK.configs["small"]() == small()
    assert np.prod([small().tokens, small().lanes, small().steps]) == 4_915_200
