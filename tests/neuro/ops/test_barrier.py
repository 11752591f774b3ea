"""A barrier inside compiled kernels."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from neuro.ops.barrier import make_barrier, wait
from neuro.ops.jit import bare

ROUNDS = 300


@bare
def count_strangers(
    barrier: np.ndarray, threads: int, own: int, rounds: int, said: np.ndarray
) -> int:
    """Say the round; count who says another one between two waits."""
    strangers = 0
    for k in range(rounds):
        said[own] = k + 1
        wait(barrier, threads)
        for other in range(threads):
            strangers += said[other] != k + 1
        wait(barrier, threads)
    return strangers


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_no_thread_passes_before_all_have_come_also_without_a_processor_each(
    threads: int,
) -> None:
    barrier, said = make_barrier(), np.zeros(threads, np.int64)
    with ThreadPoolExecutor(threads) as pool:
        counts = list(
            pool.map(
                lambda own: count_strangers(barrier, threads, own, ROUNDS, said), range(threads)
            )
        )
    assert counts == [0] * threads
    assert said.tolist() == [ROUNDS] * threads
