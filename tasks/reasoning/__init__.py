"""Reasoning: more computation for one answer, in hidden states instead of words.

docs/reasoning.md defines arms, puzzles and the parts of the bench.
"""

from tasks.reasoning.task import TASK

__all__ = ["TASK"]
