import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from written_graphs import chain

from neuro.graph import Graph, Input, Sparse
from neuro.graph.random import fixed_indegree, fixed_probability, join_inputs
from neuro.neurons import LIF


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def holds(node: Sparse) -> Graph:
    """Return a Graph with the node: only good synapses make one."""
    return chain(x=Input(shape=(node.indptr.size - 1,)), w=node, a=LIF(tau=1.0))


@settings(max_examples=30)
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
