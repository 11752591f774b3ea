"""Child script: run one program on Lava, ``python runner.py JOB.npz OUT.npz``.

Needs numpy and lava only (Python >= 3.10), never neuro or torch: Lava forks its processes.
The job holds a packed program, ``job.ticks`` and the raster of every input; the answer holds
the raster of every population (of a read-out, v), axes steps, samples, neurons, in steps of
Lava: lags are not taken out.
"""

import dataclasses
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

HERE = Path(__file__).parent
MEMBRANE = ("du", "dv", "bias_mant", "bias_exp")  # parameters
THRESHOLD = ("da", "vth", "beta")


def main(job: str, out: str) -> None:
    """Read the job, run every sample through a network built anew, write the answer."""
    watch_parent()
    prepare_imports()
    with np.load(job, allow_pickle=False) as npz:
        arrays = dict(npz)
    graded = "groups" in json.loads(str(arrays["meta"]))
    answer = run_stages(arrays) if graded else run_populations(arrays)
    with open(out, "wb") as file:
        np.savez(file, **answer)


def run_populations(arrays: dict) -> dict:
    """Run every sample of a LoihiProgram; return the raster of every population."""
    populations, connections = unpack(arrays)
    rasters = {
        p.name: arrays[f"job.p{i}"] for i, p in enumerate(populations) if p.kind == "input"
    }
    steps = int(arrays["job.ticks"]) + max(p.lag for p in populations)
    samples = next(iter(rasters.values())).shape[1]
    runs = [
        run_sample(populations, connections, {k: r[:, b] for k, r in rasters.items()}, steps)
        for b in range(samples)
    ]
    return {f"p{i}": np.stack([r[p.name] for r in runs], 1) for i, p in enumerate(populations)}


def watch_parent() -> None:
    """Watch the parent from a thread; once it is gone, end this process and Lava's forks.

    Needs a process group of its own, as the parent gives one: others would be ended too.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    if os.getpgrp() == os.getpid():
        threading.Thread(target=watch, daemon=True).start()


def prepare_imports() -> None:
    """Make Lava and our own Processes importable; siblings of this script must not be."""
    sys.path[0] = str(HERE / "processes")
    # networkx asks of each graph whether it is a table of pandas: without, it need not load it.
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]
    import_lava()


def import_lava(module: str = "lava.magma.compiler.var_model") -> ModuleType:
    """Import the module that lava-nc 0.10.0 has for Python 3.10 alone, then all of it can be.

    From 3.11 on, dataclasses refuse a default whose class has no hash; this module of Lava has
    such defaults. While it is imported, the default becomes a factory that returns it, which is
    what 3.10 did. Nothing stays patched.
    """
    library: Any = dataclasses  # _get_field is private
    original = library._get_field

    def tolerant(cls: type, name: str, *rest: Any) -> Any:
        default = cls.__dict__.get(name)
        plain = default is not None and not isinstance(default, dataclasses.Field)
        if plain and type(default).__hash__ is None:
            setattr(cls, name, dataclasses.field(default_factory=lambda: default))
        return original(cls, name, *rest)

    library._get_field = tolerant
    try:
        return importlib.import_module(module)
    finally:
        library._get_field = original


def unpack(arrays: dict) -> tuple:
    """Return (populations, connections), each part a namespace of its fields."""
    meta = json.loads(str(arrays["meta"]))
    parts: list = []
    for key in ("populations", "connections"):
        parts.append([])
        for i, values in enumerate(meta[key]):
            prefix = f"{key[0]}{i}."
            held = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
            parts[-1].append(SimpleNamespace(**values, **held))
    return tuple(parts)


def run_sample(populations: list, connections: list, rasters: dict, steps: int) -> dict:
    """Return what every population sent in each of ``steps`` steps, axes steps, neurons."""
    from binary import PackedSink, unpack_spikes  # type: ignore[import-not-found]
    from lava.proc.io.sink import RingBuffer as Sink

    ports = {p.name: build_population(p, rasters, steps) for p in populations}
    for c in connections:
        build_connection(c, ports[c.source][1], ports[c.target][0])
    sinks: dict = {}
    for p in populations:
        out = ports[p.name][1]
        sinks[p.name] = (
            Sink(shape=out.shape, buffer=steps)
            if p.kind == "li"
            else PackedSink(shape=out.shape, steps=steps)
        )
        out.connect(sinks[p.name].a_in)
    with running(next(iter(sinks.values())), steps):
        return {
            p.name: sinks[p.name].data.get().T.astype(np.int32)
            if p.kind == "li"
            else unpack_spikes(sinks[p.name].words.get(), int(np.prod(p.shape)))
            for p in populations
        }


@contextmanager
def running(process: Any, steps: int) -> Iterator[None]:
    """Run the network of a process for ``steps`` steps; stop it after the block."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi1SimCfg

    try:
        process.run(
            condition=RunSteps(num_steps=steps), run_cfg=Loihi1SimCfg(select_tag="fixed_pt")
        )
        yield
    finally:
        process.stop()


def build_population(p: SimpleNamespace, rasters: dict, steps: int) -> tuple:
    """Return (in port or None, out port) of a new Process for the population."""
    from binary import Alif, Li
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.lif.process import LIF

    n = int(np.prod(p.shape))
    if p.kind == "input":
        data = np.zeros((n, steps), np.int32)
        data[:, : len(rasters[p.name])] = rasters[p.name].T
        return None, Source(data=data).s_out
    if p.kind == "lif":
        lif = LIF(shape=(n,), du=int(p.du[0]), dv=int(p.dv[0]), vth=int(p.vth[0]))
        return lif.a_in, lif.s_out
    names = MEMBRANE if p.kind == "li" else MEMBRANE + THRESHOLD
    parameters = {k: np.broadcast_to(getattr(p, k), (n,)).copy() for k in names}
    parameters |= {"rest_steps": p.lag, "bias_after": p.lag + p.bias_after}
    if p.kind == "li":
        li = Li(shape=(n,), **parameters)
        return li.a_in, li.v_out
    # Files leave out a reset to 0, and by the integer threshold vth + 1.
    resets = {"reset_to": np.zeros(1, int), "reset_by": (p.vth + 1) << 6, **vars(p)}
    for k in ("reset_to", "reset_by"):
        parameters[k] = np.broadcast_to(resets[k], (n,)).copy()
    alif = Alif(shape=(n,), hard=int(p.hard), **parameters)
    return alif.a_in, alif.s_out


def build_connection(c: SimpleNamespace, source: Any, target: Any) -> None:
    """Connect two ports, through a delay line if a spike waits before the synapses."""
    from binary import DelayLine
    from lava.proc.dense.process import Dense
    from lava.proc.sparse.process import Sparse
    from lava.utils.weightutils import SignMode
    from scipy.sparse import csr_matrix, diags

    if c.extra:
        line = DelayLine(shape=source.shape, steps=c.extra)
        source.connect(line.s_in)
        source = line.s_out
    if c.kind == "conv":
        from lava.proc.conv.process import Conv  # and scipy.signal: half of a small run

        # Lava lays images out as (H, W, C) and convolves, where torch cross-correlates.
        kernel = c.weight[:, :, ::-1, ::-1].transpose(0, 2, 3, 1).copy()
        shape = (*c.shape[1:], c.shape[0])
        conv = Conv(
            weight=kernel, input_shape=shape, stride=tuple(c.stride), padding=tuple(c.padding)
        )
        source.reshape(tuple(c.shape)).transpose((1, 2, 0)).connect(conv.s_in)
        conv.a_out.transpose((2, 0, 1)).reshape(target.shape).connect(target)
        return
    if c.kind == "dense":
        wiring = Dense(weights=c.weight, sign_mode=SignMode.MIXED)
    else:
        matrix = (
            csr_matrix((c.weight, tuple(c.places)), shape=tuple(c.sizes), dtype=np.int32)
            if c.kind == "sparse"
            else diags(c.weight, format="csr", dtype=np.int32)
        )
        wiring = Sparse(weights=matrix, sign_mode=SignMode.MIXED)
    source.connect(wiring.s_in)
    wiring.a_out.connect(target)


def run_stages(arrays: dict) -> dict:
    """Run every sample of a GradedProgram; return what leaves each stage, by name."""
    meta = json.loads(str(arrays["meta"]))
    groups = {
        g["name"]: SimpleNamespace(**g, array=arrays[f"g{i}"])
        for i, g in enumerate(meta["groups"])
    }
    runs = [
        run_stages_of_sample(groups, meta["stages"], x, meta["steps"])
        for x in arrays["x"].swapaxes(0, 1)
    ]
    return {name: np.stack([r[name] for r in runs], 1) for name in runs[0]}


def run_stages_of_sample(groups: dict, stages: list, x: np.ndarray, steps: int) -> dict:
    """Return what leaves each stage, axes steps, neurons."""
    from lava.proc.dense.process import Dense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.utils.weightutils import SignMode
    from stage import StageProcess  # type: ignore[import-not-found]

    data = np.zeros((x.shape[1], steps), np.int32)
    data[:, : len(x)] = x.T
    source: Any = Source(data=data)
    ports: dict = {}
    sinks: dict = {}
    before: Any = None
    for plan in stages:
        stage = StageProcess(
            groups=[groups[name] for name in plan["groups"]],
            **{k: plan[k] for k in ("receives", "takes", "sends", "gives")},
        )
        for k, (name, _) in enumerate(plan["receives"]):
            port = getattr(stage, f"in{k}")
            if groups[name].kind == "input":
                source.s_out.connect(port)
                continue
            wiring = Dense(
                weights=groups[name].array.astype(np.int32),
                num_message_bits=24,
                sign_mode=SignMode.MIXED,
            )
            ports[groups[name].sources[0]].connect(wiring.s_in)
            wiring.a_out.connect(port)
        if before is not None and plan["takes"]:
            before.carry_out.connect(stage.carry_in)
        for k, (name, size) in enumerate(plan["sends"]):
            ports[name] = getattr(stage, f"out{k}")
            sinks[name] = Sink(shape=(size,), buffer=steps)
            ports[name].connect(sinks[name].a_in)
        before = stage
    with running(before, steps):
        return {name: sink.data.get().T.astype(np.int64) for name, sink in sinks.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
