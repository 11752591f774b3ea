"""Training on Lightning Fabric: the loop, its plan, several processes, checkpoints."""

from neuro.training.checkpoint import get_best_weights_path, load_weights
from neuro.training.errors import TrainError
from neuro.training.loop import Batch, Course, Progress, fit
from neuro.training.plan import Group, Plan, Stage

__all__ = [
    "Batch",
    "Course",
    "Group",
    "Plan",
    "Progress",
    "Stage",
    "TrainError",
    "fit",
    "get_best_weights_path",
    "load_weights",
]
