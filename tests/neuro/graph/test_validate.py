import math
import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from graphs import DT
from written_graphs import dense, graph, lif, populations, problems

from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Edge,
    Flatten,
    Graph,
    GraphError,
    Input,
    Multiply,
    Node,
    Outer,
    Softmax,
    Sparse,
    Upsample,
)
from neuro.graph.requirements import problems_on_a_clock, require_clocked
from neuro.neurons import ALIF, LI, LIF, GatedLI


class TestWiring:
    def test_an_unknown_node_is_named_beside_those_that_exist(self) -> None:
        assert problems("x>a a>bb", populations("ab")) == [
            "edge a -> bb: no node 'bb'; have x, a, b"
        ]

    @pytest.mark.parametrize("delay", [-1, 1.5])
    def test_a_delay_is_a_whole_number_of_ticks(self, delay: float) -> None:
        with pytest.raises(GraphError) as error:
            Graph(
                nodes=populations("a"),
                edges=(tuple.__new__(Edge, ("x", "a", delay)),),
                dt=DT,
            )
        assert error.value.problems == [
            f"edge x -> a: delay {delay} is not a whole number of ticks >= 0; convert seconds "
            "with neuro.units.ticks"
        ]

    @pytest.mark.parametrize("dt", [0.0, -1e-3, math.nan])
    def test_dt_is_positive(self, dt: float) -> None:
        assert problems("x>a", populations("a"), dt) == [
            f"dt must be > 0 s and finite, got {dt}; 1e-3 is usual"
        ]

    def test_a_graph_needs_an_input(self) -> None:
        assert problems("", {}) == ["no Input: add one, Input(shape=...)"]

    def test_a_loop_needs_a_population(self) -> None:
        nodes = {**populations("a"), "w": dense(2, 2)}
        assert problems("x>w w>w:1 w>a", nodes) == [
            "loop w -> w holds no LIF or ALIF; put one into it"
        ]

    def test_a_loop_of_currents_never_fires(self) -> None:
        nodes = {**populations("a"), "i": LI(tau=1.0)}
        assert problems("x>i i>i:1 i>a", nodes) == [
            "loop i -> i holds no LIF or ALIF; put one into it"
        ]

    def test_an_input_takes_no_edge(self) -> None:
        assert problems("x>a a>x:1", populations("a")) == [
            "x: an Input takes no edge; remove a -> x"
        ]

    def test_a_node_needs_an_edge_from_another(self) -> None:
        assert problems("x>a b>b:1", populations("ab")) == [
            "b: no edge feeds this LIF; connect or remove it"
        ]

    def test_a_loop_that_no_input_reaches_is_named(self) -> None:
        assert problems("x>out a>b b>a:1 b>out", {**populations("ab"), "out": LI(tau=1.0)}) == [
            "a, b: no Input reaches them; connect or remove them"
        ]

    def test_a_current_feeds_populations_and_host_nodes_only(self) -> None:
        nodes = {**populations("a"), "i": LI(tau=1.0), "w": dense(2, 2)}
        assert problems("x>i i>w w>a i>a", nodes) == [
            "i: an LI is a current or a read-out, it feeds populations and host nodes only; "
            "use LIF or ALIF before w, or put w before i"
        ]

    @pytest.mark.parametrize(
        ("node", "kind"),
        [(dense(2, 2), "Dense"), (Flatten(), "Flatten")],
        ids=["dense", "flatten"],
    )
    def test_a_network_ends_with_a_population(self, node: Node, kind: str) -> None:
        assert problems("x>a a>last", {**populations("a"), "last": node}) == [
            f"last: nothing follows this {kind}; end with a LI or LIF"
        ]

    def test_an_input_that_feeds_nothing_is_loose(self) -> None:
        assert problems("x>a", {**populations("a"), "y": Input(shape=(3,))}) == [
            "y: nothing follows this Input; end with a LI or LIF"
        ]


class TestNumbers:
    def test_nan_and_infinite_weights_are_counted_with_the_first_place(self) -> None:
        weight = np.ones((2, 3))
        weight[1, 0], weight[1, 2] = math.nan, math.inf
        nodes = {**populations("a", 3), "w": Dense(weight=weight)}
        assert problems("x>w w>a", nodes) == [
            "w.weight: 2 of 6 values are NaN or infinite (first at (1, 0)); look at what they "
            "were computed from; where they were trained, lower the learning rate or clip the "
            "gradient"
        ]

    def test_biases_and_thresholds_are_looked_at_too(self) -> None:
        late = LIF(tau=1.0)  # a neuron refuses such a threshold itself where it is made
        object.__setattr__(late, "threshold", math.inf)
        nodes = {
            "x": Input(shape=(1,)),
            "w": Dense(weight=np.ones((1, 1)), bias=np.array([math.nan])),
            "a": late,
        }
        found = problems("x>w w>a", nodes)
        assert [p.split(":")[0] for p in found] == ["w.bias", "a.threshold"]
        assert found[1].startswith("a.threshold: 1 of 1 values are NaN or infinite; look")

    def test_the_gain_of_a_current_is_looked_at(self) -> None:
        late = LI(tau=1.0)
        object.__setattr__(late, "gain", math.nan)
        nodes = {**populations(""), "out": late}
        assert problems("x>out", nodes)[0].startswith("out.gain: 1 of 1 values are NaN")

    def test_no_leak_is_an_infinite_time_constant_and_fine(self) -> None:
        assert graph("x>a", {**populations(""), "a": LIF(tau=math.inf)}).outputs == ("a",)


def sparse(**fields: object) -> Sparse:
    """Return 2 inputs, 3 outputs, 4 synapses, with some fields replaced."""
    good = {
        "indptr": np.array([0, 3, 4]),
        "indices": np.array([0, 1, 1, 2]),
        "weight": np.ones(4),
        "shape": (3,),
    }
    return Sparse(**{**good, **fields})  # type: ignore[arg-type]


class TestSynapses:
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            (
                {"weight": np.ones(3)},
                "Sparse needs one entry a synapse in every column, got {'indices': (4,), "
                "'weight': (3,)}; make it with Sparse.from_coo",
            ),
            (
                {"indptr": np.array([0, 3, 5])},
                "Sparse.indptr must rise from 0 to the 4 synapses, (in + 1,); make it with "
                "Sparse.from_coo",
            ),
            (
                {"indptr": np.array([0, 5, 4])},
                "Sparse.indptr must rise from 0 to the 4 synapses, (in + 1,); make it with "
                "Sparse.from_coo",
            ),
            (
                {"indices": np.array([-1, 1, 3, 2])},
                "2 targets like -1 are not among the (3,) outputs; make Sparse.shape larger",
            ),
            (
                {"indices": np.array([1, 0, 2, 2])},
                "a row of Sparse is not sorted by (delay, target); make it with "
                "Sparse.from_coo",
            ),
            (
                {"delay": np.array([0, 2, 1, 0])},
                "a row of Sparse is not sorted by (delay, target); make it with "
                "Sparse.from_coo",
            ),
            (
                {"delay": np.array([-2, 0, 1, 0])},
                "1 delays are < 0 ticks; a spike acts after its source",
            ),
        ],
    )
    def test_what_is_no_list_of_synapses_is_told_with_its_cure(
        self, fields: dict[str, object], said: str
    ) -> None:
        nodes = {**populations("a"), "w": sparse(**fields)}
        assert problems("x>w w>a", nodes) == [f"w: {said}"]

    def test_rows_may_be_empty_and_synapses_parallel(self) -> None:
        w = sparse(indptr=np.array([0, 0, 4]), indices=np.array([0, 1, 1, 1]))
        assert graph("x>w w>a", {**populations("a"), "w": w}).shapes["a"] == (3,)

    def test_weights_that_are_not_finite_are_counted(self) -> None:
        nodes = {**populations("a"), "w": sparse(weight=np.array([0, math.nan, 1, math.inf]))}
        assert problems("x>w w>a", nodes)[0].startswith("w.weight: 2 of 4 values are NaN")


class TestOnAClock:
    def test_zero_delay_loops_and_odd_refractory_periods_are_told_together(self) -> None:
        nodes = {
            **populations("ab"),
            "c": LIF(tau=0.02, refractory=0.0025),
            "d": ALIF(refractory=0.002),
        }
        g = graph("x>a a>b b>a b>c c>d", nodes)
        with pytest.raises(GraphError, match="the graph cannot run on a clock:") as error:
            require_clocked(g)
        loop, period = error.value.problems
        names, cure = loop.split("; ")
        assert names in ("zero-delay loop a -> b -> a", "zero-delay loop b -> a -> b")
        assert cure == (
            "give one of its edges a delay of >= 1 tick, or run it with clock=Exact()"
        )
        assert period.startswith("c: LIF.refractory: duration 0.0025 s is not a whole number")
        assert period.endswith("or run it with clock=Exact()")

    def test_a_loop_is_named_along_its_edges(self) -> None:
        (said,) = problems_on_a_clock(graph("x>a a>c c>b b>a", populations("abc")))
        names = said.split("; ")[0].removeprefix("zero-delay loop ").split(" -> ")
        assert set(pairwise(names)) == {("a", "c"), ("c", "b"), ("b", "a")}

    def test_delayed_loops_and_whole_ticks_run(self) -> None:
        nodes = {**populations("a"), "b": LIF(tau=0.02, refractory=0.002)}
        require_clocked(graph("x>a a>b b>a:1", nodes))


def wrong_shapes() -> Iterator[tuple[str, Node, tuple[int, ...], str]]:
    ones = np.ones
    yield "dense", dense(3, 4), (5,), "Dense takes (4,), got (5,); change its weight"
    yield (
        "image",
        dense(3, 4),
        (1, 2, 2),
        "Dense takes (4,), got (1, 2, 2); put a Flatten before it",
    )
    yield (
        "dense-axes",
        Dense(weight=ones(3)),
        (3,),
        "Dense.weight must be (out, in), got shape (3,)",
    )
    yield (
        "dense-bias",
        Dense(weight=ones((3, 2)), bias=ones(2)),
        (2,),
        "Dense.bias must be (3,), got (2,)",
    )
    yield (
        "sparse",
        sparse(),
        (3,),
        "Sparse takes (2,), got (3,); change the length of Sparse.indptr",
    )
    yield (
        "sparse-image",
        sparse(),
        (1, 1, 2),
        "Sparse takes (2,), got (1, 1, 2); put a Flatten before it",
    )
    yield (
        "sparse-axes",
        sparse(shape=(3, 1)),
        (2,),
        "Sparse.shape must be (out,), got (3, 1)",
    )
    yield (
        "sparse-bias",
        sparse(bias=ones(2)),
        (2,),
        "Sparse.bias must be (3,), got (2,)",
    )
    yield (
        "gain",
        LI(tau=1.0, gain=np.ones(3)),
        (2,),
        "LI.gain of shape (3,) does not broadcast to (2,); use one number, or one "
        "per channel as (C, 1, 1)",
    )
    yield (
        "conv",
        Conv2d(weight=ones((8, 3, 3, 3))),
        (1, 9, 9),
        "Conv2d takes (3, H, W), got (1, 9, 9); change its weight or input",
    )
    yield (
        "conv-axes",
        Conv2d(weight=ones((8, 3))),
        (3, 9, 9),
        "Conv2d.weight must be (C_out, C_in, kH, kW), got shape (8, 3)",
    )
    yield (
        "conv-bias",
        Conv2d(weight=ones((8, 1, 3, 3)), bias=ones(1)),
        (1, 9, 9),
        "Conv2d.bias must be (8,), got (1,)",
    )
    yield (
        "conv-kernel",
        Conv2d(weight=ones((8, 1, 5, 5))),
        (1, 4, 9),
        "kernel (5, 5) does not fit into (1, 4, 9); use a smaller one or pad",
    )
    yield (
        "line",
        Conv1d(weight=ones((8, 3, 3))),
        (3, 9, 9),
        "Conv1d takes (3, L), got (3, 9, 9); change its weight or input",
    )
    yield (
        "line-kernel",
        Conv1d(weight=ones((8, 3, 3))),
        (3, 2),
        "kernel (3,) does not fit into (3, 2); use a smaller one or pad",
    )
    yield (
        "transposed",
        ConvTranspose2d(weight=ones((3, 8, 2, 2))),
        (8, 4, 4),
        "ConvTranspose2d takes (3, H, W), got (8, 4, 4); its weight is (C_in, C_out, kH, kW): "
        "give weight.swapaxes(0, 1)",
    )
    yield (
        "transposed-bias",
        ConvTranspose2d(weight=ones((3, 8, 2, 2)), bias=ones(3)),
        (3, 4, 4),
        "ConvTranspose2d.bias must be (8,), got (3,)",
    )
    yield (
        "transposed-far",
        ConvTranspose2d(weight=ones((3, 8, 2, 2)), output_padding=(0, 1)),
        (3, 4, 4),
        "output_padding (0, 1) must be below stride (1, 1)",
    )
    yield (
        "transposed-stride",
        ConvTranspose2d(weight=ones((3, 8, 2, 2)), stride=(0, 1)),
        (3, 4, 4),
        "kernel (2, 2) and stride (0, 1) must be >= 1, padding (0, 0) and output_padding "
        "(0, 0) >= 0",
    )
    yield (
        "transposed-padding",
        ConvTranspose2d(weight=ones((3, 8, 2, 2)), padding=(3, 3)),
        (3, 4, 4),
        "padding (3, 3) takes away all that a kernel (2, 2) paints; use less",
    )
    yield (
        "upsample-axes",
        Upsample(scale=(2, 2)),
        (8,),
        "Upsample takes (C, H, W), got (8,)",
    )
    yield (
        "upsample-scale",
        Upsample(scale=(2, 0)),
        (1, 2, 2),
        "Upsample.scale must be >= 1, got (2, 0)",
    )
    yield (
        "pool-axes",
        AvgPool2d(kernel=(2, 2), stride=(2, 2)),
        (8,),
        "AvgPool2d takes (C, H, W), got (8,)",
    )
    yield (
        "pool-stride",
        AvgPool2d(kernel=(2, 2), stride=(0, 2)),
        (1, 4, 4),
        "kernel (2, 2) and stride (0, 2) must be >= 1, padding (0, 0) >= 0",
    )
    yield (
        "channels",
        ALIF(leak=np.full((2, 1, 1), 0.5)),
        (3, 4, 4),
        "ALIF.leak of shape (2, 1, 1) does not broadcast to (3, 4, 4); use one number, or one "
        "per channel as (C, 1, 1)",
    )
    yield (
        "samples",
        ALIF(leak=np.full((2, 3), 0.5)),
        (3,),
        "ALIF.leak of shape (2, 3) does not broadcast to (3,); use one number, or one "
        "per channel as (C, 1, 1)",
    )


class TestShapes:
    @pytest.mark.parametrize(
        ("node", "shape", "said"),
        [case[1:] for case in wrong_shapes()],
        ids=[case[0] for case in wrong_shapes()],
    )
    def test_a_shape_that_does_not_fit_is_told_with_both_sides(
        self, node: Node, shape: tuple[int, ...], said: str
    ) -> None:
        nodes = {"x": Input(shape=shape), "it": node, "a": lif()}
        assert problems("x>it it>a", nodes) == [f"it: {said} (input from x)"]

    def test_what_does_not_add_up_is_told_by_its_edge(self) -> None:
        nodes = {**populations("ab"), "w": dense(3, 2)}
        assert problems("x>a a>w w>b a>b", nodes) == [
            "edge a -> b: brings shape (2,), which does not add to the other inputs of b (it "
            "puts out (3,)); insert a Dense, Conv2d or Flatten that makes the shapes equal"
        ]

    def test_a_recurrent_edge_must_fit_too(self) -> None:
        nodes = {**populations("a"), "w": dense(3, 2)}
        (said,) = problems("x>a a>w w>a:1", nodes)
        assert said.startswith("edge w -> a: brings shape (3,)")

    @pytest.mark.parametrize("shape", [(0,), (1, -2, 3)])
    def test_an_input_holds_at_least_one_value_an_axis(self, shape: tuple[int, ...]) -> None:
        said = problems(
            "x>flat flat>a", {"x": Input(shape=shape), "flat": Flatten(), "a": lif()}
        )
        assert said[0] == f"x: Input.shape must be >= 1, got {shape}"


class TestJoined:
    def test_all_axes_but_the_first_must_be_equal(self) -> None:
        nodes = {
            "x": Input(shape=(2, 3, 4)),
            "y": Input(shape=(2, 3, 5)),
            "c": Concat(),
            "a": lif(),
        }
        assert problems("x>c y>c c>a", nodes) == [
            "c: Concat joins along the first axis and needs all others equal, got (2, 3, 4), "
            "(2, 3, 5); pool or upsample to one size, or put a Flatten before each (input from "
            "x, y)"
        ]

    def test_a_value_without_axes_cannot_be_joined(self) -> None:
        nodes = {"x": Input(shape=()), "c": Concat(), "a": lif()}
        assert problems("x>c c>a", nodes) == [
            "c: Concat joins along the first axis, one input has none; use Input.shape (1,) "
            "(input from x)"
        ]

    def test_a_loop_whose_length_nothing_tells_is_refused(self) -> None:
        nodes = {**populations("a"), "c": Concat()}
        assert problems("x>c a>c:1 c>a", nodes) == [
            "c: Concat in a loop: its length depends on a, whose shape depends on it; put a "
            "Dense, a Sparse or a convolution right behind it (input from x)"
        ]

    def test_a_loop_that_brings_more_than_what_follows_takes_is_refused(self) -> None:
        nodes = {**populations("a"), "c": Concat(), "w": dense(3, 4)}
        assert problems("x>c a>c:1 c>w w>a", nodes) == [
            "c: its edges bring (5,), the connection behind it takes (4,); change the weight "
            "of that connection"
        ]

    def test_a_loop_that_brings_other_axes_is_refused(self) -> None:
        conv = Conv2d(weight=np.ones((3, 5, 2, 2)))
        nodes = {"x": Input(shape=(2, 4, 4)), "c": Concat(), "w": conv, "a": lif()}
        (said,) = problems("x>c a>c:1 c>w w>a", nodes)
        assert said.startswith("c: Concat joins along the first axis and needs all others")

    def test_what_follows_from_another_problem_is_not_told(self) -> None:
        nodes = {**populations("a"), "w": dense(3, 4), "c": Concat(), "a": lif()}
        assert problems("x>w w>c x>c c>a", nodes) == [
            "w: Dense takes (4,), got (2,); change its weight (input from x)"
        ]

    def test_the_same_twice_is_refused(self) -> None:
        assert problems("x>c x>c c>a", {**populations("a"), "c": Concat()}) == [
            "edge x -> c of delay 0 is there 2 times; keep one and add up the weights behind it"
        ]

    def test_a_current_cannot_be_joined(self) -> None:
        nodes = {**populations("a"), "i": LI(tau=0.01), "c": Concat()}
        (said,) = problems("x>i i>c c>a", nodes)
        assert said.startswith("i: an LI is a current or a read-out, it feeds populations and")


class TestValued:
    def test_halves_and_axes_that_are_not_there_are_told_together(self) -> None:
        nodes = {
            **populations("a"),
            **{"w": dense(3, 2), "g": GatedLI(), "m": Multiply(), "s": Softmax(axis=1)},
        }
        halves = (
            "takes two halves along the first axis, got (3,); join two of one shape with a "
            "Concat, or let a Dense or a convolution put out both (input from w)"
        )
        assert problems("x>a x>w w>g w>m m>a w>s s>a", nodes) == [
            f"g: GatedLI {halves}",
            f"m: Multiply {halves}",
            "s: Softmax.axis 1 is no axis of (3,); use 0 for the first (input from w)",
        ]

    def test_a_floor_is_one_number_or_fits_the_halves(self) -> None:
        nodes = {**populations("a"), "w": dense(4, 2), "g": GatedLI(floor=np.zeros(4))}
        assert problems("x>a x>w w>g", nodes) == [
            "g: GatedLI.floor of shape (4,) does not broadcast to (2,); use one number, or one "
            "per channel as (C, 1, 1) (input from w)"
        ]
        nodes["g"] = GatedLI(floor=np.zeros(2))
        assert graph("x>a x>w w>g", nodes).shapes["g"] == (2,)

    def test_what_the_edges_bring_must_be_equal(self) -> None:
        nodes = {**populations("a"), "w": dense(6, 2), "o": Outer(first=1)}
        (said,) = problems("x>o w>o x>w o>a", nodes)
        assert said.startswith(
            "edge w -> o: brings shape (6,), which does not add to the other"
        )

    def test_a_host_node_leads_to_a_population(self) -> None:
        nodes = {**populations("a"), "s": Softmax()}
        assert problems("x>a a>s", nodes) == [
            "s: nothing follows this Softmax; end with a LI or LIF"
        ]

    def test_a_loop_of_values_never_fires(self) -> None:
        nodes = {**populations("a"), "w": dense(4, 2), "g": GatedLI()}
        assert problems("x>w w>g g>w:1 g>a", nodes) == [
            "loop w -> g -> w holds no LIF or ALIF; put one into it"
        ]

    def test_integrators_are_told_from_what_fires(self) -> None:
        nodes = {**populations("a"), "i": LI(tau=1.0), "s": Softmax(), "g": GatedLI()}
        found = graph("x>i i>s s>a s>g i>a", nodes)
        assert found.firing == ("a",)
        assert found.integrators == ("i", "g")
        assert found.hosts == ("s",)
        assert found.readouts == ("g",)
        assert found.currents == ("i",)
        assert set(found.outputs) == {"a", "g"}

    def test_an_integrator_inside_the_last_loop_is_no_output(self) -> None:
        nodes = {**populations("a"), "w": dense(4, 2), "g": GatedLI()}
        assert graph("x>a a>w:1 w>g g>a", nodes).outputs == ("a",)


class TestManyProblems:
    def test_wiring_and_values_are_told_together(self) -> None:
        nodes = {
            **populations("abc"),
            "w": Dense(weight=np.full((2, 2), math.nan)),
            "out": LI(tau=1.0),
        }
        found = problems("x>a a>b b>a:1 b>w out>w:1", nodes)
        for said in (
            "c: no edge feeds this LIF",
            "out: no edge feeds this LI;",
            "out: an LI is a current or a read-out",
            "w: nothing follows this Dense",
            "w.weight: 4 of 4 values",
        ):
            assert sum(said in p for p in found) == 1
        assert len(found) == 5

    def test_bad_edges_are_told_together(self) -> None:
        found = problems("x>q r>a x>a:-2", populations("a"), dt=0.0)
        assert [re.split("[:,;]", p)[1] for p in found[:3]] == [
            " no node 'q'",
            " no node 'r'",
            " delay -2 is not a whole number of ticks >= 0",
        ]
        assert found[3].startswith("dt must be > 0 s")

    def test_every_wrong_shape_is_told_and_none_that_follows_from_another(self) -> None:
        nodes = {
            **populations("ab"),
            "v": dense(3, 4),
            "w": dense(3, 5),
            "after": dense(9, 3),
        }
        assert problems("x>v v>a x>w w>after after>b", nodes) == [
            "v: Dense takes (4,), got (2,); change its weight (input from x)",
            "w: Dense takes (5,), got (2,); change its weight (input from x)",
        ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        *(("a\0b", r"a\x00b"), ("a\nb", r"a\nb"), ("\x1b[31ma", r"\x1b[31ma")),
        *(("a\x7f", r"a\x7f"), ("\x9b1m", r"\x9b1m"), ("a\u202eb", r"a\u202eb")),
        ("a\ud800", r"a\ud800"),
    ],
)
def test_what_cannot_be_printed_is_in_no_name_and_in_no_message(name: str, shown: str) -> None:
    with pytest.raises(GraphError) as e:
        Graph(
            nodes={"x": Input(shape=(2,)), name: LIF(tau=1.0), "w": dense(3, 4)},
            edges=(Edge("x", name), Edge("x", name), Edge("no" + name, "w")),
            dt=DT,
        )
    assert f"node '{shown}': a name is not empty and holds no" in e.value.problems[0]
    assert any(f"no{shown} -> w: no node 'no{shown}'" in told for told in e.value.problems)
    assert str(e.value).replace("\n", "").isprintable()
    assert len(str(e.value).splitlines()) == len(e.value.problems) + 1


@pytest.mark.parametrize("name", ["a b", "\u00e9t\u00e9", "\u5c64", "a-1_(x)", "\U0001f9e0"])
def test_any_name_that_can_be_printed_is_one(name: str) -> None:
    nodes = {"x": Input(shape=(2,)), name: LIF(tau=1.0)}
    assert Graph(nodes=nodes, edges=(Edge("x", name),), dt=DT).firing == (name,)


def test_equal_edges_and_odd_names_are_refused() -> None:
    with pytest.raises(GraphError) as e:
        Graph(
            nodes={"x": Input(shape=(2,)), "a.b": LIF(tau=1.0), "": LIF(tau=1.0)},
            edges=(Edge("x", "a.b"), Edge("x", "a.b"), Edge("x", "")),
            dt=DT,
        )
    rule = (
        "a name is not empty and holds no '.' or '/' and nothing that cannot be printed; "
        "rename it"
    )
    assert e.value.problems == [
        f"node 'a.b': {rule}",
        f"node '': {rule}",
        "edge x -> a.b of delay 0 is there 2 times; keep one and multiply the weights",
    ]
