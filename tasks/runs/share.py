"""The share of a verb's work that is done: loops report it, the command line shows it.

Without a command line that shows it, nothing is reported.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Report = Callable[[str, float], object]  # (what is being done, share of it from 0 to 1)
REPORT: ContextVar[Report | None] = ContextVar("report", default=None)
TEST_BATCHES: ContextVar[int] = ContextVar("test_batches", default=0)  # 0: not yet counted


def report_share(what: str, share: float) -> None:
    """Report that ``share`` of ``what``, from 0 to 1, is done."""
    if report := REPORT.get():
        report(what, share)


def track(
    what: str, items: Iterable[T], total: int | None = None, work: Sequence[int] = ()
) -> Iterator[T]:
    """Yield items, and report the share of them that is done.

    What is reported while one of them is made or used counts as a share of that item.

    total: the number of items; None: their length. 0: unknown, so that nothing is reported.
    work: of each item, in any unit, if items differ; more than there are items: what follows.
    """
    size = len(items) if total is None and isinstance(items, Sized) else total
    size = sum(work) if work else size
    report, done, step, left = REPORT.get(), 0, 1, iter(work)
    if not (report and size):
        yield from items
        return

    def report_part(_: str, share: float) -> None:
        report(what, min(1.0, (done + share * step) / size))

    REPORT.set(report_part)
    try:
        for item in items:
            step = next(left, 1)
            yield item
            done += step
            report_part(what, 0.0)
    finally:
        REPORT.set(report)


def track_test(batches: Iterable[T], split: str = "test") -> Iterator[T]:
    """Yield batches, and report their share if they are all of the test split."""
    total = TEST_BATCHES.get() if split == "test" else 0
    return track("test batches", batches, total)
