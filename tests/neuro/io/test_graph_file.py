"""A graph's file holds exactly its fields: all else is refused, by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import same
from safetensors import safe_open
from written_graphs import chain

from neuro.base.units import Seconds, Ticks
from neuro.graph import Conv2d, Dense, Edge, Flatten, Graph, Input, Sparse
from neuro.io.graph_file import load_graph, save_graph
from neuro.io.store import StoreError, load_arrays, save_arrays
from neuro.neurons import ALIF, LI, LIF, DiscreteLIF


def graph() -> Graph:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 1, 2, 2)).astype(np.float32)
    nodes = {
        "x": Input(shape=(1, 3, 3)),
        "conv": Conv2d(weight=weight),
        "alif": ALIF(leak=rng.uniform(0.1, 1, (2, 1, 1)), threshold=0.7, beta=0.1),
        "flat": Flatten(),
        "fc": Dense(weight=rng.normal(size=(3, 8)).astype(np.float32)),
        "out": LI(tau=0.02),
    }
    names = list(nodes)
    edges = tuple(Edge(a, b, Ticks(k)) for k, (a, b) in enumerate(pairwise(names)))
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


def changed(path: Path, change: Callable[[dict[str, np.ndarray], Any], object]) -> Path:
    """Write a graph whose content was changed before: its checksum is right."""
    save_graph(path, graph())
    arrays, meta = load_arrays(path, "graph")
    change(arrays, meta)
    save_arrays(path, "graph", arrays, meta)
    return path


def put(name: str, value: Callable[[np.ndarray], Any]) -> Callable[..., None]:
    def change(arrays: dict[str, np.ndarray], _: Any) -> None:
        arrays[name] = np.asarray(value(arrays[name]))

    return change


def put_meta(*where: Any, value: Any) -> Callable[..., None]:
    def change(_: Any, meta: Any) -> None:
        for step in where[:-1]:
            meta = meta[step]
        meta[where[-1]] = value

    return change


CHANGES: dict[str, tuple[Callable[..., object], str]] = {
    "no threshold": (lambda a, _: a.pop("alif/threshold"), "alif.threshold: is missing"),
    "no weight": (lambda a, _: a.pop("fc/weight"), "fc.weight: is missing"),
    "no reset": (lambda _, m: m["nodes"]["alif"].pop("reset"), "alif.reset: is missing"),
    "no stride": (lambda _, m: m["nodes"]["conv"].pop("stride"), "conv.stride: is missing"),
    "no edges": (lambda _, m: m.pop("edges"), "edges: is missing"),
    "no dt": (lambda _, m: m.pop("dt"), "dt: is missing"),
    "array without a field": (
        lambda a, _: a.update({"alif/tau": np.ones(())}),
        "alif/tau has no meaning",
    ),
    "array without a node": (
        lambda a, _: a.update({"lif/tau": np.ones(())}),
        "lif/tau has no meaning",
    ),
    "unknown field": (
        put_meta("nodes", "alif", "tau", value=3),
        "alif.tau: there is no such field",
    ),
    "a field twice": (
        put_meta("nodes", "alif", "leak", value=0.5),
        "alif.leak: is there twice",
    ),
    "unknown key": (put_meta("note", value=3), "note: there is no such field"),
    "unknown type": (
        put_meta("nodes", "alif", "type", value="IF"),
        "alif.type: is 'IF', expected one of 'Input'",
    ),
    "no type": (put_meta("nodes", "alif", "type", value=[]), "alif.type: is \\[\\]"),
    "int weights": (put("fc/weight", lambda a: a.astype(np.int64)), "fc/weight is int64"),
    "int leak": (put("alif/leak", lambda a: np.ones_like(a, int)), "alif/leak is int64"),
    "infinite leak": (put("alif/leak", lambda a: a * np.inf), "alif: ALIF.leak must be in"),
    "leak above 1": (put("alif/leak", lambda a: a + 1), "alif: ALIF.leak must be in"),
    "NaN weight": (put("fc/weight", lambda a: a * np.nan), "fc.weight: 24 of 24 values"),
    "threshold of two": (put("alif/threshold", lambda _: [1.0, 2.0]), "alif"),
    "text stride": (
        put_meta("nodes", "conv", "stride", value="x"),
        "conv.stride: is 'x', expected a list",
    ),
    "ragged stride": (
        put_meta("nodes", "conv", "stride", value=[1]),
        "conv.stride: is \\[1\\], expected a list of 2",
    ),
    "groups of 1.0": (
        put_meta("nodes", "conv", "groups", value=1.0),
        "conv.groups: is 1.0, expected a whole number",
    ),
    "reset": (put_meta("nodes", "alif", "reset", value=0), "alif.reset: is 0"),
    "surrogate": (
        put_meta("nodes", "alif", "surrogate", value="sine"),
        "alif.surrogate: is 'sine', expected one of 'arctan', 'triangle'",
    ),
    "negative delay": (put_meta("edges", 1, 2, value=-1), "delay -1 is not a whole number"),
    "half a delay": (
        put_meta("edges", 1, 2, value=0.5),
        "edges\\[1\\]\\[2\\]: is 0.5, expected a whole number",
    ),
    "ragged edge": (
        put_meta("edges", 1, value=["conv", "alif"]),
        "edges\\[1\\]: is \\['conv', 'alif'\\], expected a list of 3",
    ),
    "edge to nowhere": (put_meta("edges", 1, 1, value="lif"), "no node 'lif'"),
    "no length of a tick": (put_meta("dt", value="1 ms"), "dt: is '1 ms', expected a number"),
    "a tick of no length": (put_meta("dt", value=0.0), "dt must be > 0 s"),
    "nodes are a list": (put_meta("nodes", value=[]), "nodes: is \\[\\], expected an object"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_holds_exactly_its_fields(tmp_path: Path, name: str) -> None:
    change, told = CHANGES[name]
    with pytest.raises(StoreError, match=rf"(?s)graph.safetensors: .*{told}") as e:
        load_graph(changed(tmp_path / "graph.safetensors", change))
    assert "graph.safetensors" in str(e.value).splitlines()[0]


def test_what_is_no_object_is_no_graph(tmp_path: Path) -> None:
    save_arrays(tmp_path / "graph.safetensors", "graph", {}, [])
    with pytest.raises(StoreError, match=r"no whole graph: .*expected an object"):
        load_graph(tmp_path / "graph.safetensors")


def test_every_problem_of_a_node_is_told_at_once(tmp_path: Path) -> None:
    def change(arrays: dict[str, np.ndarray], meta: Any) -> None:
        del arrays["alif/threshold"], meta["nodes"]["alif"]["reset"]

    with pytest.raises(StoreError, match=r"alif.threshold: is missing; alif.reset: is missing"):
        load_graph(changed(tmp_path / "graph.safetensors", change))


def test_a_path_may_be_text(tmp_path: Path) -> None:
    save_graph(f"{tmp_path}/new/graph.safetensors", graph())
    assert same(load_graph(f"{tmp_path}/new/graph.safetensors"), graph())


def test_safetensors_reads_the_arrays_of_a_graph(tmp_path: Path) -> None:
    save_graph(tmp_path / "graph.safetensors", graph())
    with safe_open(tmp_path / "graph.safetensors", "np") as file:
        assert file.get_tensor("fc/weight").shape == (3, 8)
        assert json.loads(file.metadata()["neuro"])["kind"] == "graph"


def test_equal_graphs_make_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_graph(tmp_path / name, graph())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_threshold_in_whole_numbers_is_kept_as_floats(tmp_path: Path) -> None:
    g = chain(x=Input(shape=(2,)), s=LIF(tau=0.02, threshold=np.array([1, 2])))
    save_graph(tmp_path / "graph.safetensors", g)
    back: Any = load_graph(tmp_path / "graph.safetensors").nodes["s"]
    assert back.threshold.dtype == np.float64
    assert back.threshold.tolist() == [1.0, 2.0]


def test_a_discrete_lif_is_kept_with_all_that_it_says(tmp_path: Path) -> None:
    soft = DiscreteLIF(decay=np.array([0.5, 1.0]), gain=0.25, decay_syn=0.75, strict=True)
    hard = DiscreteLIF(decay=0.0, reset="hard", reset_to=-0.5, rest=0.125, refractory=2e-3)
    g = chain(x=Input(shape=(2,)), soft=replace(soft, reset_by=0.0), hard=hard)
    save_graph(tmp_path / "a", g)
    save_graph(tmp_path / "b", load_graph(tmp_path / "a"))
    assert same(load_graph(tmp_path / "b"), g)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_that_older_files_sort_by_delay_first_are_sorted_again(tmp_path: Path) -> None:
    node = Sparse.from_coo(
        np.array([0, 0, 0, 1]),
        np.array([1, 0, 1, 2]),
        np.array([0.5, -1.5, 2.5, 4.0]),
        shape=(3, 2),
        delay=np.array([1, 3, 2, 0]),
    )
    nodes = {"x": Input(shape=(2,)), "w": node, "out": LI(tau=0.02)}
    now = Graph(nodes=nodes, edges=(Edge("x", "w"), Edge("w", "out")), dt=Seconds(1e-3))
    path, older = tmp_path / "graph", np.array([1, 2, 0, 3])  # by (delay, target)
    save_graph(path, now)
    arrays, meta = load_arrays(path, "graph")
    for field in ("indices", "weight", "delay"):
        arrays[f"w/{field}"] = np.ascontiguousarray(arrays[f"w/{field}"][older])
    assert arrays["w/delay"].tolist() == [1, 2, 3, 0]
    save_arrays(path, "graph", arrays, meta)
    assert node.indices.tolist() == [0, 1, 1, 2]
    assert same(load_graph(path), now)
    arrays["w/indices"] = np.array([7, 1, 0, 2], np.int32)  # also out of range: refused as such
    save_arrays(path, "graph", arrays, meta)
    with pytest.raises(StoreError, match="1 targets like 7"):
        load_graph(path)
