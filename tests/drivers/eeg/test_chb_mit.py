"""CHB-MIT: times from the summaries, channels by name, and what is left out and why."""

from pathlib import Path

import numpy as np
import pytest
from eeg_files import DUPLICATED, make_noise, write_chb_mit, write_edf

from drivers.eeg.chb_mit import (
    CHANNELS,
    parse_summary,
    place_files,
    read_patient,
)
from drivers.eeg.recordings import BadSignalsError, SeizureTable, require_signals

pytest.importorskip("edfio")
FILES = [("chb01_01.edf", "23:59:50", 12), ("chb01_02+.edf", "00:00:04", 10)]
QUIRKS = """
Data Sampling Rate: 256 Hz
Channels changed:
Channel 1: FP1-F7

File Name: chb09_08.edf
File Start Time: 20:22:17
File End Time: 24:22:17
Number of Seizures in File: 2
Seizure 1 Start Time: 2951 seconds
Seizure 1 End Time: 3030 seconds
Seizure 2 Start Time:             9196 sec
Seizure 1 End Time: 9267 seconds

File Name: chb09_09.edf
File Start Time: 24:22:22
File End Time: 25:22:22
Number of Seizures in File: 0

File Name: chb09_10.edf
File Start Time: 5:00:00
File End Time: 6:00:00
Number of Seizures in File: 1
Seizure Start Time: 10 seconds
Seizure End Time: 20 seconds

File Name: chb09_11.edf
File Start Time: 4:59:59
File End Time: 5:59:59
Number of Seizures in File: 0
"""


def test_files_and_seizures_stand_on_one_axis_of_time(tmp_path: Path) -> None:
    write_chb_mit(tmp_path / "chb01", FILES, {"chb01_02+.edf": [(2, 5)]})
    patient = read_patient(tmp_path / "chb01")
    assert (patient.patient, patient.rate, patient.channels) == ("chb01", 256.0, CHANNELS)
    assert [(f.start, f.stop) for f in patient.files] == [(0, 12), (14, 24)]  # over midnight
    assert (patient.seizures.start.tolist(), patient.seizures.stop.tolist()) == ([16], [19])
    assert patient.notes == ()


def test_channels_are_found_by_name_and_the_first_of_two_counts(tmp_path: Path) -> None:
    write_chb_mit(tmp_path / "chb01", FILES, {})
    patient = read_patient(tmp_path / "chb01")
    noise = make_noise(12, len(DUPLICATED), 0)
    assert abs(patient.read(0, 100, 50) - noise[:18, 100:150]).max() < 1e-3
    reverse = [CHANNELS[-1].lower(), "-", *(["T7-P7", "P7-T7"]), *CHANNELS[:2]]
    rest = [c for c in CHANNELS[3:-1]]
    labels = [*reverse[:2], "P7-T7", *CHANNELS[:2], *rest]
    write_chb_mit(tmp_path / "chb02", [("a.edf", "1:00:00", 2)], {}, labels)
    other = read_patient(tmp_path / "chb02")
    noise = make_noise(2, len(labels), 0)
    read = other.read(0, 0, 512)
    assert abs(read[17] - noise[0]).max() < 1e-3
    assert abs(read[2] + noise[2]).max() < 1e-3  # P7-T7 is T7-P7 the other way round
    assert abs(read[0] - noise[3]).max() < 1e-3


def test_a_summary_is_read_with_its_quirks(tmp_path: Path) -> None:
    path = tmp_path / "chb09-summary.txt"
    path.write_text(QUIRKS)
    entries = parse_summary(path)
    assert [e.count for e in entries] == [2, 0, 1, 0]
    assert (entries[0].starts, entries[0].stops) == ((2951, 9196), (3030, 9267))
    starts = place_files(entries)
    assert np.diff([*starts.values()]).tolist() == [4 * 3600 + 5, 16658, 86399]


@pytest.mark.parametrize(
    ("times", "why"),
    [
        ([(10, 10)], "a.edf: a seizure ends before it starts"),
        ([(20, 30), (50, 40)], "a.edf: a seizure ends before it starts"),
        ([(10, 20), (19, 30)], "a.edf: seizures overlap, or are not in order"),
        ([(30, 40), (10, 20)], "a.edf: seizures overlap, or are not in order"),
        ([(10, 20), (20, 30)], ""),
    ],
)
def test_seizures_have_a_length_and_follow_each_other(
    times: list[tuple[int, int]], why: str, tmp_path: Path
) -> None:
    lines = ["File Name: a.edf", "File Start Time: 1:00:00"]
    lines += [f"Number of Seizures in File: {len(times)}"]
    for start, stop in times:
        lines += [f"Seizure Start Time: {start} seconds", f"Seizure End Time: {stop} seconds"]
    (tmp_path / "a-summary.txt").write_text("\n".join(lines))
    if why:
        with pytest.raises(ValueError, match=why):
            parse_summary(tmp_path / "a-summary.txt")
        return
    (entry,) = parse_summary(tmp_path / "a-summary.txt")
    assert list(zip(entry.starts, entry.stops, strict=True)) == times


def test_a_gap_without_dates_is_noted(tmp_path: Path) -> None:
    files = [("a.edf", "1:00:00", 2), ("b.edf", "00:30:00", 2)]
    write_chb_mit(tmp_path / "chb17", files, {})
    (note,) = read_patient(tmp_path / "chb17").notes
    assert note.startswith("b.edf starts 23.5 h after a.edf: the summary has no dates")
    files = [("a.edf", "1:00:00", 12), ("b.edf", "1:00:05", 2)]
    write_chb_mit(tmp_path / "chb18", files, {})
    (note,) = read_patient(tmp_path / "chb18").notes
    assert note == "b.edf starts 7 s before a.edf ends: their windows overlap"


def test_what_a_patient_lacks_is_left_out_with_a_reason(tmp_path: Path) -> None:
    write_chb_mit(tmp_path / "chb01", FILES, {"chb01_01.edf": [(1, 2)]})
    few = [n for n in DUPLICATED if n not in ("FZ-CZ", "CZ-PZ")]
    write_edf(tmp_path / "chb01" / "chb01_01.edf", make_noise(12, len(few), 0), few)
    write_edf(tmp_path / "chb01" / "extra.edf", make_noise(1, len(few), 0), few)
    write_chb_mit(tmp_path / "chb13", [("d.edf", "1:00:00", 2), ("e.edf", "2:00:00", 2)], {})
    (tmp_path / "chb13" / "d.edf").unlink()
    unit = make_noise(2, len(DUPLICATED), 0)
    write_edf(tmp_path / "chb13" / "e.edf", unit, DUPLICATED, unit="mV")
    write_chb_mit(tmp_path / "chb24", [("f.edf", "1:00:00", 2)], {})
    summary = tmp_path / "chb24" / "chb24-summary.txt"
    lines = summary.read_text().splitlines()
    summary.write_text("\n".join(n for n in lines if "Time" not in n))
    patient = read_patient(tmp_path / "chb01")
    assert len(patient.files) == 1
    assert patient.seizures.start.tolist() == [1]  # known, though not recorded
    assert patient.notes == (
        "chb01_01.edf is left out: it lacks FZ-CZ, CZ-PZ; channels are found by name",
        "extra.edf is left out: the summary does not name it",
    )
    with pytest.raises(ValueError, match=r"chb13: no file is left; choose another") as error:
        read_patient(tmp_path / "chb13")
    assert "d.edf is left out: it is not there; fetch chb-mit" in str(error.value)
    assert "e.edf is left out: its unit is mv, not uV" in str(error.value)
    with pytest.raises(ValueError, match=r"chb24: the summary gives no start time of f.edf"):
        read_patient(tmp_path / "chb24")


def test_all_damage_of_a_patient_is_said_at_once(tmp_path: Path) -> None:
    write_chb_mit(tmp_path / "chb01", FILES, {"chb01_01.edf": [(1, 2)]})
    for file in ("chb01/chb01_01.edf", "chb01/chb01_02+.edf"):
        data = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(data[:-100])
    with pytest.raises(ValueError, match="no EDF file") as error:
        read_patient(tmp_path / "chb01")
    assert str(error.value).count("truncated") == str(error.value).count("fetch") == 2
    summary = tmp_path / "chb01" / "chb01-summary.txt"
    text = summary.read_text().replace("Seizure End Time: 2 seconds", "Seizure End Time: 0.5 s")
    summary.write_text(
        text + "File Name: chb01_01.edf\n" + 2 * "Number of Seizures in File: 0\n"
    )
    with pytest.raises(ValueError, match=r"chb01-summary.txt: line") as error:
        read_patient(tmp_path / "chb01")
    told = str(error.value)
    assert "is 'Seizure End Time: 0.5 s', which is not read" in told
    assert "chb01_01.edf stands there twice" in told
    assert "is a second count of chb01_01.edf" in told
    assert "chb01_01.edf has 1 seizures, with 1 starts and 0 ends" in told
    assert "fetch chb-mit" in told


def test_a_seizure_behind_the_end_of_its_file_is_refused(tmp_path: Path) -> None:
    write_chb_mit(tmp_path / "chb01", FILES, {"chb01_01.edf": [(1, 2), (9, 40)]})
    with pytest.raises(ValueError, match=r"lasts 12 s, and the summary has .* until 40 s"):
        read_patient(tmp_path / "chb01")


def test_many_missing_channels_are_told_in_few_words(tmp_path: Path) -> None:
    write_chb_mit(tmp_path / "chb12", [("c.edf", "1:00:00", 2)], {}, ["FP1-F7", "EKG"])
    with pytest.raises(
        ValueError, match=r"c.edf is left out: it lacks F7-T7, T7-P7.* and 11 more"
    ):
        read_patient(tmp_path / "chb12")


def test_constant_channels_and_no_numbers_are_told_by_name(tmp_path: Path) -> None:
    x = np.float32([[1, 2], [3, 3], [np.nan, 1], [np.inf, np.inf]])
    holds = "holds what is no finite number"
    told = f"^here: channel b is constant; channel c {holds}; channel d {holds}; leave this"
    with pytest.raises(BadSignalsError, match=told):
        require_signals(x, ("a", "b", "c", "d"), "here")
    write_chb_mit(tmp_path / "chb01", FILES, {})
    flat = make_noise(12, len(DUPLICATED), 0)
    flat[3:5, 256:512] = 7
    write_edf(tmp_path / "chb01" / "chb01_01.edf", flat, DUPLICATED)
    patient = read_patient(tmp_path / "chb01")
    patient.read(0, 0, 300)
    with pytest.raises(ValueError, match=r"P7-O1 is constant; channel FP1-F3 is con.*; leave"):
        patient.read(0, 256, 256)


def test_a_table_of_seizures_is_ordered_and_each_has_a_length() -> None:
    with pytest.raises(ValueError, match=r"not in the order.*seizure 2 starts at 3.*correct"):
        SeizureTable(start=np.array([5.0, 3.0]), stop=np.array([6.0, 3.0]))


def test_many_lines_that_are_not_read_are_told_in_few_words(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Seizure 1 Start Time: soon\n" * 30)
    with pytest.raises(
        ValueError, match="line 12 is 'Seizure 1 Start Time: soon', which"
    ) as told:
        parse_summary(tmp_path / "a.txt")
    assert "which is not read; and 19 more; fetch" in str(told.value)
