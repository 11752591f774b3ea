"""A stream is one run: what is on disk equals what memory would have held."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import random_graph, stimulus
from hypothesis import given, settings, strategies as st
from written_graphs import read_edges

from neuro.base.units import Seconds, Ticks
from neuro.events import Exact, Grid, Recording, Runaway, simulate, to_disk
from neuro.events.to_disk import (
    Stream,
    StreamError,
    cut,
    open_stream,
    read_state,
    simulate_to_disk,
)
from neuro.graph import Dense, Graph, Input
from neuro.io.pytree import digest
from neuro.io.store import StoreError, save_arrays, write_json
from neuro.neurons import LI, LIF
from neuro.spikes import Events, Times, join_in_time, to_events, to_times
from neuro.spikes.record import Record

Damage = Callable[[Path, Path], None]  # of a folder, with a folder of another stream
SEEDS = st.integers(0, 10_000)


def same(one: object, other: object) -> bool:
    """Say whether two nested values are equal bit for bit."""
    return digest(one) == digest(other)


def whole(stream: Stream, like: Record) -> Record:
    return replace(
        like,
        ticks=sum(r.ticks for r in stream),
        spikes={name: stream.spikes(name) for name in like.spikes},
        values={name: stream.values(name) for name in like.values},
        counts=stream.counts(),
    )


@pytest.mark.slow
@given(seed=SEEDS, chunk=st.integers(1, 20))
@settings(max_examples=10)
def test_a_stream_is_one_run_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, chunk: int
) -> None:
    graph = random_graph(seed)
    inputs = stimulus(graph, seed)
    folder = tmp_path_factory.mktemp("stream")
    stream = simulate_to_disk(graph, cut(inputs, Ticks(chunk), graph.dt), folder)
    one, state = simulate(graph, inputs)
    assert len(stream) == -(-15 // chunk)
    assert same(whole(stream, one), one)
    assert same(read_state(folder), state)


def recurrent() -> Graph:
    """Return ten cells with a current each, which hear each other after 3 ticks."""
    rng = np.random.default_rng(0)
    nodes = {
        "x": Input(shape=(20,)),
        "in": Dense(weight=rng.normal(0.5, 0.3, (10, 20))),
        "back": Dense(weight=rng.normal(0, 0.3, (10, 10))),
        "current": LI(tau=0.005, gain=0.2),
        "cells": LIF(tau=0.02, reset="hard", refractory=Seconds(0.0015)),
        "out": Dense(weight=rng.normal(0, 1, (2, 10))),
        "readout": LI(tau=0.01),
    }
    edges = read_edges(
        "x>in in>current current>cells cells>back:3 back>current cells>out out>readout"
    )
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 7, 30, 100])
def test_a_stream_in_exact_time_is_one_run_but_for_rounding(tmp_path: Path, chunk: int) -> None:
    graph, rng = recurrent(), np.random.default_rng(1)
    time = np.sort(rng.uniform(0, 0.1, 300))
    neuron = rng.integers(0, 20, 300).astype(np.int32)
    train = Times(np.zeros(300, np.int32), time, neuron, np.ones(300), (100, 1, 20))
    stream = simulate_to_disk(
        graph, cut({"x": train}, Ticks(chunk), graph.dt), tmp_path, Exact()
    )
    one, state = simulate(graph, {"x": train}, Exact())
    found, wanted = stream.times("cells"), one.times["cells"]
    assert wanted.time.size > 20
    assert found.shape == wanted.shape
    assert found.neuron.tolist() == wanted.neuron.tolist()
    assert np.abs(found.time - wanted.time).max() < 1e-14
    assert np.abs(stream.values("readout") - one.values["readout"]).max() < 1e-12
    assert np.allclose(
        read_state(tmp_path).neurons["cells"], state.neurons["cells"], atol=1e-12
    )
    assert stream.spikes("cells").tick.tolist() == one.spikes["cells"].tick.tolist()


def test_a_time_at_the_end_of_a_chunk_up_to_rounding_is_of_that_chunk(tmp_path: Path) -> None:
    nodes = {
        "x": Input(shape=(2,)),
        "in": Dense(weight=np.full((1, 2), 0.6)),
        "cells": LIF(tau=0.02),
    }
    graph = Graph(nodes=nodes, edges=read_edges("x>in in>cells"), dt=Seconds(1e-3))
    time = np.array([3e-3, np.nextafter(3e-3, 1)])
    neuron = np.arange(2, dtype=np.int32)
    inputs = {"x": Times(np.zeros(2, np.int32), time, neuron, np.ones(2), (6, 1, 2))}
    stream = simulate_to_disk(graph, cut(inputs, Ticks(3), graph.dt), tmp_path, Exact())
    one, _ = simulate(graph, inputs, Exact())
    assert one.spikes["x"].tick.tolist() == stream.spikes("x").tick.tolist() == [2, 2]
    assert one.times["cells"].time.tolist() == stream.times("cells").time.tolist() == [3e-3]


def pieces(graph: Graph, number: int) -> Iterator[dict[str, Events]]:
    for n in range(number):
        yield stimulus(graph, n, ticks=5)


def test_a_stimulus_may_be_generated_as_the_run_goes(tmp_path: Path) -> None:
    graph = random_graph(3)
    stream = simulate_to_disk(graph, pieces(graph, 4), tmp_path)
    assert [r.ticks for r in stream] == [5, 5, 5, 5]
    assert stream.spikes("x").shape == (20, 2, graph.size("x"))
    third = list(stream)[2].spikes["x"]
    given_third = stimulus(graph, 2, ticks=5)["x"]
    assert third.tick.tolist() == given_third.tick.tolist()


def test_an_interrupted_stream_goes_on_after_its_last_whole_chunk(tmp_path: Path) -> None:
    graph = random_graph(5)
    computed = []

    def dying(after: int) -> Iterator[dict[str, Events]]:
        for n, piece in enumerate(pieces(graph, 5)):
            if n == after:
                raise KeyboardInterrupt
            computed.append(n)
            yield piece

    with pytest.raises(KeyboardInterrupt):
        simulate_to_disk(graph, dying(3), tmp_path / "cut")
    assert len(open_stream(tmp_path / "cut")) == 3
    before = (tmp_path / "cut/chunk-000001.safetensors").stat().st_mtime_ns
    stream = simulate_to_disk(graph, pieces(graph, 5), tmp_path / "cut")
    assert (tmp_path / "cut/chunk-000001.safetensors").stat().st_mtime_ns == before
    straight = simulate_to_disk(graph, pieces(graph, 5), tmp_path / "straight")
    assert same(tuple(stream), tuple(straight))
    assert same(read_state(tmp_path / "cut"), read_state(tmp_path / "straight"))


def test_a_chunk_whose_state_was_not_written_is_made_again(tmp_path: Path) -> None:
    graph = random_graph(5)
    simulate_to_disk(graph, pieces(graph, 2), tmp_path)
    state = (tmp_path / "state.safetensors").read_bytes()
    simulate_to_disk(graph, pieces(graph, 3), tmp_path)
    (tmp_path / "state.safetensors").write_bytes(state)  # killed between the two files
    assert len(open_stream(tmp_path)) == 3
    stream = simulate_to_disk(graph, pieces(graph, 4), tmp_path)
    straight = simulate_to_disk(graph, pieces(graph, 4), tmp_path / "straight")
    assert same(tuple(stream), tuple(straight))


@pytest.mark.parametrize("kill", range(9))
def test_a_stream_killed_before_any_of_its_files_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: int
) -> None:
    graph, written = random_graph(5), []

    def killed(path: Path, *value: object) -> None:
        written.append(path.name)
        if len(written) > kill:
            raise KeyboardInterrupt
        (write_json if path.suffix == ".json" else save_arrays)(path, *value)

    with monkeypatch.context() as patch:
        patch.setattr(to_disk, "write_json", killed)
        patch.setattr(to_disk, "save_arrays", killed)
        with pytest.raises(KeyboardInterrupt):
            simulate_to_disk(graph, pieces(graph, 4), tmp_path)
    straight = simulate_to_disk(graph, pieces(graph, 4), tmp_path / "straight")
    whole_chunks = sum(name.startswith("chunk") for name in written[:-1])
    assert same(tuple(Stream(tmp_path, graph.dt)), tuple(straight)[:whole_chunks])
    stream = simulate_to_disk(graph, pieces(graph, 4), tmp_path)
    assert same(tuple(stream), tuple(straight))
    assert same(read_state(tmp_path), read_state(tmp_path / "straight"))


def copy(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())


def lose(folder: Path, _: Path) -> None:
    (folder / "chunk-000001.safetensors").unlink()


def lose_the_last(folder: Path, _: Path) -> None:
    (folder / "chunk-000002.safetensors").unlink()


def lose_the_state(folder: Path, _: Path) -> None:
    (folder / "state.safetensors").unlink()


def exchange(folder: Path, _: Path) -> None:
    kept = (folder / "chunk-000000.safetensors").read_bytes()
    copy(folder / "chunk-000001.safetensors", folder / "chunk-000000.safetensors")
    (folder / "chunk-000001.safetensors").write_bytes(kept)


def add_a_copy(folder: Path, _: Path) -> None:
    copy(folder / "chunk-000001.safetensors", folder / "chunk-000003.safetensors")


def add_two(folder: Path, _: Path) -> None:
    for number in (3, 4):
        copy(folder / "chunk-000001.safetensors", folder / f"chunk-00000{number}.safetensors")


def add_an_odd_name(folder: Path, _: Path) -> None:
    copy(folder / "chunk-000001.safetensors", folder / "chunk-000001.npz")


def take_of_another(name: str) -> Damage:
    return lambda folder, other: copy(other / name, folder / name)


def cut_short(folder: Path, _: Path) -> None:
    path = folder / "chunk-000001.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


DAMAGED = {  # what is done, what reading says, and what going on says
    "lost": (lose, r"chunk-000001.*: is missing; restore it", ""),
    "last lost": (lose_the_last, r"chunk-000002.*: is missing; restore it", ""),
    "state lost": (lose_the_state, r"state.*: is missing; restore it", ""),
    "exchanged": (exchange, r"chunk-000000.*: holds chunk 1, not chunk 0; put each", ""),
    "copied": (add_a_copy, r"chunk-000003.*: holds chunk 1, not chunk 3; put each", None),
    "two more": (
        add_two,
        r"chunk-000003.*: holds chunk 1, not chunk 3",
        r"chunk-000004.*: exceeds the stream's 3 chunks; move it away",
    ),
    "odd name": (add_an_odd_name, r"1\.npz: is not the name of a chunk, or is of", ""),
    "another's first": (
        take_of_another("chunk-000000.safetensors"),
        r"chunk-000001.*: does not continue the chunks before it",
        "chunk 0 is of another stimulus",
    ),
    "another's second": (
        take_of_another("chunk-000001.safetensors"),
        r"chunk-000001.*: does not continue the chunks before it",
        "",
    ),
    "another's state": (
        take_of_another("state.safetensors"),
        r"state.*: is not the state at the end of chunk-000002.*: one of them",
        "",
    ),
    "cut short": (cut_short, r"chunk-000001.*: damaged or cut short", ""),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_stream_that_is_not_whole_is_refused_when_read_and_when_continued(
    tmp_path: Path, what: str
) -> None:
    graph, (damage, reading, going_on) = random_graph(5), DAMAGED[what]
    other = [stimulus(graph, 7 + n, ticks=5) for n in range(3)]
    simulate_to_disk(graph, other, tmp_path / "other")
    stream = simulate_to_disk(graph, pieces(graph, 3), tmp_path / "stream")
    damage(tmp_path / "stream", tmp_path / "other")
    with pytest.raises((StreamError, StoreError), match=reading):
        stream.spikes("x")
    if going_on is None:  # in the place of the next chunk, which is made again
        going = simulate_to_disk(graph, pieces(graph, 4), tmp_path / "stream")
        straight = simulate_to_disk(graph, pieces(graph, 4), tmp_path / "straight")
        assert same(tuple(going), tuple(straight))
        return
    with pytest.raises((StreamError, StoreError), match=going_on or reading):
        simulate_to_disk(graph, pieces(graph, 4), tmp_path / "stream")


def test_the_last_chunk_of_another_stream_is_told_by_the_state(tmp_path: Path) -> None:
    graph = random_graph(5)
    stream = simulate_to_disk(graph, pieces(graph, 3), tmp_path / "stream")
    other = [*pieces(graph, 2), stimulus(graph, 7, ticks=5)]
    simulate_to_disk(graph, other, tmp_path / "other")
    name = "chunk-000002.safetensors"
    copy(tmp_path / "other" / name, tmp_path / "stream" / name)
    with pytest.raises(StreamError, match=r"state.*: is not the state at the end of chunk-0"):
        list(stream)
    with pytest.raises(StreamError, match="chunk 2 is of another stimulus"):
        simulate_to_disk(graph, pieces(graph, 4), tmp_path / "stream")
    with pytest.raises(StreamError, match=r"state.*: is not the state at the end of chunk-0"):
        simulate_to_disk(graph, other, tmp_path / "stream")


def test_an_earlier_piece_that_changed_is_told(tmp_path: Path) -> None:
    graph = random_graph(5)
    simulate_to_disk(graph, pieces(graph, 3), tmp_path)
    changed = list(pieces(graph, 4))
    changed[0] = stimulus(graph, 7, ticks=5)
    with pytest.raises(StreamError, match="chunk 0 is of another stimulus"):
        simulate_to_disk(graph, changed, tmp_path)


def test_ticks_of_a_long_stream_do_not_wrap() -> None:
    zero, five = np.zeros(1, np.int32), np.array([5], np.int32)
    long = 2**31 - 3
    parts = [(Events(zero, five, zero, np.ones(1), (n, 1, 1)), n) for n in (long, 10, 10)]
    found = join_in_time(parts, 1)
    assert found.tick.tolist() == [5, long + 5, long + 15]
    assert found.shape == (long + 20, 1, 1)
    last = list(cut({"x": found}, Ticks(2**30), Seconds(1e-3)))[-1]["x"]
    assert last.tick.tolist() == [2, 12]
    assert last.shape == (17, 1, 1)


def test_a_stream_of_something_else_is_not_continued(tmp_path: Path) -> None:
    graph, other = random_graph(5), random_graph(6)
    simulate_to_disk(graph, pieces(graph, 2), tmp_path)
    with pytest.raises(StreamError, match="another graph; choose another folder"):
        simulate_to_disk(other, pieces(other, 2), tmp_path)
    clock, record = Grid(dtype=np.float32), Recording(spikes=())
    with pytest.raises(StreamError, match="another clock, record;"):
        simulate_to_disk(graph, pieces(graph, 2), tmp_path, clock, record=record)
    _, elsewhere = simulate(graph, stimulus(graph, 9))
    with pytest.raises(StreamError, match="holds a stream with another state; choose"):
        simulate_to_disk(graph, pieces(graph, 2), tmp_path, state=elsewhere)
    again = [stimulus(graph, 0, ticks=5)] * 3
    with pytest.raises(StreamError, match="chunk 1 is of another stimulus"):
        simulate_to_disk(graph, again, tmp_path)
    with pytest.raises(StreamError, match="holds 2 chunks, got 1 pieces"):
        simulate_to_disk(graph, pieces(graph, 1), tmp_path)


def test_ticks_whose_states_are_kept_count_from_the_start_of_the_stream(tmp_path: Path) -> None:
    graph = random_graph(7)
    inputs = stimulus(graph, 7)
    record = Recording(states=(0, 6, 14))
    stream = simulate_to_disk(graph, cut(inputs, Ticks(6), graph.dt), tmp_path, record=record)
    one, _ = simulate(graph, inputs, record=record)
    assert [list(r.states) for r in stream] == [[0], [0], [2]]
    for tick, states in one.states.items():
        found = list(stream)[tick // 6].states[tick % 6]
        assert same(dict(found), dict(states))


def test_a_folder_without_a_stream_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"stream\.json: cannot be read"):
        open_stream(tmp_path)


def test_a_runaway_leaves_the_chunks_before_it_and_a_larger_budget_goes_on(
    tmp_path: Path,
) -> None:
    graph = random_graph(5)
    quiet, loud = (random_input(graph, p) for p in (0.02, 0.9))
    limit = Grid(budget=simulate(graph, quiet)[0].counts["first"].spikes + 250)
    with pytest.raises(Runaway, match="spikes by tick"):
        simulate_to_disk(graph, [quiet, loud, quiet], tmp_path, limit)
    assert len(open_stream(tmp_path)) == 1
    stream = simulate_to_disk(graph, [quiet, loud, quiet], tmp_path)
    straight = simulate_to_disk(graph, [quiet, loud, quiet], tmp_path / "straight")
    assert same(tuple(stream), tuple(straight))


def random_input(graph: Graph, p: float) -> dict[str, Events]:
    rng = np.random.default_rng(0)
    return {"x": to_events((rng.random((8, 1, graph.size("x"))) < p).astype(np.float32))}


def test_a_header_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "stream.json").write_text("[]")
    with pytest.raises(StoreError, match=r"stream\.json: is not the header of a stream"):
        open_stream(tmp_path)


def test_a_chunk_has_at_least_a_tick() -> None:
    graph = random_graph(5)
    with pytest.raises(ValueError, match="chunk must be >= 1 tick, got 0"):
        next(cut(stimulus(graph, 5), Ticks(0), graph.dt))


@given(seed=SEEDS, chunk=st.integers(1, 20))
def test_a_cut_stimulus_loses_nothing_and_counts_anew(seed: int, chunk: int) -> None:
    graph = random_graph(0)
    x = stimulus(graph, seed)["x"]
    parts = list(cut({"x": x, "t": to_times(x, graph.dt)}, Ticks(chunk), graph.dt))
    for n, part in enumerate(parts):
        here = part["x"]
        inside = (x.tick >= n * chunk) & (x.tick < (n + 1) * chunk)
        assert isinstance(here, Events)
        assert here.tick.tolist() == (x.tick[inside] - n * chunk).tolist()
        assert here.neuron.tolist() == x.neuron[inside].tolist()
        assert here.shape[0] == min(chunk, 15 - n * chunk)
        at_ends = to_times(here, graph.dt).time
        assert np.allclose(part["t"][1], at_ends, rtol=0, atol=1e-15)
