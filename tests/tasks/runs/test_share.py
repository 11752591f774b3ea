"""What loops report of the work that is done."""

from collections.abc import Iterator

import pytest

from tasks.runs.share import REPORT, TEST_BATCHES, report_share, track, track_test

Told = list[tuple[str, float]]


@pytest.fixture
def told() -> Iterator[Told]:
    found: Told = []
    token = REPORT.set(lambda what, share: found.append((what, share)))
    yield found
    REPORT.reset(token)


def test_a_loop_reports_the_share_of_its_items_and_of_loops_inside_them(told: Told) -> None:
    def make() -> Iterator[str]:
        for item in "abc":
            report_share("making", 0.25)
            yield item

    for _ in track("outer", make(), 2):  # the third is more than said
        for _ in track("inner", [5, 6]):
            report_share("halves", 0.5)
    shares = [0.25, 0.25, 0.5, 0.75, 1.0, 1.0]  # making, half, one, one and a half, two, whole
    assert told[:12] == [("outer", (k + share) / 2) for k in range(2) for share in shares]
    assert set(told[12:]) == {("outer", 1.0)}
    for _ in track("left", "abc"):
        break
    report_share("later", 0.125)
    assert told[-1] == ("later", 0.125)


def test_items_count_by_their_work_and_what_follows_them_counts_too(told: Told) -> None:
    for item in track("outer", "ab", work=(1, 3)):
        for _ in track("inner", "x", work=(4, 12)):
            report_share("half", 0.5)
        if item == "b":
            report_share("follows", 0.5)
    shares = [0.125, 0.25, 1.0, 0.125, 0.25, 0.5, 1.0]
    begun = [(0, 1)] * 3 + [(1, 3)] * 4
    assert told == [("outer", (b + w * x) / 4) for (b, w), x in zip(begun, shares, strict=True)]


def test_only_what_has_a_length_and_a_reader_is_reported(told: Told) -> None:
    token = TEST_BATCHES.set(4)
    assert list(track_test(iter("ab"), "val")) == ["a", "b"]
    assert list(track("outer", iter("ab"))) == ["a", "b"]
    assert told == []
    assert list(track_test(iter("ab"))) == ["a", "b"]
    assert told == [("test batches", 0.25), ("test batches", 0.5)]
    TEST_BATCHES.reset(token)
    REPORT.set(None)
    assert list(track("outer", "ab")) == ["a", "b"]
    assert len(told) == 2
