"""What ``neuro train --dry-run`` tells of memory is what the shapes say."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from command_line import CommandLine
from torch.utils._pytree import tree_leaves

from neuro.io.run_folder import RunError
from neuro.mixers import chunks, gla, scan
from neuro.neurons import fused
from neuro.nn import Spiking
from neuro.ops import avg_pool, sparse_linear
from neuro.training.course import TrainError
from neuro.training.distributed import list_blocks
from tasks.driving import data as windows
from tasks.images import events, task_template, yinyang
from tasks.images.classification import cifar10, mnist
from tasks.images.generation import images
from tasks.language import data as texts
from tasks.language.config import LanguageConfig, small_matmulfree
from tasks.language.task import build
from tasks.measures.dry_run import describe_dry_run, explain_dry_run, measure_dry_run
from tasks.runs.find import find_task, make_run
from tasks.runs.names import CONFIGURATIONS
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import build_fresh_model

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path) -> TaskRun:
    (tmp_path / "a.txt").write_bytes(b"".join(b"%d and %d.\n" % (k, k % 5) for k in range(900)))
    config = LanguageConfig(
        stack="softmax*2+mlgru",
        width=16,
        hidden=24,
        heads=2,
        text=str(tmp_path / "a.txt"),
        tokens=20,
        lanes=4,
        steps=8,
    )
    return replace(make_run("language:small", tmp_path / "run", pin=False), config=config)


def test_weights_gradients_and_states_by_hand(run: TaskRun) -> None:
    one, two = (measure_dry_run(run, n) for n in (1, 2))
    block = 4 * 16 * 16 + 3 * 16 * 24 + 2 * 16
    n = 3 * block + 2 * 256 * 16 + 16 + (16 + 3 * 16)  # a norm of MLGRU, and floors
    tensors = 3 * 8 + 3 + 2
    assert one.parameters == two.parameters == n
    whole = two.whole
    assert (whole.parameters, whole.gradients, whole.gathered) == (4 * n, 4 * n, 4 * n)
    assert whole.optimizer == 8 * n + 4 * tensors  # two moments, and a count of updates
    sharded = two.sharded
    assert sharded is not None
    assert one.sharded is not None
    assert (sharded.parameters, sharded.gradients) == (2 * n, 2 * n)
    assert sharded.optimizer == whole.optimizer / 2
    assert sharded.gathered == 4 * (n - 2 * block)
    assert (one.whole.gathered, one.sharded.gathered) == (0, 0)
    assert replace(one.sharded) == one.whole
    assert whole.total == sum(vars(whole).values())
    assert len(list_blocks(build(run.config))) == 3
    rows = describe_dry_run(two)
    sums = tuple(f"{m.total / 1e6:,.1f}" for m in (whole, sharded))
    assert rows[-1] == ("in all", *sums)
    half = replace(two, precision="bf16-mixed")
    activations, _, total = describe_dry_run(half)[-3:]
    kept = "activations of a batch, in float32 (bf16-mixed keeps less; not estimated)"
    assert activations[0] == kept
    assert total == ("in all, with activations in float32", *sums)
    assert "bf16-mixed keeps most of them in 16 bits, and a CPU" in explain_dry_run(half)
    assert not run.folder.exists()


@pytest.mark.parametrize(
    ("stack", "linear"),
    [("mlgru*2", "ternary"), ("softmax*2", "float"), ("deltanet*2", "float")],
)
@pytest.mark.parametrize("gpu", [False, True])
def test_activations_are_what_autograd_keeps_of_a_real_batch(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch, stack: str, linear: str, gpu: bool
) -> None:
    run = replace(run, config=replace(run.config, stack=stack, linear=linear, tokens=96))
    if gpu:
        as_on_a_gpu(monkeypatch)
    one, two = (measure_dry_run(run, n).whole.activations for n in (1, 2))
    assert one is not None
    real = measure_real(run)
    if stack == "deltanet*2" and not gpu:  # compiled chunks keep states, not inverses
        assert 0.6 * one < real < 0.8 * one
    else:
        assert one == pytest.approx(real, rel=1e-3)
    assert two == pytest.approx(one / 2, rel=0.1)  # floors are kept whole


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scans and chunks run in torch, not in compiled loops."""
    for module in (scan, chunks):
        monkeypatch.setattr(module, "can_read", lambda _: False)


def measure_real(run: TaskRun) -> int:
    """Return the bytes that autograd keeps of a batch with values."""
    training = find_task(run.task).training
    model, kept = build_fresh_model(run), {}
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    batch = next(iter(training.batches(run.config, "train", 0)))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        training.loss(run.config, model, batch, 0.0)
    assert len(tree_leaves(batch)) == 2
    return sum(size for size, _ in kept.values())


def test_gated_linear_attention_is_measured_as_with_strong_decays(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(run, config=replace(run.config, stack="rwkv6+gla+hgrn2", tokens=96))
    as_on_a_gpu(monkeypatch)
    found = measure_dry_run(run, 1).whole.activations
    weak = measure_real(run)
    monkeypatch.setattr(gla, "MAX_LOG_DECAY", 0.0)
    assert found == pytest.approx(measure_real(run), rel=1e-3)
    assert found > weak


@pytest.mark.slow
def test_what_cannot_be_measured_is_refused(run: TaskRun, cli: CommandLine) -> None:
    with pytest.raises(TrainError, match="a batch of 4 does not divide into 3 processes"):
        measure_dry_run(run, 3)
    with pytest.raises(RunError, match="--devices must be >= 1, got 0"):
        measure_dry_run(run, 0)
    assert "--sharded needs several processes" in cli.refuse(
        "train", "language", "--out", run.folder, "--sharded"
    )
    assert not run.folder.exists()
    told = " ".join(
        cli.run("train", "language:small_matmulfree", "--devices", "3", "--dry-run").split()
    )
    assert "MB on each of 3 devices" in told
    size = sum(p.numel() for p in build(small_matmulfree()).parameters())
    assert f"{size:,} parameters; activations: everything that autograd keeps" in told


def refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("data are read")


def forbid_data(put: Callable[[Any, str, Any], None]) -> None:
    """Let all that reads or makes the data of a task raise."""
    put(mnist, "read_digits", refuse)
    put(cifar10, "read_colours", refuse)
    put(events, "open_part", refuse)
    for module in (yinyang, images):
        put(module, "_part", refuse)
    for name in ("_find_text", "find_part", "make_tokenizer"):
        put(texts, name, refuse)
    for name in ("find_data", "find_split"):
        put(windows, name, refuse)


# Of shapes like those of others that are measured.
TWINS = {
    *("small_command", "small_reset", "small_multiply", "small_gate", "maps_reset"),
    *("maps_multiply", "matmulfree_370m", "matmulfree_1b", "small_ann", "tiny_ann"),
    *("seizures_ann", "four", "five"),
}
# Networks of so many nodes that each takes seconds; `make nightly` measures them too.
LARGE = {
    *("coconut", "reachability", "huginn", "sudoku"),
    "matmulfree_3b",
}
SOME = TWINS | LARGE
ALL = """
import json, runpy, sys
from tasks.bench.memory import measure_peak
from tasks.runs.find import make_run
from tasks.runs.names import CONFIGURATIONS
from tasks.measures.dry_run import measure_dry_run

sys.path.append("tests/support")
here = runpy.run_path(sys.argv[1])
here["forbid_data"](setattr)
found = {}
for name, configs in CONFIGURATIONS.items():
    for config in [c for c in configs if c not in here[sys.argv[2]]]:
        one = measure_dry_run(make_run(f"{name}:{config}", pin=False), 1)
        found[f"{name}:{config}"] = one.whole.activations, one.whole.total, one.unknown
print(json.dumps([found, measure_peak()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "without", ["SOME", pytest.param("TWINS", marks=pytest.mark.nightly)], ids=["some", "all"]
)
def test_configurations_are_measured_without_data_or_memory(without: str) -> None:
    """In a process without checks of shapes, which would make the seconds minutes."""
    command = [sys.executable, "-c", ALL, __file__, without]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    found, largest = json.loads(ran.stdout)
    left_out = SOME if without == "SOME" else TWINS
    names = {f"{n}:{c}" for n, all in CONFIGURATIONS.items() for c in all if c not in left_out}
    assert set(found) == names
    assert all(why == "" and 1e5 < size < total for size, total, why in found.values())
    if without == "TWINS":
        assert found["language:matmulfree_3b"][1] > 4e12
    assert largest < 2e9


@pytest.mark.slow
def test_the_command_reads_no_text_to_hold_its_digest(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_data(monkeypatch.setattr)
    told = cli.run("train", "language:small", "--dry-run")
    told += cli.run("train", "mnist:tiny", "--dry-run", "--gradient", "eventprop")
    told = " ".join(told.split())
    assert "a batch on a GPU, in float32" in told
    assert "activations: not estimated: EventProp keeps the spikes" in told


@pytest.mark.parametrize("name", ["mnist", "cifar10", "yinyang"])
def test_a_gpu_keeps_what_a_cpu_does_without_its_shortcuts_and_membranes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(f"{name}:tiny")
    plain = measure_real(run)
    monkeypatch.setattr(fused, "can_pool", lambda *_: False)
    for ops in (avg_pool, sparse_linear):
        monkeypatch.setattr(ops, "can_read", lambda _: False)
    membranes = 0

    def count(_: Any, __: Any, out: Any) -> None:
        nonlocal membranes
        membranes += out[0].nbytes

    model = build_fresh_model(run)
    for layer in model.modules():
        if isinstance(layer, Spiking) and layer.model.fires:
            layer.register_forward_hook(count)
    model(next(iter(find_task(name).training.batches(run.config, "train", 0)))[0])
    dense = measure_real(run)
    found = measure_dry_run(run, 1).whole.activations
    assert found == pytest.approx(dense + membranes, rel=1e-4)
    assert plain < found


@pytest.mark.parametrize("name", ["mnist", "cifar10", "yinyang", "events", "image_generation"])
def test_a_dummy_batch_has_the_shapes_of_a_batch(name: str) -> None:
    training, config = find_task(name).training, make_run(f"{name}:tiny").config
    assert training.dummy_batch is not None
    made = training.dummy_batch(config)
    real = next(iter(training.batches(config, "train", 0)))
    assert [(x.shape, x.dtype) for x in made] == [(x.shape, x.dtype) for x in real]


def test_a_dummy_batch_of_a_text_has_the_shapes_of_a_batch(run: TaskRun) -> None:
    made = texts.make_dummy_batch(run.config)
    real = next(texts.batches(run.config, "train", 0))
    assert [(x.shape, x.dtype) for x in made] == [(x.shape, x.dtype) for x in real]


STAGED = """
from dataclasses import replace
import torch
from neuro.training import Plan, Stage
from tasks.images import task_template

def plan(config):
    first = Stage(name="first", {length}, frozen=("fc2.*",))
    then = Stage(name="then", epochs=2, frozen=("fc1.*",))
    return Plan(epochs=3, lr=0.01, stages=(first, then))

def loss(config, model, batch, at):
    assert all(p.requires_grad == (not n.startswith("fc1" if at > 1 / 3 else "fc2"))
               for n, p in model.named_parameters())
    y, _ = model(batch[0])
    return (torch.ones(1000, 1000 if at > 1 / 3 else 1) * y.mean()).exp().mean()

TASK = task_template.TASK
TASK = replace(TASK, training=replace(TASK.training, plan=plan, loss=loss))
"""


@pytest.mark.parametrize("length", ["epochs=1", "steps=10"])
def test_of_stages_the_one_that_takes_most_counts(tmp_path: Path, length: str) -> None:
    (tmp_path / "staged.py").write_text(STAGED.format(length=length))
    found = measure_dry_run(make_run(f"{tmp_path}/staged.py:tiny", tmp_path / "run"), 1)
    neuron = 8 + 4  # the logit of the leak in float64, and the threshold
    fc1, fc2 = 4 * 784 * 64, 4 * 64 * 10
    assert found.whole.gradients == fc1 + neuron
    assert found.whole.parameters == fc1 + fc2 + neuron
    assert found.whole.optimizer == 2 * (fc1 + fc2 + neuron) + 4 * 4
    assert found.whole.activations is not None
    assert found.whole.activations > 4e6
    assert found.sharded is None
    assert describe_dry_run(found)[0][2] == "not with stages"


def test_what_cannot_be_known_is_not_estimated(tmp_path: Path) -> None:
    text = Path(task_template.__file__).read_text()
    loss = "F.cross_entropy(y.mean(0), labels)"
    assert loss in text
    asks = text.replace(loss, f"float(y.max()) * {loss}")
    (tmp_path / "asks.py").write_text(asks)
    run = make_run(f"{tmp_path}/asks.py:tiny", tmp_path / "run")
    found = measure_dry_run(run, 1)
    assert found.whole.activations is None
    assert found.whole.total == found.whole.parameters * 4 + 16
    rows = {what: whole for what, whole, _ in describe_dry_run(found)}
    assert rows["activations of a batch"] == "not estimated"
    assert "in all" not in rows
    assert "in all, without activations" in rows
    assert "not estimated: the loss needs values (" in explain_dry_run(found)
