"""Feature-FD: the Frechet distance of images in the features of our own small classifier.

The classifier learns the training part with a fixed seed, so all runs on the same data share
one measure. It also tells which class a generated image has.
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
AT_ONCE = 500  # images per forward pass
SPLITS = 8  # random splits into halves; one split of the small digits deviates by 20 %
LEAST = 4  # fewest real images: a covariance needs two images per half


class FeatureClassifier(nn.Module):
    """Two or three convolutions, 64 features (ReLU), and a linear read-out of the classes."""

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
    """Classifier and features that images are compared with.

    real: features of the training part.
    floor: mean distance between random halves of the training part.
    test: distance between the test part and the training part.
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
        """Return the share of images that the classifier assigns to their label."""
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
    """Return the reference for a configuration; it depends on the data only."""
    seen = ("source", "data", "side", "classes", "held", "train", "test", "seed_of_data")
    return _make_reference(FlowConfig(**{name: getattr(config, name) for name in seen}))


def choose_half(labels: Int64[np.ndarray, " N"], classes: int) -> Bool[np.ndarray, " N"]:
    """Return True for images of the first half, which takes the first images of each class.

    Every second class with an odd number of images gives its middle image to the first half.
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
    """Return the mean distance between random halves that contain half of every class.

    Halves in the order of the data would also differ in the writers.
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
