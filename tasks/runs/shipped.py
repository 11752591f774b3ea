"""Trained runs that the package holds, for ``neuro get``.

``tasks/trained/NAME`` is a run folder without checkpoints, and ``shipped.json``, which says how
it was trained.
"""

import shutil
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from neuro.io.run_folder import RunError, read_header
from neuro.io.schema import convert
from neuro.io.store import read_bytes, read_json
from tasks.runs.names import require_one_of

FOLDER = Path(__file__).parents[1] / "trained"
SHIPPED = "shipped.json"


class Shipment(TypedDict):
    """``shipped.json``.

    commit: of the code that trained the run. command: that trained it.
    cpu_minutes: of the training. about: what the run is, in a line.
    curve: digest of ``metrics.jsonl``, which has no checkpoint beside it.
    batch, loss: digest of the first test batch, and the loss of the trained weights on it.
    """

    commit: str
    command: str
    cpu_minutes: float
    about: str
    curve: str
    batch: str
    loss: float


class ShippedRun(NamedTuple):
    """A run that the package holds, with its size [bytes]."""

    name: str
    folder: Path
    header: dict[str, Any]
    shipment: Shipment
    size: int


def list_shipped_runs() -> list[ShippedRun]:
    """Return the runs that the package holds, in the order of their names."""
    return [
        ShippedRun(
            name=path.parent.name,
            folder=path.parent,
            header=read_header(path.parent),
            shipment=convert(read_json(path), Shipment),
            size=sum(file.stat().st_size for file in path.parent.iterdir()),
        )
        for path in sorted(FOLDER.glob(f"*/{SHIPPED}"))
    ]


def is_shipped(result: Path) -> bool:
    """Say whether a results file is one that the package holds, byte for byte.

    Tests measure the shipped runs again, so the code that made it does not matter.
    """
    own = read_bytes(result)
    return any(own == read_bytes(path) for path in FOLDER.glob(f"*/{result.name}"))


def copy_shipped_run(name: str, out: Path) -> ShippedRun:
    """Copy a run of the package into a new folder.

    Raises:
        UnknownName: there is no such run; names those that there are.
        RunError: the folder exists.
    """
    runs = {run.name: run for run in list_shipped_runs()}
    run = runs[require_one_of(name, tuple(runs), "trained run")]
    if out.exists():
        raise RunError(f"{out} exists; give another folder: neuro get {name} --out FOLDER")
    shutil.copytree(run.folder, out)
    return run
