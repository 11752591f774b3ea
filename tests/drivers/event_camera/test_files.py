from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clips import clip_of, random_clip
from fake_data_sets import write_aedat2, write_aedat3, write_records
from hypothesis import given, strategies as st

from drivers.event_camera import Clip, files as event_files
from drivers.event_camera.files import HEADER, Columns, read_aedat2, read_aedat3, read_records

HEAD2 = b"#!AER-DAT2.0\r\n# Timestamps tick is 1 us\r\n"
HEAD3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"
Read = Callable[[str | Path, int], Columns]
Write = Callable[[str | Path, Clip], None]
FORMATS: list[tuple[Read, Write]] = [
    (read_records, write_records),
    (read_aedat2, write_aedat2),
    (read_aedat3, write_aedat3),
]


def file(folder: Path, data: bytes) -> Path:
    path = folder / "events"
    path.write_bytes(data)
    return path


def aedat3(*packets: tuple[tuple[int, ...], bytes]) -> bytes:
    return HEAD3 + b"".join(HEADER.pack(*header) + events for header, events in packets)


def events3(*words: int) -> bytes:
    return np.array(words, "<u4").tobytes()


def packet(n: int, overflow: int = 0, kind: int = 1) -> tuple[int, ...]:
    return (kind, 0, 8, 4, overflow, n, n, n)


def lists(columns: Columns) -> list[list[int]]:
    return [column.tolist() for column in columns]


class TestLayouts:
    def test_forty_bits_are_x_y_polarity_and_time(self, tmp_path: Path) -> None:
        path = file(tmp_path, bytes([33, 7, 0x80 | 0x12, 0x34, 0x56, 1, 2, 0x12, 0x34, 0x57]))
        assert lists(read_records(path, 34)) == [
            [33, 1], [7, 2], [1, 0], [0x123456, 0x123457], [0, 5],
        ]  # fmt: skip

    def test_row_240_is_no_event_but_8192_us_for_all_after_it(self, tmp_path: Path) -> None:
        records = [[1, 2, 0, 0, 9], [0, 240, 0, 0, 0], [3, 4, 128, 0, 10], [0, 240, 0, 0, 0],
                   [5, 6, 0, 0, 11]]  # fmt: skip
        path = file(tmp_path, np.array(records, np.uint8).tobytes())
        found = read_records(path, 34)
        assert found.time.tolist() == [9, 8192 + 10, 2 * 8192 + 11]
        assert found.x.tolist() == [1, 3, 5]
        assert found.offset.tolist() == [0, 10, 20]

    def test_an_aedat_2_address_is_y_x_and_polarity_big_endian(self, tmp_path: Path) -> None:
        words = [(5 << 8) | (9 << 1) | 1, 1000, 127 << 8, 1001]
        found = read_aedat2(file(tmp_path, HEAD2 + np.array(words, ">u4").tobytes()), 128)
        at = len(HEAD2)
        assert lists(found) == [[9, 0], [5, 127], [1, 0], [1000, 1001], [at, at + 8]]

    def test_signals_of_an_aedat_2_file_are_no_events(self, tmp_path: Path) -> None:
        words = [0x8000, 1, 0x8000_0000, 2, 0, 3]
        found = read_aedat2(file(tmp_path, HEAD2 + np.array(words, ">u4").tobytes()), 128)
        assert lists(found)[3:] == [[3], [len(HEAD2) + 16]]

    def test_an_aedat_3_event_is_x_y_and_polarity_little_endian(self, tmp_path: Path) -> None:
        data = aedat3(
            (packet(1, overflow=3), events3(9 << 17 | 5 << 2 | 1 << 1 | 1, 1)),
            (packet(2, overflow=3), events3(127 << 17, 7, 127 << 2, 8)),
        )
        found = read_aedat3(file(tmp_path, data), 128)
        assert found.x.tolist() == [9, 127, 0]
        assert found.y.tolist() == [5, 0, 127]
        assert found.polarity.tolist() == [1, 0, 0]
        assert found.time.tolist() == [3 * 2**31 + k for k in (1, 7, 8)]
        at = len(HEAD3) + 28
        assert found.offset.tolist() == [at, at + 36, at + 44]

    def test_packets_of_other_types_and_unused_places_are_passed_over(
        self, tmp_path: Path
    ) -> None:
        data = aedat3(
            ((2, 0, 36, 8, 0, 1, 1, 1), bytes(36)),
            ((1, 0, 8, 4, 0, 3, 1, 1), events3(1 << 17, 50, 99 << 17, 99, 0, 0)),
            (packet(1), events3(2 << 17, 51)),
        )
        found = read_aedat3(file(tmp_path, data), 128)
        assert found.x.tolist() == [1, 2]
        assert found.time.tolist() == [50, 51]

    @pytest.mark.parametrize(("read", "write"), FORMATS)
    @given(seed=st.integers(0, 100), n=st.integers(1, 50))
    def test_what_was_written_is_read(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        read: Read,
        write: Write,
        seed: int,
        n: int,
    ) -> None:
        path = str(tmp_path_factory.mktemp("events") / "file")
        clip = random_clip(seed, n)
        base = 2**31 - 2500 if read is read_aedat3 else 0  # over the edge of 31 bits
        time = np.sort(clip.time) - clip.start + base
        events = zip(clip.x, clip.y, clip.polarity, time, strict=True)
        clip = clip_of(*events, side=6)  # type: ignore[arg-type]
        write(path, clip)
        found = event_files.whole(read(path, 6), 6, 3, path)
        for name in ("x", "y", "polarity", "time", "start", "stop", "label"):
            np.testing.assert_array_equal(getattr(found, name), getattr(clip, name))
        assert found.source == str(path)


DAMAGED = {
    "records cut": (read_records, bytes(13), "truncated: records of 5 bytes, the one at offset "
                    "10 has 3; fetch"),
    "records html": (read_records, b"<html", "event at x=60, y=104 at offset 0 is outside "
                     "34 x 34 pixels (1 such events); fetch the file again"),
    "records empty": (read_records, b"", "holds no event; fetch the file again"),
    "records, only overflows": (read_records, bytes([0, 240, 0, 0, 0]), "holds no event"),
    "2 is 3": (read_aedat2, HEAD3, "begins with b'#!AER-DAT3.1', expected b'#!AER-DAT2.0'; "
               "read_aedat3 reads that, or fetch the file again"),
    "3 is 2": (read_aedat3, HEAD2, "expected b'#!AER-DAT3.1'; read_aedat2 reads that, or "),
    "2 is 1": (read_aedat2, b"#!AER-DAT1.0\r\n", "make a Clip of the columns of events in "
               "another format, or fetch the file again"),
    "2 empty": (read_aedat2, b"", "begins with b'', expected b'#!AER-DAT2.0'"),
    "2 endless line": (read_aedat2, b"#!AER-DAT2.0\r\n# a", "header line at offset 14 has no "
                       "end; fetch"),
    "2 cut": (read_aedat2, HEAD2 + bytes(20), "truncated: records of 8 bytes, the one at "
              f"offset {len(HEAD2) + 16} has 4; fetch"),
    "2 no event": (read_aedat2, HEAD2, "holds no event"),
    "2 not a DVS128": (read_aedat2, HEAD2 + bytes([0, 1, 0, 0, 0, 0, 0, 0]), "event at x=0, "
                       f"y=256 at offset {len(HEAD2)} is outside 128 x 128 pixels"),
    "3 is 4": (read_aedat3, b"#!AER-DAT4.0\r\n", "begins with b'#!AER-DAT4.0', expected"),
    "3 no end": (read_aedat3, b"#!AER-DAT3.1\r\n", "no line #!END-HEADER; fetch"),
    "3 no event": (read_aedat3, HEAD3, "holds no event"),
    "3 header cut": (read_aedat3, HEAD3 + bytes(27), f"truncated: packet headers of 28 bytes, "
                     f"the one at offset {len(HEAD3)} has 27"),
    "3 packet cut": (read_aedat3, aedat3((packet(2), bytes(15))), f"truncated: the packet at "
                     f"offset {len(HEAD3)} has 15 bytes of 16"),
    "3 zeros": (read_aedat3, HEAD3 + bytes(28), f"no packet at offset {len(HEAD3)}: events of "
                "0 bytes with the time at byte 0, 0 overflows, 0 events of 0; expected pol"),
    "3 large events": (read_aedat3, aedat3(((1, 0, 16, 4, 0, 1, 1, 1), bytes(16))),
                       "events of 16 bytes with the time at byte 4"),
    "3 too many": (read_aedat3, aedat3(((1, 0, 8, 4, 0, 1, 2, 2), bytes(8))), "2 events of 1"),
    "3 outside": (read_aedat3, aedat3((packet(1), events3(128 << 17 | 3 << 2, 0))),
                  f"event at x=128, y=3 at offset {len(HEAD3) + 28} is outside 128 x 128"),
}  # fmt: skip


@pytest.mark.parametrize(("read", "data", "said"), DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_file_says_what_where_and_the_cure(
    read: Read, data: bytes, said: str, tmp_path: Path
) -> None:
    path = file(tmp_path, data)
    with pytest.raises(ValueError, match="fetch the file again") as error:
        read(path, 34 if read is read_records else 128)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)


@pytest.mark.parametrize(("read", "write"), FORMATS)
def test_time_may_step_back_by_10_ms_and_no_more(
    read: Read, write: Write, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    write(path, clip_of((0, 0, 0, 50_000), (1, 0, 0, 40_000)))
    assert read(path, 4).time.tolist() == [50_000, 40_000]
    write(path, clip_of((0, 0, 0, 50_000), (1, 0, 0, 39_999)))
    last = path.stat().st_size - (5 if read is read_records else 8)
    said = f"time runs back from 50000 to 39999 us at offset {last} "
    with pytest.raises(ValueError, match=said):
        read(path, 4)
    write(path, clip_of((0, 0, 0, 50_000), (1, 0, 0, 44_000), (1, 0, 0, 38_000)))
    said = f"time runs back from 50000 to 38000 us at offset {last + 5} "
    with pytest.raises(ValueError, match=said if read is read_records else "to 38000 us at"):
        read(path, 4)


@pytest.mark.parametrize(("read", "write"), FORMATS[1:])
def test_time_may_run_on_by_a_minute_and_no_more(
    read: Read, write: Write, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    write(path, clip_of((0, 0, 0, 5), (1, 0, 0, 60_000_005)))
    assert read(path, 4).time.tolist() == [5, 60_000_005]
    write(path, clip_of((0, 0, 0, 5), (1, 0, 0, 60_000_006), (1, 0, 0, 60_000_007)))
    said = (
        rf"time runs on from 5 to 60000006 us at offset {path.stat().st_size - 16} .*\(1 such"
    )
    with pytest.raises(ValueError, match=said):
        read(path, 4)


def test_too_many_overflows_in_the_last_packet_are_damage(tmp_path: Path) -> None:
    """60 events in three packets, the last 50,000 overflows on: a span of 10^14 us."""
    packets = [events3(*(n for k in range(20) for n in (1 << 17, 100 * k))) for _ in range(3)]
    headers = (packet(20), packet(20), packet(20, overflow=50_000))
    path = file(tmp_path, aedat3(*zip(headers, packets, strict=True)))
    with pytest.raises(ValueError, match=r"time runs on from 1900 to 107374182400000 us at"):
        read_aedat3(path, 128)


@pytest.mark.parametrize("overflow", [0, 1])
def test_negative_times_are_damage(tmp_path: Path, overflow: int) -> None:
    two = file(tmp_path, HEAD2 + np.array([0, -5, 0, 1], ">i4").tobytes())
    with pytest.raises(ValueError, match=rf"time -5 us at offset {len(HEAD2)} is negative \(1"):
        read_aedat2(two, 128)
    at = len(HEAD3) + 28
    three = file(tmp_path, aedat3((packet(2, overflow), events3(0, 2**32 - 5, 0, 1))))
    with pytest.raises(ValueError, match=rf"time -5 us at offset {at} is negative \(1 such"):
        read_aedat3(three, 128)


def test_two_kinds_of_damage_are_told_together(tmp_path: Path) -> None:
    path = file(tmp_path, bytes([50, 0, 1, 0, 0, 0, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"x=50, y=0 at offset 0 .*; time runs back .*offset"):
        read_records(path, 34)


@given(
    seed=st.integers(0, 100),
    start=st.integers(0, 300_000),
    length=st.integers(1, 100_000),
    size=st.integers(1, 40),
)
def test_a_span_of_an_aedat_3_file_holds_the_same_events_as_all_of_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int, start: int, length: int, size: int
) -> None:
    """Late events included: times jitter by up to 10 ms, over an overflow."""
    path = tmp_path_factory.mktemp("events") / "file"
    rng = np.random.default_rng(seed)
    time = np.sort(rng.integers(0, 300_000, 200)) - rng.integers(0, 5000, 200)
    time += 2**31 - 100_000
    x, y, polarity = rng.integers(0, 2, (3, 200))
    events = zip(x, y, polarity, time, strict=True)
    write_aedat3(path, clip_of(*events), packet=size)  # type: ignore[arg-type]
    span = (2**31 - 100_000 + start, 2**31 - 100_000 + start + length)
    part = event_files.cut(read_aedat3(path, 4, span), span, 4, 0, "a part")
    whole = event_files.cut(read_aedat3(path, 4), span, 4, 0, "the whole")
    for name in ("x", "y", "polarity", "time"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))


def test_packets_outside_a_span_are_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_aedat3(path, clip_of(*[(1, 2, 0, t * 20_000) for t in range(10)]), packet=1)
    assert read_aedat3(path, 4, (90_000, 90_001)).time.tolist() == [80_000, 100_000]
    assert read_aedat3(path, 4, (900_000, 900_001)).time.size == 0
    data = bytearray(path.read_bytes())
    data[-5] = 255  # the last x
    path.write_bytes(bytes(data))
    assert read_aedat3(path, 4, (90_000, 90_001)).x.tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"outside 4 x 4 pixels \(1 such"):
        read_aedat3(path, 4)


def test_a_part_of_a_file_is_cut_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_records(path, clip_of(*[(0, 0, 0, t) for t in (10, 20, 29, 30)]))
    clip = event_files.cut(read_records(path, 4), (15, 30), 4, 2, "a cut")
    assert clip.time.tolist() == [20, 29]
    assert (clip.start, clip.stop, clip.label, clip.source) == (15, 30, 2, "a cut")


def test_tonic_reads_the_same_records_and_overflows(tmp_path: Path) -> None:
    tonic = pytest.importorskip("tonic.io")
    rng = np.random.default_rng(0)
    records = rng.integers(0, 34, (500, 5)).astype(np.uint8)
    records[::50, 1] = 240
    time = np.sort(rng.integers(0, 2**23, 500))
    records[:, 2] = rng.integers(0, 2, 500) << 7 | time >> 16
    records[:, 3], records[:, 4] = time >> 8 & 255, time & 255
    path = file(tmp_path, records.tobytes())
    theirs = tonic.read_mnist_file(str(path), np.dtype([(n, np.int64) for n in "xytp"]))
    ours = read_records(path, 34)
    assert ours.time.size == 490
    for name, column in zip("xypt", ours, strict=False):
        np.testing.assert_array_equal(theirs[name], column)
