"""A training by the command line that ends as if it was killed, in this process."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import neuro.training.loop as loop
from tasks.cli import main


class Killed(BaseException):
    """Stands for SIGKILL: no part of the code under test handles it."""


def train_until(epoch: int, argv: Sequence[str]) -> None:
    """Run a verb up to the checkpoint of an epoch, which is not written."""
    save = loop.save_checkpoint

    def die(folder: Path, weights: Any, best_meta: Any, state: Mapping[str, Any]) -> None:
        if state["epoch"] == epoch:
            raise Killed
        save(folder, weights, best_meta, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", die)
        with pytest.raises(Killed):
            main(argv)
