"""Images by rectified flow: each alone (SiT), or behind noisier ones of its class (ARFlow)."""

from tasks.flow.task import TASK

__all__ = ["TASK"]
