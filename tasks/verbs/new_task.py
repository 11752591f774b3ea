"""``neuro new``: a task to start from, as a file of one's own."""

import shutil
from pathlib import Path

from tasks import task_template
from tasks.find import TaskFileError, is_file


def write_template(path: Path) -> None:
    """Write a working task, a classifier of the embedded digits.

    Raises:
        TaskFileError: the name does not end in ".py", or such a file exists.
    """
    if not is_file(path.name):
        raise TaskFileError(f"{path}: the file of a task ends in .py; take {path}.py")
    if path.exists():
        raise TaskFileError(f"{path} exists; take another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(task_template.__file__, path)
