"""The search for a mapping: beside all mappings of tiny networks, and by hand."""

from collections.abc import Iterator
from itertools import pairwise, permutations, product
from typing import Any

import numpy as np
import pytest
from energy_cases import record_of, with_limit
from written_graphs import chain

from neuro.energy import Chip, Estimate, estimate, find_chip
from neuro.energy.latency import weigh_layer
from neuro.energy.mapping import measure_demand, place
from neuro.energy.operations import count_workload
from neuro.energy.search import MappingError, search_mapping
from neuro.energy.splits import GOALS, Goal, Split, SplitCost, SplitSearch, list_splits
from neuro.graph import Conv2d, Dense, Graph, Input
from neuro.neurons import LIF
from neuro.spikes.record import Record

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


@pytest.mark.slow
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


def test_two_slow_layers_share_the_cores_that_are_left() -> None:
    """Three cores each were faster, of the four that there are."""
    graph = chain(
        x=Input(shape=(40,)),
        w=Dense(weight=np.ones((60, 40))),
        one=LIF(tau=0.01),
        v=Dense(weight=np.ones((60, 60))),
        two=LIF(tau=0.01),
    )
    record = record_of(x=np.ones((4, 1, 40)), one=np.ones((4, 1, 60)), two=np.zeros((4, 1, 60)))
    found = search_mapping(graph, record, with_limit(LOIHI2, "cores", 4.0), "time")
    layers = found.found.placement.layers
    assert (layers["one"].cores, layers["two"].cores) == (2, 2)


def test_the_layers_behind_a_layer_that_is_split_keep_cores_of_their_own() -> None:
    graph = chain(
        x=Input(shape=(1,)),
        u=Dense(weight=np.ones((40, 1))),
        first=LIF(tau=0.01),
        w=Dense(weight=np.ones((60, 40))),
        wide=LIF(tau=0.01),
        v=Dense(weight=np.ones((2, 60))),
        last=LIF(tau=0.01),
    )
    ones, last = {n: np.ones((2, 1, k)) for n, k in (("x", 1), ("first", 40))}, (2, 1, 2)
    record = record_of(**ones, wide=np.zeros((2, 1, 60)), last=np.zeros(last))
    chip = with_limit(with_limit(LOIHI2, "cores", 5.0), "tile_cores", 5.0)
    found = search_mapping(graph, record, chip, "time").found.placement
    cores = {n: set(x.core_of.tolist()) for n, x in found.layers.items() if x.cores}
    assert {n: len(c) for n, c in cores.items()} == {"first": 1, "wide": 3, "last": 1}
    assert set.union(*cores.values()) == set(range(5))


def test_what_the_search_compares_is_the_estimate() -> None:
    """Where all neurons of a layer fire alike, for every choice of splits, cores in order."""
    graph, record = wide_and_narrow()
    spikes = {n: np.ones((8, 2, k)) for n, k in (("x", 40), ("wide", 60), ("narrow", 2))}
    record = record_of(**spikes)
    chip = with_limit(with_limit(LOIHI2, "tile_cores", 1.0), "cores", 3.0)
    work = count_workload(graph, record, [chip])
    search = SplitSearch(graph, work, chip, place(graph, chip), 2)
    joules = []
    for wide, narrow in product(search.options["wide"][:5], search.options["narrow"]):
        chosen = {"wide": wide, "narrow": narrow}
        if not search.fits_together(chosen):
            continue
        cores = {"wide": wide.split.where, "narrow": wide.split.cores + narrow.split.where}
        found = estimate(graph, record, chip, cores=cores)
        judged = search.judge(chosen)
        assert judged[1] == pytest.approx(seconds(found), rel=1e-9)
        joules.append((judged[0], found.whole_chip.nominal))
    ours, whole = np.array(joules).T
    assert len(ours) > 5
    assert np.ptp(ours) > 1e-3 * ours.max()
    np.testing.assert_allclose(ours - ours[0], whole - whole[0], atol=1e-9 * whole.max())


@pytest.mark.parametrize("goal", GOALS)
def test_no_other_split_of_one_layer_is_better(goal: Goal) -> None:
    rng = np.random.default_rng(18)  # a network in which one round is not enough
    sizes = rng.integers(2, 40, 5).tolist()
    nodes: dict[str, Any] = {"x": Input(shape=(sizes[0],))}
    for k, (before, size) in enumerate(pairwise(sizes), 1):
        nodes |= {f"w{k}": Dense(weight=np.ones((size, before))), f"n{k}": LIF(tau=0.01)}
    names = [name for name in nodes if name[0] != "w"]
    record = record_of(
        **{n: rng.random((6, 1, k)) < rng.random() for n, k in zip(names, sizes, strict=True)}
    )
    graph, chip = chain(**nodes), with_limit(SMALL, "cores", 8.0)
    work = count_workload(graph, record, [chip])
    search = SplitSearch(graph, work, chip, place(graph, chip), 2)
    splits = search.search(goal)
    best = {n: next(o for o in search.options[n] if o.split is s) for n, s in splits.items()}

    def weigh_choice(chosen: dict[str, SplitCost]) -> tuple[float, float]:
        judged = search.judge(chosen)
        return judged if goal == "energy" else judged[::-1]

    others = [{**best, n: o} for n, options in search.options.items() for o in options]
    fitting = [chosen for chosen in others if search.fits_together(chosen)]
    assert search.fits_together(best)
    assert 10 < len(fitting) < len(others)
    assert weigh_choice(best) <= min(weigh_choice(chosen) for chosen in fitting)


def test_splits_are_compared_by_evenly_spaced_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuro.energy.splits.MOST_TICKS", 9)  # three samples of three ticks
    graph = chain(x=Input(shape=(2,)), w=Dense(weight=np.ones((6, 2))), cells=LIF(tau=0.01))
    fired = np.arange(6) <= np.arange(5)[:, None]  # 1, 2, ... 5 neurons of the five samples
    x = np.broadcast_to(np.arange(2) < np.array([0, 1, 2, 1, 0])[:, None], (3, 5, 2))
    record = record_of(x=x, cells=np.broadcast_to(fired, (3, 5, 6)))
    chip = find_chip("loihi1")
    work = count_workload(graph, record, [chip])
    whole = weigh_layer("cells", work, chip, "value")
    cost = SplitSearch(graph, work, chip, place(graph, chip), 1).options["cells"][0]
    some = [0, 2, 4]
    assert (whole.update[:, some] != whole.update[:, :3]).any()
    np.testing.assert_allclose(cost.update, whole.update[:, some])
    served = whole.serve + whole.arriving["x"]
    np.testing.assert_allclose(cost.serve, served[:, some])


def test_a_split_sends_the_spikes_of_its_busiest_core() -> None:
    graph = chain(
        x=Input(shape=(2,)),
        w=Dense(weight=np.ones((6, 2))),
        cells=LIF(tau=0.01),
        v=Dense(weight=np.ones((3, 6))),
        last=LIF(tau=0.01),
    )
    fired = (
        np.arange(6) > np.arange(5)[:, None, None]
    )  # the last neuron 5 times, the first never
    record = record_of(x=np.ones((5, 1, 2)), cells=fired, last=np.zeros((5, 1, 3)))
    chip = find_chip("loihi1")
    work = count_workload(graph, record, [chip])
    options = SplitSearch(graph, work, chip, place(graph, chip), 1).options["cells"]
    whole = weigh_layer("cells", work, chip, "value").sending
    assert whole.any()
    one, two = options[:2]
    assert two.split.where.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(one.sending, whole)
    np.testing.assert_allclose(two.sending, whole * (3 + 4 + 5) / 15)


def test_a_split_whose_cores_would_hold_too_many_kernels_is_left_out() -> None:
    graph = chain(
        x=Input(shape=(1, 6, 6)),
        w=Conv2d(weight=np.ones((16, 1, 3, 3)), padding=(1, 1)),
        cells=LIF(tau=0.01),
    )
    record = record_of(x=np.ones((1, 1, 1, 6, 6)), cells=np.ones((1, 1, 16, 6, 6)))
    work = count_workload(graph, record, [LOIHI2])
    whole = measure_demand(graph, work.composed, np.zeros(576, np.int64), LOIHI2.limits)
    chip = with_limit(LOIHI2, "synapse_words", float(whole["synapse_words"][0] - 1))
    options = SplitSearch(graph, work, chip, place(graph, chip), 1).options["cells"]
    kernels = {split.split.parts[0] for split in options if split.split.parts}
    assert kernels == {2, 4, 8, 16}  # parts of the 16; no core holds all


def test_images_are_split_by_rows_and_columns_that_differ_by_one_at_most() -> None:
    every = list_splits((2, 2, 3), Split(np.zeros(12, np.int64)), 12)
    assert [split.parts for split in every if split.parts] == [
        *((1, 1, 2), (1, 2, 2), (2, 1, 2), (1, 2, 3), (2, 2, 2), (2, 2, 3))
    ]
    by_name = {split.parts: split.where.tolist() for split in every}
    assert by_name[1, 2, 2] == [0, 0, 1, 2, 2, 3] * 2
    assert by_name[2, 1, 2] == [0, 0, 1] * 2 + [2, 2, 3] * 2
    few = list_splits((2, 2, 3), Split(np.zeros(12, np.int64)), 3)
    assert [split.parts for split in few if split.parts] == [(1, 1, 2)]


def test_a_layer_is_split_over_numbers_of_cores_a_quarter_apart() -> None:
    flat = list_splits((100,), Split(np.zeros(100, np.int64)), 20)
    assert [split.cores for split in flat] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 17, 20]
    wide = list_splits((16, 32, 32), Split(np.zeros(2**14, np.int64)), 2**14)
    blocks = [split.cores for split in wide if split.parts]
    assert (len(blocks), blocks[0], blocks[-1]) == (200, 2, 2**14)


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
    assert first.startswith("wide: one neuron alone needs 40 in axons of the 39 of a core; ")
    assert rest == [
        "narrow: one neuron alone needs 60 in axons of the 39 of a core; make the layers that "
        "feed it smaller, say by a stride (a pool on the way is part of the connection)",
        "goal: there is no 'speed'; take one of energy, time",
        "chips: 2 are fewer than the 4 that the 16 cores of the network need; ask for 4 or "
        "more",
    ]
    with pytest.raises(MappingError, match="63 are more than the 62 neurons of the network"):
        search_mapping(graph, record, SMALL, chips=63)
