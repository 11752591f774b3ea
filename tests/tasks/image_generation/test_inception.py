"""FID and IS by torch-fidelity and an Inception network of random weights.

The figures mean nothing; that the images, the file and the scores pass through as they should
does not depend on the weights.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuro.seeds import seeded
from tasks.image_generation.frechet import distance, gaussian
from tasks.image_generation.inception import FOLDER, SPLITS, WEIGHTS, scores

pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed; make setup")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the network that torch-fidelity reads; its file lies in the folder ``data``."""
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
    (data / FOLDER).mkdir()
    torch.save(found.state_dict(), data / FOLDER / WEIGHTS)
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


@pytest.mark.parametrize(("colours", "n"), [(1, 8), (3, 12)])
def test_fid_is_our_frechet_distance_of_the_same_features(
    network: Any, colours: int, n: int
) -> None:
    from torch_fidelity.metric_isc import isc_features_to_metric

    fakes, real = images(n, colours, 0, 0.2), images(10, colours, 1, 0.1)
    found = scores(fakes, real, {"NEURO_DATA": str(network.data)})
    (of_fakes, logits), (of_real, _) = seen(network, fakes), seen(network, real)
    ours = distance(*(gaussian(np.asarray(x)) for x in (of_fakes, of_real)))
    assert ours > 1
    # Both take roots of 2,048 values of which most are zero but for rounding: measured 1e-7.
    assert found["fid"] == pytest.approx(ours, rel=1e-5)
    want = isc_features_to_metric(logits, min(n, SPLITS))
    assert found["inception_score"] == pytest.approx(want["inception_score_mean"], rel=1e-9)
    assert found["inception_score_sd"] == pytest.approx(want["inception_score_std"], abs=1e-9)
    assert (found["inception_score"] > 1 + 1e-9) == (n > SPLITS)
