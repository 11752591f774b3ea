"""Forecasting: a student that sees the past is guided by a teacher that sees later values."""

from tasks.forecasting.task import TASK

__all__ = ["TASK"]
