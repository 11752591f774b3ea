"""Reasoning: more computation for one answer, in hidden states instead of words.

docs/reasoning.md says what an arm, a puzzle and a part of the bench consist of.
"""

from tasks.reasoning.task import TASK

__all__ = ["TASK"]
