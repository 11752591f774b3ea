import math
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import or_

import numpy as np
import pytest
from energy_cases import with_limit
from hypothesis import given, strategies as st
from written_graphs import chain

from lava_export import lower
from neuro.base.units import Seconds, Ticks
from neuro.energy import Chip, find_chip, mapping, place
from neuro.energy.mapping import count_demand
from neuro.energy.synapses import compose
from neuro.graph import AvgPool2d, Conv2d, ConvTranspose2d, Dense, Edge, Flatten, Graph, Input
from neuro.neurons import LI, LIF

DT = Seconds(1e-3)


def dense_graph(*sizes: int, recurrent: int | None = None) -> Graph:
    nodes = {"n0": Input(shape=(sizes[0],))}
    edges = []
    for k, (inputs, outputs) in enumerate(pairwise(sizes), 1):
        last = k == len(sizes) - 1
        nodes |= {f"w{k}": Dense(weight=np.ones((outputs, inputs)))}
        nodes |= {f"n{k}": LI(tau=0.01) if last else LIF(tau=0.01)}
        edges += [Edge(f"n{k - 1}", f"w{k}"), Edge(f"w{k}", f"n{k}")]
    if recurrent is not None:
        nodes["again"] = Dense(weight=np.ones((sizes[recurrent],) * 2))
        name = f"n{recurrent}"
        edges += [Edge(name, "again", Ticks(1)), Edge("again", name)]
    return Graph(nodes=nodes, edges=tuple(edges), dt=DT)


def conv_graph(height: int, width: int) -> Graph:
    return chain(
        x=Input(shape=(24, height, width)),
        conv=Conv2d(weight=np.ones((36, 24, 3, 3)), stride=(2, 2)),
        out=LIF(tau=0.01),
    )


def demo_like() -> Graph:
    """The network of the demo: two convolutions of 12 and 24 channels, each pooled, a Dense."""
    return chain(
        x=Input(shape=(1, 28, 28)),
        conv1=Conv2d(weight=np.ones((12, 1, 5, 5))),
        a=LIF(tau=0.01),
        pool1=AvgPool2d(kernel=(2, 2), stride=(2, 2)),
        conv2=Conv2d(weight=np.ones((24, 12, 3, 3))),
        b=LIF(tau=0.01),
        pool2=AvgPool2d(kernel=(2, 2), stride=(2, 2)),
        flat=Flatten(),
        fc=Dense(weight=np.ones((10, 24 * 5 * 5))),
        out=LI(tau=0.01),
    )


def need(graph: Graph, name: str, neurons: int, chip: Chip, weight_bits: int) -> dict[str, int]:
    into = [r for r in compose(graph) if r.target == name]
    return count_demand(into, graph.size(name), neurons, chip.limits, weight_bits)


def test_a_dense_layer_is_split_as_in_the_log_of_intels_compiler() -> None:
    # PilotNet's first fully connected layer on Loihi 2: 2560 rows of 24 words, for 100 weights
    # of 3 bits; 12000 words a core, hence 6 cores (which the compiler then doubles).
    graph = dense_graph(2560, 100, 50)
    assert need(graph, "n1", 100, find_chip("loihi2"), 3)["synapse_words"] == 24 * 2560
    layer = place(graph, find_chip("loihi2"), weight_bits=3).layers["n1"]
    assert (layer.cores, layer.per_core, layer.binds) == (6, 17, "synapse_words")


def test_listed_synapses_take_what_they_are_and_a_word_for_each_source_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A transposed convolution of 2 channels: 2 x 9 synapses for a neuron away from the rim.
    up = ConvTranspose2d(weight=np.ones((2, 1, 3, 3)))
    graph = chain(x=Input(shape=(2, 30, 30)), up=up, out=LIF(tau=0.01))
    chip = find_chip("loihi1")
    matrix = need(graph, "out", 16, chip, 8)
    monkeypatch.setattr("neuro.graph.paths.LIMIT", 20_000)
    bits = 16 * 18 * (8 + int(chip.limits.index_bits.value))
    assert need(graph, "out", 16, chip, 8) == {
        "neurons": 16,
        "in_axons": 16 * 18,
        "synapse_words": -(-bits // 64) + 16 * 18,
    }
    assert (matrix["in_axons"], matrix["synapse_words"]) == (1800, 1800 * 3)
    assert need(graph, "out", 1024, chip, 8)["in_axons"] == 1800  # no more than there are


def test_a_convolution_stores_the_kernels_of_its_channels_once_a_core() -> None:
    graph = conv_graph(43, 71)
    assert need(graph, "out", 36 * 21 * 35, find_chip("loihi2"), 6)["synapse_words"] == 864


def test_a_convolution_needs_an_axon_a_pixel_of_the_rows_that_its_core_sees() -> None:
    graph = conv_graph(101, 101)
    assert need(graph, "out", 36 * 50 * 50, find_chip("loihi1"), 8)["in_axons"] == 101 * 101
    assert need(graph, "out", 500, find_chip("loihi1"), 8)["in_axons"] == (9 * 2 + 3) * 101
    # The next row of windows sees two more rows of pixels, its first neuron 3 pixels of each.
    assert need(graph, "out", 501, find_chip("loihi1"), 8)["in_axons"] == 21 * 101 + 2 * 3


def test_rows_of_an_image_follow_the_stride_along_its_height() -> None:
    conv = Conv2d(weight=np.ones((1, 1, 3, 3)), stride=(1, 3))
    graph = chain(x=Input(shape=(1, 12, 12)), conv=conv, out=LIF(tau=0.01))
    # 4 outputs a row. The first of the second row sees 3 pixels more.
    assert need(graph, "out", 4, find_chip("loihi1"), 8)["in_axons"] == 3 * 12
    assert need(graph, "out", 5, find_chip("loihi1"), 8)["in_axons"] == 3 * 12 + 3


def test_a_row_of_weights_takes_its_header_or_its_indices() -> None:
    graph = dense_graph(3, 7)
    # Loihi 1: 7 weights of 8 bits and a header of 10 take more than a word.
    assert need(graph, "n1", 7, find_chip("loihi1"), 8)["synapse_words"] == 3 * 2
    # Loihi 2: 7 weights of 8 + 12 bits take more than two.
    assert need(graph, "n1", 7, find_chip("loihi2"), 8)["synapse_words"] == 3 * 3
    (route,) = compose(graph)
    places = np.array([[0, 0, 0, 1], [0, 1, 2, 3]], np.int32)  # target, source
    listed = replace(route, kind="sparse", places=places, sizes=(4, 5), weight=np.ones(4))
    # Two neurons of three synapses each, and a word more for each of five rows.
    found = count_demand([listed], 4, 2, find_chip("loihi2").limits)
    assert (found["in_axons"], found["synapse_words"]) == (5, 2 + 5)


def test_what_a_convolution_pads_needs_no_axon() -> None:
    conv = Conv2d(weight=np.ones((2, 1, 5, 5)), padding=(2, 2))
    graph = chain(x=Input(shape=(1, 9, 7)), conv=conv, out=LIF(tau=0.01))
    assert need(graph, "out", 2 * 9 * 7, find_chip("loihi1"), 8)["in_axons"] == 9 * 7
    # The first rows of outputs do not see the last rows of pixels.
    assert need(graph, "out", 4 * 7, find_chip("loihi1"), 8)["in_axons"] == 6 * 7
    assert need(graph, "out", 3 * 7, find_chip("loihi1"), 8)["in_axons"] == 5 * 7
    # The first neuron sees 3 x 3 pixels, one in the middle 5 x 5.
    assert need(graph, "out", 1, find_chip("loihi1"), 8)["in_axons"] == 5 * 5


def list_pixels(conv: Conv2d, shape: tuple[int, ...], size: int) -> list[int]:
    """Return the pixels that each neuron of the target sees, bit p for pixel p."""
    seen, pixels = [0] * size, shape[1] * shape[2]
    for source, row in enumerate(conv.synapses(shape)):
        for synapse in row:
            seen[synapse.target] |= 1 << source % pixels
    return seen


def measure_slowly(conv: Conv2d, seen: list[int], per_core: int) -> dict[str, int]:
    """Return what the fullest core needs; each takes so many neurons in C order."""
    channels, size = len(conv.weight), len(seen)
    cores = [range(k, min(k + per_core, size)) for k in range(0, size, per_core)]
    words = math.prod(conv.weight.shape[1:])
    return {
        "neurons": max(map(len, cores)),
        "in_axons": max(reduce(or_, (seen[n] for n in core)).bit_count() for core in cores),
        "synapse_words": max(
            words * -(-len({n // (size // channels) for n in core}) // 8) for core in cores
        ),
    }


@given(seed=st.integers(0, 10**6))
def test_a_convolution_takes_the_fewest_cores_that_hold_all_its_synapses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel, stride, dilation, padding = (
        tuple(int(n) for n in rng.integers(low, high, 2))
        for low, high in ((1, 4), (1, 3), (1, 3), (0, 2))
    )
    groups = int(rng.integers(1, 3))
    conv = Conv2d(
        weight=np.ones((groups * int(rng.integers(1, 14)), 1, *kernel)),
        stride=stride,
        dilation=dilation,
        padding=padding,
        groups=groups,
    )
    graph = chain(x=Input(shape=(groups, 6, 7)), conv=conv, out=LIF(tau=0.01))
    size, kernels = graph.size("out"), math.prod(kernel)
    chip = with_limit(find_chip("loihi1"), "neurons", float(rng.integers(1, size + 1)))
    chip = with_limit(chip, "in_axons", float(rng.integers(1, 43)))
    chip = with_limit(chip, "synapse_words", float(rng.integers(kernels, 4 * kernels + 1)))
    splits = sorted({-(-size // cores) for cores in range(1, size + 1)}, reverse=True)
    seen = list_pixels(conv, graph.shapes["x"], size)
    slow = {
        n: {
            limit: x / getattr(chip.limits, limit).value
            for limit, x in measure_slowly(conv, seen, n).items()
        }
        for n in splits
    }
    fitting = [n for n in splits if max(slow[n].values()) <= 1]
    layer = place(graph, chip).layers["out"]
    assert bool(layer.problem) == (not fitting)
    if fitting:
        assert (layer.per_core, layer.cores) == (fitting[0], -(-size // fitting[0]))
    assert layer.use == slow[layer.per_core] | {"out_axons": 0.0}


def test_a_core_that_begins_inside_a_channel_stores_the_kernels_of_one_more() -> None:
    # 23 channels of 3 neurons on 3 cores of 23. The first holds channels 0 to 7, and a part of
    # channel 7; the second the rest of it, channels 8 to 14, and a part of channel 15.
    graph = chain(
        x=Input(shape=(1, 2, 4)), conv=Conv2d(weight=np.ones((23, 1, 2, 2))), out=LIF(tau=0.01)
    )
    layer = place(graph, with_limit(find_chip("loihi1"), "neurons", 23.0)).layers["out"]
    assert (layer.cores, layer.per_core) == (3, 23)
    assert (
        layer.use["synapse_words"] == 4 * 2 / 16384
    )  # 8 kernels of bytes fit a word, 9 do not


def test_a_pool_has_no_synapses_of_its_own_but_widens_those_behind_it() -> None:
    graph, chip = demo_like(), find_chip("loihi1")
    # conv1: kernels of 5 x 5, 12 bytes are 2 words. conv2 behind its pool: 12 kernels of 6 x 6
    # for 24 channels, 3 words. fc behind its pool: 24 x 10 x 10 rows of 10 bytes and a header.
    whole = {n: need(graph, n, graph.size(n), chip, 8) for n in graph.populations}
    assert {n: x["synapse_words"] for n, x in whole.items()} == {
        "a": 25 * 2,
        "b": 12 * 36 * 3,
        "out": 24 * 10 * 10 * 2,
    }
    # Pixels of the image before the pool, and every neuron before the matrix.
    assert {n: x["in_axons"] for n, x in whole.items()} == {
        "a": 28 * 28,
        "b": 24 * 24,
        "out": 24 * 10 * 10,
    }


def test_the_network_of_the_demo_lies_on_11_cores_of_loihi_1_and_3_of_loihi_2() -> None:
    first, second = (place(demo_like(), find_chip(f"loihi{k}")) for k in (1, 2))
    assert {n: (x.cores, x.per_core, x.binds) for n, x in first.layers.items()} == {
        "x": (0, 0, ""),
        "a": (7, 988, "neurons"),
        "b": (3, 800, "neurons"),
        "out": (1, 10, "in_axons"),
    }
    assert first.layers["out"].use["in_axons"] == 2400 / 4096
    assert second.layers["out"].use["synapse_words"] == 2400 * 4 / 12000
    assert (first.cores, first.problems) == (11, ())
    assert (second.cores, second.problems) == (3, ())


def test_a_core_needs_axons_for_the_columns_that_it_sees_only() -> None:
    graph = chain(
        x=Input(shape=(1, 5, 1000)),
        conv=Conv2d(weight=np.ones((1, 1, 5, 5))),
        out=LIF(tau=0.01),
    )
    placement = place(graph, find_chip("loihi1"))
    assert placement.problems == ()
    layer = placement.layers["out"]
    assert (layer.cores, layer.per_core) == (2, 498)  # all 5,000 pixels are too many for one
    assert layer.use["in_axons"] == 5 * 502 / 4096


def test_a_convolution_that_ends_in_a_flat_population_still_sees_rows_of_an_image() -> None:
    graph = chain(
        x=Input(shape=(1, 9, 7)),
        conv=Conv2d(weight=np.ones((2, 1, 3, 3))),
        flat=Flatten(),
        out=LIF(tau=0.01),
    )
    assert need(graph, "out", 5, find_chip("loihi1"), 8)["in_axons"] == 3 * 7


def test_cores_take_at_most_1024_neurons_on_loihi_1_and_share_no_layer() -> None:
    placement = place(dense_graph(4, 2050, 3), find_chip("loihi1"))
    layer = placement.layers["n1"]
    assert (layer.cores, layer.per_core, layer.binds) == (3, 684, "neurons")
    assert layer.use["neurons"] == 684 / 1024
    assert placement.layers["n2"].first_core == 3
    assert (placement.cores, placement.chips, placement.problems) == (4, 1, ())


def test_neurons_with_many_destination_cores_run_out_of_axons() -> None:
    chip = with_limit(find_chip("loihi1"), "out_axons", 100.0)
    placement = place(dense_graph(4, 64, 3000, 2), chip)
    # 3000 neurons that lead to one core: 30 cores; 64 neurons that lead to those: 3 a core.
    assert placement.layers["n2"].cores == 30
    assert (placement.layers["n1"].per_core, placement.layers["n1"].cores) == (3, 22)
    assert placement.layers["n1"].binds == "out_axons"


def test_a_network_of_more_cores_than_a_chip_takes_several_chips() -> None:
    assert place(dense_graph(4, 1024 * 129, 1), find_chip("loihi1")).chips == 2
    assert place(dense_graph(4, 1024 * 127, 1), find_chip("loihi1")).chips == 1  # 128 cores


def test_a_layer_with_too_many_inputs_is_reported_with_its_cure() -> None:
    placement = place(dense_graph(5000, 10, 2), find_chip("loihi1"))
    assert placement.problems == (
        "n1: one neuron alone needs 5000 in axons of the 4096 of a core; "
        "make the layers that feed it smaller, say by a stride (a pool on the way is part of "
        "the connection)",
    )
    assert placement.layers["n1"].cores == 1


def test_a_recurrent_layer_that_no_split_can_save_is_reported_with_its_cure() -> None:
    chip = with_limit(with_limit(find_chip("loihi1"), "out_axons", 30.0), "neurons", 10.0)
    assert place(dense_graph(4, 20, 2, recurrent=1), chip).problems == ()
    (problem,) = place(dense_graph(4, 40, 2, recurrent=1), chip).problems
    assert problem == (
        "n1: its neurons need more than the 30 out axons of a core, even on 8,192 cores; "
        "make the layers it feeds smaller"
    )


def test_a_layer_that_axons_would_split_over_too_many_cores_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chip = with_limit(find_chip("loihi1"), "out_axons", 100.0)
    graph = dense_graph(4, 64, 3000, 2)
    monkeypatch.setattr(mapping, "MOST_CORES", 30)  # which 3000 neurons take, 100 a core
    assert place(graph, chip).problems == ()
    monkeypatch.setattr(mapping, "MOST_CORES", 29)
    placement = place(graph, chip)
    (problem,) = placement.problems
    assert problem.startswith("n2: its neurons need more than the 100 out axons of a core")
    assert placement.layers["n2"].cores == 3  # by its number of neurons alone


@pytest.mark.parametrize("size", [1, 7, 1023, 1024, 1025])
def test_every_neuron_lies_on_exactly_one_core(size: int) -> None:
    layer = place(
        dense_graph(4, size, 2), with_limit(find_chip("loihi1"), "neurons", 10.0)
    ).layers["n1"]
    on = dict(zip(*np.unique(layer.core_of, return_counts=True), strict=True))
    assert list(on) == list(range(layer.cores))
    assert sum(on.values()) == size
    assert max(on.values()) == layer.per_core <= 10


def test_a_neuron_before_a_convolution_needs_axons_to_the_cores_of_its_windows_only() -> None:
    graph = chain(
        x=Input(shape=(1, 16, 16)),
        c1=Conv2d(weight=np.ones((1, 1, 3, 3)), padding=(1, 1)),
        a=LIF(tau=0.01),
        c2=Conv2d(weight=np.ones((1, 1, 3, 3)), padding=(1, 1)),
        b=LIF(tau=0.01),
    )
    layer = place(graph, with_limit(find_chip("loihi1"), "neurons", 32.0)).layers["a"]
    # Two rows a core, on 8 cores: three rows of windows see a pixel, on two of the 8.
    assert (layer.cores, layer.use["out_axons"]) == (8, 32 * 2 / 4096)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (6, 1),  # 6 x 8 + 10 bits of a header
        (7, 2),  # 66 bits: the header asks for a second word
        (64, 9),
        (69, 9),  # 552 bits and two headers: 572 of 576
        (70, 10),  # 580: the second header asks for a tenth
    ],
)
def test_sixty_four_weights_of_a_row_share_a_header(outputs: int, words: int) -> None:
    graph = dense_graph(3, outputs, 1)
    found = need(graph, "n1", outputs, find_chip("loihi1"), 8)
    assert found["synapse_words"] == 3 * words


@given(seed=st.integers(0, 10**6))
def test_a_program_needs_what_the_mapping_of_its_graph_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel, stride, dilation, padding = (
        tuple(int(n) for n in rng.integers(low, high, 2))
        for low, high in ((1, 4), (1, 4), (1, 3), (0, 3))
    )
    groups = int(rng.integers(1, 3))
    shape = (2 * groups, *(int(n) for n in rng.integers(7, 12, 2)))
    conv = Conv2d(
        weight=rng.normal(size=(2 * groups, 2, *kernel)),
        stride=stride,
        dilation=dilation,
        padding=padding,
        groups=groups,
    )
    graph = chain(x=Input(shape=shape), conv=conv, out=LIF(tau=0.01))
    (route,) = compose(graph)
    (connection,) = lower(graph).connections
    plain = route if groups == 1 and dilation == (1, 1) else None
    assert connection.out_shape == route.out_shape
    for chip in ("loihi1", "loihi2"):
        limits, size = find_chip(chip).limits, graph.size("out")
        for neurons in {1, 2, *rng.integers(1, size + 1, 5).tolist()}:
            of_graph = count_demand([route], size, neurons, limits)
            of_program = count_demand([connection], size, neurons, limits)
            if plain is not None:
                assert of_program == of_graph
            else:  # stored with zeros between, whose pixels are seen, too
                assert of_program["in_axons"] >= of_graph["in_axons"]
