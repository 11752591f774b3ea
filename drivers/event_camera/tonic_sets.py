"""Event data sets that the library tonic reads, as clips.

N-MNIST (Orchard et al. 2015): digits, 34 x 34 pixels. DVS-Gesture (Amir et al. 2017): eleven
gestures, 128 x 128 pixels, in tonic's copy, which is cut into gestures and has times in ms. SHD
(Cramer et al. 2020): spoken digits in English and German, spikes of 700 channels of a cochlea.
SSC, of the same authors: 35 English words through that cochlea; its "valid" part is not read.
They lie in ``$NEURO_DATA`` as tonic downloads them; this module downloads nothing.

tonic checks little of what it reads; :func:`from_tonic` refuses events that no sensor sends.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from drivers.event_camera.clips import Clip, Clips
from drivers.event_camera.moving_bars import Part
from drivers.folders import find_neuro_data, found_in
from neuro.base.extras import require_extra

Name = Literal["nmnist", "dvs_gesture", "shd", "ssc"]


@dataclass(frozen=True, kw_only=True)
class TonicSet:
    """A data set of tonic.

    title: name of its class in tonic and of its folder in ``$NEURO_DATA``.
    parts: the file or folder of each part in that folder.
    by_name: whether tonic takes the name of the part, and not train=True or False.
    """

    title: str
    parts: Mapping[Part, str]
    by_name: bool = False

    def select(self, part: Part) -> dict[str, bool | str]:
        """Return the argument with which tonic selects a part."""
        return {"split": part} if self.by_name else {"train": part == "train"}


SETS: Mapping[Name, TonicSet] = {
    "nmnist": TonicSet(title="NMNIST", parts={"train": "Train", "test": "Test"}),
    "dvs_gesture": TonicSet(
        title="DVSGesture", parts={"train": "ibmGestureTrain", "test": "ibmGestureTest"}
    ),
    "shd": TonicSet(title="SHD", parts={"train": "shd_train.h5", "test": "shd_test.h5"}),
    "ssc": TonicSet(
        title="SSC", parts={"train": "ssc_train.h5", "test": "ssc_test.h5"}, by_name=True
    ),
}
# Cameras deliver some events slightly late; these keep their place. A larger delay means that
# the time of the event, or of an earlier one, is damaged.
LATE = 10_000  # us
# The pixels of a camera occasionally fire in the dark. A longer silence means that the time of
# an event, or the number of overflows before it, is damaged.
SILENCE = 60_000_000  # us
RECORD = 5  # bytes of an event in .bin files, whose format has no end mark
CURE = "fetch the file again"


def load(name: Name, part: Part = "train", environ: Mapping[str, str] | None = None) -> Clips:
    """Return one part of a data set in ``$NEURO_DATA``, sorted by file name.

    environ: None means the process environment.

    Raises:
        RuntimeError: tonic is not installed; says how to install it.
        FileNotFoundError: the part is not there; says how tonic fetches it.
        ValueError: a class has no recording, or tonic cannot read the folder. Reading a clip
            reports a damaged file.
    """
    known, root = SETS[name], find_neuro_data(environ)
    with require_extra("events", f"{name} is read by tonic"):
        from tonic import datasets
    place = Path(root or "$NEURO_DATA") / known.title / known.parts[part]
    if not place.exists():
        ((argument, value),) = known.select(part).items()
        fetch = f"tonic.datasets.{known.title}({root or 'FOLDER'!r}, {argument}={value!r})"
        raise FileNotFoundError(
            f"{name}: NEURO_DATA={root or '(not set)'} holds no {known.title}/{place.name}; "
            f"found {found_in(place.parent)} there; where there is a network, {fetch} in "
            f"Python fetches it{'' if root else '; then set NEURO_DATA=FOLDER'}"
        )
    kind = getattr(datasets, known.title)
    # tonic downloads a set again without its archive, which may have been deleted since.
    unpacked = type(known.title, (kind,), {"_check_exists": lambda _: True})
    try:
        dataset = unpacked(root, **known.select(part))
        labels = _read_labels(place) if place.suffix == ".h5" else dataset.targets
    except Exception as error:  # tonic lets all errors of its readers through
        raise ValueError(f"{place}: {_explain(error)}") from error
    dataset.__class__ = kind  # so that it can be pickled for other processes
    clips = from_tonic(dataset, labels, f"{known.title}, {part} part in {place.parent}")
    found = sorted(set(clips.labels.tolist()))
    if found != list(range(clips.classes)):
        raise ValueError(
            f"{place}: {len(clips)} recordings of classes {found}, expected each of "
            f"0..{clips.classes - 1}; {CURE}"
        )
    return clips


def from_tonic(dataset: Any, labels: Sequence[int] | None = None, source: str = "") -> Clips:
    """Return the recordings of a tonic data set, sorted by file name if it has files.

    dataset: a tonic data set without transforms.
    labels: class of each recording; None: the data set's own targets.
    source: origin, for reports; "": the name of the data set.
    A sensor of one polarity (SHD) has ON events only; a sensor without rows has one row.

    Reading a clip raises a ValueError that names the file if tonic cannot read it, or if the
    clip has no event, an event outside the sensor, a negative time, or a time that jumps back
    by more than 10 ms or ahead by more than a minute.
    """
    labels = dataset.targets if labels is None else labels
    # tonic lists some sets in the order of the file system, so sort them.
    by_name = dataset.data.__getitem__ if dataset.data else None
    order = np.array(sorted(range(len(labels)), key=by_name), np.int64)
    clips = Clips(
        read=partial(_read, dataset, np.asarray(labels, np.int64)),
        labels=np.asarray(labels, np.int64),
        classes=len(dataset.classes),
        source=f"{source or dataset}, {len(labels)} clips",
    )
    return clips.take(order)


def _read(dataset: Any, labels: Int64[np.ndarray, " N"], index: int) -> Clip:
    if dataset.data:
        where = path = str(dataset.data[index])
    else:
        path = os.path.join(dataset.location_on_system, dataset.data_filename)
        where = f"{path}, recording {index}"
    try:
        if path.endswith(".bin") and (size := os.path.getsize(path)) % RECORD:
            raise ValueError(f"truncated: {size} bytes, expected events of {RECORD} bytes")
        events, _ = dataset[index]
        width, height = dataset.sensor_size[:2]
        x, time = events["x"], events["t"].astype(np.int64)
    except Exception as error:  # tonic lets all errors of its readers through
        raise ValueError(f"{where}: {_explain(error)}") from error
    flat = "y" not in events.dtype.names
    order = np.argsort(time, kind="stable") if flat else np.arange(time.size)
    _require_plausible(time[order], where)
    return Clip(
        x=x[order],
        y=np.zeros_like(x) if flat else events["y"],
        polarity=events["p"][order],
        time=time[order],
        start=int(time.min()),
        stop=int(time.max()) + 1,
        width=width,
        height=height,
        label=int(labels[index]),
        source=where,
    )


def _require_plausible(time: Int64[np.ndarray, " E"], where: str) -> None:
    if time.size == 0:
        raise ValueError(f"{where}: holds no event; {CURE}")
    if time.min() < 0:
        raise ValueError(f"{where}: time {time.min()} us is negative; {CURE}")
    latest = np.maximum.accumulate(time)
    late, silence = int((latest - time).max()), int(np.diff(latest).max(initial=0))
    problems = []
    if late > LATE:
        problems.append(f"time runs back by {late} us (up to {LATE} us are taken)")
    if silence > SILENCE:
        problems.append(f"no event for {silence} us (up to {SILENCE} us are taken)")
    if problems:
        raise ValueError(f"{where}: {'; '.join(problems)}; {CURE}")


def _read_labels(path: Path) -> list[int]:
    """Return all labels of an SHD file; tonic would read them only one by one."""
    import h5py

    with h5py.File(path, "r") as file:
        return [int(label) for label in file["labels"]]


def _explain(error: Exception) -> str:
    return f"tonic cannot read it ({type(error).__name__}: {error}); {CURE}"
