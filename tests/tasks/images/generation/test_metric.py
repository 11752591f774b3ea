import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from drivers import mnist
from neuro.base.seeds import seeded
from tasks.images.generation import metric
from tasks.images.generation.config import GenerationConfig, tiny
from tasks.images.generation.metric import make_metric
from tasks.images.metrics import autoencoder
from tasks.images.metrics.autoencoder import (
    Autoencoder,
    compute_codes,
    load_published,
    train_own,
)
from tasks.images.metrics.sheet import scale_images
from tasks.runs.task import Split

needs_files = pytest.mark.skipif(
    load_published() is None, reason="$NEURO_DATA/fsvae_metrics/ holds no published autoencoder"
)


def digits(n: int) -> Tensor:
    return scale_images(mnist.default("train", environ={}).images[:n, None], 32)


def test_the_autoencoder_has_the_published_size() -> None:
    model = Autoencoder()
    assert sum(p.numel() for p in model.parameters()) == 918_305
    assert sum(p.numel() for p in model.state_dict().values()) == 919_785  # with statistics


def test_codes_are_those_of_training_mode_batch_by_batch_and_nothing_moves() -> None:
    with seeded(0):
        model = Autoencoder()
    x = digits(60)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = compute_codes(model, x, 20)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    again = compute_codes(model, x[20:40], 20)
    assert np.array_equal(found[20:40], again)
    assert not np.allclose(found[20:30], compute_codes(model, x[20:30], 10), atol=1e-3)


def test_a_part_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="61 images do not fill batches of 20"):
        compute_codes(Autoencoder(), digits(61), 20)


@pytest.mark.slow
def test_our_own_autoencoder_learns_and_is_always_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(autoencoder, "STEPS", 8)
    x = digits(100)
    one, other = train_own(x), train_own(x)
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with seeded(0):
        fresh = Autoencoder()
    assert F.mse_loss(one(x), x) < 0.7 * F.mse_loss(fresh(x), x)


@pytest.mark.slow
def test_without_the_files_the_figure_is_of_our_own_autoencoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(autoencoder, "STEPS", 8)
    monkeypatch.delitem(os.environ, "NEURO_DATA", raising=False)
    against = make_metric(replace(tiny(), train=100, test=300))
    assert (against.autoencoder, against.fakes, against.batch) == ("own", 250, 250)
    real = scale_images(mnist.default("test", environ={}).images[:250, None], 32)
    assert against.fad(real) == pytest.approx(0, abs=1e-4)
    noisy = real + 0.3 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    assert against.fad(noisy) > 0.1
    half = F.avg_pool2d(real, 2)  # smaller images are brought to the size that it sees
    assert against.fad(half) > 0.005


def test_all_whole_batches_of_the_test_part_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, seen = "tasks.images.generation.metric", []

    def compute(_: Autoencoder, images: Tensor, batch: int) -> np.ndarray:
        seen.append((len(images), batch))
        return np.eye(3)

    images = SimpleNamespace(images=np.zeros((510, 1, 4, 4), np.uint8))
    monkeypatch.setattr(f"{module}.load_published", lambda: None)
    monkeypatch.setattr(f"{module}.part", lambda *_: images)
    monkeypatch.setattr("tasks.images.metrics.autoencoder.train_own", lambda _: Autoencoder())
    monkeypatch.setattr("tasks.images.metrics.autoencoder.compute_codes", compute)
    against = make_metric(tiny())
    assert (against.fakes, against.batch, seen) == (500, 250, [(500, 250)])


def test_our_own_autoencoder_learns_from_training_images_and_codes_test_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, grey = "tasks.images.generation.metric", {"train": 0, "val": 128, "test": 255}
    learned, coded = list[float](), list[float]()

    def learn(images: Tensor) -> Autoencoder:
        learned.extend(images.unique().tolist())
        return Autoencoder()

    def compute(_: Autoencoder, images: Tensor, batch: int) -> np.ndarray:  # noqa: ARG001
        coded.extend(images.unique().tolist())
        return np.eye(3)

    def part(_: GenerationConfig, split: Split) -> SimpleNamespace:
        return SimpleNamespace(images=np.full((20, 1, 4, 4), grey[split], np.uint8))

    monkeypatch.setattr(f"{module}.load_published", lambda: None)
    monkeypatch.setattr(f"{module}.part", part)
    monkeypatch.setattr("tasks.images.metrics.autoencoder.train_own", learn)
    monkeypatch.setattr("tasks.images.metrics.autoencoder.compute_codes", compute)
    make_metric(tiny())
    assert (learned, coded) == ([-1.0], [1.0])


@needs_files
def test_on_the_published_scale_real_digits_blurred_and_noisy_ones_score_as_known() -> None:
    against = make_metric(replace(tiny(), source="mnist"))
    assert (against.autoencoder, against.fakes, against.batch) == ("published", 5120, 256)
    test = scale_images(mnist.official("test").images[:, None], 32)
    assert against.fad(test[:9984]) == pytest.approx(0.0008, abs=0.0005)
    some = test[:5120]  # the first half of the test part was written by other people
    assert against.fad(some) == pytest.approx(9.302, abs=0.01)
    noise = torch.randn(some.shape, generator=torch.Generator().manual_seed(0))
    assert against.fad(some + 0.3 * noise) == pytest.approx(23.12, abs=0.1)
    assert against.fad(F.avg_pool2d(some, 3, 1, 1)) == pytest.approx(35.75, abs=0.05)


@needs_files
def test_the_first_training_digits_score_4_point_6() -> None:
    train = scale_images(mnist.official("train").images[:5120, None], 32)
    assert make_metric(tiny()).fad(train) == pytest.approx(4.588, abs=0.01)


def test_without_torch_fidelity_or_its_weights_the_cure_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.zeros(2, 1, 4, 4)
    monkeypatch.setattr(metric, "find_spec", lambda _: None)
    assert metric.compute_scores(x, x, {}) == {
        "missing": "FID and IS need torch-fidelity: pip install torch-fidelity"
    }
    monkeypatch.setattr(metric, "find_spec", lambda _: object())
    assert metric.compute_scores(x, x, {"NEURO_DATA": str(tmp_path)}) == {
        "missing": f"FID and IS need {metric.WEIGHTS} in $NEURO_DATA/inception/"
    }


def test_torch_fidelity_is_given_grey_images_as_three_colours_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def calculate_metrics(**how: Any) -> dict[str, float]:
        given.update(how)
        names = ("frechet_inception_distance", "inception_score_mean", "inception_score_std")
        return dict(zip(names, (7.0, 3.0, 0.1), strict=True))

    fake = SimpleNamespace(calculate_metrics=calculate_metrics)
    monkeypatch.setitem(sys.modules, "torch_fidelity", fake)
    monkeypatch.setattr(metric, "find_spec", lambda _: object())
    file = tmp_path / "inception" / metric.WEIGHTS
    file.parent.mkdir()
    file.touch()
    fakes = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1).expand(3, 1, 2, 2)
    found = metric.compute_scores(fakes, -fakes, {"NEURO_DATA": str(tmp_path)})
    assert found == {"fid": 7.0, "inception_score": 3.0, "inception_score_sd": 0.1}
    assert given["feature_extractor_weights_path"] == str(file)
    assert (given["isc_splits"], given["save_cpu_ram"]) == (3, True)
    assert [given["input1"][k].unique().tolist() for k in range(3)] == [[0], [128], [255]]
    assert given["input2"][0].shape == (3, 2, 2)
    assert given["input2"][0].dtype == torch.uint8
