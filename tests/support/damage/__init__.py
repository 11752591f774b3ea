"""Files that neuro reads, how to damage them at random, and how each is read."""

from damage import data_sets, networks, runs
from damage.ways import Subject

__all__ = ["SUBJECTS", "Subject"]

SUBJECTS: dict[str, Subject] = {**data_sets.SUBJECTS, **networks.SUBJECTS, **runs.SUBJECTS}
