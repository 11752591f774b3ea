import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from written_graphs import chain

from neuro.graph import Graph, Input, Sparse, random
from neuro.graph.random import fixed_indegree, fixed_probability, fixed_total, join_inputs
from neuro.neurons import LIF


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def holds(node: Sparse) -> Graph:
    """Return a Graph with the node: only good synapses make one."""
    return chain(x=Input(shape=(node.indptr.size - 1,)), w=node, a=LIF(tau=1.0))


@given(
    inputs=st.integers(1, 20),
    outputs=st.integers(1, 20),
    p=st.sampled_from([0.0, 0.1, 0.7, 1.0]),
    seed=st.integers(0, 99),
)
def test_no_pair_is_drawn_twice(inputs: int, outputs: int, p: float, seed: int) -> None:
    node = fixed_probability(inputs, outputs, p, 0.5, rng(seed))
    pairs = set(zip(node.source.tolist(), node.indices.tolist(), strict=True))
    assert len(pairs) == node.indices.size
    assert holds(node).shapes["a"] == (outputs,)
    assert {0.0: 0, 1.0: inputs * outputs}.get(p, node.indices.size) == node.indices.size


def test_synapses_are_as_frequent_as_their_probability() -> None:
    node = fixed_probability(1000, 500, 0.1, 1.0, rng())
    sigma = np.sqrt(500_000 * 0.1 * 0.9)
    assert abs(node.indices.size - 50_000) < 4 * sigma
    by_target = np.bincount(node.indices, minlength=500)
    assert abs(by_target.var() / (1000 * 0.1 * 0.9) - 1) < 0.3


@settings(max_examples=20)
@given(inputs=st.integers(1, 20), outputs=st.integers(1, 20), seed=st.integers(0, 99))
def test_every_output_hears_that_many_different_inputs(
    inputs: int, outputs: int, seed: int
) -> None:
    indegree = inputs // 2
    node = fixed_indegree(inputs, outputs, indegree, 1.0, rng(seed))
    pairs = list(zip(node.indices.tolist(), node.source.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) == outputs * indegree
    assert (np.bincount(node.indices, minlength=outputs) == indegree).all()
    holds(node)


def test_weights_and_delays_are_drawn_and_rows_sorted_by_them() -> None:
    node = fixed_probability(
        30,
        40,
        0.3,
        lambda n: rng(1).normal(size=n).astype(np.float32),
        rng(),
        delay=lambda n: rng(2).integers(1, 5, n),
    )
    assert node.weight.dtype == np.float32
    assert node.delay is not None
    assert set(node.delay.tolist()) == {1, 2, 3, 4}
    holds(node)


def test_the_same_seed_draws_the_same_network() -> None:
    one, other = (fixed_indegree(9, 8, 4, 1.0, rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.indices, other.indices)


def test_populations_beside_each_other_become_one() -> None:
    excitatory = fixed_probability(4, 10, 0.5, 0.1, rng(0))
    inhibitory = fixed_probability(2, 10, 0.5, -0.5, rng(1))
    both = join_inputs(excitatory, inhibitory)
    assert both.indptr.tolist() == [
        *excitatory.indptr,
        *(inhibitory.indptr[1:] + excitatory.indices.size),
    ]
    assert (both.weight[both.source >= 4] == -0.5).all()
    assert holds(both).size("x") == 6


def test_what_cannot_be_drawn_or_joined_is_refused() -> None:
    with pytest.raises(ValueError, match=r"p must be from 0 to 1, got 1.5"):
        fixed_probability(2, 2, 1.5, 1.0, rng())
    with pytest.raises(ValueError, match=r"indegree must be from 0 to the 2 inputs, got 3"):
        fixed_indegree(2, 2, 3, 1.0, rng())
    with pytest.raises(ValueError, match=r"parts need the same outputs"):
        join_inputs(*(fixed_indegree(2, n, 1, 1.0, rng()) for n in (2, 3)))


def test_a_delay_may_be_one_number() -> None:
    node = fixed_probability(5, 4, 1.0, 0.5, rng(0), delay=3)
    assert node.delay is not None
    assert set(node.delay.tolist()) == {3}


Draw = Callable[[int], np.ndarray]


def draw_weights(draws: np.random.Generator) -> Draw:
    return lambda n: draws.normal(2.5, 0.5, n).astype(np.float32)


def draw_delays(draws: np.random.Generator) -> Draw:
    return lambda n: draws.integers(0, 4, n)


@given(
    inputs=st.integers(1, 9),
    outputs=st.integers(1, 5),
    synapses=st.integers(0, 200),
    block=st.sampled_from([1, 7, 64]),
    seed=st.integers(0, 99),
)
def test_a_total_is_drawn_row_by_row_as_one_synapse_after_the_other_would_be(
    inputs: int, outputs: int, synapses: int, block: int, seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "BLOCK", block)
        one = rng(seed)
        node = fixed_total(inputs, outputs, synapses, draw_weights(one), one, draw_delays(one))
    draws = rng(seed)
    delay, weight = draw_delays(draws), draw_weights(draws)
    sizes = draws.multinomial(synapses, [1 / inputs] * inputs).tolist()
    expected, row = [], 0
    while row < inputs:
        last = row + 1  # a block: whole rows, as many as fit, at least one
        while last < inputs and sum(sizes[row : last + 1]) <= block:
            last += 1
        source = [j for j in range(row, last) for _ in range(sizes[j])]
        target = draws.integers(0, outputs, len(source)).tolist()
        rows = sorted(zip(source, target, delay(len(source)).tolist(), strict=True))
        expected += [(*r, w) for r, w in zip(rows, weight(len(rows)).tolist(), strict=True)]
        row = last
    assert node.delay is not None
    assert (node.delay.dtype, node.weight.dtype) == (np.uint16, np.float32)
    columns = (node.source, node.indices, node.delay, node.weight)
    assert list(zip(*(c.tolist() for c in columns), strict=True)) == expected
    assert node.indices.size == synapses
    holds(node)


def test_a_total_spreads_over_inputs_and_outputs_alike_and_repeats_pairs() -> None:
    node = fixed_total(40, 30, 60_000, np.float32(0.5), rng())
    assert node.delay is None
    assert set(node.weight.tolist()) == {0.5}
    assert node.weight.dtype == np.float32
    for each, n in ((np.diff(node.indptr), 40), (np.bincount(node.indices), 30)):
        assert each.sum() == 60_000
        # Poisson counts but for the fixed total: chi squared is n - 1 on average.
        assert 0.5 < ((each - 60_000 / n) ** 2).sum() / (60_000 / n) / (n - 1) < 1.6
    pairs = np.bincount(node.source * 30 + node.indices, minlength=1200)
    assert 0.9 < pairs.var() / 50 < 1.1


def test_drawing_a_total_takes_hardly_more_than_its_ten_bytes_a_synapse() -> None:
    tracemalloc.start()
    node = fixed_total(700, 900, 2_000_000, draw_weights(rng(1)), rng(), draw_delays(rng(2)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert node.delay is not None
    assert node.indices.nbytes + node.weight.nbytes + node.delay.nbytes == 20_000_000
    assert 20_000_000 < peak < 24_000_000  # blocks: 65,536 synapses of about 50 bytes


@pytest.mark.parametrize(
    "draw",
    [
        lambda delay: fixed_total(1, 4, 3, 1.5, rng(), delay),
        lambda delay: fixed_probability(1, 3, 1.0, 1.5, rng(), delay),
        lambda delay: fixed_indegree(1, 3, 1, 1.5, rng(), delay),
    ],
)
def test_delays_are_rounded_to_ticks(draw: Callable[[Any], Sparse]) -> None:
    drawn = iter([np.array([0.6, 2.4, 3.6]), np.array([])])
    node = draw(lambda _: next(drawn))
    assert node.delay is not None
    assert node.delay.dtype == np.uint16
    assert sorted(node.delay.tolist()) == [1, 2, 4]


def test_a_function_that_draws_another_number_of_values_is_refused() -> None:
    for number in (5, 7):

        def draw(_: int, number: int = number) -> np.ndarray:
            return np.ones(number)

        message = rf"draw an array of \(6,\) for 6 synapses, got \({number},\)"
        for weight, delay in ((draw, None), (1.0, draw)):
            with pytest.raises(ValueError, match=message):
                fixed_probability(2, 3, 1.0, weight, rng(), delay)


def test_no_block_has_more_rows_than_a_key_can_number() -> None:
    node = fixed_total(70_000, 90_000, 69_000, 1.5, rng(), delay=2**16 - 1)
    assert node.delay is not None
    assert set(node.delay.tolist()) == {65535}
    assert np.bincount(node.source, minlength=70_000)[32_766:].sum() > 30_000
    assert np.count_nonzero(node.indices >= 2**16) == pytest.approx(69_000 * 0.2718, rel=0.03)
    holds(node)


@pytest.mark.parametrize(
    ("sizes", "delay", "message"),
    [
        (
            (3, 4, -1),
            None,
            "synapses must be >= 0, and 0 without neurons, got -1 from 3 inputs",
        ),
        ((0, 4, 1), None, "got 1 from 0 inputs to 4 outputs"),
        ((3, 0, 1), None, "got 1 from 3 inputs to 0 outputs"),
        ((3, 4, 5), -1, "delays must be from 0 to 65535 ticks, got -1 to 0"),
        ((3, 4, 5), 2**16, "delays must be from 0 to 65535 ticks, got 0 to 65536"),
    ],
)
def test_a_total_that_cannot_be_drawn_is_refused(
    sizes: tuple[int, int, int], delay: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fixed_total(*sizes, 0.5, rng(), delay)
