"""Finds a task by its name, or in a Python file of the user.

A file is one module that defines ``TASK``. A run folder keeps a copy of the file and its
digest; the verbs on a run read this copy.
"""

import hashlib
import importlib
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from neuro.base.arguments import describe
from neuro.io.run_folder import (
    Run,
    RunError,
    check_values,
    find_file,
    has_begun,
    open_run,
    read_header,
)
from neuro.io.schema import SchemaError
from neuro.io.store import read_bytes, write_bytes
from tasks.runs.configuration import require_sound
from tasks.runs.names import IMPORTED, UnknownName, require_one_of
from tasks.runs.settings import list_settings, require_seed, set_fields
from tasks.runs.task import Task, TaskRun

TASKS = {
    "mnist": "tasks.images.classification.mnist",
    "cifar10": "tasks.images.classification.cifar10",
    "yinyang": "tasks.images.yinyang",
    "delays": "tasks.delays.task",
    "events": "tasks.images.events",
    "image_generation": "tasks.images.generation",
    "driving": "tasks.driving",
    "language": "tasks.language",
    "hybrids": "tasks.language.hybrids",
    "bottlenecks": "tasks.bottlenecks",
    "forecasting": "tasks.forecasting",
    "reasoning": "tasks.reasoning",
    "flow": "tasks.flow",
    "attribution": "tasks.attribution",
}
NAMES = tuple(TASKS)
OF_A_RUN = {IMPORTED: "tasks.imported"}  # tasks defined by the files of a run folder
ONE_FILE = "a task is one file, which imports installed packages only"
SOURCE = "__source__"  # attribute of a module: the content of its file
MODULE = "neuro_task_"  # prefix of the module names of task files


class TaskFileError(ValueError):
    """The file does not define a task; the message says why, with the cure."""


def find_task(name: str) -> Task[Any]:
    """Return the task with a name, or the task of the file if the name ends in ".py".

    Raises:
        UnknownName: there is no such task.
        TaskFileError: the file cannot be read, or defines no task.
    """
    if is_file(name):
        return load_task(Path(name))
    if name in OF_A_RUN:
        raise UnknownName(
            f"{name} is what neuro import makes, a run folder without a training; neuro import "
            "SOURCE --out RUN makes one, and every other verb takes its folder"
        )
    if name not in NAMES and Path(f"{name}.py").is_file():
        raise UnknownName(f"no task {name!r}; did you mean the file {name}.py?")
    task: Task[Any] = importlib.import_module(TASKS[require_one_of(name, NAMES, "task")]).TASK
    return task


def is_file(name: str) -> bool:
    """Say whether the name of a task names a file."""
    return name.endswith(".py")


def split_name(full: str) -> tuple[str, str]:
    """Return (task, configuration) of "task:configuration"; without a colon, "tiny".

    >>> split_name("mnist:demo"), split_name("some/my_task.py")
    (('mnist', 'demo'), ('some/my_task.py', 'tiny'))
    """
    of_file = re.fullmatch(r"(.*\.py)(?::(.*))?", full)
    task, config = of_file.groups() if of_file else full.partition(":")[::2]
    return task, config or "tiny"


def find_config(task: Task[Any], name: str) -> Callable[[], Any]:
    """Return the configuration function with this name."""
    return task.configs[require_one_of(name, tuple(task.configs), "configuration")]


def digest(data: bytes) -> str:
    """Return the SHA-256 of a file's contents, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def load_task(path: Path) -> Task[Any]:
    """Return the ``TASK`` of a file; a process loads the same content only once.

    Raises:
        TaskFileError: the file cannot be read or run, or defines no task.
    """
    task = getattr(_load_file(path), "TASK", None)
    if not isinstance(task, Task):
        raise TaskFileError(
            f"{path}: defines no task; assign a tasks.runs.task.Task to TASK, as the file that "
            "neuro new writes does"
        )
    return task


def load_experiments(path: Path) -> Any:
    """Return the ``EXPERIMENTS`` of a task's file, by part.

    Raises:
        TaskFileError: the file cannot be read or run, or defines no experiments.
    """
    found = getattr(_load_file(path), "EXPERIMENTS", None)
    if not isinstance(found, Mapping) or not found:
        raise TaskFileError(
            f"{path}: defines no experiments; assign a dictionary of "
            "tasks.bench.experiment.Experiment by name to EXPERIMENTS"
        )
    return found


def _load_file(path: Path) -> ModuleType:
    """Return the module of a task's file; a process runs the same content only once."""
    if not path.exists():
        raise TaskFileError(
            f"{path}: no such file; neuro new {path} writes a task to start from"
        )
    data = read_bytes(path)
    name = _module_name(digest(data))
    return sys.modules.get(name) or _run(path, data, name, ONE_FILE)


def run_file(path: Path) -> ModuleType:
    """Run a Python file of the user, which may import files beside it; return its module.

    Raises:
        TaskFileError: the file cannot be run.
    """
    data = read_bytes(path)
    return _run(path, data, _module_name(digest(data + bytes(path.resolve()))), "")


def find_task_line(error: BaseException) -> str | None:
    """Return the file and line of a task in which an error arose; None if in none."""
    files = {m.__file__ for n, m in sys.modules.items() if n.startswith(MODULE) and m.__file__}
    lines = [
        f"{frame.filename} line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if str(Path(frame.filename).resolve()) in files
    ]
    return lines[-1] if lines else None


def _module_name(sha: str) -> str:
    """Return the name of the module of a task file with this digest."""
    return f"{MODULE}{sha[:16]}"


def _run(path: Path, data: bytes, name: str, import_cure: str) -> ModuleType:
    """Run a task file, and return its module, which stays in ``sys.modules``."""
    module = ModuleType(name)
    module.__file__ = str(path.resolve())
    module.__dict__[SOURCE] = data  # the file itself may change, or exist in several folders
    sys.modules[name] = module  # before it runs, because dataclasses look up their module
    try:
        exec(compile(data, str(path), "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        cure = "NEURO_DEBUG=1 shows the traceback"
        if isinstance(error, ImportError) and import_cure:
            cure = f"{import_cure}; {cure}"
        raise TaskFileError(
            f"{path}: cannot be loaded ({type(error).__name__}: {error}); {cure}"
        ) from error
    return module


def make_run(  # noqa: PLR0913 - the words of a command
    full: str,
    folder: Path | None = None,
    seed: int = 0,
    gradient: str = "surrogate",
    skip_bad: bool = False,
    settings: Sequence[str] = (),
    pin: bool = True,
) -> TaskRun:
    """Return the run of "task:configuration" without writing anything.

    folder: None means ``runs/TASK-CONFIGURATION``. skip_bad: leave out bad samples.
    settings: values of fields, see :func:`tasks.runs.settings.set_fields`.
    pin: put the digests of the files that training reads into the configuration; the files must
    exist.

    Raises:
        UnknownName: there is no such task, configuration or field.
        ValueError: the seed is out of range, see :func:`tasks.runs.settings.require_seed`, or
            the configuration is wrong, see :func:`tasks.runs.configuration.require_sound`.
        RunError: the name belongs to a run folder, the configuration is not a frozen dataclass,
            the task cannot leave out bad samples, or the folder holds a run of another version
            of the task's file.
    """
    require_seed(seed)
    name, config = split_name(full)
    if ((path := Path(name)) / "config.json").is_file():
        run = open_folder(path)
        if origin := run.definition.origin:
            raise RunError(f"{path}: {origin.refusal}")
        raise RunError(
            f"{path} is the folder of a run, not a task; to go on with its training: "
            f"{name_train_command(run)}"
        )
    task = find_task(name)
    make = find_config(task, config)
    file = path if is_file(name) else None
    folder = folder or _name_folder(full)
    sha, values = digest(read_bytes(file)) if file else "", make()
    if not is_dataclass(values) or isinstance(values, type):
        raise RunError(
            f"{name}: its configuration {config} returns {describe(values)}, not a value of a "
            "frozen dataclass; return one, as in the file that neuro new writes"
        )
    if not values.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise RunError(
            f"{name}: its configuration {config} is a {type(values).__name__}, a dataclass "
            "that can change after the run began; write @dataclass(frozen=True) above it, and "
            "dataclasses.replace where you vary it"
        )
    values = set_fields(values, settings)
    try:
        check_values(values)
    except SchemaError as error:
        raise RunError(f"{name}: its configuration {config} cannot be used: {error}") from error
    require_sound(values)
    if skip_bad:
        if task.training.skip_bad is None:
            raise RunError(
                f"{name} cannot leave out bad samples: its Training.skip_bad is None; leave "
                "--skip-bad out"
            )
        values = task.training.skip_bad(values)
    if pin and task.training.pin is not None:
        values = task.training.pin(values)
    run = TaskRun(
        folder=folder,
        task=file.name if file else name,
        name=config,
        seed=seed,
        config=values,
        gradient=gradient,
        digest=sha,
        definition=task,
    )
    if file:
        _require_same_file(run)
    return run


def _name_folder(full: str) -> Path:
    """Return the default folder of the run of "task:configuration"."""
    name, config = split_name(full)
    return Path("runs") / f"{Path(name).stem if is_file(name) else name}-{config}"


def _list_flags(run: TaskRun) -> list[str]:
    """Return the flags that set the configuration of a run; none if the task dropped it."""
    task = run.definition
    if run.name not in task.configs:
        return []
    config, flags = task.configs[run.name](), list[str]()
    skip, pin = task.training.skip_bad, task.training.pin
    if skip and skip(run.config) == run.config:
        config, flags = skip(config), ["--skip-bad"]
    if pin and config != run.config:
        config = pin(config)
    return [*(w for word in list_settings(config, run.config) for w in ("--set", word)), *flags]


def _require_same_file(run: TaskRun) -> None:
    """Raise if the folder holds a run of this task from another version of the task's file.

    If the same run has no checkpoint yet, its configuration is removed instead.
    """
    header = run.folder / "config.json"
    if not header.exists():
        return
    old = read_header(run.folder)
    if old["task"] != run.task or old["digest"] == run.digest:
        return
    same = all(old[k] == getattr(run, k) for k in ("name", "seed", "gradient"))
    if same and not has_begun(run.folder):  # the file was fixed before a checkpoint
        header.unlink()
        return
    begun = replace(run, **{k: old[k] for k in ("name", "seed", "gradient")})
    raise RunError(
        f"{run.task} has changed since the run in {run.folder} began; train it again with "
        f"another --out, or resume with the file as it was: {name_train_command(begun)}"
    )


def keep_task_file(run: Run) -> None:
    """Copy the task file, as loaded, into the run folder, unless training has begun."""
    copy = run.folder / run.task
    if not is_file(run.task) or (copy.exists() and has_begun(run.folder)):
        return
    write_bytes(copy, sys.modules[_module_name(run.digest)].__dict__[SOURCE])


def _load_copy(folder: Path, name: str, sha: str) -> Task[Any]:
    copy = find_file(folder, name, "config.json")
    if not copy.exists():
        raise RunError(f"{copy} is gone; it defines the run's task: put a copy back")
    if digest(read_bytes(copy)) != sha:
        raise RunError(
            f"{copy} has changed since the run began, and its results would belong to another "
            f"task; put the file of digest {sha[:16]} back, or train the new one: "
            f"neuro train {copy} --out FOLDER"
        )
    return load_task(copy)


def name_train_command(run: TaskRun) -> str:
    """Return the command that begins or resumes the training of a run in its folder."""
    copy = run.folder / run.task
    task = str(copy) if is_file(run.task) and copy.is_file() else run.task
    flags = {"--out": str(run.folder), "--seed": str(run.seed), "--gradient": run.gradient}
    if run.gradient == "surrogate":
        del flags["--gradient"]
    words = [f"{task}:{run.name}", *(word for flag in flags.items() for word in flag)]
    words += _list_flags(run)
    return f"neuro train {shlex.join(words)}"


def _suggest_folder(path: Path) -> None:
    """Raise with a suggestion if a path is a file of a run or a task, not a run folder."""
    default = _name_folder(str(path))
    for folder in (path.parent, default) if path.is_file() else (default,):
        if (folder / "config.json").is_file():
            raise RunError(f"{path} is not a run folder; did you mean {folder}?")
    task, config = split_name(str(path))
    if task in NAMES or (is_file(task) and Path(task).is_file()):
        name = shlex.quote(f"{task}:{config}")
        raise RunError(
            f"{path} is a task, not a run folder; train it first: neuro train {name}; then "
            f"give its folder, {default}"
        )


def open_folder(folder: Path) -> TaskRun:
    """Return the run of a folder.

    Raises:
        RunError: the folder contains no run, or its task or configuration has changed.
    """
    if not folder.is_dir():
        _suggest_folder(folder)

    @cache
    def define(name: str) -> Task[Any]:
        if is_file(name):
            return _load_copy(folder, name, read_header(folder)["digest"])
        if name in OF_A_RUN:
            task: Task[Any] = importlib.import_module(OF_A_RUN[name]).define_task(folder)
            return task
        try:
            return find_task(name)
        except UnknownName as error:
            raise RunError(f"{folder / 'config.json'}: {error}") from error

    run = open_run(folder, lambda name: define(name).configs)
    return TaskRun(**vars(run), definition=define(run.task))
