import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from energy_cases import record_of, with_limit
from hypothesis import given, strategies as st
from written_graphs import chain, wire

from neuro.base.units import Seconds, Ticks
from neuro.energy import (
    Bounds,
    Chip,
    Interval,
    as_json,
    count,
    estimate,
    estimate_chips,
    find_chip,
    load_chips,
)
from neuro.energy.active import count_reached
from neuro.energy.chip import sum_intervals
from neuro.energy.operations import Operations, price_operations
from neuro.energy.traffic import Traffic
from neuro.graph import AvgPool2d, Conv2d, Dense, Edge, Exceeds, Flatten, Graph, Input
from neuro.io.graph_digest import digest_graph
from neuro.neurons import LI, LIF
from neuro.spikes.record import Record, concatenate

CHIPS = [*load_chips().values()]
DT = Seconds(1e-3)

# PilotNet of lava-dl on Loihi 2 (its benchmark notebook: 158,509 neurons, all driven by their
# bias), per tick: measured 0.447156 W dynamic and 0.232078 W static for 152.85 us. The synaptic
# events follow from the published weights; each spike is taken as one message.
PILOTNET = Operations(
    synaptic_events=2_269_710,
    synaptic_events_all=2_970_000,
    shared_kernel=True,
    active=158_509,
    active_least=158_509,
    active_most=158_509,
    spikes=34_607,
    messages_least=34_607,
    sent=Traffic(messages=34_607),
    sent_most=Traffic(messages=34_607),
)
PILOTNET_DYNAMIC = 0.447156 * 152.85e-6
PILOTNET_TOTAL = 0.679234 * 152.85e-6


def two_layers() -> Graph:
    return chain(
        x=Input(shape=(2,)),
        w1=Dense(weight=np.array([[1, 0], [1, 1], [0.5, 0]])),
        hidden=LIF(tau=0.01),
        w2=Dense(weight=np.array([[1, 0, 2]])),
        out=LI(tau=0.01),
    )


def few_spikes() -> Record:
    given = np.array([[1, 0], [1, 1], [0, 0]])[:, None]
    fired = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])[:, None]
    return record_of(x=given, hidden=fired)


def picojoules(chip: Chip, name: str) -> dict[str, float]:
    parts = estimate(two_layers(), few_spikes(), chip).parts[name]
    return {k: round(x.nominal * 1e12, 9) for k, x in parts.items() if x.nominal}


def test_the_energy_of_two_small_layers_is_the_one_counted_by_hand() -> None:
    # x: 2 spikes of neuron 0 (3 weights) and 1 of neuron 1 (1 weight that is not zero);
    # hidden: reached 3 + 3 times, and one that fired at tick 2, of 9 updates; both hidden
    # spikes are messages, but only neuron 0 has a weight to the read-out.
    chip = find_chip("loihi1")
    assert picojoules(chip, "x") == {"message": 3 * 1.7}
    assert picojoules(chip, "w1") == {"synapse": round(7 * 23.6, 9)}
    assert picojoules(chip, "hidden") == {
        "active": 7 * 81,
        "inactive": 2 * 52,
        "message": 2 * 1.7,
    }
    assert picojoules(chip, "w2") == {"synapse": 23.6}
    assert picojoules(chip, "out") == {"active": 81, "inactive": 2 * 52}
    found = estimate(two_layers(), few_spikes(), chip)
    assert found.core.nominal == pytest.approx(1053.3e-12)
    # High: 9 + 2 events of 35.5 pJ, 2 fired neurons of 69.3, 5 messages of 111.
    high = 11 * 35.5 + 8 * 81 + 4 * 52 + 2 * 69.3 + 5 * 111
    assert found.core.high == pytest.approx(high * 1e-12)


def test_the_time_is_that_of_the_slowest_core_and_the_barrier() -> None:
    found = estimate(two_layers(), few_spikes(), find_chip("loihi1"))
    # Hidden neurons: 3 active, 3 active, 1 active and 2 inactive; two send a spike; synapses
    # are faster here.
    seconds = ((3 + 3 + 1) * 8.4 + 2 * 5.3 + 2 * 2.1 + 3 * 113) * 1e-9
    assert found.latency.inference.nominal == pytest.approx(seconds)
    assert found.latency.tick.nominal == pytest.approx(seconds / 3)
    assert found.latency.bottleneck == "hidden"
    assert found.static.nominal == pytest.approx(0.029 * seconds)
    assert found.system.nominal == pytest.approx(1053.3e-12 + (0.029 + 0.081) * seconds)


def test_a_core_serves_the_synapses_of_its_own_neurons_only() -> None:
    graph = chain(x=Input(shape=(5,)), w=Dense(weight=np.ones((20, 5))), out=LI(tau=0.01))
    chip = with_limit(find_chip("loihi1"), "neurons", 2.0)
    found = estimate(graph, record_of(x=np.ones((1, 1, 5))), chip)
    # 5 spikes, 2 neurons a core: 10 synaptic events and 5 messages, slower than 2 updates;
    # 10 cores are 3 tiles, for a barrier between that of 1 and that of 32.
    seconds = (10 * 3.5 + 5 * 2.1 + 113 + (465 - 113) * 2 / 31) * 1e-9
    assert found.latency.inference.nominal == pytest.approx(seconds)


def test_a_measured_run_time_replaces_the_estimated_one() -> None:
    found = estimate(two_layers(), few_spikes(), find_chip("loihi1"), run_time=Seconds(1e-3))
    assert found.static.nominal == pytest.approx(0.029e-3)
    assert found.static_share == pytest.approx(0.029e-3 / (0.029e-3 + 1053.3e-12))


def test_the_45_nm_convention_adds_for_spikes_and_multiplies_for_analog_values() -> None:
    found = estimate(two_layers(), few_spikes(), find_chip("loihi1")).convention
    assert found.snn == pytest.approx(8 * 0.9e-12)
    assert found.ann == pytest.approx(9 * 4.6e-12)
    assert found.spikes_per_synapse == pytest.approx(11 / 9)
    assert found.break_even_spikes_per_synapse == pytest.approx(4.6 / 0.9)
    assert found.break_even_rate == pytest.approx(4.6 / 0.9 / 3)
    analog = record_of(x=np.array([[[0.5, 1.0]]]), hidden=np.zeros((1, 1, 3), np.float32))
    found = estimate(two_layers(), analog, find_chip("loihi1")).convention
    assert found.snn == pytest.approx(4 * 4.6e-12)


def test_an_ann_along_a_sequence_takes_a_pass_a_step() -> None:
    once = estimate(two_layers(), few_spikes(), "loihi1").convention
    assert once.ann_passes == 1
    twice = estimate(two_layers(), few_spikes(), "loihi1", ann_passes=2).convention
    assert twice == replace(
        once,
        ann=2 * once.ann,
        ann_passes=2,
        break_even_spikes_per_synapse=2 * once.break_even_spikes_per_synapse,
        break_even_rate=2 * once.break_even_rate,
    )
    with pytest.raises(ValueError, match=r"ann_passes must be >= 1, got 0; 1 is one pass"):
        estimate(two_layers(), few_spikes(), "loihi1", ann_passes=0)


def test_an_ann_with_a_loop_takes_a_pass_a_tick_unless_told() -> None:
    graph = two_layers()
    around = replace(graph, edges=(*graph.edges, Edge("hidden", "hidden", Ticks(1))))
    found = estimate(around, few_spikes(), "loihi1").convention
    dense, back = 9 * 4.6e-12, 3 * 0.9e-12
    assert found.ann_passes == 3  # ticks
    assert found.ann == pytest.approx(3 * (dense + back), rel=1e-12)
    assert found.break_even_rate == pytest.approx(4.6 / 0.9, rel=1e-12)
    one = estimate(around, few_spikes(), "loihi1", ann_passes=1).convention
    assert one.ann == pytest.approx(dense + back, rel=1e-12)
    late = replace(graph, edges=(Edge("x", "w1", Ticks(2)), *graph.edges[1:]))
    assert estimate(late, few_spikes(), "loihi1").convention.ann_passes == 1


def test_a_spike_pays_for_each_destination_core_and_its_way_there() -> None:
    # One input and one hidden neuron a core: 20 cores on 5 tiles, the first four in a column.
    graph = chain(x=Input(shape=(1,)), w=Dense(weight=np.ones((20, 1))), hidden=LIF(tau=0.01))
    chip = find_chip("loihi1_sanafe")
    narrow = with_limit(chip, "neurons", 1.0)
    record = record_of(x=np.ones((1, 1, 1)), hidden=np.zeros((1, 1, 20), np.float32))
    parts = estimate(graph, record, narrow).parts["x"]
    assert parts["message"].nominal == pytest.approx(20 * 111e-12)
    hops_y, hops_x = 4 * (1 + 2 + 3), 4 * 1
    assert parts["hop"].nominal == pytest.approx((hops_y * 4.2 + hops_x * 3.0) * 1e-12)
    assert parts["message"].low == pytest.approx(111e-12 * 0.88)
    found = estimate(graph, record, with_limit(narrow, "cores", 10.0))
    # Each chip is a column of tiles with 4, 4 and 2 cores.
    hops = (16 * 4.2 + 10 * 3.0) * 1e-12 + 10 * chip.energy.crossing.value
    assert found.parts["x"]["hop"].nominal == pytest.approx(hops)
    assert found.placement.chips == 2


def hops_of_one_spike(chip: Chip, cores: int) -> Traffic:
    """Return the traffic of one spike to so many cores of one neuron each."""
    graph = chain(x=Input(shape=(1,)), w=Dense(weight=np.ones((cores, 1))), out=LIF(tau=0.01))
    record = record_of(x=np.ones((1, 1, 1)), out=np.zeros((1, 1, cores), np.float32))
    return estimate(graph, record, with_limit(chip, "neurons", 1.0)).operations["x"].sent


def test_a_second_chip_begins_a_column_of_its_own() -> None:
    # 120 cores are 30 tiles, 7 columns of 4 and one of 2; the 121st core is at x = 8, y = 0.
    loihi2 = find_chip("loihi2")
    whole, more = hops_of_one_spike(loihi2, 120), hops_of_one_spike(loihi2, 121)
    assert whole.hops_x == 4 * 4 * sum(range(7)) + 4 * 2 * 7
    assert whole.hops_y == 4 * 7 * (0 + 1 + 2 + 3) + 4 * (0 + 1)
    assert (more.hops_x - whole.hops_x, more.hops_y - whole.hops_y) == (8, 0)
    assert more.crossings == 1
    # Loihi 1 fills its mesh: 128 cores, 8 columns.
    one = find_chip("loihi1")
    whole, more = hops_of_one_spike(one, 128), hops_of_one_spike(one, 129)
    assert (more.hops_x - whole.hops_x, more.hops_y - whole.hops_y) == (8, 0)


def test_a_spike_crosses_to_every_chip_of_a_layer_of_many_cores() -> None:
    # 300 cores of Loihi 1: 128 on each of two chips, of 8 columns, and 44 on a third.
    sent = hops_of_one_spike(find_chip("loihi1"), 300)
    where = [(core // 128, core % 128 // 4) for core in range(300)]  # chip, tile
    assert sent.messages == 300
    assert sent.crossings == 128 + 2 * 44 == sum(chip for chip, _ in where)
    assert sent.hops_x == sum(8 * chip + tile // 4 for chip, tile in where)
    assert sent.hops_y == sum(tile % 4 for _, tile in where)


def core_energy(ops: Operations, chip: Chip) -> float:
    return sum_intervals(list(price_operations(ops, chip.energy).values())).nominal


@pytest.mark.parametrize(
    ("chip", "ratio"),
    [
        (find_chip("loihi1"), 1.03),
        (find_chip("loihi1_sanafe"), 0.95),
        (find_chip("loihi2"), 1.0),
    ],
)
def test_the_dynamic_energy_of_pilotnet_on_loihi_2_is_close_to_the_measured(
    chip: Chip, ratio: float
) -> None:
    measured_by_estimated = PILOTNET_DYNAMIC / core_energy(PILOTNET, chip)
    assert 0.8 <= measured_by_estimated <= 1.25
    assert measured_by_estimated == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize(
    ("chip", "ratio"), [(find_chip("loihi1"), 0.82), (find_chip("loihi1_sanafe"), 0.77)]
)
def test_counting_weights_of_zero_would_overestimate_pilotnet(chip: Chip, ratio: float) -> None:
    everything = replace(PILOTNET, synaptic_events=PILOTNET.synaptic_events_all)
    measured_by_estimated = PILOTNET_DYNAMIC / core_energy(everything, chip)
    assert measured_by_estimated == pytest.approx(ratio, abs=0.01)


def test_the_whole_chip_of_pilotnet_on_loihi_2_is_close_to_the_measured() -> None:
    chip = find_chip("loihi2")
    total = core_energy(PILOTNET, chip) + chip.power.static.value * 152.85e-6
    assert total == pytest.approx(PILOTNET_TOTAL, rel=0.01)


def test_the_step_times_of_pilotnet_follow_its_busiest_core() -> None:
    measured = np.array([201.4, 107.0, 180.9, 125.4]) * 1e-6
    events_of_busiest_core = np.array([585312, 318528, 531552, 373128]) / 3
    estimated = events_of_busiest_core * find_chip("loihi2").time.synapse_conv.value
    np.testing.assert_allclose(estimated, measured, rtol=0.1)


def image_graph() -> Graph:
    rng = np.random.default_rng(0)
    nodes = {
        "x": Input(shape=(1, 6, 6)),
        "conv": Conv2d(weight=rng.integers(-1, 2, (2, 1, 3, 3)), padding=(1, 1)),
        "a": LIF(tau=0.01),
        "pool": AvgPool2d(kernel=(2, 2), stride=(2, 2)),
        "flat": Flatten(),
        "w": Dense(weight=rng.integers(-1, 2, (4, 18)), bias=rng.integers(0, 2, 4)),
        "b": LIF(tau=0.01),
        "again": Dense(weight=rng.integers(-1, 2, (4, 4))),
        "r": Dense(weight=rng.integers(-1, 2, (3, 4))),
        "out": LI(tau=0.02),
    }
    edges = "x>conv conv>a a>pool pool>flat flat>w w>b b>r r>out b>again:1 again>b"
    return wire(edges, nodes)


def spikes_of(seed: int, rate: float, samples: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = {"x": 36, "a": 72, "b": 4}
    return {n: rng.random((4, samples, size)) < rate for n, size in sizes.items()}


def all_bounds(graph: Graph, record: Record, chip: Chip) -> np.ndarray:
    found = estimate(graph, record, chip)
    tiers = (found.core, found.whole_chip, found.system, found.latency.inference)
    low = found.whole_chip.nominal  # of a system without a nominal value, at least this
    return np.array([[x.low, low if x.nominal is None else x.nominal, x.high] for x in tiers])


@pytest.mark.slow
@given(seed=st.integers(0, 999), rate=st.floats(0, 1), which=st.sampled_from(CHIPS))
def test_more_spikes_never_cost_less(seed: int, rate: float, which: Chip) -> None:
    graph, base, more = image_graph(), spikes_of(seed, rate), spikes_of(seed + 1, 0.2)
    few = all_bounds(graph, record_of(**base), which)
    many = all_bounds(graph, record_of(**{n: base[n] | more[n] for n in base}), which)
    assert (many >= few * (1 - 1e-12)).all()


@pytest.mark.slow
@given(seed=st.integers(0, 999), rate=st.floats(0, 1), which=st.sampled_from(CHIPS))
def test_bounds_are_in_order_and_tiers_nest(seed: int, rate: float, which: Chip) -> None:
    found = all_bounds(image_graph(), record_of(**spikes_of(seed, rate)), which)
    assert (np.diff(found, axis=1) >= 0).all()
    assert (np.diff(found[:3], axis=0) >= 0).all()


def test_energies_are_per_inference_and_layers_add_up_to_the_core() -> None:
    graph, record = image_graph(), record_of(**spikes_of(3, 0.3))
    once = estimate(graph, record, find_chip("loihi2"))
    twice = estimate(graph, concatenate([record, record]), find_chip("loihi2"))
    assert twice.core.nominal == pytest.approx(once.core.nominal, rel=1e-12)
    assert twice.system.high == pytest.approx(once.system.high, rel=1e-12)
    assert twice.convention.snn == pytest.approx(once.convention.snn, rel=1e-12)
    layers = sum(once.layer(n).high for n in once.parts)
    assert layers == pytest.approx(once.core.high, rel=1e-12)


def test_the_json_of_two_equal_samples_is_that_of_one() -> None:
    graph, record = image_graph(), record_of(**spikes_of(3, 0.3, samples=1))
    once, twice = (
        as_json(estimate(graph, r, "loihi1")) for r in (record, concatenate([record, record]))
    )
    for name, layer in once["loihi1"]["layers"].items():
        assert twice["loihi1"]["layers"][name] == {
            key: pytest.approx(x, rel=1e-12) for key, x in layer.items()
        }, name
    published = once["conventional45nm"].pop("published")
    assert twice["conventional45nm"].pop("published") == published
    operations = once["conventional45nm"].pop("operations")
    assert twice["conventional45nm"].pop("operations") == operations
    assert twice["conventional45nm"] == pytest.approx(once["conventional45nm"], rel=1e-12)
    assert once["loihi1"]["layers"]["x"]["messages"] == len(record.spikes["x"].tick) > 0


def test_what_exceeds_is_a_bit_so_weights_behind_it_add() -> None:
    graph = chain(
        x=Input(shape=(4,)),
        larger=Exceeds(),
        w=Dense(weight=np.ones((3, 2))),
        out=LIF(tau=0.01),
    )
    x = np.array([[2.0, 3.0, 1.5, 1.0], [0.5, 0.5, 1.0, 1.0]])[:, None]  # (1, 1), then (0, 0)
    record = record_of(x=x, out=np.zeros((2, 1, 3)))
    found = estimate(graph, record, "loihi2").convention
    host = 2 * 2 * 4.6e-12  # two comparisons in each of two ticks
    assert found.host == pytest.approx(host)
    assert found.snn == pytest.approx(2 * 3 * 0.9e-12 + host)


def test_the_json_names_chips_tiers_layers_and_the_convention() -> None:
    graph, record = image_graph(), record_of(**spikes_of(3, 0.3))
    found = json.loads(json.dumps(as_json(*estimate_chips(graph, record)), allow_nan=False))
    assert list(found) == ["loihi1", "loihi1_sanafe", "loihi2", "conventional45nm"]
    for chip in CHIPS:
        for tier in ("core", "chip", "system"):
            reason = {"reason"} if (chip.name, tier) == ("loihi2", "system") else set()
            assert set(found[chip.name][tier]) == {"low", "nominal", "high"} | reason
        layers = ["x", "conv", "a", "pool+flat+w", "again", "b", "r", "out"]
        assert list(found[chip.name]["layers"]) == layers
        assert found[chip.name]["mapping"]["layers"]["a"]["cores"] == 1
        assert found[chip.name]["mapping"]["problems"] == []
        assert found[chip.name]["latency"]["bottleneck"] == "a"
    assert {"snn", "ann", "break_even_spikes_per_synapse"} <= set(found["conventional45nm"])
    assert found["conventional45nm"]["published"][0]["high"] == 1.38


def test_a_record_that_lacks_spikes_or_has_others_is_refused() -> None:
    graph, record = two_layers(), few_spikes()
    x, hidden = (record.spikes[name] for name in ("x", "hidden"))
    for spikes, told in (
        ({"hidden": hidden}, "x: the record has no spikes of it"),
        ({**record.spikes, "other": x}, "does not belong to this graph: it has no other"),
    ):
        with pytest.raises(ValueError, match=told):
            estimate(graph, replace(record, spikes=spikes), "loihi1")


def test_a_record_of_another_network_of_the_same_shapes_is_refused() -> None:
    graph, record = two_layers(), few_spikes()
    weight = graph.nodes["w1"].weight * 2  # type: ignore[union-attr]
    other = replace(graph, nodes={**graph.nodes, "w1": Dense(weight=weight)})
    mine = replace(record, digest=digest_graph(graph))
    assert estimate(graph, mine, "loihi1") == estimate(graph, record, "loihi1")
    for use in (partial(estimate, chip="loihi1"), count, count_reached):
        with pytest.raises(ValueError, match=r":\nit belongs to another network: .* take one"):
            use(other, mine)
    estimate(other, replace(mine, digest=digest_graph(other)), "loihi1")


def test_a_record_without_samples_is_refused() -> None:
    empty = record_of(**spikes_of(0, 0.5, samples=0))
    with pytest.raises(ValueError, match="the record is empty"):
        estimate(image_graph(), empty, find_chip("loihi1"))


@pytest.mark.parametrize("seconds", [-1e-3, float("nan"), float("inf")])
def test_a_run_time_that_is_no_duration_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="run_time must be finite and >= 0 s"):
        estimate(two_layers(), few_spikes(), find_chip("loihi1"), run_time=Seconds(seconds))


def test_a_spike_goes_to_the_cores_that_see_its_pixel_and_at_worst_to_all() -> None:
    # 16 x 16 outputs, 32 a core: 8 cores of two rows. Row 0 is seen by one core, row 7 by two.
    graph = chain(
        x=Input(shape=(1, 16, 16)),
        conv=Conv2d(weight=np.ones((1, 1, 3, 3)), padding=(1, 1)),
        out=LI(tau=0.01),
    )
    chip = find_chip("loihi1")
    spikes = np.zeros((1, 1, 256))
    spikes[0, 0, [0, 7 * 16]] = 1
    found = estimate(graph, record_of(x=spikes), with_limit(chip, "neurons", 32.0))
    assert found.operations["x"].sent.messages == 1 + 2
    assert found.operations["x"].sent_most.messages == 2 * 8
    assert as_json(found)["loihi1"]["layers"]["x"]["messages"] == 1 + 2
    # The second spike reaches cores 3 and 4: the latter lies one tile up.
    assert found.operations["x"].sent.hops_y == 1
    assert found.parts["x"]["message"].nominal == pytest.approx(3 * 1.7e-12)
    assert found.parts["x"]["message"].high == pytest.approx(16 * 111e-12)


def test_the_low_end_of_static_power_is_that_of_the_used_cores() -> None:
    chip = find_chip("loihi2")
    found = estimate(two_layers(), few_spikes(), chip, run_time=Seconds(1.0))
    assert (found.placement.cores, found.placement.chips) == (2, 1)
    power = chip.power
    assert found.static.low == pytest.approx(power.static.low * 2 / 120, rel=1e-12)
    assert found.static.nominal == pytest.approx(power.static.value, rel=1e-12)
    assert found.static.high == pytest.approx(power.static.high, rel=1e-12)


def test_a_system_whose_host_has_no_nominal_power_has_no_nominal_energy() -> None:
    chip = find_chip("loihi2")
    found = estimate(two_layers(), few_spikes(), chip, run_time=Seconds(1.0))
    assert isinstance(found.system, Bounds)
    assert found.system.low == found.whole_chip.low
    assert found.system.high == pytest.approx(found.whole_chip.high + 2.26, rel=1e-9)
    assert found.system.nominal is None
    some = replace(chip.power.host, low=1.0, high=3.0)
    hosted = replace(chip, power=replace(chip.power, host=some))
    other = estimate(two_layers(), few_spikes(), hosted, run_time=Seconds(1.0))
    more = other.system.low - other.whole_chip.low
    assert more == pytest.approx(1.0 * 2 / 120, rel=1e-9)  # two of 120 cores are used
    told = as_json(found)["loihi2"]["system"]
    assert told == {
        "low": found.system.low,
        "nominal": None,
        "high": found.system.high,
        "reason": "no nominal power of a host is published for Loihi 2",
    }
    known = estimate(two_layers(), few_spikes(), "loihi1")
    assert isinstance(known.system, Interval)
    assert "reason" not in as_json(known)["loihi1"]["system"]


def test_zeros_of_a_matrix_cost_at_the_high_end_only_what_they_add() -> None:
    chip = replace(find_chip("loihi1"), charged_is_active=True)
    silent = np.zeros((3, 1, 3), np.float32)
    given = np.array([[0, 1], [0, 0], [0, 0]])[:, None]  # neuron 1: one weight of three
    found = estimate(two_layers(), record_of(x=given, hidden=silent), chip)
    ops, parts = found.operations["hidden"], found.parts["hidden"]
    # Reached at tick 0; charged at 1 and 2, in both scales: a tenth of its leak is left each.
    assert (ops.active_least, ops.active, ops.active_most) == (3, 3, 5)
    assert parts["active"].nominal == pytest.approx(3 * 81e-12)
    assert parts["active"].high == pytest.approx((3 * 81 + 2 * (81 - 52)) * 1e-12)
    assert parts["inactive"].high == pytest.approx(6 * 52e-12)


@pytest.mark.filterwarnings("ignore:a tick of dt")
def test_the_time_counts_active_neurons_with_their_bounds() -> None:
    # One spike at tick 0; its charge halves: 7 ticks in 64 fractions, 14 in 254 times as many.
    graph = chain(
        x=Input(shape=(1,)), w=Dense(weight=np.ones((1, 1))), out=LI(tau=1 / np.log(2)), dt=1.0
    )
    spike = np.zeros((30, 1, 1))
    spike[0] = 1
    chip = replace(find_chip("loihi1"), charged_is_active=True)
    found = estimate(graph, record_of(x=spike), chip)
    assert found.operations["out"].active_least == 1 + 7
    assert found.operations["out"].active == 1 + 14
    time = found.latency.inference
    assert time.low == pytest.approx((8 * 8.4 + 22 * 5.3 + 30 * 113) * 1e-9)
    assert time.nominal == pytest.approx((15 * 8.4 + 15 * 5.3 + 30 * 113) * 1e-9)
    late = 4.7 + 16.0  # a synapse and its message take longer than the neuron
    assert time.high == pytest.approx((late + 14 * 9.7 + 15 * 6.0 + 30 * 1800) * 1e-9)
    parts = found.parts["out"]
    assert parts["active"].low == pytest.approx((15 * 72.8 - 7 * (72.8 - 51.2)) * 1e-12)


def test_a_neuron_that_weights_of_zero_reach_takes_its_time_at_the_high_end() -> None:
    chip = replace(find_chip("loihi1"), charged_is_active=True)
    free = replace(chip.time.message, value=0.0, low=0.0, high=0.0)
    chip = replace(chip, time=replace(chip.time, message=free))
    silent = np.zeros((3, 1, 3), np.float32)
    given = np.array([[0, 1], [0, 0], [0, 0]])[:, None]
    found = estimate(two_layers(), record_of(x=given, hidden=silent), chip)
    high = 3 * 9.7 + 2 * (9.7 + 2 * 6.0) + 3 * 1800
    assert found.latency.inference.high == pytest.approx(high * 1e-9)
