"""JapaneseVowels: nine speakers of the vowels "ae", 270 + 370 utterances of 7 to 29 frames.

A frame has 12 coefficients of a linear prediction (Kudo, Toyama, Shimbo 1999). The package aeon
ships both files, in the text format ``.ts``; this module reads the text, and imports no aeon.
Axes: N utterances, T frames, C coefficients.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from drivers.folders import read_text, require_in_neuro_data

Part = Literal["train", "test"]

FRAMES, COEFFICIENTS, SPEAKERS = 29, 12, 9
SIZES = {"train": 270, "test": 370}
FOLDERS = ("aeon/datasets/data/JapaneseVowels", "JapaneseVowels")
FETCH = "pip install --no-deps --target $NEURO_DATA aeon==1.6.0 puts them there"


@dataclass(frozen=True, kw_only=True, eq=False)
class Utterances:
    """values: NaN after the last frame of an utterance. labels: the speaker, from 0."""

    values: Float64[np.ndarray, "N T C"]
    labels: Int64[np.ndarray, " N"]


def load(part: Part) -> Utterances:
    """Return one part, in the order of its file.

    Raises:
        FileNotFoundError: the files are not in ``$NEURO_DATA``.
        ValueError: a file is damaged; the message names the line.
    """
    folder = require_in_neuro_data(FOLDERS, "JapaneseVowels", FETCH)
    path = folder / f"JapaneseVowels_{part.upper()}.ts"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {FETCH}")
    lines = read_text(path, FETCH).splitlines()
    rows = [(k, line) for k, line in enumerate(lines, 1) if line and line[0] not in "@#"]
    if len(rows) != SIZES[part]:
        raise ValueError(
            f"{path}: {len(rows)} utterances; there must be {SIZES[part]}; {FETCH}"
        )
    values = np.full((len(rows), FRAMES, COEFFICIENTS), np.nan)
    labels = np.empty(len(rows), np.int64)
    for n, (k, line) in enumerate(rows):
        *series, label = line.split(":")
        try:
            read = np.array([text.split(",") for text in series], np.float64).T
            values[n, : len(read)] = read
            labels[n] = range(SPEAKERS)[int(label) - 1]
            if read.shape[1] != COEFFICIENTS or not np.isfinite(read).all() or label < "1":
                raise ValueError(f"{read.shape[1]} series, speaker {label}")
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path}, line {k}: no utterance ({error}); {FETCH}") from error
    return Utterances(values=values, labels=labels)
