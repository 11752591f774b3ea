"""Narrow layers where the signals of a network cross from chip to chip."""

from tasks.bottlenecks.task import TASK

__all__ = ["TASK"]
