import numpy as np
import pytest

from drivers.event_camera.moving_bars import Part, generate


def test_a_part_is_so_many_clips_a_class_and_reads_the_same_every_time() -> None:
    train, test = generate("train", 34, 10), generate("test", 34, 10)
    assert np.bincount(train.labels).tolist() == [20] * 10
    assert np.bincount(test.labels).tolist() == [10] * 10
    assert train.source == "moving bars, train part, generated from seed 0, 200 clips"
    np.testing.assert_array_equal(train[7].time, train[7].time)
    assert [clip.label for clip in test] == test.labels.tolist()


def test_parts_seeds_and_clips_differ() -> None:
    clips = [
        generate("train", 16, 4)[0],
        generate("train", 16, 4)[4],
        generate("test", 16, 4)[0],
        generate("train", 16, 4, seed=1)[0],
    ]
    assert len({clip.time.tobytes() for clip in clips}) == 4


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("label", range(8))
def test_the_events_of_a_class_move_in_its_direction(part: Part, label: int) -> None:
    clip = generate(part, 32, 8)[label]
    on = clip.polarity == 1
    x, y, time = clip.x[on] - 15.5, clip.y[on] - 15.5, clip.time[on] - clip.time[on].mean()
    velocity = np.array([(x * time).sum(), (y * time).sum()])
    angle = np.arctan2(velocity[1], velocity[0]) - 2 * np.pi * label / 8
    assert np.cos(angle) > np.cos(2 * np.pi / 36)  # within ten degrees


def test_a_pixel_sees_on_before_off() -> None:
    clip = generate("train", 32, 4)[0]
    on, off = (np.median(clip.time[clip.polarity == p]) for p in (1, 0))
    assert off - on > 10_000
    assert clip.start == clip.time.min() >= 10_000
    assert np.all(np.diff(clip.time) >= 0)
