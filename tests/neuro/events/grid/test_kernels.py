from collections.abc import Iterator

import numpy as np
import pytest
import torch
from graphs import random_graph, stimulus
from hypothesis import given, strategies as st
from numba.core.dispatcher import Dispatcher
from written_graphs import chain

from neuro.base.units import Seconds
from neuro.events import Grid, Recording, engine, simulate
from neuro.events.grid import batches, kernels, run, scatter, updates
from neuro.graph import Conv1d, Dense, Input, Sparse
from neuro.neurons import LI, LIF
from neuro.nn import replay
from neuro.ops import gather_rows as rows
from neuro.spikes import to_events


@pytest.fixture
def plain_python() -> Iterator[None]:
    """Run the text of every kernel without the compiler."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (rows, kernels, updates, scatter, run, batches, engine):
            for name, function in list(vars(module).items()):
                if isinstance(function, Dispatcher):
                    patch.setattr(module, name, function.py_func)
        yield


@pytest.fixture(scope="module")
def compiled() -> dict:
    return {
        (seed, dtype): simulate(
            random_graph(seed), stimulus(random_graph(seed), seed, 6), Grid(dtype=dtype)
        )
        for seed in range(5)
        for dtype in (np.float32, np.float64)
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(5))
def test_a_compiled_kernel_computes_what_its_text_says(
    compiled: dict,
    plain_python: None,  # noqa: ARG001
    seed: int,
    dtype: type,
) -> None:
    assert not isinstance(kernels.scatter_dense, Dispatcher)
    graph = random_graph(seed)
    have, end = simulate(graph, stimulus(graph, seed, 6), Grid(dtype=dtype))
    want, end_compiled = compiled[seed, dtype]
    assert have.counts == want.counts
    np.testing.assert_equal(have.spikes, want.spikes)
    for name, membranes in end_compiled.neurons.items():
        assert end.neurons[name].dtype == dtype
        np.testing.assert_array_equal(end.neurons[name], membranes)


@given(keys=st.lists(st.integers(0, 4), max_size=30))
def test_counting_sort_is_stable(keys: list[int]) -> None:
    sort = batches.counting_sort(np.array(keys, np.int32), 5)
    assert sort.tolist() == sorted(range(len(keys)), key=lambda e: keys[e])


def test_events_survive_the_way_into_a_run_and_back() -> None:
    graph = random_graph(0)
    events = stimulus(graph, 0, ticks=7, samples=3)["x"]
    batch, valid = batches.to_batch(events, 0, np.dtype(np.float32))
    assert valid
    back = batches.to_events([batch], 0, events.shape, np.dtype(np.float32))
    for a, b in zip(back, events, strict=True):
        np.testing.assert_array_equal(a, b)
    late = batches.to_events([batch], 4, (3, *events.shape[1:]), np.dtype(np.float32))
    assert late.tick.size == (events.tick >= 4).sum()
    assert late.tick.min() == 0


@pytest.mark.parametrize("targets", [10, rows.WIDTH, 2 * rows.WIDTH, 300])
@pytest.mark.parametrize("zeros", [0, 3])
def test_a_dense_layer_of_any_width_sums_the_weights_of_its_spikes(
    targets: int, zeros: int
) -> None:
    rng = np.random.default_rng(targets)
    weight = rng.integers(1, 64, (targets, 20)) / 64  # dyadic: every order gives the same sum
    weight[:zeros, 5] = 0
    raster = (rng.random((4, 2, 20)) < 0.4).astype(np.float32)
    graph = chain(x=Input(shape=(20,)), w=Dense(weight=weight), v=LI(tau=np.inf))
    record, _ = simulate(graph, {"x": to_events(raster)}, Grid(dtype=np.float32))
    want = np.cumsum(raster @ weight.T, 0)
    np.testing.assert_array_equal(record.values["v"], want)
    spikes = int(raster.sum())
    served_none = zeros * int(raster[:, :, 5].sum())
    assert record.counts["w"].synaptic_events_all == spikes * targets
    assert record.counts["w"].synaptic_events == spikes * targets - served_none


def test_buffers_start_at_a_cache_line() -> None:
    for size in (1, 10, 513):
        for array in (
            kernels.make_zeros((2, size), np.dtype(np.float32)),
            kernels.copy_aligned(np.ones(3)),
        ):
            assert array.ctypes.data % kernels.LINE == 0
            assert array.flags.c_contiguous


@pytest.mark.parametrize("kind", ["dense", "sparse", "conv"])
def test_float64_weights_are_rounded_before_they_are_added_in_float32(kind: str) -> None:
    """A sum of two does not depend on their order: both executors agree to the last bit."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (40, 1, 2))
    node = {
        "dense": lambda: Dense(weight=weight[:, 0]),
        "sparse": lambda: Sparse.from_coo(
            *np.divmod(np.arange(80), 40), weight[:, 0].T.ravel(), shape=(40, 2)
        ),
        "conv": lambda: Conv1d(weight=weight),
    }[kind]()
    given = (1, 2) if kind == "conv" else (2,)
    graph = chain(x=Input(shape=given), w=node, v=LI(tau=np.inf))
    x = {"x": to_events(np.ones((3, 1, 2), np.float32))}
    have = simulate(graph, x, Grid(dtype=np.float32))[0].values["v"]
    want = replay(graph, x, torch.float32).values["v"]
    np.testing.assert_array_equal(have, want)
    pair = weight[:, 0].astype(np.float32)
    np.testing.assert_array_equal(have[0, 0], pair[:, 0] + pair[:, 1])
    assert (have[0, 0] != weight[:, 0].sum(1).astype(np.float32)).any()


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_a_refractory_period_passes_while_a_lone_neuron_is_skipped(reset: str) -> None:
    """Nothing reaches it from tick 1 to 9, and at 0 all but its waiting stands still."""
    cell = LIF(tau=0.01, threshold=1.0, reset=reset, refractory=Seconds(3e-3))
    graph = chain(x=Input(shape=(1,)), w=Dense(weight=np.ones((1, 1))), cell=cell)
    raster = np.zeros((20, 1, 1))
    raster[[0, 9, 12, 14]] = 1
    x = {"x": to_events(raster)}
    for states in (
        (),
        (1,),
    ):  # a state is brought up to its tick: then only the waiting is left
        record, _ = simulate(graph, x, record=Recording(states=states))
        assert record.spikes["cell"].tick.tolist() == [0, 9, 14]
