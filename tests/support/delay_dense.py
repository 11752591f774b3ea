"""Runs Lava's DelayDense on one sample, ``python delay_dense.py RUNNER FOLDER``.

The folder holds job.npz, and gets sums.npy: what leaves the synapses, steps, targets.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(runner_path: str, folder: str) -> None:
    spec: Any = importlib.util.spec_from_file_location("runner", runner_path)
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    runner.import_lava()
    from lava.proc.dense.process import DelayDense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.utils.weightutils import SignMode

    job = np.load(Path(folder, "job.npz"))
    steps = len(job["x"])
    source: Any = Source(data=job["x"].T.astype(np.int32))
    synapses = DelayDense(
        weights=job["weight"],
        delays=job["delays"],
        weight_exp=int(job["exponent"]),
        sign_mode=SignMode.MIXED,
    )
    sink = Sink(shape=(len(job["weight"]),), buffer=steps)
    source.s_out.connect(synapses.s_in)
    synapses.a_out.connect(sink.a_in)
    with runner.running(sink, steps, []):
        np.save(Path(folder, "sums.npy"), sink.data.get().T.astype(np.int64))


if __name__ == "__main__":
    main(*sys.argv[1:])
