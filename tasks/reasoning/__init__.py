"""Reasoning: more computation for one answer, in hidden states instead of words."""

from tasks.reasoning.task import TASK

__all__ = ["TASK"]
