"""Attribution: from which of several corpora a text of a language model comes.

docs/attribution.md says what an arm, a truth and a corpus are.
"""

from tasks.attribution.task import TASK

__all__ = ["TASK"]
