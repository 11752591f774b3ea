"""``neuro new``: write a file with a working task to start from."""

from pathlib import Path

from neuro.io.store import write_bytes
from tasks.images import task_template
from tasks.runs.find import TaskFileError


def write_template(path: Path) -> None:
    """Write a working task, a classifier of the embedded digits.

    Raises:
        TaskFileError: the name does not end in ".py", or the file exists.
        StoreError: the file cannot be written.
    """
    if path.suffix != ".py":
        name = path.name.partition(".")[0] or "my_task"
        raise TaskFileError(
            f"{path}: the file of a task ends in .py; take {path.parent / name}.py"
        )
    if path.exists():
        raise TaskFileError(f"{path} exists; take another name")
    write_bytes(path, Path(task_template.__file__).read_bytes())
