"""Bits by hand, skips, loops, the search against all partitions, and what is refused."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from energy_cases import record_of, with_limit
from hypothesis import given, strategies as st
from written_graphs import chain

from neuro.base.units import Seconds, Ticks
from neuro.energy import (
    AER,
    BITMAP,
    Chip,
    CutError,
    Division,
    LinkCode,
    Partition,
    choose_cuts,
    find_chip,
    list_units,
    place,
    price_partition,
)
from neuro.graph import Conv2d, Dense, Edge, GradedInput, Graph, Input, Node, Pointwise
from neuro.neurons import LIF
from neuro.spikes.record import Record

DT = Seconds(1e-3)
LOIHI = find_chip("loihi1")


def wire(sizes: dict[str, int], *pairs: tuple[str, str]) -> Graph:
    """Return populations of these sizes, "x" an Input, each pair joined by a Dense.

    A pair that leads back takes a tick.
    """
    order = list(sizes)
    nodes: dict[str, Node] = {
        n: Input(shape=(k,)) if n == "x" else LIF(tau=0.01) for n, k in sizes.items()
    }
    edges = []
    for source, target in pairs:
        back = Ticks(int(order.index(source) >= order.index(target)))
        nodes[f"{source}_{target}"] = Dense(weight=np.ones((sizes[target], sizes[source])))
        edges += [Edge(source, f"{source}_{target}", back)]
        edges += [Edge(f"{source}_{target}", target)]
    return Graph(nodes=nodes, edges=tuple(edges), dt=DT)


def fire(graph: Graph, seed: int = 0, ticks: int = 3, samples: int = 2) -> Record:
    """Return random spikes of a graph."""
    rng = np.random.default_rng(seed)
    return record_of(
        **{
            n: (rng.random((ticks, samples, graph.size(n))) < 0.4).astype(float)
            for n in (*graph.inputs, *graph.firing)
        }
    )


def list_crossings(partition: Partition) -> list[tuple[str, int, int]]:
    return [(c.source, c.from_chip, c.to_chip) for c in partition.crossings]


class TestBits:
    @pytest.mark.parametrize(
        ("code", "bits"),
        [
            (BITMAP, 4 * 9),
            (AER, 5.5 * 4),  # 9 addresses need 4 bits
            (LinkCode(kind="aer", bits=3), 5.5 * 7),
            (LinkCode(kind="values", bits=8), 4 * 9 * 8),
        ],
    )
    def test_of_a_link_by_hand(self, code: LinkCode, bits: float) -> None:
        assert code.count_bits(neurons=9, ticks=4, spikes=5.5) == bits

    @pytest.mark.parametrize(("neurons", "address"), [(1, 1), (2, 1), (8, 3), (9, 4), (256, 8)])
    def test_of_an_address(self, neurons: int, address: int) -> None:
        assert AER.count_bits(neurons, 1, 1.0) == address

    def test_no_event_crosses_for_nothing(self) -> None:
        """One neuron has no address: an event takes its header, and one bit without any."""
        assert AER.count_bits(1, 4, 3.0) == 3.0 <= BITMAP.count_bits(1, 4, None)
        assert LinkCode(kind="aer", bits=2).count_bits(1, 4, 3.0) == 6.0

    @pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
    def test_address_events_beat_a_bitmap_below_a_rate(self, rate: float) -> None:
        neurons, ticks = 300, 4
        spikes = rate * neurons * ticks
        cheaper = AER.count_bits(neurons, ticks, spikes) < BITMAP.count_bits(
            neurons, ticks, None
        )
        assert cheaper == (rate < 1 / 9)

    def test_of_a_chain_and_of_its_samples(self) -> None:
        graph = wire({"x": 4, "a": 5, "b": 6}, ("x", "a"), ("a", "b"))
        spikes = np.zeros((3, 2, 5))
        spikes[0, 0, :4] = spikes[2, 1, 1] = 1
        record = record_of(x=np.zeros((3, 2, 4)), a=spikes, b=np.zeros((3, 2, 6)))
        (crossing,) = price_partition(graph, record, LOIHI, (("a",), ("b",))).crossings
        assert (crossing.source, crossing.from_chip, crossing.to_chip) == ("a", 0, 1)
        assert (crossing.neurons, crossing.ticks, crossing.spikes) == (5, 3, 2.5)
        assert crossing.count_bits() == 15
        assert crossing.count_bits(AER) == 2.5 * 3

    def test_without_a_record_only_those_of_shapes(self) -> None:
        graph = wire({"x": 4, "a": 5, "b": 6}, ("x", "a"), ("a", "b"))
        values = Division(code=LinkCode(kind="values", bits=4))
        assert choose_cuts(graph, None, LOIHI, 2, values, ticks=Ticks(3)).bits == 60
        with pytest.raises(ValueError, match="counted from spikes: give a record"):
            choose_cuts(graph, None, LOIHI, 2, Division(code=AER))
        with pytest.raises(ValueError, match="give a record, or load='cores'"):
            choose_cuts(graph, None, LOIHI, 2, Division(load="events"))


class TestCrossings:
    def test_a_skip_crosses_in_full(self) -> None:
        """Inside a block, body and skip cross: 5 + 7; behind it, its output alone."""
        graph = wire(
            {"x": 2, "a": 5, "mid": 7, "out": 5, "b": 3},
            *(("x", "a"), ("a", "mid"), ("mid", "out"), ("a", "out"), ("out", "b")),
        )
        record = fire(graph)
        inside = price_partition(graph, record, LOIHI, (("a", "mid"), ("out", "b")))
        assert list_crossings(inside) == [("a", 0, 1), ("mid", 0, 1)]
        assert inside.bits == 3 * (5 + 7)
        behind = price_partition(graph, record, LOIHI, (("a", "mid", "out"), ("b",)))
        assert (list_crossings(behind), behind.bits) == ([("out", 0, 1)], 3 * 5)

    def test_of_a_source_count_once_a_chip(self) -> None:
        graph = wire(
            {"x": 2, "a": 4, "b": 1, "c": 1, "d": 1},
            *(("x", "a"), ("a", "b"), ("a", "c"), ("a", "d"), ("b", "d"), ("c", "d")),
        )
        parts = (("a",), ("b", "c"), ("d",))
        found = price_partition(graph, fire(graph), LOIHI, parts)
        assert list_crossings(found) == [
            *(("a", 0, 1), ("a", 0, 2)),  # two targets on chip 1 are one crossing
            *(("b", 1, 2), ("c", 1, 2)),
        ]
        assert found.bits == 3 * (4 + 4 + 1 + 1)

    def test_of_an_input_begin_at_the_first_chip(self) -> None:
        graph = wire({"x": 8, "a": 4, "b": 1}, ("x", "a"), ("a", "b"), ("x", "b"))
        found = price_partition(graph, fire(graph), LOIHI, (("a",), ("b",)))
        assert list_crossings(found) == [("x", 0, 1), ("a", 0, 1)]

    def test_through_two_paths_are_one(self) -> None:
        conv = Conv2d(weight=np.ones((2, 2, 1, 1)))
        graph = chain(
            x=Input(shape=(2, 3, 3)), c=conv, a=LIF(tau=0.01), d=conv, b=LIF(tau=0.01)
        )
        both = replace(graph, edges=(*graph.edges, Edge("a", "b")))
        found = price_partition(both, fire(both), LOIHI, (("a",), ("b",)))
        assert found.bits == 3 * 18

    def test_a_host_sends_values(self) -> None:
        graph = chain(
            x=Input(shape=(3,)),
            a=LIF(tau=0.01),
            host=Pointwise(function="sigmoid"),
            w=Dense(weight=np.ones((2, 3))),
            b=LIF(tau=0.01),
            v=Dense(weight=np.ones((2, 2))),
            c=LIF(tau=0.01),
        )
        with pytest.raises(CutError, match="host: sends values, which one bit"):
            choose_cuts(graph, fire(graph), LOIHI, 2)
        graded = Division(code=LinkCode(kind="values", bits=8))
        assert choose_cuts(graph, fire(graph), LOIHI, 2, graded).chips == (("a", "b"), ("c",))

    def test_graded_inputs_arrive_on_the_first_chip(self) -> None:
        """Only an Input with a reader on another chip crosses a link with its values."""
        sizes = {"x": 2, "a": 3, "b": 4, "c": 5}
        plain = wire(sizes, ("x", "a"), ("a", "b"), ("b", "c"))
        skips = wire(sizes, ("x", "a"), ("x", "b"), ("a", "b"), ("b", "c"))
        value = GradedInput(shape=(2,), message_bits=8)
        graph, jump = (replace(g, nodes={**g.nodes, "x": value}) for g in (plain, skips))
        assert choose_cuts(graph, fire(graph), LOIHI, 2).chips == (("a",), ("b", "c"))
        assert list_crossings(
            price_partition(jump, fire(jump), LOIHI, (("a", "b"), ("c",)))
        ) == [("b", 0, 1)]
        with pytest.raises(CutError, match="x: sends values, which one bit"):
            price_partition(jump, fire(jump), LOIHI, (("a",), ("b", "c")))
        with pytest.raises(CutError, match="x: sends values, which one bit"):
            choose_cuts(jump, fire(jump), LOIHI, 2)


def list_partitions(graph: Graph, chips: int) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Yield all contiguous partitions of the units."""
    units = list_units(graph)
    for ends in combinations(range(1, len(units)), chips - 1):
        yield tuple(
            tuple(n for unit in units[first:end] for n in unit)
            for first, end in pairwise((0, *ends, len(units)))
        )


def cost_by_definition(
    graph: Graph, record: Record, parts: tuple[tuple[str, ...], ...], weight: float
) -> float:
    """Return bits by pairs of neurons' populations, and cores by the placement."""
    chip_of = {n: k for k, part in enumerate(parts) for n in part}
    arrivals = set()
    for name in graph.nodes:
        if "_" in name:
            source, target = name.split("_")
            home, there = chip_of.get(source, 0), chip_of[target]
            if home != there:
                arrivals.add((source, there))
    bits = sum(record.ticks * graph.size(source) for source, _ in arrivals)
    cores = {n: layer.cores for n, layer in place(graph, LOIHI).layers.items()}
    return weight * bits + max(sum(cores[n] for n in part) for part in parts)


@st.composite
def wirings(draw: st.DrawFn) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return sizes and pairs of at most 8 populations, with skips and loops."""
    names = ["x", *"abcdefgh"[: draw(st.integers(2, 8))]]
    sizes = {n: draw(st.sampled_from([3, 40, 400])) for n in names}
    pairs = [(a, b) for k, b in enumerate(names[1:], 1) for a in names[max(0, k - 1) : k]]
    for _ in range(draw(st.integers(0, 5))):
        a, b = draw(st.sampled_from(names)), draw(st.sampled_from(names[1:]))
        if (a, b) not in pairs:
            pairs.append((a, b))
    return sizes, pairs


class TestSearch:
    @pytest.mark.slow
    @given(wirings(), st.integers(2, 4), st.sampled_from([0.0, 1e-4, 1e-2, 1.0]))
    def test_finds_the_best_of_all_partitions(
        self, wiring: tuple[dict[str, int], list[tuple[str, str]]], chips: int, weight: float
    ) -> None:
        sizes, pairs = wiring
        graph = wire(sizes, *pairs)
        units, record = list_units(graph), fire(graph)
        if chips > len(units):
            with pytest.raises(CutError, match="ask for"):
                choose_cuts(graph, record, LOIHI, chips)
            return
        found = choose_cuts(graph, record, LOIHI, chips, Division(weight=weight))
        costs = [
            cost_by_definition(graph, record, parts, weight)
            for parts in list_partitions(graph, chips)
        ]
        assert found.cost == pytest.approx(min(costs))
        assert found.cost == pytest.approx(
            cost_by_definition(graph, record, found.chips, weight)
        )
        assert found == price_partition(
            graph, record, LOIHI, found.chips, Division(weight=weight)
        )

    def test_the_weight_trades_bits_for_an_even_load(self) -> None:
        sizes = {"x": 2, "a": 1000, "b": 2000, "c": 2000, "d": 3}
        graph = wire(sizes, ("x", "a"), ("a", "b"), ("b", "c"), ("c", "d"))
        record = fire(graph)
        cheap = choose_cuts(graph, record, LOIHI, 2, Division(weight=1.0))
        even = choose_cuts(graph, record, LOIHI, 2, Division(weight=0.0))
        assert (cheap.chips, cheap.bits) == ((("a",), ("b", "c", "d")), 3000)
        assert max(even.loads) < max(cheap.loads)

    def test_synaptic_events_as_load(self) -> None:
        graph = wire({"x": 3, "a": 4, "b": 5, "c": 6}, ("x", "a"), ("a", "b"), ("b", "c"))
        rasters = {n: np.zeros((2, 2, graph.size(n))) for n in "xabc"}
        rasters["x"][:, 0] = 1  # 6 spikes a run of 2 samples, 4 targets each
        rasters["a"][0, 1, 0] = 1
        found = choose_cuts(
            graph, record_of(**rasters), LOIHI, 2, Division(load="events", weight=0.0)
        )
        assert (found.chips[0], found.loads) == (("a",), (12.0, 2.5))

    def test_a_core_more_than_a_chip_has_moves_the_cut(self) -> None:
        sizes = {"x": 2, "a": 1000, "b": 10, "c": 1000, "d": 1000}
        graph = wire(sizes, ("x", "a"), ("a", "b"), ("b", "c"), ("c", "d"))
        cores = {n: layer.cores for n, layer in place(graph, LOIHI).layers.items()}
        few = with_limit(LOIHI, "cores", float(cores["c"] + cores["d"] - 1))
        free, tight = (
            choose_cuts(graph, fire(graph), chip, 2, Division(weight=1.0))
            for chip in (LOIHI, few)
        )
        assert free.chips[0] == ("a", "b")
        assert tight.chips[0] == ("a", "b", "c")

    def test_populations_that_stay_together(self) -> None:
        sizes = {"x": 2, "a": 9, "b": 1, "c": 9, "d": 9}
        graph = wire(sizes, ("x", "a"), ("a", "b"), ("b", "c"), ("c", "d"))
        record = fire(graph)
        assert choose_cuts(graph, record, LOIHI, 2).chips[0] == ("a", "b")
        block = ("a", "c")  # and all between them
        assert list_units(graph, (block,)) == (("a", "b", "c"), ("d",))
        found = choose_cuts(graph, record, LOIHI, 2, together=(block,))
        assert found.chips == (("a", "b", "c"), ("d",))


def refuse(call: object, *args: object, **words: object) -> list[str]:
    with pytest.raises(CutError) as caught:
        call(*args, **words)  # type: ignore[operator]
    return list(caught.value.problems)


class TestRefusals:
    LOOP = wire(
        {"x": 2, "a": 3, "b": 4, "c": 5},
        *(("x", "a"), ("a", "b"), ("b", "a"), ("b", "c"), ("c", "c")),
    )

    def test_a_loop_is_one_part(self) -> None:
        record = fire(self.LOOP)
        assert list_units(self.LOOP) == (("a", "b"), ("c",))
        assert choose_cuts(self.LOOP, record, LOIHI, 2).chips == (("a", "b"), ("c",))
        assert refuse(choose_cuts, self.LOOP, record, LOIHI, 3) == [
            "chips: 3 are more than the 2 parts that can lie apart (the loop a -> b -> a); ask "
            "for 2 or fewer, or divide the network finer"
        ]
        assert refuse(price_partition, self.LOOP, record, LOIHI, (("a",), ("b", "c"))) == [
            "the loop a -> b -> a is cut; put all of it on one chip"
        ]

    @pytest.mark.parametrize("chips", [-1, 0, 1])
    def test_fewer_than_two_chips(self, chips: int) -> None:
        assert refuse(choose_cuts, self.LOOP, fire(self.LOOP), LOIHI, chips) == [
            f"chips: {chips} leaves nothing to cut; ask for 2 or more"
        ]

    def test_parts_are_listed_with_all_that_is_wrong(self) -> None:
        record = fire(self.LOOP)
        assert refuse(price_partition, self.LOOP, record, LOIHI, (("a", "z", "a"), ())) == [
            "chip 1: has no population; give it one",
            "z: no population of the chip's part; there are a, b, c",
            "a: lies on 2 chips; name it once",
            "b: lies on 0 chips; name it once",
            "c: lies on 0 chips; name it once",
        ]
        assert refuse(price_partition, self.LOOP, record, LOIHI, (("a", "b", "c"),)) == [
            "parts: 1 leaves nothing to cut; give 2 or more"
        ]
        assert refuse(price_partition, self.LOOP, record, LOIHI, (("c",), ("a", "b"))) == [
            "b -> c: leads back to chip 0 from 1; number the chips in the order of computing"
        ]
        assert refuse(list_units, self.LOOP, (("a", "q"),)) == [
            "q: no population of the chip's part; there are a, b, c"
        ]

    def test_what_no_chip_holds(self) -> None:
        sizes = {"x": 2, "a": 3000, "b": 1000, "c": 1000}
        graph = wire(sizes, ("x", "a"), ("a", "b"), ("b", "c"))
        cores = {n: place(graph, LOIHI).layers[n].cores for n in graph.populations}
        least, more = min(cores.values()), max(cores["b"], cores["c"])
        few = with_limit(LOIHI, "cores", float(least))
        assert refuse(choose_cuts, graph, fire(graph), few, 1) == [
            "chips: 1 leaves nothing to cut; ask for 2 or more",
            *(
                f"{n}: needs {k} cores, a loihi1 has {least}; make it smaller, or allow a cut "
                "inside"
                for n, k in cores.items()
                if k > least
            ),
        ]
        tight = with_limit(LOIHI, "cores", float(max(cores["a"], more)))
        problems = refuse(choose_cuts, graph, fire(graph), tight, 2)
        assert problems == [
            f"chips: the {sum(cores.values())} cores of the network do not fit 2 chips of "
            f"{max(cores['a'], more)} cores in the order of computing; ask for 3 or more"
        ]
        full = refuse(price_partition, graph, fire(graph), tight, (("a", "b"), ("c",)))
        assert full == [
            f"chip 0: needs {cores['a'] + cores['b']} cores of {max(cores['a'], more)}; give "
            "it fewer populations"
        ]

    def test_a_record_of_another_network(self) -> None:
        other = wire({"x": 2, "a": 3, "b": 4, "c": 7}, ("x", "a"), ("a", "b"), ("b", "c"))
        with pytest.raises(ValueError, match="c: spikes of shape"):
            choose_cuts(self.LOOP, fire(other), LOIHI, 2)

    @pytest.mark.parametrize(
        ("kind", "bits"), [("values", 0), ("bitmap", 8), ("aer", -1), ("values", -4)]
    )
    def test_codes_without_sense(self, kind: str, bits: int) -> None:
        with pytest.raises(ValueError, match="give the bits of a value"):
            LinkCode(kind=kind, bits=bits)  # type: ignore[arg-type]

    @pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
    def test_weights_without_sense(self, weight: float) -> None:
        with pytest.raises(ValueError, match="weight must be >= 0 and finite"):
            Division(weight=weight)


def test_a_chip_file_is_all_it_takes() -> None:
    graph = wire({"x": 2, "a": 3, "b": 4}, ("x", "a"), ("a", "b"))
    chips: list[Chip] = [LOIHI, find_chip("loihi2")]
    assert [choose_cuts(graph, fire(graph), chip, 2).bits for chip in chips] == [9, 9]


def test_a_chip_goes_by_its_name() -> None:
    graph = wire({"x": 2, "a": 3, "b": 4}, ("x", "a"), ("a", "b"))
    record, loihi2 = fire(graph), find_chip("loihi2")
    named = choose_cuts(graph, record, "loihi2", 2)
    assert named == choose_cuts(graph, record, loihi2, 2)
    assert price_partition(graph, record, "loihi2", named.chips) == named
    with pytest.raises(ValueError, match="no chip 'loihi9'; there are loihi1,"):
        choose_cuts(graph, record, "loihi9", 2)
