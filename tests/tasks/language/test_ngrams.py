from math import log2

import pytest
import torch

from tasks.language.data import NOTHING
from tasks.language.ngrams import measure_ngrams


def test_bits_are_those_computed_by_hand() -> None:
    """After 0, 0, 0 come 0, 1, 1. Unigram: (1 + 2/2) / 5 and (2 + 2/2) / 5."""
    train = [(torch.tensor([[0], [0], [1]]), torch.tensor([[0], [1], [1]]))]
    test = [
        (torch.tensor([[0, 1], [1, 0]]), torch.tensor([[1, 0], [1, NOTHING]])),
        (torch.tensor([[1, 0]]), torch.tensor([[0, NOTHING]])),
    ]
    # 1 after 0 0, 1 after 0 1, 0 after 1 1 (never seen), and in the other lane 0 after 0 1.
    p = {
        "unigram": (0.6, 0.6, 0.4, 0.4),
        "bigram": ((1 + 2 * 0.6) / 4, (1 + 0.6) / 2, 0.4 / 2, 0.4 / 2),
        "trigram": ((1 + 2 * 0.55) / 4, (1 + 0.8) / 2, 0.2, 0.2 / 2),
    }
    expected = {name: -sum(map(log2, shares)) for name, shares in p.items()}
    assert measure_ngrams(train, test, 2) == pytest.approx(expected, abs=1e-12)
