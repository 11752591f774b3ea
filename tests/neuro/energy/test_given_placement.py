"""A placement that is handed over: the one that neuro finds itself, and any other."""

import numpy as np
import pytest
from energy_cases import record_of, with_limit
from hypothesis import given, settings, strategies as st
from written_graphs import chain

from neuro.energy import estimate, find_chip, place, place_as_given
from neuro.energy.mapping import count_demand
from neuro.energy.synapses import compose
from neuro.graph import Conv2d, Dense, Flatten, Graph, Input
from neuro.graph.sparse import write_out_synapses
from neuro.neurons import LI, LIF
from neuro.spikes.record import Record


def images() -> Graph:
    rng = np.random.default_rng(0)
    return chain(
        x=Input(shape=(2, 6, 6)),
        conv=Conv2d(weight=rng.integers(1, 5, (4, 2, 3, 3)), stride=(2, 2), padding=(1, 1)),
        hidden=LIF(tau=0.01),
        flat=Flatten(),
        w=Dense(weight=rng.integers(-1, 2, (5, 36))),
        out=LI(tau=0.01),
    )


def run() -> Record:
    rng = np.random.default_rng(1)
    return record_of(x=rng.random((4, 2, 72)) < 0.3, hidden=rng.random((4, 2, 36)) < 0.3)


@pytest.mark.parametrize("neurons", [3, 9, 1024])
def test_the_placement_of_neuro_handed_over_costs_and_takes_the_same(neurons: int) -> None:
    chip, graph, record = find_chip("loihi1"), images(), run()
    chip = with_limit(chip, "neurons", float(neurons))
    own = estimate(graph, record, chip)
    cores = {n: own.placement.layers[n].core_of for n in graph.populations}
    found = estimate(graph, record, chip, cores=cores)
    for part in ("core", "static", "system", "latency", "parts", "operations"):
        assert getattr(found, part) == getattr(own, part), part
    assert (found.placement.cores, found.placement.chips) == (own.placement.cores, 1)


def tile(core: int) -> tuple[int, int]:
    """Return (x, y) of the tile of a core of Loihi 1: tiles of 4, columns of 4."""
    return core // 16, core // 4 % 4


@settings(max_examples=8)
@given(seed=st.integers(0, 999))
def test_messages_and_hops_are_those_of_a_walk_over_all_synapses(seed: int) -> None:
    rng, graph, record = np.random.default_rng(seed), images(), run()
    cores = {"hidden": rng.integers(0, 60, 36), "out": rng.integers(60, 128, 5)}
    ops = estimate(graph, record, "loihi1", cores=cores).operations
    routes = {r.source: r for r in compose(graph)}
    for source, target in (("x", "hidden"), ("hidden", "out")):
        node = graph.nodes["conv" if source == "x" else "w"]
        listed = write_out_synapses(node, routes[source].shape or (36,))  # type: ignore[arg-type]
        home = np.zeros(72, int) if source == "x" else cores["hidden"]
        messages = hops_x = hops_y = 0
        most = np.zeros(3, int)
        for neuron in record.spikes[source].neuron:
            ends = listed.indices[listed.indptr[neuron] : listed.indptr[neuron + 1]]
            if source == "hidden":
                ends = np.arange(5)  # a matrix stores its zeros
            for core in set(cores[target].tolist()):  # at most: to each core of the target
                (x, y), (to_x, to_y) = tile(home[neuron]), tile(core)
                most += (1, abs(to_x - x), abs(to_y - y))
            for core in set(cores[target][ends].tolist()):
                (x, y), (to_x, to_y) = tile(home[neuron]), tile(core)
                messages += 1
                hops_x += abs(to_x - x)
                hops_y += abs(to_y - y)
        sent = ops[source].sent
        assert (sent.messages, sent.hops_x, sent.hops_y) == (messages, hops_x, hops_y)
        bound = ops[source].sent_most
        assert (bound.messages, bound.hops_x, bound.hops_y) == tuple(most)


def test_the_fullest_core_is_measured_against_every_limit() -> None:
    # hidden: 4 channels of 3 x 3. Core 7 holds the first row of each channel, which sees rows
    # 0 and 1 of the image; core 9 all else. out: on two cores of another chip.
    first = np.tile([1, 1, 1, 0, 0, 0, 0, 0, 0], 4) > 0
    cores = {"hidden": np.where(first, 7, 9), "out": [130, 130, 130, 300, 130]}
    chip = find_chip("loihi1")
    found = place_as_given(images(), chip, cores)
    assert (found.cores, found.chips) == (4, 3)
    hidden, out = found.layers["hidden"], found.layers["out"]
    assert (hidden.first_core, hidden.cores, hidden.per_core) == (7, 2, 24)
    need = {limit: n * getattr(chip.limits, limit).value for limit, n in hidden.use.items()}
    assert need == {
        "neurons": 24,
        "in_axons": 5 * 6,  # rows 1 to 5, both channels of a pixel together
        "synapse_words": 2 * 9,  # kernels of all four channels, 4 bytes are a word
        "out_axons": 24 * 2,
    }
    assert out.per_core == 4
    assert out.use["in_axons"] == 36 / 4096
    assert out.use["synapse_words"] == 36 / 16384  # 4 bytes and a header are a word
    assert found.problems == ()
    assert place_as_given(images(), with_limit(chip, "neurons", 20.0), cores).problems == (
        "hidden: core 9 needs 24 neurons of the 20 of a core; spread the layer over more cores",
    )


def test_the_time_is_that_of_the_fullest_core_and_of_the_tiles_that_are_used() -> None:
    graph = chain(x=Input(shape=(5,)), w=Dense(weight=np.ones((20, 5))), out=LI(tau=0.01))
    cores = {"out": np.r_[np.full(12, 0), np.full(8, 40)]}
    record = record_of(x=np.ones((1, 1, 5)))
    found = estimate(graph, record, "loihi1", cores=cores).latency.inference
    # 12 neurons serve 5 spikes each and take 5 messages; the barrier is that of two tiles.
    seconds = (12 * 5 * 3.5 + 5 * 2.1 + 113 + (465 - 113) / 31) * 1e-9
    assert found.nominal == pytest.approx(seconds, rel=1e-12)


def test_axons_are_counted_on_each_of_many_cores() -> None:
    graph = chain(x=Input(shape=(3,)), w=Dense(weight=np.ones((300, 3))), out=LI(tau=0.01))
    layer = place_as_given(graph, find_chip("loihi1"), {"out": np.arange(300)}).layers["out"]
    assert layer.use["in_axons"] == 3 / 4096
    assert layer.use["neurons"] == 1 / 1024


def test_cores_that_do_not_suit_a_graph_are_all_told() -> None:
    wrong = {"hidden": np.full(36, 1.5), "out": [0] * 4, "w": [1]}
    with pytest.raises(ValueError, match=r"^the placement does not suit this graph") as error:
        estimate(images(), run(), "loihi1", cores=wrong)
    assert str(error.value).splitlines()[1:] == [
        "w: no population of the chip's part; there are hidden, out",
        "hidden: cores are whole numbers >= 0; count them from 0",
        "out: has 5 neurons, got 4 cores; give one for each neuron, in C order",
    ]
    for hidden, out, told in (
        (-1, [0] * 5, "hidden: cores are whole numbers >= 0"),
        (np.nan, [0] * 5, "hidden: cores are whole numbers >= 0"),
        (np.inf, [0] * 5, "hidden: cores are whole numbers >= 0"),
        (3, [5, 5, 3, 5, 5], "out: shares core 3 with hidden; a core holds one"),
        (3, [], "out: has 5 neurons, got 0 cores"),
    ):
        cores = {"hidden": np.full(36, hidden), "out": out}
        with pytest.raises(ValueError, match=told):
            place_as_given(images(), find_chip("loihi1"), cores)


@pytest.mark.parametrize(("neurons", "size"), [(7, 25), (14, 25), (29, 35), (21, 38)])
def test_a_core_stores_the_rows_of_its_neurons_and_no_more(neurons: int, size: int) -> None:
    # size * (neurons / size) is a little more than neurons in floats.
    graph = chain(x=Input(shape=(3,)), w=Dense(weight=np.ones((size, 3))), out=LIF(tau=0.01))
    limits = find_chip("loihi2").limits  # 12 bits of index: 64 bits hold 3 weights of 8 bits
    found = count_demand(compose(graph), size, neurons, limits)
    assert found["synapse_words"] == 3 * -(-20 * neurons // 64)
    assert place(graph, find_chip("loihi2")).problems == ()
