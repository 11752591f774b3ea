"""Estimates of several networks on one chip add up to one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from energy_cases import record_of
from written_graphs import chain

from neuro.base.units import Joules
from neuro.energy import (
    Bounds,
    Estimate,
    Interval,
    NetworkRuns,
    as_json,
    estimate,
    find_chip,
    join_estimates,
)
from neuro.energy.latency import Latency
from neuro.graph import Dense, Input
from neuro.neurons import LIF
from tasks.driving.joules import list_joules

CHIP = find_chip("loihi1")


def measure() -> Estimate:
    """Return the estimate of one layer, of 2 samples and 3 ticks."""
    graph = chain(x=Input(shape=(2,)), w=Dense(weight=np.ones((3, 2))), lif=LIF(tau=0.01))
    return estimate(graph, record_of(x=np.ones((3, 2, 2)), lif=np.ones((3, 2, 3))), CHIP)


MEASURED = measure()


def energy(
    cores: int, core: float, static: float, seconds: float, ticks: int, synapses: int
) -> Estimate:
    """Return an estimate of round numbers; static: of one chip in nominal, its double at high.

    The host takes as much as the static power.
    """
    chips = -(-cores // 128)
    leak = Interval(static * cores / 128, static * chips, 2 * static * chips)
    tier = Interval(core, 2 * core, 3 * core)
    problem = "too wide" if cores > 100 else ""
    layers = MEASURED.placement.layers
    return replace(
        MEASURED,
        ticks=ticks,
        core=tier,
        static=leak,
        system=tier + leak + leak,
        placement=replace(
            MEASURED.placement,
            layers={**layers, "lif": replace(layers["lif"], cores=cores, problem=problem)},
            cores=cores,
            chips=chips,
        ),
        latency=Latency(
            inference=Interval.exact(seconds),
            tick=Interval.exact(seconds / ticks),
            bottleneck="lif",
            states={
                "memory": seconds / 2,
                "compute": seconds / 4,
                "traffic": 0.0,
                "barrier": seconds / 4,
            },
        ),
        convention=replace(
            MEASURED.convention,
            snn=Joules(core),
            ann=Joules(4 * core),
            host=Joules(core / 2),
            ann_passes=1,
            synapses=synapses,
            spikes_per_synapse=0.5,
            break_even_spikes_per_synapse=5.0,
            break_even_rate=5.0 / ticks,
        ),
    )


FIRST = energy(cores=100, core=1.0, static=8.0, seconds=2.0, ticks=4, synapses=300)
ENCODER = energy(cores=60, core=0.5, static=1.0, seconds=0.25, ticks=2, synapses=100)
BOTH = join_estimates({"": NetworkRuns(FIRST, 1), "encoder": NetworkRuns(ENCODER, 18)})


def test_one_network_is_its_own_estimate() -> None:
    assert join_estimates({"": NetworkRuns(FIRST, 1)}) is FIRST
    assert "parts" not in as_json(FIRST)


def test_a_system_without_a_nominal_energy_has_none_of_all_networks_either() -> None:
    bounded = replace(FIRST, system=Bounds(FIRST.system.low, FIRST.system.high))
    found = join_estimates({name: NetworkRuns(bounded, 1) for name in ("", "encoder")}).system
    assert isinstance(found, Bounds)
    assert found.low == pytest.approx(2.0 + 4 * 100 / 128 * 2 * 8.0, rel=1e-12)
    assert found.high == 6.0 + 2 * 2 * 2 * 2 * 8.0


def test_joules_are_weighed_by_runs_and_all_chips_leak_all_the_time() -> None:
    assert BOTH.core == Interval(10.0, 20.0, 30.0)
    assert BOTH.latency.inference == Interval.exact(2.0 + 18 * 0.25)
    assert BOTH.ticks == 4 + 36
    assert BOTH.latency.tick == Interval.exact(6.5 / 40)
    assert BOTH.latency.bottleneck == "encoder: lif"
    # Two chips: 8 J each while the first runs, 1 J each a run of the encoder.
    assert BOTH.whole_chip.nominal == 20.0 + 2 * (8.0 + 18 * 1.0)
    assert BOTH.whole_chip.high == 30.0 + 2 * 2 * (8.0 + 18 * 1.0)
    assert BOTH.whole_chip.low == pytest.approx(10.0 + 160 / 128 * (8.0 + 18 * 1.0))
    assert BOTH.system.nominal == 20.0 + 4 * (8.0 + 18 * 1.0)
    assert BOTH.static_share == pytest.approx(52 / 72)


def test_networks_lie_one_behind_the_other() -> None:
    placement = BOTH.placement
    assert (placement.cores, placement.chips) == (160, 2)
    assert placement.layers["lif"].first_core == 0
    assert placement.layers["encoder: lif"].first_core == 100
    assert placement.layers["encoder: x"].first_core == 0
    assert placement.destinations["encoder: x"] == ("encoder: lif",)
    assert placement.problems == ()
    wide = energy(cores=101, core=1.0, static=8.0, seconds=2.0, ticks=4, synapses=300)
    both = join_estimates({"": NetworkRuns(FIRST, 1), "b": NetworkRuns(wide, 1)})
    assert both.placement.problems == ("b: lif: too wide",)


def test_layers_keep_the_name_of_their_network_and_are_weighed() -> None:
    layers = as_json(BOTH)["loihi1"]["layers"]
    assert list(layers) == ["x", "w", "lif", "encoder: x", "encoder: w", "encoder: lif"]
    own = as_json(ENCODER)["loihi1"]["layers"]["w"]
    assert layers["w"] == own
    assert layers["encoder: w"]["nominal"] == 18 * own["nominal"] > 0
    assert layers["encoder: w"]["synaptic_events"] == 18 * own["synaptic_events"] == 18 * 18
    assert layers["encoder: w"]["parts"]["synapse"] == 18 * own["parts"]["synapse"]


def test_host_operations_and_silent_nodes_are_of_all_networks() -> None:
    hosted = {
        name: NetworkRuns(replace(FIRST, host_macs={"norm": 10}, silent=("lif",)), runs)
        for name, runs in (("", 1), ("encoder", 18))
    }
    found = as_json(join_estimates(hosted))
    assert found["host"] == [
        {"node": "norm", "macs": 10},
        {"node": "encoder: norm", "macs": 180},
    ]
    assert found["silent"] == {"nodes": ["lif", "encoder: lif"]}


def test_the_45_nm_figures_are_of_all_synapses() -> None:
    found = BOTH.convention
    assert (found.snn, found.ann, found.host, found.ann_passes) == (10.0, 40.0, 5.0, 19)
    assert found.synapses == 400
    assert found.spikes_per_synapse == (0.5 * 300 + 18 * 0.5 * 100) / 400
    assert found.break_even_spikes_per_synapse == (5 * 300 + 18 * 5 * 100) / 400
    assert found.break_even_rate == pytest.approx(10500 / (300 * 4 + 18 * 100 * 2))
    assert "synapses" not in as_json(BOTH)["conventional45nm"]


def test_the_share_of_each_network_is_told() -> None:
    (name, encoder), (other, first) = sorted(as_json(BOTH)["parts"].items())
    assert (name, other) == ("encoder", "first")
    assert (encoder["runs"], first["runs"]) == (18, 1)
    assert encoder["loihi1"] == {
        "core": {"low": 0.5, "nominal": 1.0, "high": 1.5},
        "seconds": {"low": 0.25, "nominal": 0.25, "high": 0.25},
    }


def test_streaming_saves_the_images_of_past_frames() -> None:
    whole, streaming = list_joules(as_json(BOTH))
    assert whole.images == "all frames, 18 images"
    assert streaming.images == "streaming, 6 images"
    assert whole.core["nominal"] == 2 * 20.0  # two plans a second
    assert streaming.core["nominal"] == 2 * (20.0 - 12 * 1.0)
    seconds = 2.0 + 6 * 0.25
    static = 52.0 * seconds / 6.5
    assert streaming.whole["nominal"] == pytest.approx(2 * (8.0 + static))
    without: dict[str, Any] = {"loihi1": {}}
    assert list_joules(without) == []
