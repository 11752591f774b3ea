import numpy as np
import pytest
import torch
from builders import example
from graphs import random_graph
from hypothesis import given, settings, strategies as st
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn
from written_graphs import wire

from neuro.base.units import Seconds, Ticks
from neuro.graph import Dense, Input
from neuro.neurons import LIF
from neuro.nn.layers import Recurrent, Spiking, Stack
from neuro.nn.trace import trace
from neuro.plot import (
    count_neurons_per_row,
    draw_graph,
    draw_membranes,
    draw_raster,
    place_nodes,
    pool_neurons,
)
from neuro.spikes import to_events
from neuro.spikes.record import NoSuchNode, Record

RASTER = np.zeros((5, 2, 3), np.float32)
RASTER[[1, 4], 0, [0, 2]] = 1
RASTER[2, 1, 1] = 1
RECORD = Record(
    executor="torch",
    ticks=5,
    samples=2,
    spikes={"cells": to_events(RASTER)},
    values={"out": np.arange(20.0).reshape(5, 2, 2), "many": np.ones((5, 2, 61))},
)


def cells(ax: Axes) -> np.ndarray:
    """Return the opacity of the cells of a picture, neuron by tick."""
    (image,) = ax.images
    return np.asarray(image.get_array())[..., 3]


def test_neighbours_that_share_a_row_are_averaged() -> None:
    raster = np.array([[1.0, 0, 1, 1, 1], [0, 0, 0, 1, 0]])
    expected = np.array([[0.5, 1, 1], [0, 0.5, 0]])
    np.testing.assert_array_equal(pool_neurons(raster, 3), expected)
    np.testing.assert_array_equal(pool_neurons(raster, 5), raster)


@pytest.mark.parametrize(("neurons", "shared"), [(1, 1), (60, 1), (61, 2), (784, 14)])
def test_a_raster_has_at_most_sixty_rows(neurons: int, shared: int) -> None:
    assert count_neurons_per_row(neurons) == shared


@pytest.mark.parametrize("sample", [0, 1])
def test_a_raster_has_a_cell_for_each_spike_of_its_sample(sample: int) -> None:
    ax = draw_raster(RECORD, "cells", sample=sample)
    np.testing.assert_array_equal(cells(ax), RASTER[:, sample].T)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("tick", "cells\nneuron")
    assert ax.images[0].get_extent() == [-0.5, 4.5, 3.0, 0.0]
    ax = draw_raster(RECORD, "cells", dt=Seconds(2e-3))
    assert ax.get_xlabel() == "time [ms]"
    assert ax.images[0].get_extent() == [-1.0, 9.0, 3.0, 0.0]


def test_membranes_are_lines_and_the_highest_is_thick() -> None:
    ax = draw_membranes(RECORD, "out", sample=1, dt=Seconds(2e-3))
    assert [line.get_linewidth() for line in ax.lines] == [0.7, 0.7, 2]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), RECORD.values["out"][:, 1, 0])
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), RECORD.values["out"][:, 1, 1])
    np.testing.assert_allclose(ax.lines[2].get_xdata(), [0, 2, 4, 6, 8])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time [ms]", "out\nmembrane")
    assert cells(draw_membranes(RECORD, "many")).shape == (31, 5)


def test_many_membranes_are_shaded_from_the_lowest_to_the_highest() -> None:
    values = np.full((2, 1, 61), -3.0)
    values[1, 0, 60] = 1.0
    record = Record(executor="torch", ticks=2, samples=1, spikes={}, values={"image": values})
    expected = np.zeros((31, 2))
    expected[30, 1] = 1
    np.testing.assert_array_equal(cells(draw_membranes(record, "image")), expected)


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(NoSuchNode, match="no spikes of 'out'"):
        draw_raster(RECORD, "out")
    with pytest.raises(ValueError, match="samples 0 to 1, got 2"):
        draw_membranes(RECORD, "out", sample=2)
    with pytest.raises(ValueError, match="samples 0 to 1, got -1"):
        draw_raster(RECORD, "cells", sample=-1)


def test_pictures_are_drawn_on_the_axes_given_and_change_no_setting() -> None:
    before, figure = dict(rcParams), Figure()
    one, two, three = figure.subplots(3)
    assert draw_raster(RECORD, "cells", one) is one
    assert draw_membranes(RECORD, "out", two) is two
    graph = trace(Stack(nn.Linear(3, 2), Spiking(LIF(tau=0.01))), (3,))
    assert draw_graph(graph, three) is three
    assert dict(rcParams) == before


def test_a_graph_is_drawn_with_names_kinds_shapes_and_delays() -> None:
    net = Stack(
        fc=nn.Linear(3, 4),
        rec=Recurrent(Spiking(LIF(tau=0.01)), nn.Linear(4, 4), Ticks(2)),
        last=nn.Linear(4, 2),
        out=Spiking(LIF(tau=0.02)),
    )
    ax = draw_graph(trace(net, (3,)))
    told = {text.get_text() for text in ax.texts}
    assert {"input\nInput  3", "fc\nDense  4", "rec_spiking\nLIF  4", "out\nLIF  2"} <= told
    assert "2 ticks" in told
    arrows = [text for text in ax.texts if text.get_text() == ""]
    assert len(arrows) == 6
    dashed = [a for a in arrows if a.arrow_patch.get_linestyle() == "--"]  # type: ignore[attr-defined]
    assert len(dashed) == 1  # the feedback goes back up
    itself = wire(
        "x>fc fc>s s>s:1",
        {"x": Input(shape=(2,)), "fc": Dense(weight=np.eye(2)), "s": LIF(tau=0.01)},
    )
    assert "↺ 1 tick" in {text.get_text() for text in draw_graph(itself).texts}


def test_a_feedback_stands_below_the_population_that_it_leads_back_to() -> None:
    rows = {name: row for name, (_, row) in place_nodes(trace(example(), (1, 5, 5))).items()}
    assert rows == {
        **{"input": 0, "conv": 1, "alif": 2, "res_body_c": 3, "res_body_s": 4, "flat": 5},
        **{"fc": 6, "rec_spiking": 7, "rec_feedback": 8, "out": 8},
    }


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_every_node_has_a_place_of_its_own_right_below_one_that_feeds_it(seed: int) -> None:
    graph = random_graph(seed)
    places = place_nodes(graph)
    assert sorted(places) == sorted(graph.nodes)
    assert len(set(places.values())) == len(places)
    for name, (_, row) in places.items():
        above = {places[e.source][1] for e in graph.into(name)}
        assert row == 0 if name in graph.inputs else row - 1 in above


def test_a_silent_population_is_drawn_empty() -> None:
    silent = torch.zeros(3, 1, 4)
    record = Record(
        executor="torch", ticks=3, samples=1, spikes={"s": to_events(silent)}, values={}
    )
    assert not cells(draw_raster(record, "s")).any()
