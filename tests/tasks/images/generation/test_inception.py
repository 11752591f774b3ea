"""FID and IS by torch-fidelity and an Inception network of random weights.

The figures have no meaning, but the path of the images, the file and the scores does not depend
on the weights.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuro.base.seeds import seeded
from tasks.images.generation.metric import INCEPTION, SPLITS, WEIGHTS, compute_scores
from tasks.images.metrics.frechet import compute_distance, fit_gaussian

pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed; make setup")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the network that torch-fidelity reads from a file in the folder ``data``."""
    from torch_fidelity import feature_extractor_inceptionv3 as inception

    kind, layers = inception.FeatureExtractorInceptionV3, ["2048", "logits_unbiased"]
    data = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch, seeded(0):
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(kind, "load_state_dict", lambda *_: None)
        found = kind("random", layers)
        for module in found.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    (data / INCEPTION).mkdir()
    torch.save(found.state_dict(), data / INCEPTION / WEIGHTS)
    found.data = data
    return found


def images(n: int, colours: int, seed: int, noise: float) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    plain = torch.linspace(-0.9, 0.9, n).reshape(n, 1, 1, 1)
    return (plain + noise * torch.randn(n, colours, 32, 32, generator=g)).clamp(-1, 1)


def seen(network: Any, x: Tensor) -> list[Tensor]:
    """Return features and logits of images in -1..1."""
    bytes_ = ((x + 1) * 127.5).round().to(torch.uint8).expand(-1, 3, -1, -1)
    return list(network(bytes_.contiguous()))


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the 2,048 features of the extractor by three float64 mixtures, on the CPU.

    With more features than images the covariance is singular, and the roots of its zeros depend
    on the rounding of the BLAS. With three features of eight images it is not singular.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Kind

    whole = Kind.forward
    mix = torch.from_numpy(np.random.default_rng(1).normal(size=(2048, 3)))

    def forward(self: Any, x: Tensor) -> tuple[Tensor, ...]:
        found = dict(zip(self.features_list, whole(self, x), strict=True))
        found["2048"] = found["2048"].double() @ mix
        return tuple(found.values())

    monkeypatch.setattr(Kind, "forward", forward)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.slow
@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize(("colours", "n"), [(1, 8), (3, 12)])
def test_fid_is_our_frechet_distance_of_the_same_features(
    network: Any, colours: int, n: int
) -> None:
    from torch_fidelity.metric_isc import isc_features_to_metric

    fakes, real = images(n, colours, 0, 0.2), images(10, colours, 1, 0.1)
    found = compute_scores(fakes, real, {"NEURO_DATA": str(network.data)})
    (of_fakes, logits), (of_real, _) = seen(network, fakes), seen(network, real)
    one, other = (fit_gaussian(np.asarray(x)) for x in (of_fakes, of_real))
    ours = compute_distance(one, other)
    # Eigenvalues of S R are right to 3 eps |S| |R| k^(1/2), k the condition (Bauer and Fike),
    # and none is below |S| |R| / k^2: each root is right to 3 eps k^(3/2) (|S| |R|)^(1/2) / 2.
    covariances = (one.covariance, other.covariance)
    k = max(np.linalg.cond(c) for c in covariances)
    size = np.sqrt(np.prod([np.linalg.norm(c, 2) for c in covariances]))
    assert 2 * 3 * (3 * np.finfo(float).eps * k**1.5 * size / 2) < 5e-8 * ours
    assert found["fid"] == pytest.approx(ours, rel=5e-8)  # measured 5e-12
    want = isc_features_to_metric(logits, min(n, SPLITS))
    assert found["inception_score"] == pytest.approx(want["inception_score_mean"], rel=1e-9)
    assert found["inception_score_sd"] == pytest.approx(want["inception_score_std"], abs=1e-9)
    assert (found["inception_score"] > 1 + 1e-9) == (n > SPLITS)
