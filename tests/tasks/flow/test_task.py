"""``flow`` on the command line: training, evaluation, report, and refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from class_files import write_class_images, write_latent_cache
from command_line import CommandLine
from PIL import Image
from torch import Tensor, nn

from neuro.base.seeds import seeded
from tasks.cli import main
from tasks.flow.config import FlowConfig, tiny
from tasks.flow.data import batches
from tasks.flow.evaluate import list_instants, measure_contexts
from tasks.flow.generate import draw_start, generate, list_contexts
from tasks.flow.model import build
from tasks.flow.task import TASK

SMALL = {
    **{"width": 16, "heads": 2, "depth": 1, "train": 200, "held": 50, "test": 80, "images": 2},
    **{"batch": 20, "epochs": 1, "steps": 3, "samples": 70},
}


def flags(**change: object) -> list[str]:
    return [w for k, v in {**SMALL, **change}.items() for w in ("--set", f"{k}={v}")]


@pytest.fixture
def quick_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.flow.features.STEPS", 5)


@pytest.mark.usefixtures("quick_features")
@pytest.mark.parametrize("arm", ["arflow", "sit_unlabelled"])
def test_a_run_from_training_to_the_report(tmp_path: Path, cli: CommandLine, arm: str) -> None:
    folder = tmp_path / "run"
    main(["train", "flow:tiny", "--out", str(folder), *flags(arm=arm)])
    told = cli.run("eval", folder)
    assert "feature FD" in told
    found = json.loads((folder / "eval.json").read_text())
    assert found["network_calls"] == 3
    assert found["n"] == 70
    sees = [
        *("its own noisier past", "no past", "the past of another image of its class"),
        "the past of an image of another class",
    ]
    rows = [row[0] for table in found.get("tables", ()) for row in table["rows"]]
    assert rows == (sees if arm == "arflow" else [])
    (noise,) = found["beside"].values()
    assert noise["feature_fd"] > found["real_test"]
    best = (
        f"70 new images; real test images have {found['real_test']:.2f}, "
        f"random halves of the training images {found['floor']:.2f}"
    )
    assert found["notes"] == {"feature_fd": best}
    sheet, way = found["pictures"]
    shown = f"ARFlow: row 1 sees {sees[0]}, row 2 sees no past" if arm == "arflow" else "SiT."
    assert shown in sheet["caption"]
    assert way["caption"].endswith("after step 1, 2, 3.")
    with Image.open(folder / "samples.png") as image:
        assert image.size == (800, 80 * (1 + (4 if arm == "arflow" else 1)))
    assert ("class_match" in found) == (arm == "arflow")
    for name in ("samples.png", "trajectories.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert "stays on torch" in cli.refuse("verify", folder)
    cli.run("report", folder)
    page = (folder / "report.html").read_text()
    assert ("Whose past an image sees" in page) == (arm == "arflow")


@pytest.mark.usefixtures("quick_features")
@pytest.mark.parametrize("source", ["images", "latents"])
def test_class_folders_are_trained_on(tmp_path: Path, cli: CommandLine, source: str) -> None:
    write = write_class_images if source == "images" else write_latent_cache
    write(tmp_path / "data", each=30)
    own = {"source": source, "data": tmp_path / "data", "side": 4, "classes": 3, "held": 12}
    own |= {"train": 0, "test": 0, "batch": 4, "mirror": True, "sampler": "sde"}
    main(["train", "flow:tiny", "--out", str(tmp_path / "run"), *flags(**own)])
    cli.run("eval", tmp_path / "run")
    found = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert found["loss"] > 0
    assert ("feature_fd" in found) == (source == "images")


@pytest.mark.parametrize(
    ("steps", "shown"),
    [(1, [0]), (3, [0, 1, 2]), (10, [*range(10)]), (25, [1, 4, 6, 9, 11, 14, 16, 19, 21, 24])],
)
def test_a_picture_of_the_way_shows_no_step_twice(steps: int, shown: list[int]) -> None:
    assert list_instants(steps) == shown


@pytest.mark.parametrize("name", ["flow:tiny", "flow:small"])
def test_a_dry_run_needs_neither_training_nor_data(
    tmp_path: Path, cli: CommandLine, name: str
) -> None:
    told = cli.run("train", name, "--dry-run", "--out", tmp_path / "run")
    assert ("34,662,944 parameters" if name == "flow:small" else "104,818 param") in told
    assert not (tmp_path / "run").exists()


def test_all_that_does_not_hold_together_is_refused_at_once(
    tmp_path: Path, cli: CommandLine
) -> None:
    told = cli.refuse(
        *("train", "flow:tiny", "--out", tmp_path / "run"),
        *flags(patch=3, heads=5, guidance=2, dropped=0),
    )
    for line in ("side is 8; it must be a multiple of patch", "heads, 5", "guidance is 2.0"):
        assert line in told
    told = cli.refuse(
        *("train", "flow:tiny", "--out", tmp_path / "run"), *flags(images=30, batch=2)
    )
    assert "10 classes have fewer images left for training than a sequence (30)" in told


def test_only_the_share_of_classes_is_better_higher() -> None:
    metrics = TASK.evaluation.metrics
    assert [m.name for m in metrics if m.better == "higher"] == ["class_match"]


def test_each_context_is_measured_by_images_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(_: FlowConfig, x: Tensor, labels: Tensor) -> dict[str, float]:
        return {"sum": float(((1 + labels)[:, None, None, None] * x.double()).sum())}

    monkeypatch.setattr("tasks.flow.evaluate.measure_images", add)
    config = replace(tiny(), width=16, heads=2, side=4, steps=3, samples=6)
    with seeded(0):
        model = build(config)
        for p in model.parameters():
            nn.init.normal_(p, std=0.2)
    contexts, start = list_contexts(config), draw_start(config, 6, 3)
    found = measure_contexts(config, model, 3, contexts)
    assert found == {
        c: add(config, generate(config, model, start, c), start.labels) for c in contexts
    }
    assert len({own["sum"] for own in found.values()}) == 4


def test_a_plan_is_made_of_what_holds_together() -> None:
    plan = TASK.training.plan(replace(tiny(), lr=2e-3, warm=0.1, decay=0.3, clip=2.0))
    assert (plan.epochs, plan.lr, plan.warm, plan.decay, plan.clip) == (14, 2e-3, 0.1, 0.3, 2.0)
    assert plan.keep == "last"
    with pytest.raises(ValueError, match="the configuration cannot be used"):
        TASK.training.plan(replace(tiny(), patch=3))


def test_a_seed_changes_weights_and_draws_and_the_epoch_the_images() -> None:
    config = replace(tiny(), train=200, held=50)
    first, again, other = (next(iter(batches(config, "train", e)))[0] for e in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape[TASK.training.batch_axis] == config.batch
    with seeded(0):
        model = TASK.training.build(config)
    batch = next(iter(TASK.training.batches(config, "train", 0)))
    loss = TASK.training.loss(config, model, batch, 0.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())
