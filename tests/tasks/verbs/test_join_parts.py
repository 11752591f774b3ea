"""Results of several networks of a chip add up to one."""

from typing import Any

import pytest

from neuro.energy import find_chip
from tasks.driving.joules import list_joules
from tasks.verbs.join_parts import (
    Priced,
    join_energies,
    join_exported,
    join_parity,
    join_verified,
)

CHIP = find_chip("loihi1")


def interval(low: float, nominal: float, high: float) -> dict[str, float]:
    return {"low": low, "nominal": nominal, "high": high}


def energy(
    cores: int, core: float, static: float, seconds: float, ticks: int
) -> dict[str, Any]:
    """Return energy.json of one layer; static: of one chip in nominal, its double at high."""
    chips = -(-cores // 128)
    leak = interval(static * cores / 128, static * chips, 2 * static * chips)
    both = interval(core, 2 * core, 3 * core)
    whole = {end: both[end] + leak[end] for end in both}
    return {
        "loihi1": {
            "title": "Loihi 1",
            "ticks": ticks,
            "samples": 2,
            "core": both,
            "chip": whole,
            "system": {end: whole[end] + leak[end] for end in whole},
            "static_share": leak["nominal"] / whole["nominal"],
            "layers": {"lif": {**both, "parts": {"synapses": core}, "synaptic_events": 10.0}},
            "mapping": {
                "cores": cores,
                "chips": chips,
                "layers": {"lif": {"cores": cores}},
                "problems": ["too wide"] * (cores > 100),
            },
            "latency": {
                "inference": interval(seconds, seconds, seconds),
                "tick": interval(seconds / ticks, seconds / ticks, seconds / ticks),
                "bottleneck": "lif",
            },
        },
        "conventional45nm": {
            "snn": core,
            "ann": 4 * core,
            "host": 0.0,
            "ann_passes": 1,
            "spikes_per_synapse": 0.5,
            "break_even_spikes_per_synapse": 5.0,
            "break_even_rate": 5.0 / ticks,
            "published": [],
        },
    }


def joined() -> dict[str, Any]:
    parts = {
        "": Priced(energy(cores=100, core=1.0, static=8.0, seconds=2.0, ticks=4), 1, 300),
        "encoder": Priced(
            energy(cores=60, core=0.5, static=1.0, seconds=0.25, ticks=2), 18, 100
        ),
    }
    return join_energies(parts, [CHIP])


def test_a_system_without_a_nominal_energy_has_none_of_all_parts_either() -> None:
    parts = {
        part: Priced(energy(cores=100, core=1.0, static=8.0, seconds=2.0, ticks=4), 1, 300)
        for part in ("", "encoder")
    }
    for priced in parts.values():
        priced.found["loihi1"]["system"] |= {"nominal": None, "reason": "nobody published it"}
    found = join_energies(parts, [CHIP])["loihi1"]
    assert found["system"]["nominal"] is None
    assert found["system"]["reason"] == "nobody published it"
    assert found["system"]["low"] == pytest.approx(2.0 + 4 * 100 / 128 * 2 * 8.0, rel=1e-12)
    assert found["system"]["high"] == 6.0 + 2 * 2 * 2 * 2 * 8.0


def test_joules_are_weighed_by_runs_and_all_chips_leak_all_the_time() -> None:
    found = joined()["loihi1"]
    assert found["core"] == interval(10.0, 20.0, 30.0)
    assert found["latency"]["inference"]["nominal"] == 2.0 + 18 * 0.25
    assert found["mapping"]["cores"] == 160
    assert found["mapping"]["chips"] == 2
    # Two chips: 8 J each while the first runs, 1 J each a run of the encoder.
    assert found["chip"]["nominal"] == 20.0 + 2 * (8.0 + 18 * 1.0)
    assert found["chip"]["high"] == 30.0 + 2 * 2 * (8.0 + 18 * 1.0)
    assert found["chip"]["low"] == pytest.approx(10.0 + 160 / 128 * (8.0 + 18 * 1.0))
    assert found["system"]["nominal"] == 20.0 + 4 * (8.0 + 18 * 1.0)
    assert found["static_share"] == pytest.approx(52 / 72)
    assert found["ticks"] == 4 + 36
    assert found["latency"]["bottleneck"] == "encoder: lif"
    assert found["mapping"]["problems"] == []


def test_layers_keep_the_name_of_their_part_and_are_weighed() -> None:
    layers = joined()["loihi1"]["layers"]
    assert list(layers) == ["lif", "encoder: lif"]
    assert layers["lif"]["nominal"] == 2.0
    assert layers["encoder: lif"]["nominal"] == 18.0
    assert layers["encoder: lif"]["parts"] == {"synapses": 9.0}
    assert layers["encoder: lif"]["synaptic_events"] == 180.0


def test_the_45_nm_figures_are_of_all_synapses() -> None:
    found = joined()["conventional45nm"]
    assert (found["snn"], found["ann"], found["ann_passes"]) == (10.0, 40.0, 19)
    assert found["spikes_per_synapse"] == (0.5 * 300 + 18 * 0.5 * 100) / 400
    assert found["break_even_spikes_per_synapse"] == (5 * 300 + 18 * 5 * 100) / 400
    assert found["break_even_rate"] == pytest.approx(10500 / (300 * 4 + 18 * 100 * 2))


def test_streaming_saves_the_images_of_past_frames() -> None:
    whole, streaming = list_joules(joined())
    assert whole.images == "all frames, 18 images"
    assert streaming.images == "streaming, 6 images"
    assert whole.core["nominal"] == 2 * 20.0  # two plans a second
    assert streaming.core["nominal"] == 2 * (20.0 - 12 * 1.0)
    seconds = 2.0 + 6 * 0.25
    static = 52.0 * seconds / 6.5
    assert streaming.whole["nominal"] == pytest.approx(2 * (8.0 + static))
    assert list_joules({"loihi1": {}}) == []


def verified(mismatches: int, **more: Any) -> dict[str, Any]:
    layer = {"spikes": 5, "mismatches": mismatches, "margins": []}
    return {
        "torch_events": {
            "layers": {"lif": layer},
            "mismatches": mismatches,
            "float32_flips": {"lif": {"flips": 0}},
            "unexplained": [{"name": "lif", "tick": 1}] * mismatches,
        },
        "reference_lava": {"samples": 2, "mismatches": 0, "layers": {"lif": {"mismatches": 0}}},
        "quantisation": {"lif": 0.1},
        "metrics": {"iou": {"torch": 1.0}},
        "n": 8,
        **more,
    }


def test_differences_of_all_parts_are_told() -> None:
    parts = {"": verified(0), "encoder": verified(3, n=2, metrics={}, misfits=["no room"])}
    found = join_verified(parts)
    assert found["torch_events"]["mismatches"] == 3
    assert list(found["torch_events"]["layers"]) == ["lif", "encoder: lif"]
    assert [one["name"] for one in found["torch_events"]["unexplained"]] == ["encoder: lif"] * 3
    assert found["quantisation"] == {"lif": 0.1, "encoder: lif": 0.1}
    assert (found["n"], found["metrics"]) == (8, {"iou": {"torch": 1.0}})
    assert found["misfits"] == ["encoder: no room"]
    assert found["reference_lava"]["samples"] == 4
    assert list(found["reference_lava"]["layers"]) == ["lif", "encoder: lif"]


def test_parity_is_skipped_or_failed_where_one_part_is() -> None:
    ran = {"samples": 2, "mismatches": 1, "layers": {}}
    assert join_parity({"": ran, "b": ran})["mismatches"] == 2
    gone = {"samples": 0, "skipped": "no Lava"}
    assert join_parity({"": ran, "b": gone}) == {"samples": 2, "skipped": "b: no Lava"}
    assert join_parity({"": ran, "b": {**gone, "failed": True}})["failed"]


def test_what_does_not_fit_is_told_by_part() -> None:
    one = {
        "fits": {"loihi1": [], "loihi2": []},
        "scaling": [{"layer": "lif", "scale": 2.0}],
        "reference_lava": {"samples": 0, "skipped": "no Lava"},
    }
    other = {**one, "fits": {"loihi1": ["lif: too wide"], "loihi2": []}}
    found = join_exported({"": one, "GRU": other})
    assert found["fits"] == {"loihi1": ["GRU: lif: too wide"], "loihi2": []}
    assert [row["layer"] for row in found["scaling"]] == ["lif", "GRU: lif"]
