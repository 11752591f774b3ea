"""Puts a trained and evaluated run among those that the package ships.

python tests/support/ship_run.py RUN NAME COMMIT CPU_MINUTES "ABOUT"
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from neuro.base.seeds import seeded
from neuro.io.pytree import digest
from neuro.io.store import write_json
from tasks.runs.find import open_folder
from tasks.runs.provenance import RESULTS, digest_file
from tasks.runs.results import CHECKSUM, compute_checksum
from tasks.runs.shipped import FOLDER, SHIPPED
from tasks.runs.trained_run import open_trained_run

LARGEST_PICTURE = 1e6  # bytes; neuro eval makes larger films again
KEPT = ("config.json", "environment.json", "metrics.jsonl", "best.safetensors")


def measure_first_batch(folder: Path) -> tuple[str, float]:
    """Return the digest of a run's first test batch, and the loss on it."""
    trained = open_trained_run(open_folder(folder))
    training: Any = trained.run.definition.training
    with seeded(0):
        batch = next(iter(training.batches(trained.run.config, "test", 0)))
    state = () if training.carry == "no" else (None,)
    with seeded(0), torch.no_grad():
        found = training.loss(trained.run.config, trained.model, batch, 1.0, *state)
    loss = found[0] if state else found
    return digest(tree_leaves(batch)), float(loss)


def hide_places(path: Path, run: Path) -> None:
    """Name the run folder RUN, and the home folder ~, in a results file of another machine."""
    text = path.read_text().replace(str(run), "RUN").replace(str(Path.home()), "~")
    result = {k: v for k, v in json.loads(text).items() if k != CHECKSUM}
    write_json(path, {**result, CHECKSUM: compute_checksum(result)})


def ship(run: Path, name: str, commit: str, minutes: float, about: str) -> None:
    header = json.loads((run / "config.json").read_text())
    batch, loss = measure_first_batch(run)
    into = FOLDER / name
    into.mkdir(parents=True)
    shown = (run / "eval.json").read_text()
    results = [f"{verb}.json" for verb in RESULTS if (run / f"{verb}.json").exists()]
    extra = results + [
        path.name
        for path in run.iterdir()
        if path.name in shown and path.stat().st_size < LARGEST_PICTURE
    ]
    for file in (*KEPT, *extra):
        shutil.copy(run / file, into / file)
    for name in results:
        hide_places(into / name, run)
    shipment = {
        "commit": commit,
        "command": f"neuro train {header['task']}:{header['name']} --seed {header['seed']}",
        "cpu_minutes": minutes,
        "about": about,
        "curve": digest_file(run / "metrics.jsonl"),
        "batch": batch,
        "loss": loss,
    }
    (into / SHIPPED).write_text(json.dumps(shipment, indent=1) + "\n")


if __name__ == "__main__":
    ship(Path(sys.argv[1]), *sys.argv[2:4], float(sys.argv[4]), sys.argv[5])
