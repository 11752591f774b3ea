"""The verdict on a run says what its files say, and what they do not say."""

from pathlib import Path
from typing import Any

import pytest

from tasks.report.key_figures import describe_cost, describe_fit, describe_silent, state_verdict
from tasks.runs.find import make_run
from tasks.runs.task import Metric

ACCURACY = Metric(name="accuracy", format=".2%")
ERROR = Metric(name="mean_error", better="lower", unit="m")


def energy(**misfits: list[str]) -> dict[str, Any]:
    chips = {name: {"layers": {}, "misfits": why} for name, why in misfits.items()}
    return {**chips, "conventional45nm": {"snn": 1.0}}


def verify(
    metrics: dict[str, tuple[float, float]], spikes: dict[str, int], **more: Any
) -> dict[str, Any]:
    """metrics: name -> value by events, by integers. spikes: of each layer."""
    return {
        "metrics": {k: {"events": a, "integers": b} for k, (a, b) in metrics.items()},
        "torch_events": {
            "layers": {k: {"spikes": n} for k, n in {**spikes, "readout": 0}.items()},
            "float32_flips": dict.fromkeys(spikes),
        },
        "quantisation": {"a": 0.001, "b": 0.01234},
        "errors": {"accuracy": 0.0025, "mean_error": 0.125},
        "n": 800,
        **more,
    }


def test_the_chips_it_fits_are_named_and_those_it_does_not() -> None:
    assert describe_fit(energy(loihi1=[], loihi2=[])) == "the network fits loihi1 and loihi2"
    assert (
        describe_fit(energy(loihi1=["too wide"], loihi2=[], mine=[]))
        == "the network fits loihi2 and mine, but not loihi1"
    )
    assert (
        describe_fit(energy(loihi1=["a"], loihi2=["b"], mine=["c"]))
        == "the network fits none of loihi1, loihi2 and mine"
    )


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        (
            {"accuracy": (0.9806, 0.9731)},
            "0.75 ± 0.50 points lost (800 samples) (accuracy 98.06% → 97.31%)",
        ),
        (
            {"accuracy": (0.97, 0.976)},
            "0.60 ± 0.50 points gained (800 samples) (accuracy 97.00% → 97.60%)",
        ),
        (
            {"accuracy": (0.97, 0.9649)},
            "0.51 ± 0.50 points lost (800 samples) ",
        ),
        (
            {"mean_error": (0.5, 0.75)},  # at the end of the interval
            "no measurable cost: 0.25 ± 0.25 m higher (800 samples) "
            "(mean error 0.5 m → 0.75 m)",
        ),
        ({"accuracy": (0.97, 0.97)}, "no measurable cost: 0.00 ± 0.50 points lost ("),
        (
            {"mean_error": (0.5, 0.625)},
            "no measurable cost: 0.12 ± 0.25 m higher (800 samples) "
            "(mean error 0.5 m → 0.625 m)",
        ),
        (
            {"mean_error": (0.5, 0.25), "accuracy": (0.5, 0.4)},
            "10.00 ± 0.50 points lost (",
        ),
    ],
)
def test_what_quantisation_costs_is_told_by_the_first_metric_with_its_interval(
    metrics: dict[str, tuple[float, float]], told: str
) -> None:
    found = describe_cost(verify(metrics, {"a": 1}), (ACCURACY, ERROR))
    assert found.startswith(f"quantisation: {told}")


@pytest.mark.parametrize(
    ("error", "needed"),
    [(0.005, ""), (0.0052, ""), (0.0053, "; ± 1 point needs 899"), (0.015, "needs 7,200")],
)
def test_how_many_samples_would_tell_a_point_of_accuracy(error: float, needed: str) -> None:
    found = ACCURACY.describe_change(-0.001, error, 800)
    assert found.startswith("no measurable cost: 0.1 ± ")
    assert found.endswith(f"800 samples{needed})" if error < 0.01 else f"{needed})")
    assert ("needs" in found) == bool(needed)
    assert ERROR.describe_change(0.001, error, 800).endswith(" m higher (800 samples)")
    assert ERROR.describe_change(-9e-13, 8e-13, 800) == "no answer changed"
    for change, of in ((2e-12, 0.0), (0.0, 2e-12)):
        assert "higher (800 samples)" in ERROR.describe_change(change, of, 800)
    assert ERROR.describe_change(-0.5, 0.1, 800) == "0.50 ± 0.20 m lower (800 samples)"
    for change, error, told in ((0.0043, 0.007, "0.004 ± 0.014"), (370.0, 61.7, "370 ± 123")):
        assert f"{told} m higher (" in ERROR.describe_change(change, error, 9)
    assert "3 ± 12 points" in ACCURACY.describe_change(0.03, 0.062, 9)


def test_where_no_answer_changed_that_is_said_and_where_errors_are_unknown() -> None:
    equal = verify({"accuracy": (0.97, 0.97)}, {"a": 1}, errors={"accuracy": 0.0})
    assert describe_cost(equal, (ACCURACY,)).startswith("quantisation: no answer changed (")
    for floats, told in ((0.97, "1.00 points lost"), (0.95, "1.00 points gained")):
        old = verify({"accuracy": (floats, 0.96)}, {"a": 1}, errors={})
        assert f"{told}, of unknown uncertainty" in describe_cost(old, (ACCURACY,))
    silent = describe_cost(verify({"unknown": (0.5, 0.625)}, {"a": 1}), (ACCURACY,))
    end = "; what that costs in accuracy is not measured: no verb does"
    values = "of its values (root mean square)"
    assert silent == f"quantisation changes b most, by 1.23% {values}{end}"


def test_without_integers_there_is_no_cost() -> None:
    for why, told in ((["too wide"], "too wide"), (["a", "b", "c"], "a (and 2 more)")):
        found = describe_cost(verify({}, {}, misfits=why, quantisation={}), (ACCURACY,))
        assert found == f"quantisation to Loihi's integers is not possible: {told}"


def test_layers_without_a_spike_are_silent_and_read_outs_are_not() -> None:
    assert describe_silent(verify({}, {"a": 3, "b": 1})) == "no layer is silent"
    assert describe_silent(verify({}, {"a": 3, "b": 0})) == "b is silent"
    assert describe_silent(verify({}, {"a": 0, "b": 0})) == "a and b are silent"
    assert describe_silent(verify({}, {})) == ""


def test_the_sentence_names_what_is_not_measured_and_what_is_old() -> None:
    run = make_run("mnist:tiny", Path("a run"))
    whole = {
        "energy": energy(loihi1=[], loihi2=[]),
        "verify": verify({"accuracy": (0.9806, 0.9731)}, {"a": 3}),
    }
    cost = (
        "uantisation: 0.75 ± 0.50 points lost (800 samples) "
        "(accuracy 98.06% → 97.31%); no layer is silent"
    )
    fit = "he network fits loihi1 and loihi2"
    assert state_verdict(run, whole, {}) == f"T{fit}; q{cost}."
    assert (
        state_verdict(run, whole, {"verify": "of earlier weights", "energy": "damaged"})
        == f"T{fit} (damaged); q{cost} (of earlier weights)."
    )
    no_energy = "hich chip it fits is not measured: neuro energy 'a run'"
    assert state_verdict(run, {**whole, "energy": None}, {}) == f"W{no_energy}; q{cost}."
    no_verify = (
        "what quantisation costs, and which layers are silent, is not measured: "
        "neuro verify 'a run'"
    )
    assert state_verdict(run, {**whole, "verify": None}, {}) == f"T{fit}; {no_verify}."
    nothing = state_verdict(run, {"energy": None, "verify": None}, {})
    assert nothing == f"W{no_energy}; {no_verify}."


def test_a_verdict_leaves_out_silence_without_spikes_and_names_of_many_networks() -> None:
    run = make_run("mnist:tiny", Path("r"))
    results = {"energy": None, "verify": verify({"accuracy": (0.97, 0.97)}, {})}
    assert state_verdict(run, results, {}).endswith("(accuracy 97.00% → 97.00%).")
    for names, told in (
        (["a", "b", "c"], "that of a, b and c not"),
        (["a", "b", "c", "d"], "that of 4 further networks not"),
    ):
        found = verify({"accuracy": (0.97, 0.97)}, {}, without_metric=names)
        assert describe_cost(found, (ACCURACY,)).endswith(f"), {told} counted")


@pytest.mark.slow
def test_a_network_for_torch_alone_fits_no_chip() -> None:
    run = make_run("language:small", Path("r"))
    told = state_verdict(run, {"energy": None, "verify": None}, {})
    assert told.startswith(
        "Only torch runs this network, and no chip: this language model stays"
    )
    assert "neuro verify" not in told
