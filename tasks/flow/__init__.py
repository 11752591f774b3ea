"""Images by rectified flow: one by one (SiT), or after noisier images of a class (ARFlow)."""

from tasks.flow.task import TASK

__all__ = ["TASK"]
