"""Child script: run one program on Lava, ``python runner.py JOB.npz OUT.npz``.

It needs numpy and lava only (Python >= 3.10), never neuro or torch: Lava forks its processes.
The job holds a program's arrays, ``job.ticks`` and the raster of every input. The answer holds
the raster of every population (v for a read-out), axes steps, samples, neurons, in Lava's
steps, lags included.
"""

import dataclasses
import importlib
import json
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

HERE = Path(__file__).parent
MEMBRANE = ("du", "dv", "bias_mant", "bias_exp")  # parameters
THRESHOLD = ("da", "vth", "beta")
READ_OUTS = ("li", "sigma")
MESSAGE_BITS = 24
DONE = "neuro: a sample is done"  # a line of the output, which the parent counts


def main(job: str, out: str) -> None:
    """Read the job, run every sample through a new network, write the answer."""
    watch_parent()
    prepare_imports()
    with np.load(job, allow_pickle=False) as npz:
        arrays = dict(npz)
    graded = "groups" in json.loads(str(arrays["meta"]))
    if "job.warm" in arrays:
        answer = {"seconds": np.array(time_steps(arrays))}  # wall and CPU
    else:
        answer = run_stages(arrays) if graded else run_populations(arrays)
    with open(out, "wb") as file:
        np.savez(file, **answer)  # type: ignore[arg-type]


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


def time_steps(arrays: dict) -> tuple:
    """Return (wall, CPU) seconds of the steps of the first sample, without its first steps.

    The first ``job.warm`` steps compile the network. Nothing records the output. CPU is the
    time of this process and of all that Lava starts; nan without the /proc of Linux.
    """
    populations, connections = unpack(arrays)
    rasters = {
        p.name: arrays[f"job.p{i}"][:, 0]
        for i, p in enumerate(populations)
        if p.kind == "input"
    }
    warm, steps = int(arrays["job.warm"]), int(arrays["job.ticks"])
    setting = SimpleNamespace(rasters=rasters, steps=warm + steps, changes=[])
    built = build_network(populations, connections, setting)
    process = built[populations[0].name][1].process
    with running(process, warm, setting.changes) as resume:
        start, spent = time.perf_counter(), read_cpu_time()
        resume(steps)
        return time.perf_counter() - start, read_cpu_time() - spent


def read_cpu_time() -> float:
    """Return the CPU time of this process and its children so far [s]; nan if unknown."""
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    try:
        texts = [Path(f"/proc/{pid}/stat").read_text() for pid in pids]
    except OSError:
        return math.nan
    rows = [text.rpartition(")")[2].split() for text in texts]
    return sum(int(row[11]) + int(row[12]) for row in rows) / os.sysconf("SC_CLK_TCK")


def watch_parent() -> None:
    """Watch the parent from a thread; when it is gone, end this process and Lava's forks.

    The process needs its own process group, which the parent gives it: all of the group ends.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    if os.getpgrp() == os.getpid():
        threading.Thread(target=watch, daemon=True).start()


def prepare_imports() -> None:
    """Make Lava and our Processes importable, but not the siblings of this script."""
    sys.path[0] = str(HERE / "processes")
    # networkx asks whether each graph is a table of pandas; without pandas it need not load it.
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]
    import_lava()


def import_lava(module: str = "lava.magma.compiler.var_model") -> ModuleType:
    """Import the module of lava-nc 0.10.0 that needs Python 3.10; all others then import, too.

    From 3.11 on, dataclasses refuse a default whose class has no hash, and this module has such
    defaults. During the import, a default becomes a factory that returns it, which is how 3.10
    behaved. Nothing stays patched.
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
    """Return (populations, connections), each part as a namespace of its fields."""
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
    """Return the output of every population in each of ``steps`` steps, axes steps, neurons."""
    from binary import PackedSink, unpack_spikes  # type: ignore[import-not-found]
    from lava.proc.io.sink import RingBuffer as Sink

    setting = SimpleNamespace(rasters=rasters, steps=steps, changes=[])
    built = build_network(populations, connections, setting)
    packed = {p.name for p in populations if p.kind not in READ_OUTS and not sends_values(p)}
    sinks: dict = {}
    for name, (_, out) in built.items():
        sink = PackedSink(shape=out.shape, steps=steps) if name in packed else None
        sinks[name] = sink or Sink(shape=out.shape, buffer=steps)
        out.connect(sinks[name].a_in)
    with running(next(iter(sinks.values())), steps, setting.changes):
        return {
            name: unpack_spikes(sinks[name].words.get(), out.shape[0])
            if name in packed
            else sinks[name].data.get().T.astype(np.int32)
            for name, (_, out) in built.items()
        }


def build_network(populations: list, connections: list, setting: SimpleNamespace) -> dict:
    """Return the connected ports of each population, by name."""
    built = {
        p.name: BUILDERS[p.kind](p, (int(np.prod(p.shape)),), setting) for p in populations
    }
    graded = {p.name for p in populations if sends_values(p)}
    for c in connections:
        bits = MESSAGE_BITS if c.source in graded else 0
        build_connection(c, built[c.source][1], built[c.target][0], bits)
    return built


def sends_values(p: SimpleNamespace) -> bool:
    """Return whether spikes of a population have values, which synapses multiply by.

    With message bits 0, Lava's synapses turn each value into 1, even -1.
    """
    return bool(p.kind == "ternary" or p.message_bits > 0)


@contextmanager
def running(process: Any, steps: int, changes: list) -> Iterator[Callable[[int], None]]:
    """Run a process's network for ``steps`` steps, then stop it after the block.

    Yields a function that runs more steps.

    changes: (steps before the change, Var, value) for variables that change during the run.
    """
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi1SimCfg

    config = Loihi1SimCfg(select_tag="fixed_pt")

    def run(number: int) -> None:
        process.run(condition=RunSteps(num_steps=number), run_cfg=config)

    try:
        done = 0
        for at in sorted({at for at, _, _ in changes if 0 < at < steps}):
            run(at - done)
            done = at
            for _, variable, value in (change for change in changes if change[0] == at):
                variable.set(value)
        run(steps - done)
        yield run
        sys.stdout.write(f"{DONE}\n")
        sys.stdout.flush()
    finally:
        process.stop()


def build_input(p: Any, shape: tuple, setting: SimpleNamespace) -> tuple:
    """Return the ports of a spike source for an input."""
    from lava.proc.io.source import RingBuffer as Source

    data, raster = np.zeros((*shape, setting.steps), np.int32), setting.rasters[p.name]
    data[:, : len(raster)] = raster.T
    return None, Source(data=data).s_out


def build_lif(p: Any, shape: tuple, setting: SimpleNamespace) -> tuple:
    """Return the ports of Lava's own LIF, LIFReset or TernaryLIF."""
    from lava.proc.lif.process import LIF, LIFReset, TernaryLIF

    values: dict = {"du": int(p.du[0]), "dv": int(p.dv[0]), **set_bias_later(p, shape)}
    kind: Any = LIF
    if p.kind == "ternary":
        kind = TernaryLIF
        values |= {"vth_hi": int(p.vth[0]), "vth_lo": int(p.vth_low[0])}
    else:
        values["vth"] = int(p.vth[0])
    if p.reset_interval:
        kind = LIFReset
        offset = (p.reset_offset + p.lag + 1) % p.reset_interval
        values |= {"reset_interval": p.reset_interval, "reset_offset": offset}
    lif = kind(shape=shape, **values)
    add_bias_later(p, shape, lif.bias_mant, setting.changes)
    return lif.a_in, lif.s_out


def set_bias_later(p: Any, shape: tuple) -> dict:
    """Return the initial bias of a stock neuron: 0 if its bias acts only later."""
    mantissa = np.broadcast_to(p.bias_mant, shape).copy()
    waits = p.lag + p.bias_after > 0
    exponent = np.broadcast_to(p.bias_exp, shape).copy()
    return {"bias_mant": 0 * mantissa if waits else mantissa, "bias_exp": exponent}


def add_bias_later(p: Any, shape: tuple, variable: Any, changes: list) -> None:
    """Add the change that starts a stock neuron's bias: the neuron cannot rest until then."""
    if p.lag + p.bias_after and p.bias_mant.any():
        value = np.broadcast_to(p.bias_mant, shape).copy()
        changes.append((p.lag + p.bias_after, variable, value))


def build_ours(p: Any, shape: tuple, _: SimpleNamespace) -> tuple:
    """Return the ports of one of our Processes."""
    from binary import Alif, Li

    names = MEMBRANE if p.kind == "li" else MEMBRANE + THRESHOLD
    parameters: dict = {k: np.broadcast_to(getattr(p, k), shape).copy() for k in names}
    parameters["steps"] = {
        "rest": p.lag,
        "bias": p.lag + p.bias_after,
        "interval": p.reset_interval,
        "offset": (p.reset_offset + p.lag + 1) % max(p.reset_interval, 1),
    }
    if p.kind == "li":
        li = Li(shape=shape, **parameters)
        return li.a_in, li.v_out
    # Files leave out the default reset: to 0, and by the integer threshold vth + 1.
    resets = {"reset_to": np.zeros(1, int), "reset_by": (p.vth + 1) << 6, **vars(p)}
    for k in ("reset_to", "reset_by"):
        parameters[k] = np.broadcast_to(resets[k], shape).copy()
    alif = Alif(shape=shape, hard=int(p.hard), refractory=p.refractory, **parameters)
    return alif.a_in, alif.s_out


def build_coder(p: Any, shape: tuple, setting: SimpleNamespace) -> tuple:
    """Return the ports of Lava's own Delta or SigmaDelta, which rescale vth and bias."""
    from lava.proc.sdn.process import ActivationMode, Delta, SigmaDelta

    unit = 2.0 ** (p.spike_exp + p.state_exp)
    values: dict = {"vth": int(p.vth[0]) / unit, "cum_error": p.cumulative}
    values |= {"spike_exp": p.spike_exp, "state_exp": p.state_exp}
    if p.kind == "delta":
        coder: Any = Delta(shape=shape, **values)
        return coder.a_in, coder.s_out
    mode = ActivationMode.RELU if p.relu else ActivationMode.UNIT
    bias = set_bias_later(p, shape)["bias_mant"] / unit
    coder = SigmaDelta(shape=shape, bias=bias, act_mode=mode, **values)
    add_bias_later(p, shape, coder.bias, setting.changes)
    return coder.a_in, coder.s_out


def build_sigma(_: Any, shape: tuple, __: SimpleNamespace) -> tuple:
    """Return the ports of Lava's own Sigma."""
    from lava.proc.sdn.process import Sigma

    sigma = Sigma(shape=shape)
    return sigma.a_in, sigma.s_out


BUILDERS: dict = {
    "input": build_input,
    "lif": build_lif,
    "ternary": build_lif,
    **dict.fromkeys(("alif", "li"), build_ours),
    **dict.fromkeys(("delta", "sigma_delta"), build_coder),
    "sigma": build_sigma,
}


def build_connection(c: SimpleNamespace, source: Any, target: Any, bits: int) -> None:
    """Connect two ports, through lines of delays where spikes or sums wait.

    bits: of graded spikes; 0 for binary spikes.
    """
    from binary import Waits
    from lava.proc.dense.process import Dense
    from lava.proc.sparse.process import Sparse
    from lava.utils.weightutils import SignMode
    from scipy.sparse import csr_matrix, diags

    given = vars(c)
    waits = given.get("delays_in", np.zeros(source.shape, int)) + c.extra
    if waits.any():
        line = Waits(shape=source.shape, waits=waits)
        source.connect(line.a_in)
        source = line.a_out
    if "delays_out" in given:
        line = Waits(shape=target.shape, waits=c.delays_out)
        line.a_out.connect(target)
        target = line.a_in
    if c.kind == "conv":
        from lava.proc.conv.process import Conv  # imports scipy.signal: half of a small run

        # Lava orders images as (H, W, C) and convolves; torch cross-correlates.
        kernel = c.weight[:, :, ::-1, ::-1].transpose(0, 2, 3, 1).copy()
        shape = (*c.shape[1:], c.shape[0])
        conv = Conv(
            weight=kernel,
            input_shape=shape,
            stride=tuple(c.stride),
            padding=tuple(c.padding),
            dilation=tuple(given.get("dilation", (1, 1))),
            groups=given.get("groups", 1),
            num_message_bits=bits,
        )
        source.reshape(tuple(c.shape)).transpose((1, 2, 0)).connect(conv.s_in)
        conv.a_out.transpose((2, 0, 1)).reshape(target.shape).connect(target)
        return
    how = {
        "num_message_bits": bits,
        "sign_mode": SignMode[c.sign_mode.upper()],
        "weight_exp": c.weight_exp,
        "num_weight_bits": c.weight_bits,
    }
    if c.kind == "dense":
        wiring = Dense(weights=c.weight, **how)
    else:
        matrix = (
            csr_matrix((c.weight, tuple(c.places)), shape=tuple(c.sizes), dtype=np.int32)
            if c.kind == "sparse"
            else diags(c.weight, format="csr", dtype=np.int32)
        )
        wiring = Sparse(weights=matrix, **how)
    source.connect(wiring.s_in)
    wiring.a_out.connect(target)


def run_stages(arrays: dict) -> dict:
    """Run every sample of a GradedProgram; return the output of each stage, by name."""
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
    """Return the output of each stage, axes steps, neurons."""
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
    with running(before, steps, []):
        return {name: sink.data.get().T.astype(np.int64) for name, sink in sinks.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
