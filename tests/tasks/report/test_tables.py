"""Tables and sentences of results: each figure is the one that its words say."""

from collections import Counter
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from tasks.report import tables as show
from tasks.report.key_figures import list_first_misfits, list_prices
from tasks.runs.task import Metric


def rows(table: Table) -> list[list[str]]:
    """Return the cells of a table, row by row."""
    columns = zip(*(column.cells for column in table.columns), strict=True)
    return [[str(cell) for cell in row] for row in columns]


def flips(number: int) -> dict[str, Any]:
    return {"flips": number, "largest_margin": 0.0, "executors": 0, "near": None}


VERIFY: dict[str, Any] = {
    "torch_events": {
        "layers": {
            "a": {"spikes": 1234, "mismatches": 2, "margins": [1e-9, 3e-8], "rounding": 0.0},
            "out": {"spikes": 0, "mismatches": 0, "margins": [], "rounding": 2e-16},
        },
        "float32_flips": {"a": flips(7)},
    },
    "reference_lava": {"layers": {"a": {"mismatches": 5}}},
    "quantisation": {"a": 0.125},
}


def test_a_narrow_terminal_cuts_no_name_and_no_number_off() -> None:
    table, out = show.make_table("t", "layer", "value [1/s]"), StringIO()
    table.add_row("block0_candidate_synapses", "1234567.25")
    Console(file=out, width=20).print(table)
    assert "…" not in out.getvalue()
    assert not Counter("block0_candidate_synapses" + "1234567.25") - Counter(out.getvalue())


def test_a_layer_has_its_farthest_margin_and_a_read_out_its_rounding() -> None:
    assert rows(show.tabulate_equality(VERIFY)) == [
        ["a", "1,234", "2 (margin <= 3.0e-08)", "5", "7", "12.500%"],
        ["out", "read-out", "0 (rounding 2e-16)", "not run", "", ""],
    ]


def test_times_are_told_in_milliseconds_and_problems_behind_their_chip() -> None:
    chip = {
        "latency": {
            "inference": {"low": 1e-3, "nominal": 2e-3, "high": 0.25},
            "bottleneck": "a",
        },
        "static_share": 0.25,
        "mapping": {"problems": ["a: too large"]},
        "misfits": ["weights: too many"],
    }
    convention = {"spikes_per_synapse": 0.5, "break_even_spikes_per_synapse": 5.1}
    told = show.describe_energy({"loihi1": chip, "conventional45nm": convention}).splitlines()
    assert told[0] == (
        "loihi1: 2 ms per inference (1 – 250), slowest layer a; static power is 25% of the "
        "chip tier"
    )
    assert told[1] == "a: too large"
    assert told[2].startswith("loihi1: the network does not fit, ")
    assert told[2].endswith("; weights: too many")
    assert told[3].startswith("45 nm: 0.5 spikes per synapse and inference; ")
    assert "breaks even with the ANN at 5.1 " in told[3]


def test_variants_of_a_chip_are_explained() -> None:
    told = show.describe_notes({"loihi1": {}, "loihi1_sanafe": {}, "sequence": {}})
    words = "Loihi 1 with the constants that the simulator SANA-FE fitted to silicon"
    assert told == [f"loihi1_sanafe: {words}"]


def test_folded_nodes_are_named_where_a_chip_counts_other_synaptic_events() -> None:
    chip = {"layers": {"pool+fc": {}, "conv": {}, "a+b": {}}}
    (told,) = show.describe_notes({"sequence": {}, "loihi2": chip})
    assert told.startswith("Synaptic events of pool+fc, a+b are those of a chip, which folds ")
    assert show.describe_notes({"loihi2": {"layers": {"conv": {}}}}) == []


def test_a_chip_that_does_not_fit_is_one_line_with_its_first_reason() -> None:
    chips = {"loihi1": ["a: 9 bits; take 8", "b"], "mine": ["c"], "loihi2": []}
    result = {name: {"layers": {}, "misfits": why} for name, why in chips.items()}
    assert list_first_misfits(result) == [
        "Does not fit loihi1: a: 9 bits; take 8 (1 more under Energy per inference)",
        "Does not fit mine: c",
    ]
    prices = {"chip": dict.fromkeys(("low", "nominal", "high"), 1e-6)}
    priced = {name: {**chip, **prices} for name, chip in result.items()}
    convention = {"snn": 1e-6, "ann": 2e-6}
    tiles = list_prices({**priced, "conventional45nm": convention})
    labels = [tile.label for tile in tiles]
    assert labels == ["energy, loihi2 chip", "arithmetic, spiking : ANN"]


ENERGY: dict[str, Any] = {
    "loihi1": {tier: {"low": 8e-9, "nominal": 2e-8, "high": 4e-8} for tier in ("core", "chip")},
    "conventional45nm": {"snn": 1e-9, "ann": 4e-9, "ann_passes": 8},
}


def test_of_a_sequence_the_energy_of_a_step_stands_beside_that_of_all() -> None:
    whole = show.tabulate_energy(ENERGY)
    assert whole.title == "Energy per inference"
    assert [row[1] for row in rows(whole)[:3]] == ["core", "chip", "spiking"]
    system = {"low": 1e-9, "nominal": None, "high": 2e-3, "reason": "nobody did"}
    with_host = {**ENERGY, "loihi1": {**ENERGY["loihi1"], "system": system}}
    assert rows(show.tabulate_energy(with_host))[2] == [
        "loihi1", "system", "not published (1 nJ – 2 mJ)"
    ]  # fmt: skip
    sequence = show.tabulate_energy({**ENERGY, "sequence": {"step": "token", "steps": 8}})
    assert sequence.title == "Energy per inference of 8 tokens"
    assert rows(sequence)[1:3] == [
        ["loihi1", "chip", "20 nJ (8 nJ – 40 nJ)"],
        ["loihi1", "chip, per token", "2.5 nJ (1 nJ – 5 nJ)"],
    ]
    chip = {"chip": {**ENERGY["loihi1"]["chip"], "added": "by a later version"}}
    assert show.share_step({"sequence": {"step": "token", "steps": 8}}, chip) == {
        "low": 1e-9, "nominal": 2.5e-9, "high": 5e-9
    }  # fmt: skip
    assert show.name_inference({"sequence": {"step": "token", "steps": 1}}) == (
        "inference of 1 token"
    )


def test_the_summary_of_the_demo_takes_each_figure_from_its_own_result() -> None:
    results: dict[str, Any] = {
        "eval": {"n": 1200, "accuracy": 0.9713},
        "simulate": {"n": 100, "accuracy": 0.5},
        "verify": {
            "metrics": {"accuracy": {"torch": 0.97, "events": 0.969, "integers": 0.963}},
            "torch_events": {**VERIFY["torch_events"], "mismatches": 2},
            "reference_lava": {"mismatches": 5, "samples": 8},
            "errors": {"accuracy": 0.002},
            "n": 1000,
        },
        "energy": {**ENERGY, "loihi1": {**ENERGY["loihi1"], "layers": {}}},
    }
    summary = show.tabulate_summary(results, [Metric(name="accuracy", format=".2%")])
    assert rows(summary) == [
        ["held-out digits, never seen in training", "1,200"],
        ["accuracy, torch", "97.13%"],
        ["accuracy, event engine", "96.90%"],
        ["accuracy, Loihi integers", "96.30%"],
        [
            "cost of quantisation",
            "0.60 ± 0.40 points lost (1,000 samples)",
        ],
        ["spikes compared, torch and events", "1,234"],
        ["of these different", "2"],
        ["reference ≠ Lava", "5 in 8 samples, all layers"],
        ["energy per inference, loihi1 core", "20 nJ (8 nJ – 40 nJ)"],
        ["energy per inference, loihi1 chip", "20 nJ (8 nJ – 40 nJ)"],
        ["45 nm convention, spiking", "1 nJ"],
        ["45 nm convention, same-shape ANN", "4 nJ"],
    ]
    results["verify"]["reference_lava"] = {"skipped": "no Lava"}
    again = rows(show.tabulate_summary(results, []))
    assert ["reference = Lava", "no Lava"] in again


def test_of_a_scaling_what_does_not_apply_is_empty() -> None:
    row = {
        **{"layer": "a", "kind": "lif", "scale": 740.0, "weight_min": -2, "weight_max": 4},
        **dict.fromkeys(("weight_error_max", "threshold_error", "decay_error"), 1e-3),
        **{"lag": 1, "head_room": 3e-5},
    }
    other = {**row, "threshold_error": None, "head_room": None}
    first, second = rows(show.tabulate_scaling([row, other]))
    assert first[4:] == ["1.0e-03", "1.0e-03", "1.0e-03", "1", "0.003%"]
    assert second[4:] == ["1.0e-03", "", "1.0e-03", "1", ""]


def test_joules_have_three_digits_of_the_prefix_that_fits() -> None:
    joules = (0.0, 1e-12, 9.996e-13, 1e-9, 2.5e-6, -3e-3, 12.0)
    assert [show.format_joules(x) for x in joules] == [
        "0 pJ", "1 pJ", "1 pJ", "1 nJ", "2.5 µJ", "-3 mJ", "12 J"
    ]  # fmt: skip
