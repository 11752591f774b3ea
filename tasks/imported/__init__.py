"""A network of another library as a run: ``neuro import`` makes it, every verb accepts it."""

from tasks.imported.task import define_task

__all__ = ["define_task"]
