"""A sample of the damage that tests/mutate_inputs.py does: it finds nothing."""

import pytest
from damage import SUBJECTS
from mutate_inputs import run


@pytest.mark.parametrize("reader", SUBJECTS)
def test_a_damaged_file_is_refused_by_name_or_means_the_same(reader: str) -> None:
    count = 2 if SUBJECTS[reader].slow > 1 else 12
    _, findings = run(reader, range(count), seed=0)
    assert "\n".join(map(str, findings)) == ""
