"""Driving by cameras: SAD (Zhu et al. 2024) on nuScenes and on a generated world."""

from tasks.driving.task import TASK

__all__ = ["TASK"]
