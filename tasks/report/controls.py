"""The controls of a run: trainings that differ in one choice, in the folders beside it."""

from dataclasses import replace
from pathlib import Path

from neuro.io.run_folder import RunError, read_header
from neuro.io.schema import SchemaError, convert
from neuro.io.store import StoreError
from tasks.report.key_figures import name_command
from tasks.runs.find import name_train_command
from tasks.runs.provenance import describe_trained, list_out_of_date
from tasks.runs.results import read_result
from tasks.runs.task import TaskRun


def find_controls(run: TaskRun) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Return the metrics of the controls of a run, and the commands for those without.

    A control has the seed of the run, and lies in a folder beside it or, as an arm of a bench,
    in a folder of its name beside its parent. A result out of date counts as missing.

    Raises:
        StoreError: the result of a control is damaged.
    """
    evaluation, here = run.definition.evaluation, run.folder
    measured, missing = dict[str, dict[str, float]](), dict[str, str]()
    near = [*here.parent.glob("*"), *here.parent.parent.glob(f"*/{here.name}")]
    for name, changes in evaluation.controls(run.config).items():
        folder = Path(f"{here}-{next(iter(changes.values()))}")
        wanted = replace(run, folder=folder, config=replace(run.config, **changes))
        there = next((one for one in near if _holds(one, wanted)), None)
        if there is None:
            missing[name] = f"{name_train_command(wanted)} && {name_command(wanted, 'eval')}"
            continue
        found = read_result(there, "eval", evaluation.metrics)
        if found and "eval" not in list_out_of_date(there, describe_trained(there)):
            measured[name] = {
                m.name: found[m.name] for m in evaluation.metrics if m.name in found
            }
        else:
            missing[name] = name_command(replace(wanted, folder=there), "eval")
    return measured, missing


def _holds(folder: Path, wanted: TaskRun) -> bool:
    """Return whether a folder holds a run; folders that cannot be read do not."""
    try:
        header = read_header(folder)
        keys = ("task", "digest", "seed", "gradient")
        same = all(header[key] == getattr(wanted, key) for key in keys)
        return same and convert(header["config"], type(wanted.config)) == wanted.config
    except (RunError, StoreError, SchemaError):
        return False
