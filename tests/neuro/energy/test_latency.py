"""The time of a tick, by hand: Loihi 1 with the nominal times of its first paper [ns].

synapse 3.5, inactive 5.3, active 8.4, message 2.1, barrier 113 in one tile.
"""

from dataclasses import replace

import numpy as np
import pytest
from energy_cases import record_of, with_limit
from written_graphs import chain

from neuro.energy import CoreLoad, estimate, find_chip
from neuro.energy.chip import Chip
from neuro.energy.latency import Latency, estimate_latency, interpolate_barrier
from neuro.energy.mapping import place
from neuro.energy.operations import count_workload
from neuro.energy.traffic import count_sent
from neuro.graph import Conv2d, Dense, Graph, Input
from neuro.neurons import LIF

LOIHI = find_chip("loihi1")
NS = 1e-9


def latency_of(graph: Graph, chip: Chip = LOIHI, **rasters: np.ndarray) -> Latency:
    work = count_workload(graph, record_of(**rasters), [chip])
    placement = place(graph, chip)
    sent = count_sent(work.by_neuron, work.composed, placement)
    return estimate_latency(graph, work, placement, chip, sent)


def one_layer(weight: np.ndarray) -> Graph:
    return chain(x=Input(shape=(3,)), w=Dense(weight=weight), cells=LIF(tau=0.01))


def given_to_one_of_two() -> dict[str, np.ndarray]:
    """Return two ticks of two samples: all three inputs spike once, in the second sample."""
    x = np.zeros((2, 2, 3))
    x[0, 1] = 1
    return {"x": x, "cells": np.zeros((2, 2, 4))}


def test_an_inference_takes_the_mean_of_the_samples_not_the_slowest() -> None:
    found = latency_of(one_layer(np.ones((4, 3))), **given_to_one_of_two())
    rest, busy = 2 * 4 * 5.3, (12 * 3.5 + 3 * 2.1) + 4 * 5.3
    assert found.inference.nominal == pytest.approx(((rest + busy) / 2 + 2 * 113) * NS)
    assert found.inference.low == pytest.approx(((rest + busy) / 2 + 2 * 113) * NS)
    rest, busy = 2 * 4 * 6.0, (12 * 4.7 + 3 * 16) + 4 * 6.0
    assert found.inference.high == pytest.approx(((rest + busy) / 2 + 2 * 1800) * NS)
    assert found.tick.nominal == pytest.approx(found.inference.nominal / 2)
    assert found.tick.high == pytest.approx(found.inference.high / 2)
    assert found.bottleneck == "cells"


def test_the_low_end_leaves_out_weights_of_zero() -> None:
    # 300 inputs spike, 299 of whose synapses a neuron weigh zero: 4 events, or 1,200.
    weight = np.zeros((4, 300))
    weight[:, 0] = 1
    graph = chain(x=Input(shape=(300,)), w=Dense(weight=weight), cells=LIF(tau=0.01))
    x, cells = np.ones((1, 1, 300)), np.zeros((1, 1, 4))
    found = latency_of(graph, x=x, cells=cells)
    for bound in (found.inference.low, found.inference.nominal):
        assert bound == pytest.approx((4 * 3.5 + 300 * 2.1 + 113) * NS)
    assert found.inference.high == pytest.approx((1200 * 4.7 + 300 * 16 + 1800) * NS)


def test_a_charge_is_gone_soonest_at_the_low_end() -> None:
    # v halves each tick: its 64 fractions of a unit last 7 ticks, those of 254 units longer.
    graph = chain(
        x=Input(shape=(1,)),
        w=Dense(weight=np.full((1, 1), 0.5)),
        cells=LIF(tau=1e-3 / np.log(2)),
    )
    x = np.zeros((12, 1, 1))
    x[0] = 1
    chip = replace(LOIHI, charged_is_active=True)
    found = latency_of(graph, chip, x=x, cells=np.zeros((12, 1, 1)))
    bounds = [found.inference.low, found.inference.nominal, found.inference.high]
    low, nominal = 8 * 8.4 + 4 * 5.3 + 12 * 113, 12 * 8.4 + 12 * 113
    high = (4.7 + 16) + 11 * 9.7 + 12 * 1800  # in the first tick its synapse takes longer
    assert bounds == pytest.approx([t * NS for t in (low, nominal, high)])


def test_weights_of_zero_are_served_at_the_high_end_only() -> None:
    weight = np.ones((4, 3))
    weight[:, 1:] = 0
    found = latency_of(one_layer(weight), **given_to_one_of_two())
    # Four synapses and three messages take less time than four active neurons.
    mean = (2 * 4 * 5.3 + 4 * 8.4 + 4 * 5.3) / 2
    assert found.inference.nominal == pytest.approx((mean + 2 * 113) * NS)
    high = (2 * 4 * 6.0 + (12 * 4.7 + 3 * 16) + 4 * 6.0) / 2
    assert found.inference.high == pytest.approx((high + 2 * 1800) * NS)


def test_each_tick_takes_as_long_as_its_slowest_layer() -> None:
    graph = chain(
        x=Input(shape=(40,)),
        w=Dense(weight=np.ones((4, 40))),
        a=LIF(tau=0.01),
        w2=Dense(weight=np.ones((16, 4))),
        b=LIF(tau=0.01),
    )
    x, a = np.zeros((2, 1, 40)), np.zeros((2, 1, 4))
    x[0], a[1, :, :2] = 1, 1
    found = latency_of(graph, x=x, a=a, b=np.zeros((2, 1, 16)))
    first = 160 * 3.5 + 40 * 2.1  # of a; b rests for 16 * 5.3
    second = 16 * 8.4  # of b: longer than its 32 synapses and 2 messages, and than a
    assert found.inference.nominal == pytest.approx((first + second + 2 * 113) * NS)
    assert found.bottleneck == "a"


def test_a_neuron_that_fires_takes_its_time_at_the_high_end() -> None:
    graph = one_layer(np.ones((4, 3)))
    fired = np.zeros((1, 1, 4))
    fired[0, 0, :2] = 1
    found = latency_of(graph, x=np.zeros((1, 1, 3)), cells=fired)
    assert found.inference.nominal == pytest.approx((2 * 8.4 + 2 * 5.3 + 113) * NS)
    assert found.inference.high == pytest.approx((2 * 9.7 + 2 * 6.0 + 2 * 30 + 1800) * NS)


def test_synapses_of_a_shared_kernel_have_a_time_of_their_own() -> None:
    graph = chain(
        x=Input(shape=(1, 4, 4)), w=Conv2d(weight=np.ones((9, 1, 3, 3))), cells=LIF(tau=0.01)
    )
    x = np.zeros((1, 1, 1, 4, 4))
    x[0, 0, 0, 1, 1] = 1  # under all four places of the kernel: 36 synapses
    found = latency_of(graph, x=x, cells=np.zeros((1, 1, 36)))
    update = 36 * 8.4
    assert found.inference.nominal == pytest.approx((update + 113) * NS)
    many = np.zeros((1, 1, 1, 4, 4))
    many[0, 0, 0, 1:3, 1:3] = 1
    found = latency_of(graph, x=many, cells=np.zeros((1, 1, 36)))
    served = 4 * 36 * np.array([3.1, 3.5, 3.5]) + 4 * np.array([2.1, 2.1, 16.0])
    barrier = np.array([113, 113, 1800])
    bounds = [found.inference.low, found.inference.nominal, found.inference.high]
    assert bounds == pytest.approx((served + barrier) * NS)


def test_a_spike_that_no_target_reads_is_no_message_at_the_low_and_nominal_end() -> None:
    # A kernel of 1 x 1 with stride 3 reads the first of 16 pixels in a row: 6 of the 16.
    graph = chain(
        x=Input(shape=(1, 1, 16)),
        w=Conv2d(weight=np.ones((1, 1, 1, 1))),
        a=LIF(tau=0.01),
        w2=Conv2d(weight=np.ones((1, 1, 1, 1)), stride=(1, 3)),
        b=LIF(tau=0.01),
    )
    rasters = {"x": np.zeros((1, 1, 16)), "a": np.ones((1, 1, 16)), "b": np.zeros((1, 1, 6))}
    tick = latency_of(graph, **rasters).inference
    low, high = 16 * 8.4 + 6 * 2.1 + 113, 16 * (9.7 + 30.0 + 16.0) + 1800
    assert [tick.low, tick.nominal, tick.high] == pytest.approx([low * NS, low * NS, high * NS])
    message = estimate(graph, record_of(**rasters), LOIHI).parts["a"]["message"]
    bounds = [message.low, message.nominal, message.high]
    assert bounds == pytest.approx([6 * 1.7e-12, 6 * 1.7e-12, 16 * 111e-12])


def test_the_barrier_lies_on_the_line_between_the_published_ones() -> None:
    barriers = LOIHI.barrier
    assert [b.tiles for b in barriers] == [1, 32]
    assert interpolate_barrier(barriers, 1) == pytest.approx(113 * NS)
    assert interpolate_barrier(barriers, 32) == pytest.approx(465 * NS)
    assert interpolate_barrier(barriers, 11) == pytest.approx((113 + 352 * 10 / 31) * NS)
    assert interpolate_barrier(barriers, 100) == pytest.approx(465 * NS)


def test_the_time_is_divided_by_what_each_tick_waits_for() -> None:
    graph = chain(
        x=Input(shape=(40,)),
        w=Dense(weight=np.ones((4, 40))),
        a=LIF(tau=0.01),
        w2=Dense(weight=np.ones((16, 4))),
        b=LIF(tau=0.01),
    )
    x, a = np.zeros((2, 1, 40)), np.zeros((2, 1, 4))
    x[0], a[1, :, :2] = 1, 1
    found = latency_of(graph, x=x, a=a, b=np.zeros((2, 1, 16)))
    expected = {"memory": 160 * 3.5, "compute": 16 * 8.4, "traffic": 40 * 2.1}
    expected |= {"barrier": 2 * 113.0}
    assert found.states == pytest.approx({k: t * NS for k, t in expected.items()})
    assert sum(found.states.values()) == pytest.approx(found.inference.nominal, rel=1e-12)
    assert found.binds == "memory"


def test_a_core_waits_for_the_messages_that_reach_it_not_for_those_of_others() -> None:
    # One half of the input reaches each of two neurons, which lie on cores of their own.
    weight = np.zeros((2, 40))
    weight[0, :20], weight[1, 20:] = 1, 1
    graph = chain(x=Input(shape=(40,)), w=Dense(weight=weight), cells=LIF(tau=0.01))
    halves = chain(
        x=Input(shape=(1, 1, 40)),
        w=Conv2d(weight=np.ones((1, 1, 1, 20)), stride=(1, 20)),
        cells=LIF(tau=0.01),
    )
    chip = with_limit(LOIHI, "neurons", 1.0)
    whole = latency_of(graph, chip, x=np.ones((1, 1, 40)), cells=np.zeros((1, 1, 2)))
    half = latency_of(
        halves, chip, x=np.ones((1, 1, 1, 1, 40)), cells=np.zeros((1, 1, 1, 1, 2))
    )
    # A matrix takes all 40 messages to each of its cores, zeros or not.
    assert whole.states["traffic"] == pytest.approx(40 * 2.1 * NS)
    assert half.states["traffic"] == pytest.approx(20 * 2.1 * NS)
    assert half.inference.high == pytest.approx((20 * 3.5 + 40 * 16 + 1800) * NS)


def test_the_loads_of_cores_are_their_shares_of_the_layer() -> None:
    graph, chip = one_layer(np.ones((4, 3))), with_limit(LOIHI, "neurons", 3.0)
    first, second = estimate(graph, record_of(**given_to_one_of_two()), chip).loads
    update = (2 * 4 * 5.3 + 4 * 5.3 + 4 * 8.4) / 2  # of all four neurons, mean of samples
    assert (first.core, first.layer, second.core) == (0, "cells", 1)
    assert first.compute == pytest.approx(update / 2 * NS)  # 2 + 2 neurons
    assert first.memory == pytest.approx(6 * 3.5 / 2 * NS)
    assert first.arriving == pytest.approx(3 * 2.1 / 2 * NS)
    assert first.sending == 0  # nothing follows
    assert first.seconds == first.compute
    assert (first.binds, second.binds) == ("compute", "compute")
    assert CoreLoad(0, "a", 2.0, 1.0, 1.0, 1.0).binds == "memory"
    assert CoreLoad(0, "a", 1.0, 1.0, 1.0, 2.0).binds == "traffic"
    assert CoreLoad(0, "a", 1.0, 1.0, 3.0, 2.0).binds == "traffic"
    assert CoreLoad(0, "a", 1.0, 4.0, 3.0, 2.0).seconds == 7.0


def test_a_core_takes_time_for_each_core_that_it_sends_a_spike_to() -> None:
    graph = chain(
        x=Input(shape=(1,)),
        w=Dense(weight=np.ones((1, 1))),
        one=LIF(tau=0.01),
        v=Dense(weight=np.ones((50, 1))),
        many=LIF(tau=0.01),
    )
    chip = with_limit(LOIHI, "neurons", 1.0)  # 50 messages a spike
    fired = np.ones((1, 1, 1))
    found = latency_of(graph, chip, x=0 * fired, one=fired, many=np.zeros((1, 1, 50)))
    barrier = interpolate_barrier(LOIHI.barrier, 13) / NS
    nominal = 8.4 + 50 * 2.1
    assert found.inference.nominal == pytest.approx((nominal + barrier) * NS)
    assert found.inference.low == pytest.approx((8.4 + 2.1 + 113) * NS)
    assert found.inference.high == pytest.approx((9.7 + 30 + 50 * 16 + 1800) * NS)
    assert found.states["traffic"] == pytest.approx(50 * 2.1 * NS)
    assert found.states["compute"] == pytest.approx(8.4 * NS)


def test_a_core_sends_the_spikes_of_its_own_neurons() -> None:
    graph = chain(
        x=Input(shape=(1,)),
        w=Dense(weight=np.ones((2, 1))),
        two=LIF(tau=0.01),
        v=Dense(weight=np.ones((50, 2))),
        many=LIF(tau=0.01),
    )
    chip = with_limit(LOIHI, "neurons", 1.0)
    fired = np.array([[[1.0, 0.0]]])  # the other core sends nothing
    found = latency_of(graph, chip, x=np.zeros((1, 1, 1)), two=fired, many=np.zeros((1, 1, 50)))
    barrier = interpolate_barrier(LOIHI.barrier, 13) / NS
    update = (8.4 + 5.3) / 2  # of the layer, spread evenly
    assert found.inference.nominal == pytest.approx((update + 50 * 2.1 + barrier) * NS)
    assert found.inference.low == pytest.approx((update + 2.1 + 113) * NS)
    high = (9.7 + 6.0 + 30) / 2 + 50 * 16
    assert found.inference.high == pytest.approx((high + 1800) * NS)
