"""The search for a mapping: beside all mappings of tiny networks, and by hand."""

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
import pytest
from energy_cases import record_of, with_limit
from written_graphs import chain

from neuro.energy import Chip, Estimate, estimate, find_chip
from neuro.energy.mapping import place
from neuro.energy.operations import count_workload
from neuro.energy.search import MappingError, search_mapping
from neuro.energy.splits import GOALS, Goal, SplitSearch
from neuro.graph import Conv2d, Dense, Graph, Input
from neuro.neurons import LIF
from neuro.record import Record

LOIHI2 = find_chip("loihi2")
SMALL = with_limit(with_limit(LOIHI2, "tile_cores", 1.0), "cores", 4.0)


def wide_and_narrow() -> tuple[Graph, Record]:
    """Return a layer of 60 neurons in front of one of 2, and a run in which half fire."""
    rng = np.random.default_rng(0)
    graph = chain(
        x=Input(shape=(40,)),
        w=Dense(weight=np.ones((60, 40))),
        wide=LIF(tau=0.01),
        v=Dense(weight=np.ones((2, 60))),
        narrow=LIF(tau=0.01),
    )
    spikes = {name: rng.random((8, 2, n)) < 0.5 for name, n in (("x", 40), ("wide", 60))}
    record = record_of(**spikes, narrow=np.zeros((8, 2, 2), bool))
    return graph, record


def seconds(found: Estimate) -> float:
    return found.latency.inference.nominal


def weigh(found: Estimate, goal: Goal) -> float:
    return seconds(found) if goal == "time" else found.whole_chip.nominal


def price_all(graph: Graph, record: Record, chip: Chip) -> Iterator[Estimate]:
    """Yield the price of every split that the search may choose, on any slots of one chip."""
    start, work = place(graph, chip), count_workload(graph, record, [chip])
    options = SplitSearch(graph, work, chip, start, 1).options
    for chosen in product(*options.values()):
        number = sum(x.split.cores for x in chosen)
        for slots in permutations(range(number)) if number <= chip.limits.cores.value else ():
            cores, first = {}, 0
            for name, x in zip(options, chosen, strict=True):
                cores[name] = np.array(slots)[first + x.split.where]
                first += x.split.cores
            yield estimate(graph, record, chip, cores=cores)


@pytest.mark.parametrize("goal", GOALS)
def test_of_a_tiny_network_the_mapping_is_the_best_of_all(goal: Goal) -> None:
    graph, record = wide_and_narrow()
    every = [weigh(x, goal) for x in price_all(graph, record, SMALL)]
    found = search_mapping(graph, record, SMALL, goal)
    assert len(every) > 30
    assert found.better
    assert weigh(found.found, goal) == pytest.approx(min(every), rel=1e-12)
    assert weigh(found.found, goal) < weigh(found.greedy, goal)


def test_a_slow_layer_takes_the_cores_that_are_left() -> None:
    graph, record = wide_and_narrow()
    chip = with_limit(LOIHI2, "cores", 4.0)  # of one tile, so that the barrier stays
    found = search_mapping(graph, record, chip, "time")
    assert {n: x.cores for n, x in found.greedy.placement.layers.items()} == {
        "x": 0,
        "wide": 1,
        "narrow": 1,
    }
    assert found.found.placement.layers["wide"].cores == 3
    events = 40 * record.spikes["x"].value.size / 2  # of 60 neurons, then of 20; per sample
    saved = seconds(found.greedy) - seconds(found.found)
    assert saved == pytest.approx(events * 1.03e-9)
    assert found.cores is not None
    assert estimate(graph, record, chip, cores=found.cores) == found.found


def test_a_split_by_pixels_sends_fewer_messages_than_one_by_channels() -> None:
    graph = chain(
        x=Input(shape=(1, 12, 12)),
        w=Conv2d(weight=np.ones((8, 1, 3, 3)), padding=(1, 1)),
        cells=LIF(tau=0.01),
    )
    x = np.ones((4, 1, 1, 12, 12))
    record = record_of(x=x, cells=np.zeros((4, 1, 8, 12, 12)))
    chip = with_limit(find_chip("loihi1_sanafe"), "neurons", 300.0)
    found = search_mapping(graph, record, chip, "energy")
    sent = [e.operations["x"].sent.messages for e in (found.greedy, found.found)]
    assert found.greedy.placement.cores == 4
    assert sent[0] == 4 * 4 * 144  # each spike to all four cores
    each = sent[1] / (4 * 144)
    assert 1 < each < found.found.placement.cores


def test_where_nothing_is_better_the_placement_stays() -> None:
    graph = chain(x=Input(shape=(1,)), w=Dense(weight=np.ones((1, 1))), cell=LIF(tau=0.01))
    record = record_of(x=np.ones((2, 1, 1)), cell=np.zeros((2, 1, 1)))
    found = search_mapping(graph, record, "loihi1")
    assert found.cores is None
    assert not found.better
    assert found.found == found.greedy == estimate(graph, record, "loihi1")


def test_a_second_chip_is_used_where_it_is_allowed() -> None:
    graph, record = wide_and_narrow()
    one, two = (search_mapping(graph, record, SMALL, "time", chips=n) for n in (1, 2))
    assert (one.found.placement.chips, two.found.placement.chips) == (1, 2)
    assert seconds(two.found) < seconds(one.found)


def test_a_wrong_request_is_told_with_all_that_is_wrong() -> None:
    graph, record = wide_and_narrow()
    tight = with_limit(with_limit(SMALL, "in_axons", 39.0), "neurons", 4.0)
    with pytest.raises(MappingError) as error:
        search_mapping(graph, record, tight, "speed", chips=2)
    first, *rest = error.value.problems
    assert first.startswith("wide: one neuron alone needs 40 in_axons of the 39 of a core; ")
    assert rest == [
        "narrow: one neuron alone needs 60 in_axons of the 39 of a core; make the layers that "
        "feed it smaller, say by a stride (a pool on the way is part of the connection)",
        "goal: there is no 'speed'; take one of energy, time",
        "chips: 2 are fewer than the 4 that the 16 cores of the network need; ask for 4 or "
        "more",
    ]
    with pytest.raises(MappingError, match="63 are more than the 62 neurons of the network"):
        search_mapping(graph, record, SMALL, chips=63)
