"""``neuro tasks``: what can be trained."""

import torch
from rich.table import Table

from tasks.find import NAMES, find_task
from tasks.report.tables import make_table


def make_tasks_table() -> Table:
    """Return all tasks and configurations, with the number of parameters of each."""
    out = make_table("Tasks: neuro train TASK:CONFIGURATION", "name", "parameters", "about")
    for name in NAMES:
        task = find_task(name)
        for config, make in task.configs.items():
            with torch.device("meta"):
                model = task.training.build(make())
            size = sum(p.numel() for p in model.parameters())
            about = (make.__doc__ or "").splitlines()[0]
            out.add_row(f"{name}:{config}", f"{size:,}", about)
    return out
