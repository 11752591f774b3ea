import base64
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from lightning_fabric import Fabric

from neuro.base.seeds import seeded
from neuro.base.units import Ticks
from neuro.io.graph_file import load_graph, save_graph
from neuro.io.run_folder import Run, RunError
from neuro.nn.trace import trace
from tasks.images.generation import TASK
from tasks.images.generation.config import GenerationConfig, ann, tiny
from tasks.images.generation.task import (
    build,
    chip_part,
    evaluate,
    generate_images,
    host,
    loss,
    measure_baselines,
    stimuli,
    validate,
)
from tasks.images.metrics import autoencoder
from tasks.measures import train as training
from tasks.measures.energy import estimate_energy
from tasks.measures.simulate import simulate_run
from tasks.measures.verify import verify_run
from tasks.report.report import write_report
from tasks.runs.find import make_run
from tasks.runs.samples import pick_spread
from tasks.runs.task import TaskRun

SMALL = replace(
    tiny(),
    channels=(4, 6, 8),
    latent=6,
    copies=3,
    ticks=Ticks(3),
    train=60,
    held=40,
    test=40,
    compared=30,
    batch=20,
    epochs=2,
)


def trained(folder: Path, config: GenerationConfig = SMALL, seed: int = 0) -> TaskRun:
    run = replace(make_run("image_generation:tiny", folder, seed), config=config)
    training.train_run(run, Fabric(accelerator="cpu", devices=1))
    return run


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "STEPS", 4)
    monkeypatch.delitem(os.environ, "NEURO_DATA", raising=False)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["attention", "drawn", "membrane", "ann"])
def test_training_lowers_the_loss_and_follows_its_seed(tmp_path: Path, model: Any) -> None:
    config = ann(SMALL) if model == "ann" else replace(SMALL, model=model)
    files = [
        trained(tmp_path / name, config, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    one, again, other = ((run.folder / "metrics.jsonl").read_text() for run in files)
    assert one == again != other
    first, last = (json.loads(line) for line in one.splitlines())
    assert last["train_loss"] < first["train_loss"]
    assert last["val_loss"] < 2


@pytest.mark.slow
def test_an_evaluation_tells_of_what_its_figures_are_and_writes_two_sheets(
    tmp_path: Path,
) -> None:
    run = Run(folder=tmp_path, task="image_generation", name="tiny", seed=0, config=SMALL)
    with seeded(0):
        model = build(SMALL)
    one, again = (evaluate(run, model) for _ in range(2))
    assert one == again
    assert (one.n, one.split) == (40, "test")
    assert (one.facts["autoencoder"], one.facts["fakes"]) == ("own", 40)
    assert one.values["fad"] > 0
    assert 0 < one.values["reconstruction_mse"] < 4
    assert "FID and IS need" in one.facts["missing"]
    json.dumps(asdict(one), allow_nan=False)
    for picture in one.pictures:
        assert (tmp_path / picture.file).read_bytes().startswith(b"\x89PNG")
    assert one.pictures[0].caption.startswith("The first 32, without selection.")
    assert [picture.example for picture in one.pictures] == [True, False]
    assert one.beside["pixel noise"]["fad"] > one.beside["40 real training images"]["fad"] > 0


def test_real_images_and_noise_like_them_are_measured_in_whole_batches() -> None:
    def weigh(x: torch.Tensor) -> float:
        return float(x.flatten() @ torch.arange(1.0, 1 + x.numel()))

    train = torch.tensor([-1.0, 0.0, 4.0])[:, None, None, None].expand(3, 1, 1, 2)
    metric = Mock(spec=autoencoder.ReferenceImages, fakes=4, batch=2, fad=weigh)
    rng = torch.Generator().manual_seed(0)
    noise = (1 + 7**0.5 * torch.randn(4, 1, 1, 2, generator=rng)).clamp(-1, 1)
    assert measure_baselines(metric, train) == {
        "pixel noise": {"fad": pytest.approx(weigh(noise))},
        "2 real training images": {"fad": -3.0},
    }


def test_validation_is_the_loss_of_its_split_always_by_the_same_draws() -> None:
    with seeded(0):
        model = build(SMALL)
    assert validate(SMALL, model) == validate(SMALL, model)
    model.eval()
    (batch,) = TASK.training.batches(SMALL, "val", 0)
    with seeded(0), torch.no_grad():
        assert validate(SMALL, model) == pytest.approx(float(loss(SMALL, model, batch, 0.0)))


def test_new_images_come_in_any_number() -> None:
    with seeded(0):
        model = build(SMALL)
    images = generate_images(model, 300, seed=1)
    assert images.shape == (300, 1, 16, 16)
    assert torch.equal(images, generate_images(model, 300, seed=1))


def test_the_chip_part_is_the_decoder_and_goes_into_a_file(tmp_path: Path) -> None:
    with seeded(0):
        model = build(SMALL).eval()
    first = next(iter(stimuli(SMALL, model, "test")))
    z, labels = first.inputs["input"], first.targets
    assert z.shape == (3, 30, 6)
    assert labels.tolist() == (pick_spread(SMALL.test, 30) % 10).tolist()  # classes alternate
    whole = replace(SMALL, test=300, compared=0)
    assert [len(s.targets) for s in stimuli(whole, model, "test")] == [256, 44]
    assert torch.equal(z, next(iter(stimuli(SMALL, model, "test"))).inputs["input"])
    graph = trace(chip_part(SMALL, model), (6,))
    assert graph.outputs == ("image",)
    save_graph(tmp_path / "graph.safetensors", graph)
    assert load_graph(tmp_path / "graph.safetensors").shapes == graph.shapes
    with torch.no_grad():
        assert torch.equal(chip_part(SMALL, model)(z)[0], model.decoder(z)[0])  # type: ignore[operator]


def test_a_host_draws_latents_and_weighs_currents() -> None:
    prior = 3 * (6 * 12 + 12 * 24 + 24 * 18)
    decoding = {"attention": 9 + 3 * 256, "drawn": 2 * (9 + 3) + 3 + 3 * 256}
    for name in ("attention", "drawn", "membrane"):
        config = replace(SMALL, model=name)  # type: ignore[arg-type]
        found = host(config, build(config))
        assert found.pop("prior") == prior
        assert found == ({"decoding": decoding[name]} if name in decoding else {})


def test_an_ann_has_no_part_for_a_chip() -> None:
    config = ann(SMALL)
    with pytest.raises(RunError, match="an ANN has no spikes and no Graph"):
        chip_part(config, build(config))
    with pytest.raises(RunError, match="image_generation:tiny"):
        next(iter(stimuli(config, build(config), "test")))
    assert TASK.deployment.only_torch(config).startswith("an ANN has no spikes and no Graph")
    assert TASK.deployment.only_torch(SMALL) == ""


@pytest.mark.slow
def test_a_trained_run_goes_through_every_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
    run = trained(tmp_path, replace(SMALL, epochs=15))
    measured = training.evaluate_run(run)
    assert measured["fad"] > 0
    assert simulate_run(run)["n"] == 30
    found = verify_run(run)
    assert found["torch_events"]["mismatches"] == 0
    assert sum(x["spikes"] for x in found["torch_events"]["layers"].values()) > 1000
    assert "skipped" in found["reference_lava"]
    assert estimate_energy(run)["loihi1"]["chip"]["nominal"] > 0
    page = write_report(run).read_text()
    for file in ("samples.png", "reconstructions.png"):
        assert base64.b64encode((tmp_path / file).read_bytes()).decode() in page
