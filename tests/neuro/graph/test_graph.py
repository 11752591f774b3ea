import cProfile

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from written_graphs import chain, dense, lif, populations, problems, wire

from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Edge,
    Flatten,
    Graph,
    Input,
    Node,
    Slot,
    Sparse,
)
from neuro.graph.random import fixed_probability
from neuro.neurons import ALIF, LI


class TestWhatIsDerived:
    def test_shapes_follow_from_the_inputs(self) -> None:
        g = chain(
            x=Input(shape=(1, 28, 28)),
            conv=Conv2d(weight=np.ones((8, 1, 5, 3)), stride=(2, 1), padding=(1, 0)),
            a=ALIF(threshold=np.ones((8, 1, 1))),
            pool=AvgPool2d(kernel=(2, 2), stride=(2, 2)),
            flat=Flatten(),
            fc=dense(10, 624),
            out=LI(tau=0.02),
        )
        assert g.shapes == {
            "x": (1, 28, 28),
            "conv": (8, 13, 26),
            "a": (8, 13, 26),
            "pool": (8, 6, 13),
            "flat": (624,),
            "fc": (10,),
            "out": (10,),
        }
        assert g.size("conv") == 2704
        assert g.inputs == ("x",)
        assert g.populations == ("a", "out")
        assert g.outputs == ("out",)
        assert g.components == tuple((name,) for name in g.order)

    @given(
        size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
        kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
        stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
        padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    )
    def test_windows_are_counted_as_torch_counts_them(
        self,
        size: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> None:
        weight = torch.ones(3, 2, *kernel)
        conv = Conv2d(weight=weight.numpy(), stride=stride, padding=padding)
        nodes = {"x": Input(shape=(2, *size)), "conv": conv, "a": lif()}
        if any(n + 2 * p < k for n, p, k in zip(size, padding, kernel, strict=True)):
            assert "does not fit" in problems("x>conv conv>a", nodes)[0]
        else:
            y = torch.conv2d(torch.ones(2, *size), weight, stride=stride, padding=padding)
            assert wire("x>conv conv>a", nodes).shapes["a"] == tuple(y.shape)

    def test_joined_values_stand_in_the_order_of_the_edges(self) -> None:
        nodes = {
            "x": Input(shape=(2, 3, 4)),
            "y": Input(shape=(1, 3, 4)),
            "c": Concat(),
            "a": lif(),
        }
        g = wire("y>c x>c x>c:2 c>a", nodes)
        assert g.shapes["c"] == g.shapes["a"] == (5, 3, 4)
        assert [g.along(e) for e in g.into("c")] == [
            Slot(shape=(5, 3, 4), first=n) for n in (0, 1, 3)
        ]
        assert [g.offset(e) for e in g.edges] == [0, 12, 36, 0]
        assert g.along(Edge("c", "a")) is g.nodes["a"]

    @pytest.mark.parametrize(
        ("behind", "shape", "joined"),
        [
            (dense(3, 5), (2,), (5,)),
            (fixed_probability(5, 3, 0.5, 1.0, np.random.default_rng(0)), (2,), (5,)),
            (Conv1d(weight=np.ones((3, 5, 3)), padding=1), (2, 7), (5, 7)),
            (Conv2d(weight=np.ones((3, 5, 1, 1))), (2, 7, 4), (5, 7, 4)),
            (ConvTranspose2d(weight=np.ones((5, 3, 1, 1))), (2, 7, 4), (5, 7, 4)),
        ],
    )
    def test_joined_values_in_a_loop_are_as_long_as_what_follows_takes(
        self, behind: Node, shape: tuple[int, ...], joined: tuple[int, ...]
    ) -> None:
        nodes = {"x": Input(shape=shape), "c": Concat(), "w": behind, "a": lif()}
        g = wire("x>c a>c:1 c>w w>a", nodes)
        assert (g.shapes["c"], g.shapes["a"]) == (joined, (3, *shape[1:]))

    def test_outputs_are_the_populations_that_feed_nothing_outside_their_own_loop(self) -> None:
        assert wire("x>a a>b b>a:1", populations("ab")).outputs == ("a", "b")
        assert wire("x>a a>b b>a:1 b>c", populations("abc")).outputs == ("c",)
        assert wire("x>a x>b a>a:1", populations("ab")).outputs == ("a", "b")

    def test_a_residual_connection_is_two_edges_into_one_node(self) -> None:
        g = wire("x>a a>w w>b a>b", {**populations("ab"), "w": dense(2, 2)})
        assert [e.source for e in g.into("b")] == ["w", "a"]
        assert [e.target for e in g.out_of("a")] == ["w", "b"]

    @given(data=st.data(), n=st.integers(1, 7))
    def test_every_graph_without_zero_delay_loop_is_ordered_and_grouped(
        self, data: st.DataObject, n: int
    ) -> None:
        """Forward edges of any delay, backward edges of at least one tick."""
        pair = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.integers(0, 2))
        edges = {"x>p0", *(f"p{i}>p{i + 1}:0" for i in range(n - 1))}
        for i, j, delay in data.draw(st.lists(pair, max_size=8)):
            edges.add(f"p{i}>p{j}:{delay if i < j else delay + 1}")
        text = " ".join(sorted(edges))
        shuffled = data.draw(st.permutations(["x", *(f"p{i}" for i in range(n))]))
        g = wire(text, {k: Input(shape=(2,)) if k == "x" else lif() for k in shuffled})

        place = {name: at for at, name in enumerate(g.order)}
        assert sorted(place) == sorted(g.nodes)
        assert all(place[e.source] < place[e.target] for e in g.edges if e.delay == 0)
        group = {name: at for at, names in enumerate(g.components) for name in names}
        assert sorted(group) == sorted(g.nodes)
        assert all(group[e.source] <= group[e.target] for e in g.edges)
        for names in g.components:
            assert [place[name] for name in names] == sorted(place[name] for name in names)
            assert all(reaches(g, a, b) for a in names for b in names if a != b)


class TestCurrentsAndReadOuts:
    def test_an_integrator_that_feeds_a_population_is_a_current_and_no_output(self) -> None:
        g = wire("x>i i>a a>out", {**populations("a"), "i": LI(tau=0.01), "out": LI(tau=0.02)})
        assert (g.currents, g.readouts, g.outputs) == (("i",), ("out",), ("out",))
        assert g.populations == ("i", "a", "out")

    def test_a_recurrent_population_stays_an_output_beside_its_current(self) -> None:
        g = wire("x>a a>w:1 w>i i>a", {**populations("a"), "w": dense(2, 2), "i": LI(tau=0.01)})
        assert (g.currents, g.outputs) == (("i",), ("a",))
        assert g.components == (("x",), ("w", "i", "a"))


class TestLoopsWithoutDelay:
    def test_they_are_kept_together_in_the_order_given(self) -> None:
        g = wire("x>a a>w w>b b>a b>c", {**populations("bac"), "w": dense(2, 2)})
        assert g.instant_loops == (("b", "a", "w"),)
        assert g.order == ("x", "b", "a", "w", "c")

    def test_a_population_may_reach_itself_at_once(self) -> None:
        assert wire("x>a a>a", populations("a")).instant_loops == (("a",),)

    def test_a_delay_anywhere_in_it_makes_it_an_ordinary_loop(self) -> None:
        g = wire("x>a a>b b>a:1", populations("ab"))
        assert g.instant_loops == ()
        assert g.components == (("x",), ("a", "b"))

    @pytest.mark.parametrize(("delay", "found"), [(0, (("a", "w"),)), (1, ())])
    def test_the_delays_of_synapses_count(
        self, delay: int, found: tuple[tuple[str, ...], ...]
    ) -> None:
        w = Sparse.from_coo(
            np.array([0, 1]),
            np.array([1, 0]),
            np.ones(2),
            shape=(2, 2),
            delay=np.array([delay, 3]),
        )
        assert wire("x>a a>w w>a", {**populations("a"), "w": w}).instant_loops == found


def reaches(g: Graph, start: str, end: str) -> bool:
    seen, waiting = set(), [start]
    while waiting:
        for e in g.out_of(waiting.pop()):
            if e.target not in seen:
                seen.add(e.target)
                waiting.append(e.target)
    return end in seen


def test_a_graph_does_not_follow_later_changes_of_the_dict_it_was_made_from() -> None:
    nodes = populations("a")
    g = wire("x>a", nodes)
    nodes["b"] = lif()
    assert list(g.nodes) == ["x", "a"]


def test_a_graph_of_many_nodes_takes_steps_in_proportion_to_them() -> None:
    def calls(pairs: int) -> int:
        nodes: dict[str, Node] = {"x": Input(shape=(2,))}
        text, before = "", "x"
        for k in range(pairs):
            nodes |= {f"d{k}": dense(2, 2), f"p{k}": lif()}
            text += f"{before}>d{k} d{k}>p{k} p{k}>d{k}:1 "
            before = f"p{k}"
        profile = cProfile.Profile()
        profile.enable()
        made = wire(text, nodes)
        names = (made.outputs, made.firing, made.components)
        profile.disable()
        assert [len(n) for n in names] == [1, pairs, pairs + 1]
        return sum(entry.callcount for entry in profile.getstats())

    few, many = calls(100), calls(800)
    assert many < 8.5 * few
