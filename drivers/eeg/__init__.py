"""EEG recordings, with the times at which seizures begin and end."""

from drivers.eeg.recordings import (
    BadSignalsError,
    PatientRecordings,
    RecordedFile,
    SeizureTable,
)

__all__ = ["BadSignalsError", "PatientRecordings", "RecordedFile", "SeizureTable"]
