"""Training on Lightning Fabric: the loop, several processes, what is not finite."""

from neuro.training.loop import Batch, Course, Plan, Progress, TrainError, fit, load_weights

__all__ = [
    "Batch",
    "Course",
    "Plan",
    "Progress",
    "TrainError",
    "fit",
    "load_weights",
]
