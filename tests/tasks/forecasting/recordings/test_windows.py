"""Windows of recordings: classes around seizures, splits by seizure, what cannot be used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from drivers.eeg import PatientRecordings, RecordedFile, SeizureTable
from tasks.forecasting.recordings import (
    ICTAL,
    EegWindows,
    RecordingConfig,
    chb_mit,
    draw_balanced,
    find_later,
    find_usable,
    kaggle,
    label_windows,
    split_windows,
)
from tasks.forecasting.spectrograms import count_samples
from tasks.runs.configuration import require_sound

HOUR = 3600.0


def read_nothing(*_: object) -> np.ndarray:
    raise AssertionError


def make_patient(
    files: list[tuple[float, float]], seizures: list[tuple[float, float]]
) -> PatientRecordings:
    """Return recordings from start to stop [s] of which no sample is ever read."""
    recorded = [
        RecordedFile(
            path=Path("none"),
            duration=stop - start,
            read=read_nothing,
            start=start,
            channels=(0,),
            signs=(1,),
        )
        for start, stop in [(float(a), float(b)) for a, b in files]
    ]
    start, stop = np.array(seizures, np.float64).reshape(-1, 2).T
    return PatientRecordings(
        patient="p",
        files=tuple(recorded),
        channels=("x",),
        rate=4.0,
        seizures=SeizureTable(start=start, stop=stop),
    )


def list_starts(patient: PatientRecordings, windows: EegWindows) -> np.ndarray:
    return np.array([patient.files[k].start for k in windows.file]) + windows.first / 4


def test_classes_around_one_seizure() -> None:
    patient = make_patient([(0, 20 * HOUR)], [(10 * HOUR, 10 * HOUR + 60)])
    windows, _ = label_windows(patient, RecordingConfig())
    start = list_starts(patient, windows)
    before = start[windows.label == 1]
    assert len(before) == 60  # half an hour of 30 s
    assert (before[0], before[-1]) == (10 * HOUR - 2100, 10 * HOUR - 330)
    far = start[windows.label == 0]
    assert far[far < 10 * HOUR].max() == 6 * HOUR - 30
    assert far[far > 10 * HOUR].min() == 14 * HOUR + 60
    assert (len(far), windows.count) == (720 + 718, 120)
    assert set(windows.seizure[windows.label == 1]) == {0}
    assert set(windows.seizure[windows.label == 0]) == {-1}
    ictal = start[windows.label == ICTAL]  # one per second, by the middle
    assert (len(ictal), ictal[0], ictal[-1]) == (60, 10 * HOUR - 15, 10 * HOUR + 44)


@pytest.mark.slow
@given(
    st.lists(st.integers(0, 4000), min_size=1, max_size=5, unique=True),
    st.integers(0, 30),
    st.integers(1, 20),
)
def test_no_window_of_a_class_is_where_it_must_not_be(
    onsets: list[int], sph: int, sop: int
) -> None:
    seizures = [(float(s), s + 5.0) for s in sorted(onsets)]
    patient = make_patient([(0.0, 2000.0), (2010.0, 4500.0)], seizures)
    lengths = {"sph": float(sph), "sop": float(sop)}
    config = RecordingConfig(seconds=1.0, distance=60.0, gap=0.0, **lengths)  # type: ignore[arg-type]
    windows, _ = label_windows(patient, config)
    start = list_starts(patient, windows)
    table = patient.seizures
    for s, label, which in zip(start, windows.label, windows.seizure, strict=True):
        if label == ICTAL:
            assert table.start[which] <= s + 0.5 < table.stop[which]
        elif label:
            lead = table.start[which] - s
            assert sph + 1 <= lead <= sph + sop
            assert not ((s < table.stop) & (s + 1 > table.start)).any()
        else:
            assert ((s + 1 <= table.start - 60) | (s >= table.stop + 60)).all()


def test_a_seizure_needs_its_own_recorded_half_hour() -> None:
    files = [(0, 5 * HOUR), (5 * HOUR + 10, 9 * HOUR), (9 * HOUR + 100, 24 * HOUR)]
    seizures = [
        (1000.0, 1010.0),  # not recorded long enough
        (5 * HOUR + 1000, 5 * HOUR + 1100),  # over a short pause
        (5 * HOUR + 3000, 5 * HOUR + 3100),  # soon after another
        (9 * HOUR + 800, 9 * HOUR + 850),  # over a long pause
        (18 * HOUR, 18 * HOUR + 9),
    ]
    patient = make_patient(files, seizures)
    usable, reasons = find_usable(patient, RecordingConfig())
    assert usable.tolist() == [False, True, False, False, True]
    assert reasons == [
        "seizure 1 at 1000 s: its preictal period lacks 1100 s of recording at one place",
        "seizure 3 at 21000 s: it starts 1900 s after the one before it",
        "seizure 4 at 33200 s: its preictal period lacks 100 s of recording at one place",
    ]
    found, told = label_windows(patient, RecordingConfig())
    assert told == reasons
    assert set(found.seizure[found.label != ICTAL]) == {-1, 1, 4}
    assert set(found.seizure[found.label == ICTAL]) == {0, 1, 2, 3, 4}
    assert ((found.seizure == 1) & (found.label == 1)).sum() == 59  # none spans the pause


def test_a_seizure_in_a_file_that_is_left_out_still_keeps_interictal_windows_away() -> None:
    seizures = [(5 * HOUR, 5 * HOUR + 1), (15 * HOUR, 15 * HOUR + 1)]
    patient = make_patient([(10 * HOUR, 30 * HOUR)], seizures)
    windows, _ = label_windows(patient, RecordingConfig())
    far = list_starts(patient, windows)[windows.label == 0]
    assert far.min() == 10 * HOUR
    assert not ((far > 11 * HOUR - 30) & (far < 19 * HOUR + 1)).any()


def test_ictal_windows_lie_in_one_file() -> None:
    patient = make_patient([(0, 100), (100, 200)], [(99.0, 103.0), (190.0, 192.0)])
    config = RecordingConfig(seconds=4.0, sph=0.0, sop=20.0, distance=20.0)
    windows, _ = label_windows(patient, config)
    ictal = windows.take(np.flatnonzero(windows.label == ICTAL))
    assert list_starts(patient, ictal).tolist() == [100, 188, 189]  # middles 99 to 101 span two
    assert ictal.seizure.tolist() == [0, 1, 1]


def test_what_does_not_fit_is_refused_at_once() -> None:
    for config in (chb_mit(), kaggle(), RecordingConfig(sop=30.0, distance=330.0, sph=300.0)):
        require_sound(config)
    wrong = RecordingConfig(sop=20.0, distance=319.0, arm="population", tau=3.0)
    with pytest.raises(ValueError, match=r"sop is 20.0; it must be >= seconds, 30.0") as error:
        require_sound(wrong)
    assert "distance is 319.0; it must be >= 320.0, sph and sop" in str(error.value)
    assert "tau is 3.0; it must be 8.0 for recordings" in str(error.value)
    assert "two classes, which have no places between them" in str(error.value)
    for arm in ("future", "shuffled"):
        with pytest.raises(ValueError, match="has no seizure that a teacher could see"):
            require_sound(replace(kaggle(), arm=arm))
    with pytest.raises(ValueError, match="source is lorenz; it must be a recording"):
        require_sound(RecordingConfig(source="lorenz"))


def make_windows(seizures: int, before: int, far: int) -> EegWindows:
    which = np.repeat(np.arange(seizures), before)
    gap = np.full(far, -1)
    seizure = np.concatenate([gap[: far // 2], which, gap[far // 2 :]])
    count = len(seizure)
    return EegWindows(
        count=1,
        file=np.zeros(count, np.int64),
        first=np.arange(count),
        label=(seizure >= 0).astype(np.int64),
        seizure=seizure,
    )


@given(st.integers(3, 7), st.integers(1, 4), st.integers(7, 30))
def test_every_seizure_is_tested_once_and_no_window_is_in_two_parts(
    seizures: int, before: int, far: int
) -> None:
    windows = make_windows(seizures, before, far)
    folds = [split_windows(windows, k + 1) for k in range(seizures)]
    for part, later in (("test", 0), ("val", 1)):  # the next one validates
        shown = [set(windows.seizure[f[part]]) - {-1} for f in folds]  # type: ignore[index]
        assert shown == [{(k + later) % seizures} for k in range(seizures)]
    tested = np.concatenate([f["test"] for f in folds])
    assert sorted(tested) == list(range(len(windows.label)))
    for fold in [*folds, split_windows(windows, 0)]:
        assert sorted(np.concatenate([*fold.values()])) == list(range(len(windows.label)))
        each = [set(windows.seizure[p][windows.label[p] == 1]) for p in fold.values()]
        assert sum(len(s) for s in each) == seizures  # no seizure in two parts
        assert all((windows.label[p] == 0).any() for p in fold.values())


@pytest.mark.parametrize(("seizures", "last"), [(3, 1), (5, 1), (6, 2), (9, 3)])
def test_as_published_the_last_third_is_tested(seizures: int, last: int) -> None:
    windows = make_windows(seizures, 2, 30)
    parts = split_windows(windows, 0)
    assert set(windows.seizure[parts["test"]]) == {-1, *range(seizures - last, seizures)}
    assert set(windows.seizure[parts["val"]]) == {-1, seizures - last - 1}


def test_too_few_seizures_are_refused() -> None:
    for seizures, far, tested in ((2, 9, 0), (4, 3, 0), (4, 9, 5)):
        told = (
            f"{seizures} usable seizures and {far} interictal windows, and tested is {tested}"
        )
        with pytest.raises(ValueError, match=f"{told}: choose"):
            split_windows(make_windows(seizures, 2, far), tested)
    split_windows(make_windows(4, 2, 4), 4)


def test_the_teacher_sees_the_seizure_and_later_windows() -> None:
    windows = make_windows(4, 3, 8)  # 0-3 far, 4-15 before seizures, 16-19 far
    shown = replace(
        windows,
        **{
            k: np.append(getattr(windows, k), [v, v, v]) for k, v in (("file", 0), ("first", 0))
        },
        label=np.append(windows.label, [ICTAL, ICTAL, ICTAL]),
        seizure=np.append(windows.seizure, [0, 0, 1]),
    )
    train = np.array([0, 1, 2, 4, 5, 6, 7, 9, 16])
    later = find_later(shown, train, ahead=2)
    assert later[train].tolist() == [2, 16, 16, 20, 21, 20, 22, 22, 16]
    assert later[3] == 3  # not in training
    with pytest.raises(
        ValueError, match="seizure 3 is not recorded, so a teacher cannot see it"
    ):
        find_later(shown, np.array([0, 10]), ahead=2)


def test_training_alone_is_balanced() -> None:
    windows = make_windows(4, 3, 60)
    split = split_windows(windows, 1)
    drawn = [draw_balanced(windows, split["train"], 0, epoch) for epoch in (0, 0, 1)]
    for own in drawn:
        assert len(own) == len(set(own)) == 12
        assert windows.label[own].sum() == 6
        assert set(own) <= set(split["train"])
        assert not (np.diff(windows.label[own]) >= 0).all()  # as released, sorted by class
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert windows.label[split["test"]].mean() < 0.2  # all windows, as they are
    with pytest.raises(ValueError, match=r"\[0, 3\] windows of the classes"):
        draw_balanced(windows, np.flatnonzero(windows.seizure == 0), 0, 0)


def test_samples_of_a_window_are_whole_half_seconds() -> None:
    assert count_samples(256.0, 30.0) == 7680
    assert count_samples(399.6097561, 30.0) == 12_000
    assert count_samples(5000.0, 30.0) == 150_000
