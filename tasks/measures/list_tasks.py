"""``neuro tasks``: the tasks, their configurations, and the fields of a configuration."""

import json
from dataclasses import asdict

from rich import box
from rich.table import Table

from tasks.runs.names import CONFIGURATIONS


def make_table_of(name: str) -> Table:
    """Return the table of all tasks, of the configurations of one, or of the fields of one.

    name: "", "mnist" or "mnist:tiny"; the name of a file means the task that it defines.
    """
    if name:
        return make_fields_table(name) if ":" in name else make_configurations_table(name)
    out = Table("task", "configurations", box=box.SIMPLE_HEAD, title_justify="left")
    out.title = "neuro train TASK:CONFIGURATION; neuro tasks TASK says more about one"
    for task, configs in CONFIGURATIONS.items():  # without loading any
        out.add_row(task, ", ".join(configs))
    return out


def make_configurations_table(name: str) -> Table:
    """Return the configurations of a task, with the number of parameters of each."""
    import torch

    from tasks.report.tables import make_table
    from tasks.runs.find import find_task

    task = find_task(name)
    out = make_table(task.summary, "neuro train", "parameters", "about")
    for config, make in task.configs.items():
        with torch.device("meta"):
            model = task.training.build(make())
        size = sum(p.numel() for p in model.parameters())
        about = (make.__doc__ or "").splitlines()
        out.add_row(f"{name}:{config}", f"{size:,}", about[0] if about else "")
    return out


def make_fields_table(full: str) -> Table:
    """Return every field of a configuration and its value, as ``--set`` takes them."""
    from tasks.report.tables import make_table
    from tasks.runs.find import find_config, find_task, split_name
    from tasks.runs.settings import list_fields

    task, name = split_name(full)
    config = find_config(find_task(task), name)()
    title = f"neuro train {full} --set FIELD=VALUE"
    out = make_table(title, "field", "value")
    out.min_width = len(title)
    for field, value in list_fields(config):
        out.add_row(field, json.dumps(value, default=asdict))
    return out
