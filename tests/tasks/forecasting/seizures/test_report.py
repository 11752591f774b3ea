"""Events of a predictor: the threshold from validation, the figures from the test."""

from dataclasses import replace

from tasks.forecasting.alarms import raise_alarms
from tasks.forecasting.data import prepare
from tasks.forecasting.seizures import PreparedSeizures, measure_events, seizures_ann


def test_the_threshold_is_of_validation_and_all_figures_are_of_the_test() -> None:
    """A predictor that is always right in the test, and always wrong in validation."""
    config = replace(seizures_ann(), points=40_000)
    prepared = prepare(config)
    assert isinstance(prepared, PreparedSeizures)
    wrong = 0.7 - 0.5 * prepared.windows["val"].labels
    right = prepared.windows["test"].labels.astype(float)
    found = measure_events(config, prepared, {"val": wrong, "test": right})
    assert found.auc == 1.0
    assert found.threshold in wrong
    now = prepared.now["test"].astype(float)
    alarms = raise_alarms(now, right, found.threshold, float(config.sop))
    assert list(found.alarms) == alarms.tolist()
    assert found.score.alarms == len(alarms) > 0
    assert found.score.sensitivity == 1.0
    assert found.score.false == 0
    values = found.list_values()
    assert (values["auc"], values["false_alarms"]) == (1.0, 0.0)
