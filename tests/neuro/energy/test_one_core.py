"""A chip of one core: cycles by the published closed form, files, and the estimate as JSON."""

from pathlib import Path

import numpy as np
import pytest
from energy_cases import record_of
from written_graphs import chain

from neuro.energy import (
    ChipError,
    as_json,
    estimate,
    estimate_chips,
    find_hardware,
    load_one_core_chips,
)
from neuro.energy.one_core import ONE_CORE_FOLDER, read_one_core_chip
from neuro.graph import Dense, Graph, Input
from neuro.neurons import LI, LIF

XYLO = load_one_core_chips()["xylo"]


def network(recurrent: int = 0) -> Graph:
    """Return 3 channels, 4 + 5 hidden neurons and 2 outputs."""
    weight = np.ones((5, 4))
    weight[:, :recurrent] = 0
    return chain(
        x=Input(shape=(3,)),
        w1=Dense(weight=np.ones((4, 3))),
        a=LIF(tau=0.01),
        w2=Dense(weight=weight),
        b=LIF(tau=0.01),
        w3=Dense(weight=np.ones((2, 5))),
        out=LI(tau=0.01),
    )


def count_cycles(channels: float, a: float, b: float, fan_out: int = 5) -> float:
    """Return cycles of a tick by Rockpool's model, for so many spikes in it."""
    hidden, outputs = 9, 2
    cycles = 3 + channels * hidden * 3.5  # look at channels, and step through hidden neurons
    cycles += hidden * 3 + a * fan_out * 7
    cycles += (a + b) * (1 + outputs * 8)
    cycles += hidden * 19 + (a + b) * 3
    return cycles + outputs * 12


def test_cycles_are_those_of_the_published_model() -> None:
    rng = np.random.default_rng(0)
    spikes = {n: rng.random((7, 3, k)) < 0.4 for n, k in (("x", 3), ("a", 4), ("b", 5))}
    found = estimate(network(), record_of(**spikes), "xylo")
    per_tick = [spikes[n].sum() / (7 * 3) for n in ("x", "a", "b")]
    cycles = 7 * count_cycles(*per_tick)
    assert found.core.nominal == pytest.approx(cycles * 46.6e-12, rel=1e-12)
    assert found.latency.inference.nominal == pytest.approx(cycles / 6.25e6, rel=1e-12)
    assert found.latency.inference.low == pytest.approx(cycles / 50e6, rel=1e-12)
    static = 542.9e-6 * cycles / 6.25e6
    assert found.static.nominal == pytest.approx(static, rel=1e-12)
    assert found.system.nominal == pytest.approx(  # type: ignore[union-attr]
        found.core.nominal + static + 39.7e-6 * cycles / 6.25e6, rel=1e-12
    )


def test_a_weight_of_zero_is_no_synapse_between_hidden_neurons() -> None:
    full = {n: np.ones((2, 1, k)) for n, k in (("x", 3), ("a", 4), ("b", 5))}
    all_, some = (estimate(network(k), record_of(**full), XYLO) for k in (0, 2))
    saved = (all_.core.nominal - some.core.nominal) / 46.6e-12
    assert saved == pytest.approx(2 * 2 * 5 * 7)


def test_a_measured_time_stretches_what_leaks_alone() -> None:
    full = {n: np.ones((2, 1, k)) for n, k in (("x", 3), ("a", 4), ("b", 5))}
    record = record_of(**full)
    found, slow = estimate(network(), record, "xylo"), estimate(network(), record, "xylo", 2e-3)
    assert slow.core == found.core
    assert slow.static.nominal == pytest.approx(542.9e-6 * 2e-3)
    with pytest.raises(ValueError, match="cores are given, and Xylo Audio 2 has one"):
        estimate(network(), record, "xylo", cores={"a": [0] * 4})


def test_a_network_beyond_the_core_says_so_in_its_placement() -> None:
    graph = chain(
        x=Input(shape=(17,)),
        w1=Dense(weight=np.ones((600, 17))),
        a=LIF(tau=0.01),
        w2=Dense(weight=np.ones((401, 600))),
        b=LIF(tau=0.01),
        w3=Dense(weight=np.ones((9, 401))),
        out=LI(tau=0.01),
    )
    silent = {n: np.zeros((1, 1, k)) for n, k in (("x", 17), ("a", 600), ("b", 401))}
    has = "Xylo Audio 2 has"
    assert estimate(graph, record_of(**silent), "xylo").placement.problems == (
        f"x: {has} 16 input channels, the network needs 17; make this layer smaller",
        f"a: {has} 1000 hidden neurons, the network needs 1,001; make this layer smaller",
        f"out: {has} 8 output neurons, the network needs 9; make this layer smaller",
    )
    fits = {n: np.zeros((1, 1, k)) for n, k in (("x", 3), ("a", 4), ("b", 5))}
    placed = estimate(network(), record_of(**fits), "xylo").placement
    assert placed.problems == ()
    layers = {n: (x.cores, x.per_core, x.use) for n, x in placed.layers.items()}
    assert layers == {
        "x": (0, 0, {}),
        "a": (1, 4, {"hidden": 0.004}),
        "b": (1, 5, {"hidden": 0.005}),
        "out": (1, 2, {"outputs": 0.25}),
    }


def test_its_estimate_stands_beside_those_of_other_chips() -> None:
    full = {n: np.ones((2, 1, k)) for n, k in (("x", 3), ("a", 4), ("b", 5))}
    both = estimate_chips(network(), record_of(**full), ["loihi1", "xylo"])
    result = as_json(*both)
    assert list(result["loihi1"]["layers"]) == list(result["xylo"]["layers"])
    assert result["xylo"]["title"] == "Xylo Audio 2 (Rockpool)"
    assert result["xylo"]["mapping"]["cores"] == result["xylo"]["mapping"]["chips"] == 1
    assert result["xylo"]["mapping"]["layers"]["a"]["use"] == {"hidden": 0.004}
    total = sum(layer["nominal"] for layer in result["xylo"]["layers"].values())
    assert total == pytest.approx(result["xylo"]["core"]["nominal"])
    assert "xylo" not in {e.chip.name for e in estimate_chips(network(), record_of(**full))}


def test_chips_of_both_kinds_are_found_by_name() -> None:
    assert [c.name for c in find_hardware(["xylo", "loihi2", XYLO])] == [
        "xylo",
        "loihi2",
        "xylo",
    ]
    with pytest.raises(ValueError, match=r"no chip 'xilo'; there are loihi1, .*, xylo, or"):
        find_hardware(["xilo"])
    with pytest.raises(TypeError, match="several chips"):
        find_hardware("xylo")


def test_every_constant_has_its_source() -> None:
    for table in (XYLO.cycles, XYLO.power, XYLO.limits):
        for constant in vars(table).values():
            assert constant.source
            assert constant.low <= constant.value <= constant.high
    values = {k: c.value for k, c in vars(XYLO.cycles).items()}
    assert (values["channel_synapse"], values["hidden_synapse"]) == (3.5, 7)
    assert (values["output_synapse"], values["hidden_neuron"]) == (8, 19)
    assert values["output_neuron"] == 12


def test_a_file_is_refused_with_all_that_is_wrong(tmp_path: Path) -> None:
    text = (ONE_CORE_FOLDER / "xylo.toml").read_text()
    for old, new in (
        ("channel = { nominal = 1,", "channel = { nominal = -1,"),
        ("hidden = { value = 1000", "hidden = { value = 0.5"),
        ('unit = "Hz"', 'unit = "J"'),
        ("output_neuron =", "output_nerve ="),
        ('hardware = "Xylo Audio 2"', 'hardware = ""\nclock = 3'),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ChipError) as error:
        read_one_core_chip(path)
    told = "\n".join(error.value.problems)
    for part in (
        "hardware: is empty",
        "clock: there is no key 'clock'",
        "cycles.channel.nominal: is -1",
        "limits.hidden.value: is 0.5",
        "power.clock.unit: there is no unit 'J'",
        "output_nerve",
        "output_neuron: is missing",
    ):
        assert part in told


def test_what_is_no_toml_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("title = \n")
    with pytest.raises(
        ChipError, match=r"it is not TOML: Invalid value \(at line 1, column 9\)"
    ):
        read_one_core_chip(path)
