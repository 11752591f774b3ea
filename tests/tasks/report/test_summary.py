import pytest

from tasks.report.summary import (
    MOST_METRICS,
    choose_metrics,
    find_best,
    find_interval,
    show_standings,
    state_controls,
    state_quality,
    state_value,
)
from tasks.runs.task import ACCURACY, Metric

BITS = Metric(name="bits", better="lower", unit="bits", format=".2f", meaning="bits a byte")
TIME = Metric(name="time", better="lower")
METRICS = (ACCURACY, BITS, TIME)


def make_evaluation(**beside: dict[str, float]) -> dict[str, object]:
    return {"accuracy": 0.6, "bits": 2.5, "n": 100, "split": "test", "beside": beside}


def test_the_table_has_the_metrics_of_baselines_or_the_first_three_of_the_run() -> None:
    alone = {"n": 9, "split": None, **{f"m{k}": 1.0 * k for k in range(9)}}
    many = tuple(Metric(name=f"m{k}") for k in range(9))
    assert choose_metrics(alone, many) == many[:3]
    assert choose_metrics({**alone, "beside": {"a": {"m4": 2.0}, "b": {"m1": 3.0}}}, many) == (
        many[1],
        many[4],
    )
    all_shared = {**alone, "beside": {"a": {m.name: 0.0 for m in many}}}
    assert choose_metrics(all_shared, many) == many[:MOST_METRICS]
    assert choose_metrics(make_evaluation(a={"time": 2.0, "bits": 1.0}), METRICS) == (BITS,)


def test_the_best_follows_the_direction_and_what_is_printed_alike_is_alike() -> None:
    rows = {"a": {"bits": 2.504, "accuracy": 0.3}, "b": {"bits": 2.496}, "c": {"accuracy": 0.7}}
    assert find_best(rows, BITS) == ["a", "b"]
    assert find_best(rows, ACCURACY) == ["c"]


def test_the_best_values_are_bold_and_metrics_are_explained() -> None:
    evaluation = make_evaluation(grams={"accuracy": 0.4, "bits": 2.25}, guess={"accuracy": 0.1})
    evaluation["notes"] = {"bits": "first 9 tokens"}
    page = show_standings(evaluation, METRICS)
    assert '<td class="num best">60% (50 to 69%)</td>' in page
    assert '<td class="num best">2.25 bits</td>' in page
    assert page.count("best") == 2
    assert page.index(">this run<") < page.index(">grams<") < page.index(">guess<")
    assert "bits: bits a byte; lower is better (first 9 tokens)." in page
    assert "accuracy: the share of correct answers; higher is better." in page
    assert "Measured on 100 test samples. In brackets: the 95 % interval (Wilson)." in page
    bits = {k: v for k, v in make_evaluation(a={"bits": 2.0}).items() if k != "accuracy"}
    assert "Measured on 100 test samples.<" in show_standings(bits, METRICS)
    assert "best" not in show_standings(make_evaluation(), METRICS)


def test_no_value_is_bold_if_the_difference_to_the_best_is_not_measurable() -> None:
    undecided = "Without bold: the difference to the best is not measurable."
    others = {"a": {"bits": 2.0, "accuracy": 0.1}, "b": {"bits": 1.5}}
    for error, bold in ((0.4, 2), (0.6, 1)):  # of 1 bit to the best, b
        evaluation = {**make_evaluation(**others), "errors": {"b": {"bits": error}}}
        page = show_standings(evaluation, METRICS)
        assert page.count("num best") == bold
        assert (undecided in page) == (bold == 1)
    ours = {**make_evaluation(b={"bits": 3.0}), "errors": {"b": {"bits": 1.0}}}
    assert "best" not in show_standings(ours, METRICS).replace("to the best", "")


def test_metrics_of_one_meaning_share_a_line() -> None:
    later = Metric(name="later", better="lower", meaning="bits a byte")
    page = show_standings({**make_evaluation(), "later": 1.0}, (BITS, ACCURACY, later))
    assert "bits, later: bits a byte; lower is better." in page


@pytest.mark.parametrize(
    ("value", "n", "text"),
    [
        (0.0, 4, "0% (0 to 49%)"),
        (1.0, 500, "100.0% (99.2 to 100.0%)"),
        (0.25, 16, "25% (10 to 49%)"),
        (0.5, 9_599, "50% (49 to 51%)"),
        (0.5, 9_600, "50.0% (49.0 to 51.0%)"),
        (0.5, 200_000_000, "50.00% (49.99 to 50.01%)"),
    ],
)
def test_an_accuracy_has_as_many_digits_as_its_interval_allows(
    value: float, n: int, text: str
) -> None:
    assert state_value(ACCURACY, value, n) == text
    assert state_value(BITS, value, n) == f"{value:.2f} bits"


def test_an_interval_of_a_share_is_that_of_wilson_and_lies_within_0_and_1() -> None:
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I.
    assert find_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert find_interval(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert find_interval(0.0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert find_interval(1.0, 29) == pytest.approx((0.883, 1), abs=5e-5)
    assert all(
        0 <= x <= 1 for n in range(1, 99) for s in (0.0, 1.0) for x in find_interval(s, n)
    )


def test_controls_are_told_beside_the_run_in_its_first_metric() -> None:
    evaluation = make_evaluation(a={"bits": 2.0})
    told = state_controls(evaluation, METRICS, {"X": {"bits": 1.5}, "Y": {"time": 1.0}})
    assert told.startswith("Trained beside it with the same seed: X 1.50 bits. A difference")
    assert state_controls(evaluation, METRICS, {"Y": {"time": 1.0}}) == ""
    told = state_controls(make_evaluation(), METRICS, {"X": {"accuracy": 0.5}})
    assert "seed: X 50% (40 to 60%)." in told


@pytest.mark.parametrize(
    ("beside", "says"),
    [
        ({}, "accuracy 60% (50 to 69%) on 100 test samples"),
        ({"a": {"time": 1.0}}, "accuracy 60% (50 to 69%) on 100 test samples"),
        ({"a": {"bits": 2.0}}, "bits 2.50 bits: worse than a (2.00 bits)"),
        (
            {"a": {"bits": 2.0}, "b": {"bits": 3.0}, "c": {"bits": 2.6}, "d": {"bits": 2.1}},
            "bits 2.50 bits: worse than a (2.00 bits), better than c (2.60 bits)",
        ),
        ({"a": {"bits": 2.51}}, "bits 2.50 bits: better than a (2.51 bits)"),
        ({"a": {"bits": 2.499}}, "bits 2.50 bits: no measurable difference to a (2.50 bits)"),
        # Two standard errors of 60 % and 46 % of 100 samples are 13.99 points.
        ({"a": {"accuracy": 0.46}}, "accuracy 60% (50 to 69%): better than a (46%)"),
        (
            {"a": {"accuracy": 0.461}, "b": {"accuracy": 0.2}},
            "accuracy 60% (50 to 69%): no measurable difference to a (46%), "
            "better than b (20%)",
        ),
        ({"a": {"accuracy": 0.95}}, "accuracy 60% (50 to 69%): worse than a (95%)"),
    ],
)
def test_the_run_is_judged_by_the_best_baseline(
    beside: dict[str, dict[str, float]], says: str
) -> None:
    assert state_quality(make_evaluation(**beside), METRICS) == says
    assert state_quality({"n": 3, "split": "test"}, METRICS) == ""


@pytest.mark.parametrize(
    ("metric", "error", "says"),
    [
        ("bits", 0.25, "worse than"),
        ("bits", 0.26, "no measurable difference to"),
        ("time", 0.26, "worse than"),
    ],
)
def test_a_difference_below_two_standard_errors_counts_as_none(
    metric: str, error: float, says: str
) -> None:
    evaluation = make_evaluation(a={"bits": 2.0}, b={"bits": 0.5})
    evaluation["errors"] = {"a": {metric: error}, "b": {"bits": 9.0}}
    said = state_quality({**evaluation, "beside": {"a": {"bits": 2.0}}}, METRICS)
    assert said == f"bits 2.50 bits: {says} a (2.00 bits)"
    assert "no measurable difference to b" in state_quality(evaluation, METRICS)


def test_a_known_error_of_an_accuracy_replaces_that_of_unpaired_samples() -> None:
    evaluation = make_evaluation(a={"accuracy": 0.55})
    evaluation["errors"] = {"a": {"accuracy": 0.02}}
    assert "better than a" in state_quality(evaluation, METRICS)
