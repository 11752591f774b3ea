"""A network from elsewhere as a run: ``neuro import`` makes it, every verb takes it."""

from tasks.imported.task import define_task

__all__ = ["define_task"]
