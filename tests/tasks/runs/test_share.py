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
        for item in "ab":
            report_share("making", 0.25)
            yield item

    for _ in track("outer", make(), 2):
        for _ in track("inner", [5, 6]):
            report_share("halves", 0.5)
    shares = [0.25, 0.25, 0.5, 0.75, 1.0, 1.0]  # making, half, one, one and a half, two, whole
    assert told == [("outer", (k + share) / 2) for k in range(2) for share in shares]
    report_share("later", 0.125)
    assert told[-1] == ("later", 0.125)


def test_a_loop_that_is_left_reports_no_more_and_more_items_than_said_are_whole(
    told: Told,
) -> None:
    for _ in track("outer", "abc"):
        break
    report_share("later", 0.5)
    assert told == [("later", 0.5)]
    told.clear()
    assert list(track("outer", "abc", 2)) == list("abc")
    assert told == [("outer", 0.5), ("outer", 1.0), ("outer", 1.0)]


def test_without_a_length_or_a_reader_nothing_is_reported(told: Told) -> None:
    assert list(track("outer", iter("ab"))) == ["a", "b"]
    assert list(track("outer", "ab", 0)) == ["a", "b"]
    REPORT.set(None)
    assert list(track("outer", "ab")) == ["a", "b"]
    report_share("outer", 0.5)
    assert told == []


def test_batches_of_the_test_split_alone_are_reported(told: Told) -> None:
    token = TEST_BATCHES.set(4)
    assert list(track_test(iter("ab"), "val")) == ["a", "b"]
    assert told == []
    assert list(track_test(iter("ab"))) == ["a", "b"]
    assert told == [("test batches", 0.25), ("test batches", 0.5)]
    TEST_BATCHES.reset(token)
