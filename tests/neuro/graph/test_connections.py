import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from layer_cases import random_synapses

from neuro.graph import Conv2d, Sparse
from neuro.graph.sparse import to_dense


@settings(deadline=None)
@given(seed=st.integers(0, 999), synapses=st.integers(0, 20), delays=st.integers(1, 3))
def test_synapses_in_any_order_become_sorted_rows(
    seed: int, synapses: int, delays: int
) -> None:
    columns, node = random_synapses(seed, synapses=synapses, delays=delays)
    names = ("source", "delay", "target", "weight")
    late = np.zeros(synapses, int) if node.delay is None else node.delay
    rows = list(zip(node.source, late, node.indices, node.weight, strict=True))
    assert sorted(rows) == sorted(zip(*(columns[k] for k in names), strict=True))
    assert [row[:3] for row in rows] == sorted(row[:3] for row in rows)
    assert (node.indptr[0], node.indptr[-1], node.indptr.size) == (0, synapses, 6)


def test_the_arrays_are_read_only_and_as_small_as_the_promise() -> None:
    _, node = random_synapses(0, synapses=1000)
    assert (node.indptr.dtype, node.indices.dtype, node.weight.dtype) == (
        np.int64,
        np.int32,
        np.float64,
    )
    assert (node.indices.nbytes + node.weight.nbytes) / 1000 == 12
    assert not any(a.flags.writeable for a in (node.indptr, node.indices, node.weight))
    assert node.delay is None


def test_float32_weights_stay_float32() -> None:
    one = np.array([0])
    node = Sparse.from_coo(one, one, np.ones(1, np.float32), shape=(1, 1), bias=np.ones(1))
    assert node.weight.dtype == np.float32
    assert node.bias is not None
    assert node.bias.dtype == np.float64
    assert Conv2d(weight=np.ones((1, 1, 2, 2))).weight.dtype == np.float64


def test_a_matrix_has_the_sums_of_parallel_synapses() -> None:
    columns, node = random_synapses(3)
    expected = np.zeros((4, 5))
    np.add.at(expected, (columns["target"], columns["source"]), columns["weight"])
    np.testing.assert_array_equal(to_dense(node).weight, expected)


def test_columns_of_different_length_and_sources_out_of_range_are_refused() -> None:
    two, three = np.array([0, 1]), np.ones(3)
    with pytest.raises(ValueError, match=r"one entry a synapse.*'source': 2.*'weight': 3"):
        Sparse.from_coo(two, two, three, shape=(2, 2))
    with pytest.raises(ValueError, match=r"1 sources like 1 are not among the 1 inputs"):
        Sparse.from_coo(two, two, np.ones(2), shape=(2, 1))
