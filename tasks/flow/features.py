"""Feature-FD: the Frechet distance of images in the features of a small classifier of our own.

It learns the training part with a fixed seed, so every run on the same data is measured alike.
The classifier also says which class a generated image has.
Axes: N images, C channels, Y X pixels, D features, K classes.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.seeds import seeded
from tasks.flow.config import FlowConfig
from tasks.flow.data import read_split
from tasks.images.metrics.frechet import Gaussian, compute_distance, fit_gaussian

FEATURES = 64
STEPS, BATCH, RATE = 400, 100, 2e-3
AT_ONCE = 500  # images
SPLITS = 8  # into halves; one split of the small digits deviates by 20 %
LEAST = 4  # real images: two a half have a covariance


class FeatureClassifier(nn.Module):
    """Two or three convolutions, 64 features (ReLU), and a read-out of classes."""

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU()]
        inputs, left = 16, side
        while left > 4:
            outputs = min(2 * inputs, 64)
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
            inputs, left = outputs, -(-left // 2)
        layers += [nn.Flatten(), nn.Linear(inputs * left**2, FEATURES), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.classes = nn.Linear(FEATURES, classes)

    def forward(self, x: Float[Tensor, "N C Y X"]) -> Float[Tensor, "N K"]:
        """Return the logits of the classes."""
        logits: Tensor = self.classes(self.features(x))
        return logits


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureReference:
    """What images are measured with.

    real: features of the training part. floor: the mean distance of its random halves from each
    other. test: the distance of the test part from it.
    """

    classifier: FeatureClassifier
    real: Gaussian
    floor: float
    test: float

    def distance(self, images: Float[Tensor, "N C Y X"]) -> float:
        """Return the feature-FD of images from the real ones."""
        return compute_distance(fit_gaussian(describe(self.classifier, images)), self.real)

    @torch.no_grad()
    def match(self, images: Float[Tensor, "N C Y X"], labels: Int64[Tensor, " N"]) -> float:
        """Return the share of images that the classifier takes for their class."""
        logits = [self.classifier(x) for x in torch.split(images, AT_ONCE)]
        return float((torch.cat(logits).argmax(-1) == labels).double().mean())


@torch.no_grad()
def describe(
    classifier: FeatureClassifier, images: Float[Tensor, "N C Y X"]
) -> Float[np.ndarray, "N D"]:
    """Return the features of images."""
    return np.concatenate(
        [classifier.features(x).numpy() for x in torch.split(images, AT_ONCE)]
    )


def train_classifier(
    images: Float[Tensor, "N C Y X"], labels: Int64[Tensor, " N"], classes: int
) -> FeatureClassifier:
    """Train a classifier on images, with a fixed seed."""
    with seeded(0):
        model = FeatureClassifier(images.shape[1], images.shape[2], classes)
        adam = torch.optim.AdamW(model.parameters(), RATE)
        for _ in range(STEPS):
            own = torch.randint(len(images), (BATCH,))
            loss = F.cross_entropy(model(images[own]), labels[own])
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
    return model.eval()


def make_reference(config: FlowConfig) -> FeatureReference:
    """Return the reference of the data of a configuration, whatever its arm and network."""
    seen = ("source", "data", "side", "classes", "held", "train", "test", "seed_of_data")
    return _make_reference(FlowConfig(**{name: getattr(config, name) for name in seen}))


def choose_half(labels: Int64[np.ndarray, " N"], classes: int) -> Bool[np.ndarray, " N"]:
    """Return which images are of the first half: of each class the first ones.

    Of classes with an odd number, every other one gives its middle image to the first half.
    """
    first = np.zeros(len(labels), bool)
    spare = 0
    for label in range(classes):
        own = np.flatnonzero(labels == label)
        first[own[: (len(own) + spare) // 2]] = True
        spare = (len(own) + spare) % 2
    return first


def measure_floor(
    features: Float[np.ndarray, "N D"], labels: Int64[np.ndarray, " N"], classes: int
) -> float:
    """Return the mean distance of random halves of images, each with half of every class.

    Halves in the order of the data would differ by writer, too.
    """
    rng, found = np.random.default_rng(0), list[float]()
    for _ in range(SPLITS):
        order = rng.permutation(len(labels))
        first = choose_half(labels[order], classes)
        halves = (fit_gaussian(features[order[k]]) for k in (first, ~first))
        found.append(compute_distance(*halves))
    return float(np.mean(found))


@lru_cache(maxsize=2)
def _make_reference(config: FlowConfig) -> FeatureReference:
    (images, labels), (tested, _) = (read_split(config, part) for part in ("train", "test"))
    if len(images) < LEAST or len(tested) < LEAST:
        raise ValueError(
            f"flow: {len(images)} training and {len(tested)} test images; feature-FD needs "
            f"{LEAST} of each; give larger train and test, or hold fewer"
        )
    classifier = train_classifier(images, labels, config.classes)
    features = describe(classifier, images)
    real = fit_gaussian(features)
    test = fit_gaussian(describe(classifier, tested))
    return FeatureReference(
        classifier=classifier,
        real=real,
        floor=measure_floor(features, labels.numpy(), config.classes),
        test=compute_distance(test, real),
    )
