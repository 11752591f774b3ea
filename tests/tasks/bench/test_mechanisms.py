"""What is measured beside neuro is neuro: it spikes alike without each of its mechanisms."""

import pytest

from tasks.bench.comparison import Case
from tasks.bench.harness import measure
from tasks.bench.mechanisms import CASES, WITH, WITHOUT

CASE_LIST = [case for part in CASES.values() for case in part(True)]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASE_LIST, ids=lambda case: case.name)
def test_without_a_mechanism_the_same_spikes_are_counted(case: Case) -> None:
    found = measure(case.subjects, 1)
    assert [m.problem for m in found.values()] == ["", ""]
    counted = {run.counted for m in found.values() for run in m.runs}
    assert len(counted) == 1
    assert found.keys() == {WITH, WITHOUT}
