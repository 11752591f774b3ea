import json

import pytest

from neuro.energy import CHIPS, Chip, constants_table, horowitz45, loihi1, loihi1_sanafe, loihi2
from neuro.energy.constants import Constant, Interval, Origin

ORIGIN = Origin(process="14 nm", condition="0.75 V", source="a paper", confidence="published")


def constants_of(chip: Chip) -> dict[str, Constant]:
    groups = {"energy": chip.energy, "time": chip.time, "limits": chip.limits}
    named = {f"{g}.{k}": c for g, x in groups.items() for k, c in vars(x).items()}
    return {**named, "static": chip.static, "host": chip.host}


@pytest.mark.parametrize("chip", CHIPS, ids=lambda c: c.name)
def test_every_constant_has_a_unit_and_says_where_it_comes_from(chip: Chip) -> None:
    units = {"energy": "J", "time": "s", "static": "W", "host": "W"}
    for name, c in constants_of(chip).items():
        assert c.unit == units.get(name.split(".")[0], c.unit)
        assert all((c.unit, c.process, c.condition, len(c.source) > 8, c.confidence)), name
        assert 0 <= c.low <= c.value <= c.high, name


@pytest.mark.parametrize("chip", CHIPS, ids=lambda c: c.name)
def test_an_active_neuron_costs_no_less_than_an_inactive_one_at_any_bound(chip: Chip) -> None:
    for costs in (chip.energy, chip.time):
        for bound in ("low", "value", "high"):
            assert getattr(costs.active, bound) >= getattr(costs.inactive, bound)


def test_loihi_1_has_the_constants_of_its_paper() -> None:
    energy = loihi1().energy
    assert energy.synapse.value == pytest.approx(23.6e-12)
    assert energy.active.value == pytest.approx(81e-12)
    assert energy.inactive.value == pytest.approx(52e-12)
    assert energy.synapse.confidence == "memory"
    assert loihi1_sanafe().energy.active.value == pytest.approx((51.2 + 21.6) * 1e-12)


def test_a_multiply_accumulate_at_45_nm_costs_4_6_pj_and_an_accumulate_0_9() -> None:
    cost = horowitz45()
    assert cost.mac.value == pytest.approx(4.6e-12)
    assert cost.ac.value == pytest.approx(0.9e-12)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda c: c.name)
def test_the_printed_table_has_a_row_of_text_for_every_constant(chip: Chip) -> None:
    rows = constants_table(chip)
    assert len(rows) == len(constants_of(chip))
    assert all(isinstance(x, str) and x for row in rows for x in row.values())
    json.dumps(rows, allow_nan=False)


def test_the_printed_table_shows_picojoules_and_ranges() -> None:
    row = constants_table(loihi1())[0]
    assert (row["name"], row["value"], row["range"], row["unit"]) == (
        "energy.synapse",
        "23.6",
        "23.6 .. 35.5",
        "pJ",
    )


def test_a_constant_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs 0 <= low <= value <= high.*a paper.*widen"):
        ORIGIN.si(1.0, "W", low=2.0)


def test_a_spread_is_relative() -> None:
    origin = Origin(
        process="14 nm", condition="any", source="a paper", confidence="memory", spread=0.1
    )
    c = origin.pj(10.0)
    assert (c.low, c.high) == pytest.approx((9e-12, 11e-12))
    assert origin.but("another", "derived", "cold").pj(10.0).interval == Interval(*[1e-11] * 3)


def test_the_condition_of_a_constant_is_that_of_its_own_source() -> None:
    first, second = loihi1(), loihi2()
    assert first.energy.synapse.condition == "0.75 V, SPICE"
    assert first.static.condition == "measured on a board, keyword spotting"
    assert "own dynamic power is in it" in first.host.source
    assert second.static.condition == "on Oheo Gulch"
    choices = [n for n, c in constants_of(second).items() if "choice" in c.condition]
    assert choices == ["energy.synapse", "energy.synapse_conv"]


def test_the_low_end_of_a_loihi_2_synapse_is_all_power_of_hala_point_on_its_synapses() -> None:
    assert loihi2().energy.synapse.low == pytest.approx(2600 / 380e12, rel=1e-3)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda c: c.name)
def test_the_barrier_grows_with_the_system_within_its_range(chip: Chip) -> None:
    tiles, seconds = zip(*chip.barrier, strict=True)
    assert list(tiles) == sorted(tiles)
    assert list(seconds) == sorted(seconds)
    low = chip.time.sync.low * (1 - 1e-12)
    assert low <= seconds[0] <= seconds[-1] <= chip.time.sync.high
