from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from neuro.energy import Chip, loihi1, loihi2, place
from neuro.energy.mapping import demand
from neuro.graph import Conv2d, Dense, Edge, Graph, Input
from neuro.neurons import LI, LIF
from neuro.units import Seconds, Ticks

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
    nodes = {
        "in": Input(shape=(24, height, width)),
        "conv": Conv2d(weight=np.ones((36, 24, 3, 3)), stride=(2, 2)),
        "out": LIF(tau=0.01),
    }
    return Graph(nodes=nodes, edges=(Edge("in", "conv"), Edge("conv", "out")), dt=DT)


def with_limit(chip: Chip, limit: str, value: float) -> Chip:
    constant = replace(getattr(chip.limits, limit), value=value, low=0.0, high=value)
    return replace(chip, limits=replace(chip.limits, **{limit: constant}))


def test_a_dense_layer_is_split_as_in_the_log_of_intels_compiler() -> None:
    # PilotNet's first fully connected layer on Loihi 2: 2560 rows of 24 words, for 100 weights
    # of 3 bits; 12000 words a core, hence 6 cores (which the compiler then doubles).
    graph = dense_graph(2560, 100, 50)
    assert demand(graph, "n1", 100, loihi2().limits, 3)["synapse_words"] == 24 * 2560
    layer = place(graph, loihi2(), weight_bits=3).layers["n1"]
    assert (layer.cores, layer.per_core, layer.binds) == (6, 17, "synapse_words")


def test_a_convolution_stores_the_kernels_of_its_channels_once_a_core() -> None:
    graph = conv_graph(43, 71)
    assert demand(graph, "out", 36 * 21 * 35, loihi2().limits, 6)["synapse_words"] == 864


def test_a_convolution_needs_an_axon_a_pixel_of_the_rows_that_its_core_sees() -> None:
    graph = conv_graph(101, 101)
    assert demand(graph, "out", 36 * 50 * 50, loihi1().limits, 8)["in_axons"] == 101 * 101
    assert demand(graph, "out", 500, loihi1().limits, 8)["in_axons"] == (10 * 2 + 3) * 101


def test_cores_take_at_most_1024_neurons_on_loihi_1_and_share_no_layer() -> None:
    placement = place(dense_graph(4, 2050, 3), loihi1())
    layer = placement.layers["n1"]
    assert (layer.cores, layer.per_core, layer.binds) == (3, 684, "neurons")
    assert layer.use["neurons"] == 684 / 1024
    assert placement.layers["n2"].first_core == 3
    assert (placement.cores, placement.chips, placement.problems) == (4, 1, ())


def test_neurons_with_many_destination_cores_run_out_of_axons() -> None:
    chip = with_limit(loihi1(), "out_axons", 100.0)
    placement = place(dense_graph(4, 64, 3000, 2), chip)
    # 3000 neurons that lead to one core: 30 cores; 64 neurons that lead to those: 3 a core.
    assert placement.layers["n2"].cores == 30
    assert (placement.layers["n1"].per_core, placement.layers["n1"].cores) == (3, 22)
    assert placement.layers["n1"].binds == "out_axons"


def test_a_network_of_more_cores_than_a_chip_takes_several_chips() -> None:
    assert place(dense_graph(4, 1024 * 129, 1), loihi1()).chips == 2


def test_a_layer_with_too_many_inputs_is_reported_with_its_cure() -> None:
    placement = place(dense_graph(5000, 10, 2), loihi1())
    assert placement.problems == (
        "n1: one neuron alone needs 5000 in_axons of the 4096 of a core; "
        "put a pooling or a smaller layer before it",
    )
    assert placement.layers["n1"].cores == 1


def test_a_recurrent_layer_that_no_split_can_save_is_reported_with_its_cure() -> None:
    chip = with_limit(with_limit(loihi1(), "out_axons", 30.0), "neurons", 10.0)
    assert place(dense_graph(4, 20, 2, recurrent=1), chip).problems == ()
    (problem,) = place(dense_graph(4, 40, 2, recurrent=1), chip).problems
    assert problem == (
        "n1: its neurons need more than the 30 out_axons of a core, however it is split; "
        "make the layers it feeds smaller"
    )


@pytest.mark.parametrize("size", [1, 7, 1023, 1024, 1025])
def test_every_neuron_lies_on_exactly_one_core(size: int) -> None:
    layer = place(dense_graph(4, size, 2), with_limit(loihi1(), "neurons", 10.0)).layers["n1"]
    on = layer.spread(np.ones(size, np.int64))
    assert list(on) == list(range(layer.cores))
    assert sum(on.values()) == size
    assert max(on.values()) == layer.per_core <= 10
