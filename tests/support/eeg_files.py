"""EEG recordings of noise at toy size, written in the true formats of the data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from drivers.eeg.chb_mit import CHANNELS

RATE = 256
FIELDS = {  # characters of a field of each channel, in the order of the file
    "label": 16,
    "transducer": 80,
    "unit": 8,
    "physical_min": 8,
    "physical_max": 8,
    "digital_min": 8,
    "digital_max": 8,
    "filters": 80,
    "samples": 8,
    "reserved": 32,
}
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


def write_prediction(
    data: Path,
    hours: int = 2,
    rate: float = 4.0,
    channels: int = 3,
    sequences: Sequence[int] = range(1, 7),
) -> Path:
    """Write the ten-minute files of a dog into $NEURO_DATA: so many hours of each kind."""
    from scipy.io import savemat

    folder = data / "seizure-prediction" / "Dog_1"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for kind in ("preictal", "interictal"):
        for k in range(len(sequences) * hours):
            struct = {
                "data": rng.integers(-99, 99, (channels, round(600 * rate)), np.int16),
                "data_length_sec": 600,
                "sampling_frequency": rate,
                "channels": np.array([f"NVC_{c + 1}" for c in range(channels)], dtype=object),
                "sequence": sequences[k % len(sequences)],
            }
            name = f"Dog_1_{kind}_segment_{k + 1:04d}.mat"
            savemat(folder / name, {f"{kind}_segment_{k + 1}": struct})
    return folder


def write_detection(
    data: Path, name: str, seizures: Sequence[int], rate: int = 40, channels: int = 2
) -> Path:
    """Write the one-second files of a subject: seizures of so many seconds, and as many far."""
    from scipy.io import savemat

    folder = data / "seizure-detection" / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    latencies = [second for length in seizures for second in range(length)]
    for kind in ("ictal", "interictal"):
        for k, latency in enumerate(latencies):
            fields = {
                "data": rng.normal(0, 40, (channels, rate)),
                "freq": rate,
                "channels": {f"LTG_{c + 1}": 1 for c in range(channels)},
                **({"latency": latency} if kind == "ictal" else {}),
            }
            savemat(folder / f"{name}_{kind}_segment_{k + 1}.mat", fields)
    return folder
