"""Windows of a patient in three parts, by seizure; and batches of equal classes.

Windows before one seizure stay together. Interictal windows are cut in time into as many equal
parts as there are seizures, and each goes with one of them, in the same order. The classes are
balanced in training alone: validation and test keep every window.
Axes: N windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from tasks.forecasting.recordings.windows import EegWindows

LEAST = 3  # seizures: one to train on, to validate on, to test on


@dataclass(frozen=True, kw_only=True, eq=False)
class EegSplit:
    """Which windows belong to a part. seizures: those of the test."""

    train: Int64[np.ndarray, " N"]
    val: Int64[np.ndarray, " V"]
    test: Int64[np.ndarray, " T"]
    seizures: tuple[int, ...]


def leave_one_seizure_out(windows: EegWindows) -> list[EegSplit]:
    """Return a split for each seizure: it is tested on, the next one validated on.

    Raises:
        ValueError: there are fewer than three seizures, or interictal windows.
    """
    seizures, blocks = _list_blocks(windows)
    count = len(seizures)
    return [_join(blocks, seizures, [(k + 1) % count], [k]) for k in range(count)]


def _list_blocks(
    windows: EegWindows,
) -> tuple[list[int], list[Int64[np.ndarray, " N"]]]:
    """Return the seizures, and the windows that go with each, of both classes."""
    seizures = np.unique(windows.seizure[windows.label == 1]).tolist()
    far = np.flatnonzero(windows.label == 0)
    if len(seizures) < LEAST or len(far) < len(seizures):
        raise ValueError(
            f"{len(seizures)} seizures and {len(far)} interictal windows: give a patient with "
            f"at least {LEAST} usable seizures and as many interictal windows"
        )
    parts = np.array_split(far, len(seizures))
    blocks = [
        np.concatenate([np.flatnonzero(windows.seizure == k), part])
        for k, part in zip(seizures, parts, strict=True)
    ]
    return seizures, blocks


def _join(
    blocks: Sequence[Int64[np.ndarray, " N"]],
    seizures: Sequence[int],
    val: Sequence[int],
    test: Sequence[int],
) -> EegSplit:
    """Return the split with some blocks to validate and to test on."""
    train = [k for k in range(len(blocks)) if k not in val and k not in test]
    return EegSplit(
        train=np.sort(np.concatenate([blocks[k] for k in train])),
        val=np.sort(np.concatenate([blocks[k] for k in val])),
        test=np.sort(np.concatenate([blocks[k] for k in test])),
        seizures=tuple(seizures[k] for k in test),
    )


def draw_balanced(
    windows: EegWindows, train: Int64[np.ndarray, " N"], seed: int, epoch: int
) -> Int64[np.ndarray, " K"]:
    """Return windows of an epoch of training in random order, as many of either class.

    Every window of the rarer class is there once; of the other, others in each epoch.

    Raises:
        ValueError: a class has no window.
    """
    labels = windows.label[train]
    sizes = [int((labels == c).sum()) for c in (0, 1)]
    if min(sizes) == 0:
        raise ValueError(f"{sizes} windows of the classes to train on; give windows of both")
    rng = np.random.default_rng([seed, epoch])
    drawn = [rng.choice(train[labels == c], min(sizes), replace=False) for c in (0, 1)]
    return rng.permutation(np.concatenate(drawn))
