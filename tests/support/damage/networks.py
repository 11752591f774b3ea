"""Files of networks, what they did and how they were trained, and how each is read."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from programs import program
from written_graphs import chain, read_edges
from xylo_programs import draw_program

from damage.ways import Rng, Subject, damage_arrays, damage_bytes, fresh, of_json, of_tensors
from lava_export.chip_program import load_program, save_program
from lava_export.graded import lower_graded
from neuro.base.units import Seconds, Ticks
from neuro.events import simulate
from neuro.events.to_disk import cut, open_stream, read_state, simulate_to_disk
from neuro.graph import CountSpikes, Dense, Graph, Input, RMSNorm
from neuro.io.graph_digest import digest_graph
from neuro.io.graph_file import load_graph, save_graph
from neuro.io.pytree import digest
from neuro.io.record_file import load_record, save_record
from neuro.io.store import load_tensors
from neuro.neurons import ALIF, LI, LIF, DiscreteLIF
from neuro.spikes import Events, to_events
from neuro.training.checkpoint import load_checkpoint, save_checkpoint, save_weights
from tasks.imported.stimulus import make_stimulus as read_stimulus, read_arrays
from tasks.language.config import LanguageConfig
from tasks.language.packed import load_packed, make_empty, save_packed


@cache
def graph() -> Graph:
    rng = np.random.default_rng(0)
    nodes = {
        "x": Input(shape=(6,)),
        "fc": Dense(weight=rng.normal(size=(5, 6)), bias=rng.normal(size=5)),
        "alif": ALIF(leak=rng.uniform(0.1, 1, 5), beta=0.1),
        "rec": Dense(weight=rng.normal(size=(5, 5))),
        "lif": LIF(tau=0.02, tau_syn=0.005),
        "own": DiscreteLIF(decay=rng.uniform(0.5, 1, 5), strict=True, reset_by=0.5),
        "out": LI(tau=0.02),
    }
    edges = read_edges("x>fc fc>alif alif>rec:2 rec>alif alif>lif lif>own own>out")  # fmt: skip
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


@cache
def stimulus() -> Events:
    return to_events(np.random.default_rng(0).random((8, 2, 6)) < 0.4)


def make_graph(folder: Path) -> Path:
    save_graph(fresh(folder) / "graph.safetensors", graph())
    return folder / "graph.safetensors"


def read_graph(path: Path) -> bytes:
    again = path.with_name("again.safetensors")
    save_graph(again, load_graph(path))
    return again.read_bytes()


def make_record(folder: Path) -> Path:
    record, _ = simulate(graph(), {"x": stimulus()})
    save_record(fresh(folder) / "record.safetensors", record)
    return folder / "record.safetensors"


def read_record(path: Path) -> bytes:
    again = path.with_name("again.safetensors")
    save_record(again, load_record(path))
    return again.read_bytes()


def make_program(folder: Path) -> Path:
    save_program(fresh(folder) / "program.safetensors", program())
    return folder / "program.safetensors"


def read_program(path: Path) -> bytes:
    again = path.with_name("again.safetensors")
    save_program(again, load_program(path))
    return again.read_bytes()


def make_graded_program(folder: Path) -> Path:
    graph = chain(
        x=Input(shape=(2,)),
        norm=RMSNorm(gain=np.ones(2), eps=1e-6),
        spikes=CountSpikes(ticks=4, threshold=0.75),
        w=Dense(weight=np.array([[1.0, 0.0], [-1.0, 1.0]])),
        y=LI(tau=1e-9, gain=0.5),
    )
    save_program(fresh(folder) / "program.safetensors", lower_graded(graph))
    return folder / "program.safetensors"


def make_xylo_program(folder: Path) -> Path:
    xylo = draw_program(np.random.default_rng(0), "any")
    save_program(fresh(folder) / "program.safetensors", xylo)
    return folder / "program.safetensors"


def make_stream(folder: Path, name: str) -> Path:
    simulate_to_disk(graph(), cut({"x": stimulus()}, Ticks(4), graph().dt), fresh(folder))
    return folder / name


def read_chunks(path: Path) -> list[str]:
    return [digest(record) for record in open_stream(path.parent)]


def make_checkpoint(folder: Path) -> Path:
    weights = {"w": torch.arange(6.0), "n": torch.tensor(3)}
    best = {"epoch": 1, "score": 0.5, "run": "ab"}
    save_weights(fresh(folder) / "best.safetensors", weights, best)
    state: dict[str, Any] = {
        "epoch": 1,
        "step": 2,
        "steps": 3,
        "history": [{"epoch": 1, "train_loss": 0.5, "val_score": 0.5}],
        "first_loss": 0.75,
        "silent": ["hidden"],
        "processes": 1,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]},
        "schedule": {"last_epoch": 3},
        "losses": torch.zeros(1, 2),
        "carry": ({"tuple": []}, {}),
        "tally": {"raised": 2},
        "seed": 0,
        "run": "ab",
    }
    save_checkpoint(folder, weights, best, state)
    return folder / "last.safetensors"


def read_checkpoint(path: Path) -> str:
    found = load_checkpoint(path.parent)
    return digest(vars(found)) if found else "none"


def read_weights(path: Path) -> str:
    return digest(load_tensors(path, "weights"))


def make_packed(folder: Path) -> Path:
    config = LanguageConfig(stack="mlgru+rwkv5", width=8, hidden=6, heads=2, linear="ternary")
    model = make_empty(config).to_empty(device="cpu")
    for tensor in model.state_dict().values():
        tensor.fill_(0.5 if tensor.is_floating_point() else 0b10010001)
    save_packed(fresh(folder) / "packed.safetensors", model, config)
    return folder / "packed.safetensors"


def read_packed(path: Path) -> str:
    model, config = load_packed(path)
    return digest((dict(model.state_dict()), repr(config)))


def make_stimulus(folder: Path) -> Path:
    path = fresh(folder) / "stimulus.npz"
    np.savez(path, **dict(zip(Events._fields[:4], stimulus()[:4], strict=True)))
    return path


def of_stimulus(path: Path, rng: Rng) -> bool:
    with np.load(path) as file:
        arrays = dict(file)
    damage_arrays(arrays, rng)
    np.savez(path, **(dict(zip(Events._fields, stimulus(), strict=True)) | arrays))
    return False


def run_stimulus(path: Path) -> str:
    """Return what a network does with spikes, whatever the arrays that claim to be some."""
    with np.load(path) as file:
        columns = {k: file[k] for k in Events._fields[:4]}
    record, _ = simulate(graph(), {"x": Events(**columns, shape=stimulus().shape)})
    return digest(record.values)


def make_stimulus_of_user(folder: Path) -> Path:
    path = fresh(folder) / "stimulus.npz"
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.random((8, 2, 6)) < 0.4, labels=rng.integers(0, 5, 2))
    return path


def of_user(path: Path, rng: Rng) -> bool:
    """Damage the bytes or the arrays of a file of NumPy's."""
    if rng.random() < 0.5:
        damage_bytes(path, rng)
        return False
    with np.load(path) as file:
        arrays = dict(file)
    damage_arrays(arrays, rng)
    np.savez(path, **arrays)
    return False


def read_stimulus_of_user(path: Path) -> str:
    found = read_stimulus(graph(), path, read_arrays(path))
    return digest((dict(found.inputs), found.labels))


def make_nir(folder: Path) -> Path:
    import nir
    from nir_graphs import chain as chain_nir

    wait, own = (
        nir.Delay(np.full(3, 2.0)),
        {"v_leak": np.array([0.0, 0.5, 3.0]), "r": np.ones(3)},
    )
    cells = nir.LIF(tau=np.full(3, 4.0), v_threshold=np.full(3, 2.0), **own)
    fc = nir.Affine(
        np.array([[1.5, 0.25], [0.5, 2.0], [0.75, 1.0]]), np.array([0.0, 0.5, 0.25])
    )
    path = fresh(folder) / "net.nir"
    nir.write(path, chain_nir(fc, wait, cells, inputs=[2], outputs=[3]))
    return path


def of_nir(path: Path, rng: Rng) -> bool:
    """Change bytes, or a dataset and its place."""
    if rng.integers(3):
        damage_bytes(path, rng)
        return False
    import h5py

    with h5py.File(path, "a") as file:
        nodes = [group for group in file["node/nodes"].values() if len(group) > 1]
        group = nodes[rng.integers(len(nodes))]
        arrays = {k: np.asarray(group[k]) for k in group if group[k].dtype.kind in "if"}
        before = [*arrays]
        damage_arrays(arrays, rng)
        for name in before:
            del group[name]
        for name, array in arrays.items():
            group[name] = array
    return False


def read_nir(path: Path) -> str:
    from neuro.interop.nir import read

    return digest_graph(read(path, dt=1.0).graph)


SUBJECTS: dict[str, Subject] = {
    "nir": Subject(make=make_nir, damage=of_nir, read=read_nir),
    "graph": Subject(
        make=make_graph, damage=partial(of_tensors, kind="graph"), read=read_graph
    ),
    "record": Subject(
        make=make_record, damage=partial(of_tensors, kind="record"), read=read_record
    ),
    "graded program": Subject(
        make=make_graded_program,
        damage=partial(of_tensors, kind="graded_program"),
        read=read_program,
    ),
    "xylo program": Subject(
        make=make_xylo_program,
        damage=partial(of_tensors, kind="xylo_program"),
        read=read_program,
    ),
    "program": Subject(
        make=make_program, damage=partial(of_tensors, kind="program"), read=read_program
    ),
    "chunk": Subject(
        make=partial(make_stream, name="chunk-000001.safetensors"),
        damage=partial(of_tensors, kind="chunk"),
        read=read_chunks,
    ),
    "state": Subject(
        make=partial(make_stream, name="state.safetensors"),
        damage=partial(of_tensors, kind="state"),
        read=lambda path: digest(read_state(path.parent)),
    ),
    "stream": Subject(
        make=partial(make_stream, name="stream.json"), damage=of_json, read=read_chunks
    ),
    "weights": Subject(
        make=lambda folder: make_checkpoint(folder).with_name("best.safetensors"),
        damage=partial(of_tensors, kind="weights"),
        read=read_weights,
    ),
    "checkpoint": Subject(
        make=make_checkpoint,
        damage=partial(of_tensors, kind="checkpoint"),
        read=read_checkpoint,
    ),
    "packed": Subject(
        make=make_packed, damage=partial(of_tensors, kind="packed"), read=read_packed
    ),
    "stimulus of the user": Subject(
        make=make_stimulus_of_user, damage=of_user, read=read_stimulus_of_user
    ),
    "stimulus": Subject(
        make=make_stimulus, damage=of_stimulus, read=run_stimulus, names_file=False
    ),
}
