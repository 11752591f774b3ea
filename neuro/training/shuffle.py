"""The order in which training sees its samples."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64


def shuffle_batches(
    n: int, batch: int, rng: np.random.Generator
) -> Iterator[Int64[np.ndarray, " B"]]:
    """Yield the sample indices of each batch, out of ``n``; drop an incomplete last batch."""
    order = rng.permutation(n)
    for step in range(n // batch):
        yield order[step * batch : (step + 1) * batch]
