import multiprocessing
import os
from collections.abc import Iterator
from itertools import islice

import pytest
import torch

from drivers.nuscenes.problem import NuScenesError, Problem
from neuro.base.seeds import seeded
from tasks.driving.data import read_ahead

PROBLEM = Problem(table="sample", token="abc", what="is bad", cure="mend it")


def count_up(end: int, first: int, every: int) -> Iterator[int]:
    yield from range(first, end, every)


def fail_at(bad: int, first: int, every: int) -> Iterator[int]:
    for k in range(first, 10, every):
        if k == bad:
            raise NuScenesError([PROBLEM])
        yield k


pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(autouse=True)
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.driving.data.cpu_count", lambda: 4)


def tell_process(first: int, every: int) -> Iterator[int]:
    return (os.getpid() for _ in range(first, 10, every))


@pytest.mark.parametrize("readers", [0, 1, 2, 3])
@pytest.mark.parametrize("end", [0, 1, 7])
def test_items_come_in_their_order_whoever_reads_them(readers: int, end: int) -> None:
    assert list(read_ahead(lambda k, n: count_up(end, k, n), readers)) == list(range(end))


@pytest.mark.parametrize("readers", [0, 1, 2])
def test_an_error_comes_in_the_place_of_its_item(readers: int) -> None:
    items = read_ahead(lambda k, n: fail_at(5, k, n), readers)
    assert list(islice(items, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(NuScenesError) as caught:
        next(items)
    assert caught.value.problems == (PROBLEM,)
    assert str(caught.value) == "sample abc: is bad; mend it"


def test_items_are_read_by_other_processes_which_end_with_their_reader() -> None:
    before = set(multiprocessing.active_children())
    items = read_ahead(tell_process, 2)
    found = {next(items) for _ in range(4)}
    assert len(found) == 2
    assert os.getpid() not in found
    items.close()  # type: ignore[attr-defined]
    assert set(multiprocessing.active_children()) == before


def test_no_more_processes_read_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.driving.data.cpu_count", lambda: 1)
    assert len(set(read_ahead(tell_process, 3))) == 1


@pytest.mark.parametrize(
    ("threads", "readers", "left"), [(3, 0, 3), (3, 1, 3), (3, 2, 2), (3, 4, 1), (1, 1, 1)]
)
def test_torch_has_the_cores_that_readers_leave(threads: int, readers: int, left: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for stop in (3, 10):  # whether all are taken or not
            items = read_ahead(lambda k, n: count_up(5, k, n), readers)
            assert {torch.get_num_threads() for _ in islice(items, stop)} == {left}
            items.close()  # type: ignore[attr-defined]
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_reading_ahead_draws_nothing_from_the_global_generator() -> None:
    with seeded(0):
        want = torch.rand(3)
    with seeded(0):
        assert list(read_ahead(lambda k, n: count_up(2, k, n), 1)) == [0, 1]
        assert torch.rand(3).equal(want)
