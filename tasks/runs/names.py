"""Names that a user types, and suggestions for unknown ones.

This module imports nothing slow, because ``neuro tasks`` prints its names and summaries.
"""

from collections.abc import Sequence
from difflib import get_close_matches

IMPORTED = "imported"  # task of a run made by neuro import, defined by the run folder
CONFIGURATIONS = {  # of each task; equal to the names in the task
    "mnist": (
        *("tiny", "demo", "relu", "counted", "full", "fashion", "fast", "fast_fixed"),
        *("fast_adaptive", "paper"),
    ),
    "cifar10": ("tiny", "fast", "relu", "counted", "residual", "paper"),
    "yinyang": ("tiny", "full", "xylo"),
    "delays": ("tiny", "learned", "fixed", "none", "yinyang", "digits", "vowels"),
    "events": ("tiny", "nmnist", "dvs_gesture", "shd", "shd_delays", "ssc_delays"),
    "image_generation": (
        *("tiny", "small", "small_drawn", "small_membrane", "small_ann"),
        *("night", "full", "fashion", "cifar10"),
    ),
    "driving": (
        *("tiny", "small", "small_ann", "small_command", "small_reset", "small_multiply"),
        *("small_gate", "small_sweeps"),
        *("maps", "maps_reset", "maps_multiply", "maps_gate", "paper"),
    ),
    "language": (
        *("tiny", "small", "small_transformer", "small_mlgru", "small_matmulfree"),
        *("small_rwkv6", "small_eagle", "small_finch", "small_goose", "small_spiking"),
        *("matmulfree_370m", "matmulfree_1b", "matmulfree_3b"),
    ),
    "hybrids": ("tiny", "recall", "text"),
    "bottlenecks": (
        *("tiny", "tiny_relu", "digits", "shallow", "deep"),
        *("paper", "paper_34", "paper_50", "paper_spiking"),
    ),
    "forecasting": (
        *("tiny", "tiny_ann", "tiny_population"),
        *("guided", "guided_ann", "lorenz"),
        *("tiny_seizures", "seizures", "seizures_ann", "chb_mit", "kaggle"),
    ),
    "reasoning": (
        *("tiny", "tiny_spiking", "tiny_depth", "reachability", "multiplication"),
        *("coconut", "sudoku", "huginn"),
    ),
    "flow": (
        *("tiny", "tiny_sit", "tiny_spiking", "mnist", "cifar10"),
        *("small", "base", "large", "xlarge"),
    ),
    "attribution": (
        *("tiny", "tiny_lm", "tiny_alif", "tiny_spiking", "four", "five", "library", "full"),
    ),
}
SUMMARIES = {  # of each task, for ``neuro tasks`` and its report: at most 60 characters
    "mnist": "handwritten digits, by spiking convolutions; ANNs to convert",
    "cifar10": "CIFAR-10, by spiking convolutions; ANNs to convert",
    "yinyang": "Yin-Yang points as spike times, by exact gradients too",
    "delays": "classes in spike times, with learned delays or without",
    "events": "recordings of events: bars, N-MNIST, DVS-Gesture, SHD, SSC",
    "image_generation": "new images from a spiking VAE, with temporal attention",
    "driving": "driving by six cameras: perception, prediction, planning",
    "language": "the next byte or token of a text",
    "hybrids": "stacks of linear mixers and softmax attention, on recall",
    "bottlenecks": "residual classifiers, narrow where they cross between chips",
    "forecasting": "forecasts of a series or a seizure, guided by a teacher",
    "reasoning": "more computation for one answer, in hidden states",
    "flow": "images out of noise, alone or behind noisier images",
    "attribution": "which corpora a text of a language model comes from",
}


class UnknownName(ValueError):
    """A verb, task or configuration does not exist; the message suggests the nearest name."""


def require_one_of(name: str, names: Sequence[str], what: str, *, listed: bool = False) -> str:
    """Return ``name`` if it is one of ``names``. listed: list all names beside a suggestion.

    Raises:
        UnknownName: ``name`` is not one of them.
    """
    if name in names:
        return name
    near = get_close_matches(name, names, 1) or get_close_matches(name.lower(), names, 1)
    hints = [f"did you mean {near[0]!r}?"] if near else []
    hints += [f"there are {', '.join(names)}"] if listed or not near else []
    raise UnknownName(f"no {what} {name!r}; {' '.join(hints)}")
