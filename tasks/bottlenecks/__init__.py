"""Narrow layers where a network crosses from chip to chip."""

from tasks.bottlenecks.task import TASK

__all__ = ["TASK"]
