"""What ``neuro train --dry-run`` tells of memory is what the shapes say."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_leaves

from neuro.io.run_folder import Run, RunError
from neuro.mixers import gla, scan
from neuro.training.errors import TrainError
from neuro.training.sharded import list_blocks
from tasks.cli import main
from tasks.language.config import Config, tiny_matmulfree
from tasks.language.data import batches
from tasks.language.task import build, loss
from tasks.verbs.dry_run import describe_dry_run, measure_dry_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "a.txt").write_bytes(b"".join(b"%d and %d.\n" % (k, k % 5) for k in range(900)))
    config = Config(
        stack="softmax*2+mlgru",
        width=16,
        hidden=24,
        heads=2,
        text=str(tmp_path / "a.txt"),
        tokens=20,
        lanes=4,
        steps=8,
    )
    return Run(folder=tmp_path / "run", task="language", name="tiny", seed=0, config=config)


def test_weights_gradients_and_states_by_hand(run: Run) -> None:
    one, two = (measure_dry_run(run, n) for n in (1, 2))
    block = 4 * 16 * 16 + 3 * 16 * 24 + 2 * 16
    n = 3 * block + 2 * 256 * 16 + 16 + (16 + 3 * 16)  # a norm of MLGRU, and floors
    tensors = 3 * 8 + 3 + 2
    assert one.parameters == two.parameters == n
    whole = two.whole
    assert (whole.parameters, whole.gradients, whole.gathered) == (4 * n, 4 * n, 4 * n)
    assert whole.optimizer == 8 * n + 4 * tensors  # two moments, and a count of updates
    sharded = two.sharded
    assert (sharded.parameters, sharded.gradients) == (2 * n, 2 * n)
    assert sharded.optimizer == whole.optimizer / 2
    assert sharded.gathered == 4 * (n - 2 * block)
    assert (one.whole.gathered, one.sharded.gathered) == (0, 0)
    assert replace(one.sharded) == one.whole
    assert whole.total == sum(vars(whole).values())
    assert len(list_blocks(build(run.config))) == 3
    rows = describe_dry_run(two)
    assert rows[-1] == ("in all", *(f"{m.total / 1e6:,.1f}" for m in (whole, sharded)))
    assert not run.folder.exists()


@pytest.mark.parametrize(
    ("stack", "linear"),
    [("mlgru*2", "ternary"), ("softmax*2", "float"), ("deltanet*2", "float")],
)
@pytest.mark.parametrize("gpu", [False, True])
def test_activations_are_what_autograd_keeps_of_a_real_batch(
    run: Run, monkeypatch: pytest.MonkeyPatch, stack: str, linear: str, gpu: bool
) -> None:
    run = replace(run, config=replace(run.config, stack=stack, linear=linear, tokens=96))
    if gpu:
        monkeypatch.setattr(scan, "can_read", lambda _: False)
    one, two = (measure_dry_run(run, n).whole.activations for n in (1, 2))
    assert one == pytest.approx(measure_real(run), rel=1e-3)
    assert two == pytest.approx(one / 2, rel=0.1)  # floors are kept whole


def measure_real(run: Run) -> int:
    """Return the bytes that autograd keeps of a batch with values."""
    model, kept = build(run.config), {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    batch = next(iter(batches(run.config, "train", 0)))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(run.config, model, batch, 0.0)
    assert len(tree_leaves(batch)) == 2
    return sum(size for size, _ in kept.values())


def test_gated_linear_attention_is_measured_as_with_strong_decays(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(run, config=replace(run.config, stack="rwkv6+gla+hgrn2", tokens=96))
    found = measure_dry_run(run, 1).whole.activations
    weak = measure_real(run)
    monkeypatch.setattr(gla, "MAX_LOG_DECAY", 0.0)
    assert found == pytest.approx(measure_real(run), rel=1e-3)
    assert found > weak


def test_what_cannot_be_measured_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainError, match="a batch of 4 does not divide into 3 processes"):
        measure_dry_run(run, 3)
    with pytest.raises(RunError, match="--devices must be >= 1, got 0"):
        measure_dry_run(run, 0)
    with pytest.raises(SystemExit, match="2"):
        main(["train", "language", "--out", str(run.folder), "--sharded"])
    assert "--sharded needs several processes" in " ".join(capsys.readouterr().err.split())
    assert not run.folder.exists()
    main(["train", "language:tiny_matmulfree", "--devices", "3", "--dry-run"])
    told = " ".join(capsys.readouterr().out.split())
    assert "MB of each of 3 devices" in told
    size = sum(p.numel() for p in build(tiny_matmulfree()).parameters())
    assert f"{size:,} parameters; activations: all that autograd keeps" in told
