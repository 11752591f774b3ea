"""EEG recordings of noise at toy size, written in the true formats of the data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from drivers.eeg.chb_mit import CHANNELS
from drivers.eeg.edf import FIELDS

RATE = 256
DUPLICATED = (*CHANNELS, "P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8", "T8-P8")  # as most files


def write_edf(
    path: Path, signals: np.ndarray, labels: Sequence[str], rate: int = RATE, **fields: str
) -> None:
    """Write channels C N of whole seconds, -3276.8 to 3276.7 uV in steps of 0.1.

    fields: text in the place of that of a field of every channel.
    """
    count, seconds = len(labels), signals.shape[1] // rate
    values = {
        "unit": "uV",
        "physical_min": "-3276.8",
        "physical_max": "3276.7",
        "digital_min": "-32768",
        "digital_max": "32767",
        "samples": str(rate),
        **fields,
    }
    table = "".join(
        (labels[k] if name == "label" else values.get(name, ""))[:width].ljust(width)
        for name, width in FIELDS.items()
        for k in range(count)
    )
    fixed = {8: "0", 80: "X X X X", 81: "Startdate X X X X"}
    head = fixed[8].ljust(8) + fixed[80].ljust(80) + fixed[81][:80].ljust(80)
    head += "01.01.7600.00.00" + str(256 * (count + 1)).ljust(8) + "".ljust(44)
    head += str(seconds).ljust(8) + "1".ljust(8) + str(count).ljust(4)
    stored = np.round(signals * 10).astype("<i2").reshape(count, seconds, rate)
    path.write_bytes((head + table).encode("ascii") + stored.transpose(1, 0, 2).tobytes())


def make_noise(seconds: int, channels: int, seed: int, rate: int = RATE) -> np.ndarray:
    """Return noise in microvolts, C N, in steps of 0.1."""
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(0, 50, (channels, seconds * rate)), 1)


def write_chb_mit(
    folder: Path,
    files: Sequence[tuple[str, str, int]],
    seizures: Mapping[str, Sequence[tuple[int, int]]],
    labels: Sequence[str] = DUPLICATED,
) -> Path:
    """Write a patient. files: name, start "h:m:s" and seconds. seizures: [s] by file."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"Data Sampling Rate: {RATE} Hz\n*************************\n\n"
    text += "Channels in EDF Files:\n**********************\n"
    text += "".join(f"Channel {k}: {name}\n" for k, name in enumerate(labels, 1)) + "\n"
    for k, (name, start, seconds) in enumerate(files):
        write_edf(folder / name, make_noise(seconds, len(labels), k), labels)
        hours, minutes, rest = (int(word) for word in start.split(":"))
        end = hours * 3600 + minutes * 60 + rest + seconds
        own = seizures.get(name, ())
        text += f"File Name: {name}\nFile Start Time: {start}\n"
        text += f"File End Time: {end // 3600}:{end // 60 % 60:02}:{end % 60:02}\n"
        text += f"Number of Seizures in File: {len(own)}\n"
        for number, (first, last) in enumerate(own, 1):
            which = f" {number}" if len(own) > 1 else ""
            text += f"Seizure{which} Start Time: {first} seconds\n"
            text += f"Seizure{which} End Time: {last} seconds\n"
        text += "\n"
    (folder / f"{folder.name}-summary.txt").write_text(text)
    return folder


def write_prediction(folder: Path, hours: int = 2, rate: float = 4.0) -> Path:
    """Write the ten-minute files of a dog, of two kinds, so many hours each."""
    from scipy.io import savemat

    (folder / "Dog_1").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for kind in ("preictal", "interictal"):
        for k in range(6 * hours):
            struct = {
                "data": rng.integers(-99, 99, (3, round(600 * rate)), np.int16),
                "data_length_sec": 600,
                "sampling_frequency": rate,
                "channels": np.array(["NVC_1", "NVC_2", "NVC_3"], dtype=object),
                "sequence": k % 6 + 1,
            }
            name = f"Dog_1_{kind}_segment_{k + 1:04d}.mat"
            savemat(folder / "Dog_1" / name, {f"{kind}_segment_{k + 1}": struct})
    return folder


def write_detection(folder: Path, seconds: int = 4, rate: int = 40) -> Path:
    """Write the one-second files of a patient, of two kinds."""
    from scipy.io import savemat

    (folder / "Patient_1").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for kind in ("ictal", "interictal"):
        for k in range(seconds):
            fields = {
                "data": rng.normal(0, 40, (2, rate)),
                "freq": rate,
                "channels": {"LTG_1": 1, "LTG_2": 1},
                **({"latency": k} if kind == "ictal" else {}),
            }
            savemat(folder / "Patient_1" / f"Patient_1_{kind}_segment_{k + 1}.mat", fields)
    return folder
