import numpy as np

from drivers.intervals import INTERVALS, STARTS, Part, enumerate_intervals


def test_every_start_has_every_interval_once() -> None:
    assert INTERVALS == (0, 2, 4, 6, 8, 10, 12, 14, 16, 18)
    for part, size in (("train", 320), ("val", 160), ("test", 160)):
        d = enumerate_intervals(part)  # type: ignore[arg-type]
        assert d.times.shape == (size, 2)
        assert np.array_equal(d.times[:, 1] - d.times[:, 0], 2 * d.labels)
        assert np.bincount(d.labels).tolist() == [size // 10] * 10
        assert len({*map(tuple, d.times.tolist())}) == size


def test_the_parts_share_no_start_and_have_them_all() -> None:
    parts: tuple[Part, ...] = ("train", "val", "test")
    starts = [{*enumerate_intervals(part).times[:, 0].tolist()} for part in parts]
    assert sum(map(len, starts)) == len(set.union(*starts)) == STARTS == 64
    assert starts[1] == {*range(1, 64, 4)}
