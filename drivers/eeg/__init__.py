"""Recordings of the brain's electricity (EEG), and when seizures begin and end in them."""

from drivers.eeg.recordings import (
    BadSignalsError,
    PatientRecordings,
    RecordedFile,
    SeizureTable,
)

__all__ = ["BadSignalsError", "PatientRecordings", "RecordedFile", "SeizureTable"]
