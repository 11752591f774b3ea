from collections.abc import Callable

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from layer_cases import random_synapses

from neuro.graph import Connection, Conv1d, Conv2d, ConvTranspose2d, Dense, Sparse
from neuro.graph.sparse import to_dense


@given(seed=st.integers(0, 999), synapses=st.integers(0, 20), delays=st.integers(1, 3))
def test_synapses_in_any_order_become_sorted_rows(
    seed: int, synapses: int, delays: int
) -> None:
    columns, node = random_synapses(seed, synapses=synapses, delays=delays)
    names = ("source", "target", "delay", "weight")
    late = np.zeros(synapses, int) if node.delay is None else node.delay
    rows = list(zip(node.source, node.indices, late, node.weight, strict=True))
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


def test_read_only_arrays_of_the_right_kind_are_not_copied_and_others_are() -> None:
    def freeze(array: np.ndarray) -> np.ndarray:
        array.setflags(write=False)
        return array

    columns = {
        "indptr": freeze(np.array([0, 1, 3])),
        "indices": freeze(np.array([2, 0, 1], np.int32)),
        "weight": freeze(np.array([0.5, -1.0, 2.0], np.float32)),
        "delay": freeze(np.array([7, 1, 65_535], np.uint16)),
    }
    node = Sparse(**columns, shape=(3,))
    assert all(getattr(node, name) is array for name, array in columns.items())
    assert sum(columns[k].nbytes for k in ("indices", "weight", "delay")) == 3 * 10
    writable = {name: array.copy() for name, array in columns.items()}
    viewed = {name: freeze(array[:]) for name, array in writable.items()}
    wider = {name: freeze(columns[name].astype(np.int64)) for name in ("indices", "delay")}
    for group in (writable, viewed, wider):
        for name, array in group.items():
            copied = getattr(Sparse(**{**columns, name: array}, shape=(3,)), name)
            assert not np.shares_memory(copied, array)
            assert not copied.flags.writeable
    assert Sparse(**{**columns, "delay": np.array([7, 1, 2])}, shape=(3,)).delay.dtype == "i4"
    with pytest.raises(ValueError, match=r"Sparse.delay: 7.5 is no int32"):
        Sparse(**{**columns, "delay": np.array([7.5, 1, 2])}, shape=(3,))


def test_a_matrix_has_the_sums_of_parallel_synapses() -> None:
    columns, node = random_synapses(3)
    expected = np.zeros((4, 5))
    np.add.at(expected, (columns["target"], columns["source"]), columns["weight"])
    np.testing.assert_array_equal(to_dense(node).weight, expected)


def test_columns_of_different_length_and_sources_out_of_range_are_refused() -> None:
    two, three = np.array([0, 1]), np.ones(3)
    with pytest.raises(ValueError, match=r"one entry a synapse .* \(2,\), .* \(3,\)"):
        Sparse.from_coo(two, two, three, shape=(2, 2))
    with pytest.raises(ValueError, match=r"1 sources like 1 are not among the 1 inputs"):
        Sparse.from_coo(two, two, np.ones(2), shape=(2, 1))


@pytest.fixture
def as_users_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are checked by the code alone."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


WEIGHTED: dict[str, tuple[Callable[..., Connection], int]] = {
    "Dense": (Dense, 2),
    "Conv1d": (Conv1d, 3),
    "Conv2d": (Conv2d, 4),
    "ConvTranspose2d": (ConvTranspose2d, 4),
}


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("kind", WEIGHTED)
@pytest.mark.parametrize("make", [np.ones, torch.ones], ids=["array", "tensor"])
def test_a_change_in_place_reaches_no_connection(
    kind: str, make: Callable[..., object]
) -> None:
    build, axes = WEIGHTED[kind]
    weight, bias = make((1,) * axes), make((1,))
    node = build(weight=weight, bias=bias)
    for changed in (weight, bias):
        changed[:] = 2  # type: ignore[index]
    assert node.weight.ravel().tolist() == node.bias.tolist() == [1]  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="read-only"):
        node.weight[:] = 2  # type: ignore[attr-defined]


def test_a_change_in_place_reaches_no_synapse() -> None:
    columns = {
        "indptr": np.array([0, 1], np.int64),
        "indices": np.array([0], np.int32),
        "weight": np.ones(1),
        "delay": np.zeros(1, np.int32),
        "bias": np.ones(1),
    }
    node = Sparse(**columns, shape=(1,))
    for changed in columns.values():
        changed[:] = 7
    found = [getattr(node, name).tolist() for name in columns]
    assert found == [[0, 1], [0], [1], [0], [1]]


@pytest.mark.usefixtures("as_users_run_it")
def test_numbers_of_any_kind_become_weights_unless_they_would_be_rounded() -> None:
    kinds: dict[object, type] = {
        bool: np.float32,
        np.int64: np.float32,
        np.float16: np.float32,
        np.float32: np.float32,
        np.float64: np.float64,
        np.longdouble: np.float64,
    }
    for written, kept in kinds.items():
        ones = np.ones((2, 3), written)  # type: ignore[call-overload]
        node = Dense(weight=ones, bias=ones[:, 0])
        assert node.weight.dtype == node.bias.dtype == kept
        assert node.weight.sum() == 6
    half = Dense(weight=torch.full((1, 1), 0.5, dtype=torch.bfloat16))  # type: ignore[arg-type]
    assert (half.weight.dtype, half.weight.item()) == (np.float32, 0.5)
    large = np.array([[2.0**24 + 1]])
    assert Dense(weight=large).weight.item() == 2**24 + 1
    with pytest.raises(ValueError, match=r"Dense\.weight: 16777217 is no float32; give"):
        Dense(weight=large.astype(np.int64))
    with pytest.raises(ValueError, match=r"Dense\.weight: 4611686018427387905 is no float32"):
        Dense(weight=np.array([[2**62 + 1]]))


@pytest.mark.usefixtures("as_users_run_it")
def test_columns_may_be_lists_and_whole_floats() -> None:
    one: dict[str, object] = {"source": [0, 1.0], "target": np.zeros(2), "delay": [1, 0.0]}
    node = Sparse.from_coo(**one, weight=[1, 0.5], shape=(1, 2))  # type: ignore[arg-type]
    assert (node.indptr.tolist(), node.indices.tolist()) == ([0, 1, 2], [0, 0])
    assert node.delay is not None
    assert (node.weight.tolist(), node.delay.tolist()) == ([1, 0.5], [1, 0])
