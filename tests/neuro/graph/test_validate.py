import math
import re
from itertools import pairwise

import numpy as np
import pytest
from graphs import DT
from hypothesis import HealthCheck, given, settings, strategies as st
from tables import read_table
from written_graphs import dense, lif, populations, problems, wire

import neuro
from neuro import ALIF, LI, LIF, Concat, Dense, Edge, Flatten, GatedLI, Graph, GraphError, Input
from neuro.graph import Conv2d, Node, Softmax, Sparse, validate
from neuro.graph.requirements import problems_on_a_clock, require_clocked


def sparse(**fields: object) -> Sparse:
    """Return 2 inputs, 3 outputs, 4 synapses, with some fields replaced."""
    good = {"indptr": [0, 3, 4], "indices": [0, 1, 1, 2], "weight": np.ones(4), "shape": (3,)}
    columns = {k: np.array(v) if isinstance(v, list) else v for k, v in (good | fields).items()}
    return Sparse(**columns)


NAMES = {**vars(neuro), "dense": dense, "sparse": sparse, "populations": populations}
NAMES |= {"ones": np.ones, "full": np.full, "zeros": np.zeros}

# Edges, populations and other nodes; x is an Input of 2 unless it stands there.
WIRING = """
x>a a>bb | "ab"
    edge a -> bb: no node 'bb'; have x, a, b
x>w w>w:1 w>a | "a", w=dense(2, 2)
    loop w -> w holds no LIF or ALIF; put one into it
x>i i>i:1 i>a | "a", i=LI(tau=1.0)
    loop i -> i holds no LIF or ALIF; put one into it
x>w w>g g>w:1 g>a | "a", w=dense(4, 2), g=GatedLI()
    loop w -> g -> w holds no LIF or ALIF; put one into it
x>a a>x:1 | "a"
    x: an Input takes no edge; remove a -> x
x>a b>b:1 | "ab"
    b: no edge feeds this LIF; connect or remove it
x>out a>b b>a:1 b>out | "ab", out=LI(tau=1.0)
    a, b: no Input reaches them; connect or remove them
x>i i>w w>a i>a | "a", i=LI(tau=1.0), w=dense(2, 2)
    i: an LI is a current or a read-out, it feeds populations and host nodes only; use LIF or
    ALIF before w, or put w before i
x>a a>last | "a", last=dense(2, 2)
    last: nothing follows this Dense; end with a LI or LIF
x>a a>last | "a", last=Flatten()
    last: nothing follows this Flatten; end with a LI or LIF
x>a a>s | "a", s=Softmax()
    s: nothing follows this Softmax; end with a LI or LIF
x>a | "a", y=Input(shape=(3,))
    y: nothing follows this Input; end with a LI or LIF
x>a a>w w>b a>b | "ab", w=dense(3, 2)
    edge a -> b: brings shape (2,), which does not add to the other inputs of b (it puts out
    (3,)); insert a Dense, Conv2d or Flatten that makes the shapes equal
x>a a>w w>a:1 | "a", w=dense(3, 2)
    edge w -> a: brings shape (3,), which does not add to the other inputs of a (it puts out
    (2,)); insert a Dense, Conv2d or Flatten that makes the shapes equal
x>v v>a x>w w>after after>b | "ab", v=dense(3, 4), w=dense(3, 5), after=dense(9, 3)
    v: Dense takes (4,), got (2,); change its weight (input from x)
    w: Dense takes (5,), got (2,); change its weight (input from x)
# Synapses
x>w w>a | "a", w=sparse(weight=ones(3))
    w: Sparse needs one entry a synapse in every column, got {'indices': (4,), 'weight': (3,)};
    make it with Sparse.from_coo
x>w w>a | "a", w=sparse(indptr=[0, 3, 5])
    w: Sparse.indptr must rise from 0 to the 4 synapses, (in + 1,); make it with Sparse.from_coo
x>w w>a | "a", w=sparse(indptr=[0, 5, 4])
    w: Sparse.indptr must rise from 0 to the 4 synapses, (in + 1,); make it with Sparse.from_coo
x>w w>a | "a", w=sparse(indices=[-1, 1, 3, 2])
    w: 2 targets like -1 are not among the (3,) outputs; make Sparse.shape larger
x>w w>a | "a", w=sparse(indices=[1, 0, 2, 2])
    w: a row of Sparse is not sorted by (target, delay); make it with Sparse.from_coo
x>w w>a | "a", w=sparse(delay=[0, 2, 1, 0])
    w: a row of Sparse is not sorted by (target, delay); make it with Sparse.from_coo
x>w w>a | "a", w=sparse(delay=[-2, 0, 1, 0])
    w: 1 delays are < 0 ticks; a spike acts after its source
# Joined
x>c y>c c>a | "a", x=Input(shape=(2, 3, 4)), y=Input(shape=(2, 3, 5)), c=Concat()
    c: Concat joins along the first axis and needs all others equal, got (2, 3, 4), (2, 3, 5);
    pool or upsample to one size, or put a Flatten before each (input from x, y)
x>c c>a | "a", x=Input(shape=()), c=Concat()
    c: Concat joins along the first axis, one input has none; use Input.shape (1,) (input from
    x)
x>c a>c:1 c>a | "a", c=Concat()
    c: Concat in a loop: its length depends on a, whose shape depends on it; put a Dense, a
    Sparse or a convolution right behind it (input from x)
x>c a>c:1 c>w w>a | "a", c=Concat(), w=dense(3, 4)
    c: its edges bring (5,), the connection behind it takes (4,); change the weight of that
    connection
x>w w>c x>c c>a | "a", w=dense(3, 4), c=Concat()
    w: Dense takes (4,), got (2,); change its weight (input from x)
x>c x>c c>a | "a", c=Concat()
    edge x -> c of delay 0 is there 2 times; keep one and add up the weights behind it
# Values
x>a x>w w>g w>m m>a | "a", w=dense(3, 2), g=GatedLI(), m=Multiply()
    g: GatedLI takes two halves along the first axis, got (3,); join two of one shape with a
    Concat, or let a Dense or a convolution put out both (input from w)
    m: Multiply takes two halves along the first axis, got (3,); join two of one shape with a
    Concat, or let a Dense or a convolution put out both (input from w)
x>w w>s s>a | "a", w=dense(3, 2), s=Softmax(axis=1)
    s: Softmax.axis 1 is no axis of (3,); use 0 for the first (input from w)
x>a x>w w>g | "a", w=dense(4, 2), g=GatedLI(floor=zeros(4))
    g: GatedLI.floor of shape (4,) does not broadcast to (2,); use one number, or one per
    channel as (C, 1, 1) (input from w)
"""

# The shape of the input, and the node that does not take it.
SHAPES = """
(5,) | dense(3, 4)
    Dense takes (4,), got (5,); change its weight
(1, 2, 2) | dense(3, 4)
    Dense takes (4,), got (1, 2, 2); put a Flatten before it
(3,) | Dense(weight=ones(3))
    Dense.weight must be (out, in), got shape (3,)
(2,) | Dense(weight=ones((3, 2)), bias=ones(2))
    Dense.bias must be (3,), got (2,)
(3,) | sparse()
    Sparse takes (2,), got (3,); change the length of Sparse.indptr
(1, 1, 2) | sparse()
    Sparse takes (2,), got (1, 1, 2); put a Flatten before it
(2,) | sparse(shape=(3, 1))
    Sparse.shape must be (out,), got (3, 1)
(2,) | sparse(bias=ones(2))
    Sparse.bias must be (3,), got (2,)
(2,) | LI(tau=1.0, gain=ones(3))
    LI.gain of shape (3,) does not broadcast to (2,); use one number, or one per channel as
    (C, 1, 1)
(1, 9, 9) | Conv2d(weight=ones((8, 3, 3, 3)))
    Conv2d takes (3, H, W), got (1, 9, 9); change its weight or input
(3, 9, 9) | Conv2d(weight=ones((8, 3)))
    Conv2d.weight must be (C_out, C_in, kH, kW), got shape (8, 3)
(1, 9, 9) | Conv2d(weight=ones((8, 1, 3, 3)), bias=ones(1))
    Conv2d.bias must be (8,), got (1,)
(1, 4, 9) | Conv2d(weight=ones((8, 1, 5, 5)))
    kernel (5, 5) does not fit into (1, 4, 9); use a smaller one or pad
(3, 9, 9) | Conv1d(weight=ones((8, 3, 3)))
    Conv1d takes (3, L), got (3, 9, 9); change its weight or input
(3, 2) | Conv1d(weight=ones((8, 3, 3)))
    kernel (3,) does not fit into (3, 2); use a smaller one or pad
(8, 4, 4) | ConvTranspose2d(weight=ones((3, 8, 2, 2)))
    ConvTranspose2d takes (3, H, W), got (8, 4, 4); its weight is (C_in, C_out, kH, kW):
    give weight.swapaxes(0, 1)
(3, 4, 4) | ConvTranspose2d(weight=ones((3, 8, 2, 2)), bias=ones(3))
    ConvTranspose2d.bias must be (8,), got (3,)
(3, 4, 4) | ConvTranspose2d(weight=ones((3, 8, 2, 2)), output_padding=(0, 1))
    output_padding (0, 1) must be below stride (1, 1)
(3, 4, 4) | ConvTranspose2d(weight=ones((3, 8, 2, 2)), stride=(0, 1))
    kernel (2, 2) and stride (0, 1) must be >= 1, padding (0, 0) and output_padding (0, 0)
    >= 0
(3, 4, 4) | ConvTranspose2d(weight=ones((3, 8, 2, 2)), padding=(3, 3))
    padding (3, 3) takes away all that a kernel (2, 2) paints; use less
(8,) | Upsample(scale=(2, 2))
    Upsample takes (C, H, W), got (8,)
(1, 2, 2) | Upsample(scale=(2, 0))
    Upsample.scale must be >= 1, got (2, 0)
(8,) | AvgPool2d(kernel=(2, 2), stride=(2, 2))
    AvgPool2d takes (C, H, W), got (8,)
(1, 4, 4) | AvgPool2d(kernel=(2, 2), stride=(0, 2))
    kernel (2, 2) and stride (0, 2) must be >= 1, padding (0, 0) >= 0
(3, 4, 4) | ALIF(leak=full((2, 1, 1), 0.5))
    ALIF.leak of shape (2, 1, 1) does not broadcast to (3, 4, 4); use one number, or one per
    channel as (C, 1, 1)
(3,) | ALIF(leak=full((2, 3), 0.5))
    ALIF.leak of shape (2, 3) does not broadcast to (3,); use one number, or one per channel
    as (C, 1, 1)
"""


@pytest.mark.parametrize(("network", "said"), read_table(WIRING))
def test_what_does_not_hold_together_is_told_with_its_cure(network: str, said: str) -> None:
    wiring, nodes = network.split(" | ")
    assert " ".join(problems(wiring, eval(f"populations({nodes})", NAMES))) == said


@pytest.mark.parametrize(("case", "said"), read_table(SHAPES))
def test_a_shape_that_does_not_fit_is_told_with_both_sides(case: str, said: str) -> None:
    shape, node = (eval(part, NAMES) for part in case.split(" | "))
    nodes = {"x": Input(shape=shape), "it": node, "a": lif()}
    assert problems("x>it it>a", nodes) == [f"it: {said} (input from x)"]


@pytest.mark.parametrize("delay", [-1, 1.5])
def test_a_delay_is_a_whole_number_of_ticks(delay: float) -> None:
    with pytest.raises(GraphError) as error:
        Graph(nodes=populations("a"), edges=(tuple.__new__(Edge, ("x", "a", delay)),), dt=DT)
    assert error.value.problems == [
        f"edge x -> a: delay {delay} is not a whole number of ticks >= 0; convert seconds "
        "with neuro.ticks"
    ]


@pytest.mark.parametrize("dt", [0.0, -1e-3, math.nan])
def test_dt_is_positive(dt: float) -> None:
    assert problems("x>a", populations("a"), dt) == [
        f"dt must be > 0 s and finite, got {dt}; 1e-3 is usual"
    ]


def test_a_graph_needs_an_input() -> None:
    assert problems("", {}) == ["no Input: add one, Input(shape=...), or a Poisson"]


@pytest.mark.parametrize("shape", [(0,), (1, -2, 3)])
def test_an_input_holds_at_least_one_value_an_axis(shape: tuple[int, ...]) -> None:
    nodes = {"x": Input(shape=shape), "flat": Flatten(), "a": lif()}
    said = problems("x>flat flat>a", nodes)
    assert said[0] == f"x: Input.shape must be >= 1, got {shape}"


class TestNumbers:
    def test_nan_and_infinite_weights_are_counted_with_the_first_place(self) -> None:
        weight = np.ones((2, 3))
        weight[1, 0], weight[1, 2] = math.nan, math.inf
        nodes = populations("a", 3, w=Dense(weight=weight))
        assert problems("x>w w>a", nodes) == [
            "w.weight: 2 of 6 values are NaN or infinite (first at (1, 0)); look at what they "
            "were computed from; where they were trained, lower the learning rate or clip the "
            "gradient"
        ]
        nodes["w"] = sparse(weight=np.array([0, math.nan, 1, math.inf]))
        nodes["x"] = Input(shape=(2,))
        assert problems("x>w w>a", nodes)[0].startswith("w.weight: 2 of 4 values are NaN")

    @pytest.mark.parametrize(
        ("late", "field"), [(LIF(tau=1.0), "threshold"), (LI(tau=1.0), "gain")]
    )
    def test_biases_thresholds_and_gains_are_looked_at(self, late: Node, field: str) -> None:
        """A neuron refuses such a field itself where it is made."""
        object.__setattr__(late, field, math.inf)
        w = Dense(weight=np.ones((1, 2)), bias=np.array([math.nan]))
        found = problems("x>w w>a", populations("", w=w, a=late))
        assert [p.split(":")[0] for p in found] == ["w.bias", f"a.{field}"]
        assert found[1].startswith(f"a.{field}: 1 of 1 values are NaN or infinite; look")

    def test_no_leak_is_an_infinite_time_constant_and_fine(self) -> None:
        assert wire("x>a", populations("", a=LIF(tau=math.inf))).outputs == ("a",)


def test_rows_may_be_empty_and_synapses_parallel() -> None:
    w = sparse(indptr=np.array([0, 0, 4]), indices=np.array([0, 1, 1, 1]))
    assert wire("x>w w>a", populations("a", w=w)).shapes["a"] == (3,)


class TestOnAClock:
    def test_zero_delay_loops_and_odd_refractory_periods_are_told_together(self) -> None:
        nodes = {
            **populations("ab"),
            "c": LIF(tau=0.02, refractory=0.0025),
            "d": ALIF(refractory=0.002),
        }
        g = wire("x>a a>b b>a b>c c>d", nodes)
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
        (said,) = problems_on_a_clock(wire("x>a a>c c>b b>a", populations("abc")))
        names = said.split("; ")[0].removeprefix("zero-delay loop ").split(" -> ")
        assert set(pairwise(names)) == {("a", "c"), ("c", "b"), ("b", "a")}

    def test_delayed_loops_and_whole_ticks_run(self) -> None:
        nodes = {**populations("a"), "b": LIF(tau=0.02, refractory=0.002)}
        require_clocked(wire("x>a a>b b>a:1", nodes))


class TestJoined:
    def test_a_loop_that_brings_other_axes_is_refused(self) -> None:
        conv = Conv2d(weight=np.ones((3, 5, 2, 2)))
        nodes = {"x": Input(shape=(2, 4, 4)), "c": Concat(), "w": conv, "a": lif()}
        (said,) = problems("x>c a>c:1 c>w w>a", nodes)
        assert said.startswith("c: Concat joins along the first axis and needs all others")


class TestValued:
    def test_integrators_are_told_from_what_fires(self) -> None:
        nodes = {**populations("a"), "i": LI(tau=1.0), "s": Softmax(), "g": GatedLI()}
        found = wire("x>i i>s s>a s>g i>a", nodes)
        assert found.firing == ("a",)
        assert found.integrators == ("i", "g")
        assert found.hosts == ("s",)
        assert found.readouts == ("g",)
        assert found.currents == ("i",)
        assert set(found.outputs) == {"a", "g"}

    def test_an_integrator_inside_the_last_loop_is_no_output(self) -> None:
        nodes = {**populations("a"), "w": dense(4, 2), "g": GatedLI()}
        assert wire("x>a a>w:1 w>g g>a", nodes).outputs == ("a",)


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
        wire("x>a.b x>a.b x>", {"x": Input(shape=(2,)), "a.b": LIF(tau=1.0), "": LIF(tau=1.0)})
    rule = (
        "a name is not empty and holds no '.' or '/' and nothing that cannot be printed; "
        "rename it"
    )
    assert e.value.problems == [
        f"node 'a.b': {rule}",
        f"node '': {rule}",
        "edge x -> a.b of delay 0 is there 2 times; keep one and multiply the weights",
    ]


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
@given(
    rows=st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=4), min_size=1
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_sorted_whatever_the_size_of_a_chunk(
    monkeypatch: pytest.MonkeyPatch, chunk: int, rows: list[list[tuple[int, int]]]
) -> None:
    monkeypatch.setattr(validate, "CHUNK", chunk)
    flat = [pair for row in rows for pair in row]
    node = Sparse(
        indptr=np.cumsum([0, *map(len, rows)]),
        indices=np.array([target for target, _ in flat], np.int32),
        delay=np.array([delay for _, delay in flat], np.int32),
        weight=np.ones(len(flat)),
        shape=(3,),
    )
    fits = all(row == sorted(row) for row in rows)
    assert (validate.list_problems_of_synapses(node) == [validate.UNSORTED]) is not fits
