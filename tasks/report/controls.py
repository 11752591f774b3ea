"""The controls of a run: trainings that differ in one choice, in the folders beside it."""

import re
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
    in a folder of its name beside its parent. A result out of date counts as missing, and so
    does one that was measured in another way than that of the run.

    Raises:
        StoreError: the result of a control is damaged.
    """
    evaluation, here = run.definition.evaluation, run.folder
    measured, missing = dict[str, dict[str, float]](), dict[str, str]()
    own = read_result(here, "eval", evaluation.metrics)
    near = [*here.parent.glob("*"), *here.parent.parent.glob(f"*/{here.name}")]
    for name, changes in evaluation.controls(run.config).items():
        value = re.sub(r"[^\w.]+", "-", f"{next(iter(changes.values()))}")  # "gdn*8": gdn-8
        folder = Path(f"{here}-{value}")
        wanted = replace(run, folder=folder, config=replace(run.config, **changes))
        there = next((one for one in near if _holds(one, wanted)), None)
        if there is None:
            missing[name] = f"{name_train_command(wanted)} && {name_command(wanted, 'eval')}"
            continue
        found = read_result(there, "eval", evaluation.metrics)
        again = name_command(replace(wanted, folder=there), "eval")
        if not found or "eval" in list_out_of_date(there, describe_trained(there)):
            missing[name] = again
        elif own and any(own.get(key) != found.get(key) for key in ("n", "notes")):
            # Of other samples, or by another judge, such as the autoencoder of an FAD.
            missing[name] = f"{name_command(run, 'eval')} && {again}"
        else:
            measured[name] = {
                m.name: found[m.name] for m in evaluation.metrics if m.name in found
            }
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
