from dataclasses import fields

import pytest
from changeable import list_changeable

import neuro.energy
from neuro.energy import Chip, Constant, Interval, Range, find_chip, horowitz45, load_chips

CHIPS = [*load_chips().values()]
LIMITS = {
    "neurons": "neurons",
    "in_axons": "axons",
    "out_axons": "axons",
    "synapse_words": "words",
    "index_bits": "bits",
    "header_bits": "bits",
    "cores": "cores",
    "tile_cores": "cores",
    "tile_rows": "tiles",
    "delay_steps": "steps",
}
every_chip = pytest.mark.parametrize("chip", CHIPS, ids=lambda c: c.name)


def constants_of(chip: Chip) -> dict[str, Range]:
    tables = {"energy": chip.energy, "time": chip.time, "limits": chip.limits}
    tables |= {"power": chip.power}
    return {f"{name}.{k}": c for name, table in tables.items() for k, c in vars(table).items()}


@every_chip
def test_every_constant_has_a_unit_and_says_where_it_comes_from(chip: Chip) -> None:
    units = {"energy": "J", "time": "s", "power": "W"}
    for name, c in constants_of(chip).items():
        table, key = name.split(".")
        assert c.unit == (LIMITS[key] if table == "limits" else units[table]), name
        assert all((c.unit, c.process, c.condition, len(c.source) > 8, c.confidence)), name
        value = c.value if isinstance(c, Constant) else c.low
        assert 0 <= c.low <= value <= c.high, name
        assert isinstance(c, Constant) or name == "power.host"


@every_chip
def test_an_active_neuron_costs_no_less_than_an_inactive_one_at_any_bound(chip: Chip) -> None:
    for costs in (chip.energy, chip.time):
        for bound in ("low", "value", "high"):
            assert getattr(costs.active, bound) >= getattr(costs.inactive, bound)


def test_loihi_1_has_the_constants_of_its_paper() -> None:
    energy = find_chip("loihi1").energy
    assert energy.synapse.value == pytest.approx(23.6e-12)
    assert energy.active.value == pytest.approx(81e-12)
    assert energy.inactive.value == pytest.approx(52e-12)
    assert energy.synapse.confidence == "memory"
    fitted = find_chip("loihi1_sanafe").energy
    assert fitted.active.value == pytest.approx((51.2 + 21.6) * 1e-12)


def test_a_multiply_accumulate_at_45_nm_costs_4_6_pj_and_an_accumulate_0_9() -> None:
    cost = horowitz45()
    assert cost.mac.value == pytest.approx(4.6e-12)
    assert cost.ac.value == pytest.approx(0.9e-12)


def test_a_constant_outside_its_range_and_a_range_out_of_order_are_refused() -> None:
    about = {"unit": "W", "process": "14 nm", "condition": "0.75 V", "source": "a paper"}
    with pytest.raises(ValueError, match=r"needs 0 <= low <= value <= high.*a paper.*widen"):
        Constant(value=1.0, low=2.0, high=3.0, confidence="published", **about)  # type: ignore[arg-type]
    for low, high in ((2.0, 1.0), (-1.0, 1.0)):
        with pytest.raises(ValueError, match=r"needs 0 <= low <= high.*a paper"):
            Range(low=low, high=high, confidence="published", **about)  # type: ignore[arg-type]


def test_only_the_host_of_loihi_2_has_no_nominal_power() -> None:
    lacking = [c.name for c in CHIPS if not isinstance(c.power.host, Constant)]
    assert lacking == ["loihi2"]


def test_the_condition_of_a_constant_is_that_of_its_own_source() -> None:
    first, second = find_chip("loihi1"), find_chip("loihi2")
    assert first.energy.synapse.condition == "0.75 V, SPICE"
    assert first.power.static.condition == "measured on a board, keyword spotting"
    assert "own dynamic power is in it" in first.power.host.source
    assert second.power.static.condition == "on Oheo Gulch"
    choices = [n for n, c in constants_of(second).items() if "choice" in c.condition]
    assert choices == ["energy.synapse", "energy.synapse_conv"]


def test_the_low_end_of_a_loihi_2_synapse_is_all_power_of_hala_point_on_its_synapses() -> None:
    assert find_chip("loihi2").energy.synapse.low == pytest.approx(2600 / 380e12, rel=1e-3)


@every_chip
def test_the_barrier_grows_with_the_system_within_its_range(chip: Chip) -> None:
    tiles, times = [b.tiles for b in chip.barrier], [b.time.value for b in chip.barrier]
    assert tiles == sorted(tiles)
    assert times == sorted(times)
    low = chip.time.sync.low * (1 - 1e-12)
    assert low <= times[0] <= times[-1] <= chip.time.sync.high


def test_the_constants_of_sana_fe_are_of_the_same_hardware() -> None:
    paper, fitted = find_chip("loihi1"), find_chip("loihi1_sanafe")
    assert (paper.base, fitted.base) == ("", "loihi1")
    assert (fitted.limits, fitted.power) == (paper.limits, paper.power)
    assert fitted.energy.crossing == paper.energy.crossing
    same = [
        f.name
        for f in fields(paper.energy)
        if getattr(paper.energy, f.name) == getattr(fitted.energy, f.name)
    ]
    assert same == ["crossing"]
    ten = fitted.energy.message.interval
    assert ten == Interval(
        111.0 * (1 - 0.12) * 1e-12, 111.0 * 1e-12, 111.0 * (1 + 0.12) * 1e-12
    )


SANA_FE = {  # of its loihi.yaml, 2.2.9; access and update of a neuron are "active" together
    "energy": {
        **{"synapse": 35.5, "synapse_conv": 24.0, "inactive": 51.2, "active": 51.2 + 21.6},
        **{"spike": 69.3, "message": 111.0, "hop_x": 3.0, "hop_y": 4.2},
    },
    "time": {
        **{"synapse": 3.8, "synapse_conv": 3.1, "inactive": 6.0, "active": 6.0 + 3.7},
        **{"spike": 30.0, "message": 16.0},
    },
}


@pytest.mark.parametrize(
    ("table", "scale", "spread"), [("energy", 1e-12, 0.12), ("time", 1e-9, 0.25)]
)
def test_the_constants_of_sana_fe_are_those_of_its_file(
    table: str, scale: float, spread: float
) -> None:
    fitted = getattr(find_chip("loihi1_sanafe"), table)
    for name, value in SANA_FE[table].items():
        c = getattr(fitted, name)
        assert c.value == pytest.approx(value * scale, rel=1e-12), name
        assert c.low == pytest.approx(value * scale * (1 - spread), rel=1e-12), name
        assert c.high == pytest.approx(value * scale * (1 + spread), rel=1e-12), name


def test_where_the_paper_has_no_time_of_a_spike_the_range_goes_up_to_that_of_sana_fe() -> None:
    for name in ("loihi1", "loihi2"):
        chip = find_chip(name)
        assert (chip.time.spike.low, chip.time.spike.value) == (0, 0)
        assert chip.time.spike.high == pytest.approx(30e-9, rel=1e-12)
        assert chip.energy.spike.high == pytest.approx(69.3e-12, rel=1e-12)


def test_only_sana_fe_counts_a_charged_neuron_as_active() -> None:
    assert [c.name for c in CHIPS if c.charged_is_active] == ["loihi1_sanafe"]


def test_values_cannot_be_changed() -> None:
    assert list_changeable(neuro.energy) == ["ChipFileReader"]  # gathers problems
