"""Recordings of the brain's electricity (EEG), and when seizures begin and end in them."""

from drivers.eeg import chb_mit, kaggle
from drivers.eeg.recordings import (
    PatientRecordings,
    RecordedFile,
    SeizureTable,
    SkippedRecording,
)

__all__ = [
    "PatientRecordings",
    "RecordedFile",
    "SeizureTable",
    "SkippedRecording",
    "chb_mit",
    "kaggle",
]
