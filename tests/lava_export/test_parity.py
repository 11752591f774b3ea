"""Parities and exports of the networks of a task are joined by the names of their layers."""

from lava_export.parity import ExportReport, Parity, join_exports, join_parities
from tasks.measures.verify import has_disagreement
from tasks.report.tables import describe_parity

LAYERS = {"lif": {"mismatches": 1}}
RAN = Parity(samples=2, mismatches=1, layers=LAYERS, of_one={"first": None})


def test_differences_and_samples_of_all_networks_are_added() -> None:
    assert join_parities({"": RAN}) == RAN
    assert RAN.as_json() == {"samples": 2, "mismatches": 1, "layers": LAYERS, "first": None}
    other = {"lif": {"mismatches": 4}, "li": {"mismatches": 3}}
    more = Parity(samples=5, mismatches=7, layers=other, of_one={"first": None})
    assert join_parities({"": RAN, "b": more}).as_json() == {
        "samples": 7,
        "mismatches": 8,
        "layers": {**LAYERS, "b: lif": {"mismatches": 4}, "b: li": {"mismatches": 3}},
    }


def test_a_parity_is_skipped_or_failed_where_that_of_one_network_is() -> None:
    gone = Parity(samples=0, skipped="no Lava")
    alike = Parity(samples=2, layers=LAYERS)
    found = join_parities({"": alike, "b": gone})
    assert found.as_json() == {"samples": 2, "skipped": "b: no Lava"}
    broken = Parity(samples=0, skipped="no room", failed=True)
    assert join_parities({"": gone, "b": broken}).as_json() == {
        "samples": 0,
        "skipped": "no Lava; b: no room",
        "failed": True,
    }


def test_differences_of_a_network_that_ran_are_told_where_another_was_skipped() -> None:
    found = join_parities({"": RAN, "b": Parity(samples=0, skipped="no Lava")}).as_json()
    counted = {"samples": 2, "mismatches": 1, "layers": LAYERS}
    assert found == {**counted, "skipped": "b: no Lava"}
    result = {"torch_events": {"mismatches": 0, "unexplained": []}, "reference_lava": found}
    assert has_disagreement(result)
    told = describe_parity(found)
    assert told == (
        "reference and Lava: 1 differences in 2 samples, 1 populations, "
        "inputs and read-outs included; "
        "no parity with Lava: b: no Lava"
    )


def test_exports_name_the_network_of_each_layer_and_breach() -> None:
    gone = Parity(samples=0, skipped="no Lava")
    scaling = [{"layer": "lif", "scale": 2.0}]
    fits = ExportReport(fits={"loihi1": [], "loihi2": []}, scaling=scaling, parity=gone)
    wide = ExportReport(
        fits={"loihi1": ["lif: too wide"], "loihi2": []}, scaling=scaling, parity=gone
    )
    assert join_exports({"": fits, "GRU": wide}).as_json() == {
        "fits": {"loihi1": ["GRU: lif: too wide"], "loihi2": []},
        "scaling": [{"layer": "lif", "scale": 2.0}, {"layer": "GRU: lif", "scale": 2.0}],
        "reference_lava": {"samples": 0, "skipped": "no Lava; GRU: no Lava"},
    }
