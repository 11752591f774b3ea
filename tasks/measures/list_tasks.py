"""``neuro tasks``: the tasks, their configurations, and the fields of a configuration."""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from rich import box
from rich.table import Table

from tasks.runs.names import CONFIGURATIONS, SUMMARIES


def make_table_of(name: str) -> Table:
    """Return a table of all tasks, of a task's configurations, or of the fields of one.

    name: "", "mnist" or "mnist:tiny"; the name of a file stands for the task that it defines.
    """
    if name:
        return make_fields_table(name) if ":" in name else make_configurations_table(name)
    out = Table("task", "about", "configurations", box=box.SIMPLE_HEAD, title_justify="left")
    out.title = "neuro train TASK:CONFIGURATION; neuro tasks TASK says more about one"
    for task, configs in CONFIGURATIONS.items():  # without importing the tasks
        out.add_row(task, SUMMARIES[task], ", ".join(configs))
    return out


def make_configurations_table(name: str) -> Table:
    """Return a table of a task's configurations, with their numbers of parameters."""
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
    """Return a table of a configuration's fields, with values for ``--set`` and docstrings."""
    from tasks.report.tables import make_table
    from tasks.runs.find import find_config, find_task, split_name

    task, name = split_name(full)
    config = find_config(find_task(task), name)()
    out = make_table(f"neuro train {full} --set FIELD=VALUE", "field", "value", "about")
    for row in list_described_fields(config):
        out.add_row(*row)
    return out


def list_described_fields(config: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (name, value as JSON, docstring) of each field, nested fields included."""
    described = read_field_docstrings(type(config))
    for field in fields(config):
        name, value = f"{prefix}{field.name}", getattr(config, field.name)
        if is_dataclass(value):
            yield from list_described_fields(value, f"{name}.")
        else:
            text = json.dumps(value, default=asdict)
            yield name, text, described.get(field.name, "")


def read_field_docstrings(cls: type) -> dict[str, str]:
    """Return the docstring beneath each field of a dataclass, inherited ones included."""
    from docstring_parser import parse_from_object

    return {
        param.arg_name: " ".join((param.description or "").split())
        for base in reversed(cls.__mro__[:-1])
        for param in parse_from_object(base).params
        if param.args[0] == "attribute"
    }
