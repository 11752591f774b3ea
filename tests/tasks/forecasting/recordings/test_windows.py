"""Windows of recordings: classes around seizures, splits by seizure, what cannot be used."""

from pathlib import Path

import numpy as np
import pytest
from eeg_files import DUPLICATED, make_noise, write_chb_mit, write_edf
from hypothesis import given, strategies as st

from drivers.eeg import PatientRecordings, RecordedFile, SeizureTable
from drivers.eeg.chb_mit import load
from drivers.eeg.edf import EdfChannel, EdfFile
from tasks.forecasting.recordings import (
    EegWindows,
    WindowRules,
    count_samples,
    draw_balanced,
    drop_unreadable,
    find_usable,
    label_all,
    label_windows,
    leave_one_seizure_out,
)

HOUR = 3600.0


def make_patient(
    files: list[tuple[float, float]], seizures: list[tuple[float, float]]
) -> PatientRecordings:
    """Return recordings from start to stop [s] of which no sample is ever read."""
    channel = EdfChannel(label="x", unit="uV", samples=4, at=0, gain=1.0, offset=0.0)
    recorded = [
        RecordedFile(
            edf=EdfFile(
                path=Path("none"),
                channels=(channel,),
                records=int(stop - start),
                seconds=1.0,
                width=4,
                start=512,
            ),
            start=float(start),
            channels=(0,),
            signs=(1,),
        )
        for start, stop in files
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
    windows = label_windows(patient, WindowRules())
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
    rules = WindowRules(seconds=1.0, sph=float(sph), sop=float(sop), distance=60.0, gap=0.0)
    try:
        windows = label_windows(patient, rules)
    except ValueError:
        return
    start = list_starts(patient, windows)
    table = patient.seizures
    for s, label, which in zip(start, windows.label, windows.seizure, strict=True):
        if label:
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
    usable, reasons = find_usable(patient, WindowRules())
    assert usable.tolist() == [False, True, False, False, True]
    assert reasons == [
        "seizure 1 at 1000 s: its preictal period lacks 1100 s of recording at one place",
        "seizure 3 at 21000 s: it starts 1900 s after the one before it",
        "seizure 4 at 33200 s: its preictal period lacks 100 s of recording at one place",
    ]
    found = label_windows(patient, WindowRules())
    assert set(found.seizure) == {-1, 1, 4}
    assert (found.seizure == 1).sum() == 59  # none spans the pause


def test_a_seizure_in_a_file_that_is_left_out_still_keeps_interictal_windows_away() -> None:
    seizures = [(5 * HOUR, 5 * HOUR + 1), (15 * HOUR, 15 * HOUR + 1)]
    patient = make_patient([(10 * HOUR, 30 * HOUR)], seizures)
    far = list_starts(patient, w := label_windows(patient, WindowRules()))[w.label == 0]
    assert far.min() == 10 * HOUR
    assert not ((far > 11 * HOUR - 30) & (far < 19 * HOUR + 1)).any()


def test_patients_without_a_usable_seizure_are_told_with_reasons() -> None:
    short = make_patient([(0, 1000)], [(500, 510)])
    healthy = make_patient([(0, HOUR)], [])
    good = make_patient([(0, 20 * HOUR)], [(10 * HOUR, 10 * HOUR + 60)])
    found, skipped = label_all([short, good, healthy], WindowRules())
    assert [p for p, _ in found] == [good]
    assert skipped[0].why.startswith("p: no usable seizure: seizure 1 at 500 s: its preictal")
    assert "no window is 4 h from every seizure; give a smaller distance" in skipped[0].why
    assert skipped[1].why == "p: no usable seizure: it has no seizure"
    with pytest.raises(ValueError, match="no patient has windows of both") as error:
        label_all([short, healthy], WindowRules())
    assert len(str(error.value).splitlines()) == 3


def test_rules_that_do_not_hold_together_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"seconds is 0.0 s; give at least 1") as error:
        WindowRules(seconds=0.0, sph=-1.0, distance=100.0)
    assert "sph is -1.0 s; give at least 0" in str(error.value)
    assert "distance is 100.0 s, within sph + sop" in str(error.value)


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
    folds = leave_one_seizure_out(windows)
    assert [f.seizures for f in folds] == [(k,) for k in range(seizures)]
    validated = [set(windows.seizure[f.val]) - {-1} for f in folds]
    assert validated == [{(k + 1) % seizures} for k in range(seizures)]  # the next one
    tested = np.concatenate([f.test for f in folds])
    assert sorted(tested) == list(range(len(windows.label)))
    for fold in folds:
        parts = (fold.train, fold.val, fold.test)
        assert sorted(np.concatenate(parts)) == list(range(len(windows.label)))
        each = [set(windows.seizure[p][windows.label[p] == 1]) for p in parts]
        assert sum(len(s) for s in each) == seizures  # no seizure in two parts
        assert all((windows.label[p] == 0).any() for p in parts)


def test_too_few_seizures_are_refused() -> None:
    with pytest.raises(ValueError, match="2 seizures and 9 interictal windows: give a"):
        leave_one_seizure_out(make_windows(2, 2, 9))


def test_training_alone_is_balanced() -> None:
    windows = make_windows(4, 3, 60)
    split = leave_one_seizure_out(windows)[0]
    drawn = [draw_balanced(windows, split.train, 0, epoch) for epoch in (0, 0, 1)]
    for own in drawn:
        assert len(own) == len(set(own)) == 12
        assert windows.label[own].sum() == 6
        assert set(own) <= set(split.train)
        assert not (np.diff(windows.label[own]) >= 0).all()  # as released, sorted by class
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert windows.label[split.test].mean() < 0.2  # all windows, as they are
    with pytest.raises(ValueError, match=r"\[0, 3\] windows of the classes"):
        draw_balanced(windows, np.flatnonzero(windows.seizure == 0), 0, 0)


def test_samples_of_a_window_are_whole_half_seconds() -> None:
    assert count_samples(256.0, 30.0) == 7680
    assert count_samples(399.6097561, 30.0) == 12_000
    assert count_samples(5000.0, 30.0) == 150_000


def test_windows_with_a_constant_channel_are_dropped_with_a_reason(tmp_path: Path) -> None:
    files = [("a.edf", "1:00:00", 30)]
    write_chb_mit(tmp_path / "chb01", files, {"a.edf": [(20, 22)]})
    flat = make_noise(30, len(DUPLICATED), 0)
    flat[3, 256:512] = 7
    write_edf(tmp_path / "chb01" / "a.edf", flat, DUPLICATED)
    rules = WindowRules(seconds=1.0, sph=1.0, sop=4.0, distance=5.0)
    (patient,) = load(tmp_path).patients
    windows = label_windows(patient, rules)
    kept, skipped = drop_unreadable(patient, windows)
    assert len(kept.label) == len(windows.label) - 1
    assert skipped[0].name == "chb01, window 1"
    assert "channel P7-O1 is constant; leave this part out" in skipped[0].why
