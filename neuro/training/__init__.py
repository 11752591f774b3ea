"""Training on Lightning Fabric: the loop, plans, several processes and checkpoints."""

from neuro.training.checkpoint import get_best_weights_path, has_checkpoint, load_weights
from neuro.training.course import Batch, Course, Progress, TrainError
from neuro.training.loop import fit
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
    "has_checkpoint",
    "load_weights",
]
