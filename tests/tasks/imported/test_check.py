"""Each target says what it cannot take, in the words by which it refuses a run."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine
from imported_networks import graph, write_networks
from torch import Tensor
from written_graphs import chain

from lava_export import LowerError, RuleBreach, check as check_rules, lower, lower_graph
from lava_export.netx import NetxError, write_net
from neuro.base.units import Seconds, Ticks
from neuro.energy import OneCoreChip, load_chips
from neuro.events import Exact, simulate
from neuro.graph import Dense, Edge, Graph, GraphError, Input, Poisson, Softmax
from neuro.interop import nir
from neuro.interop.nest_plan import NestError, plan
from neuro.io.graph_file import save_graph
from neuro.neurons import LI, LIF
from neuro.nn import replay
from neuro.spikes import Times, to_events
from tasks.imported import import_network
from tasks.imported.check import TARGETS, check_nest, check_network, read_targets

NAMES = tuple(TARGETS)


@pytest.fixture(autouse=True)
def few_ticks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_network, "TICKS", 12)
        yield


def looped() -> Graph:
    """Return a loop without delay, and periods that are no whole ticks."""
    nodes = {
        "x": Input(shape=(4,)),
        "one": LIF(tau=0.02, refractory=1.5e-3, reset="hard"),
        "back": Dense(weight=np.full((4, 4), -0.25)),
    }
    edges = (Edge("x", "one"), Edge("one", "back"), Edge("back", "one"))
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


def staged() -> Graph:
    """Return a read-out of two stages: a current that feeds another."""
    return chain(
        x=Input(shape=(4,)), fc=Dense(weight=np.eye(4)), current=LI(tau=0.005), out=LI(tau=0.01)
    )


def hosted() -> Graph:
    return chain(
        x=Input(shape=(4,)),
        one=LIF(tau=0.02),
        soft=Softmax(),
        fc=Dense(weight=np.eye(4)),
        other=LIF(tau=0.02),
    )


def plain() -> Graph:
    """Return a network that NEST and loihi2 take, and netx does not."""
    weight = np.full((2, 4), 0.5)
    lif = LIF(tau=0.02, reset="hard", refractory=1e-3)
    return chain(x=Input(shape=(4,)), fc=Dense(weight=weight), lif=lif)


class HalvedLIF(LIF):
    """A LIF with a step of its own."""

    def step(self, x: Tensor, state: Any, dt: Seconds) -> tuple[Tensor, Any]:
        return super().step(0.5 * x, state, dt)


def own() -> Graph:
    """Return a network that torch's clock alone runs."""
    fc = Dense(weight=np.full((2, 4), 0.5))
    return chain(x=Input(shape=(4,)), fc=fc, lif=HalvedLIF(tau=0.02, reset="hard"))


def shifts() -> Graph:
    """Return leaks that are powers of two, and soft resets, as Xylo has them."""
    slow, fast = (-1e-3 / np.log1p(-leak) for leak in (1 / 16, 1 / 4))
    return chain(
        x=Input(shape=(4,)),
        fc=Dense(weight=np.eye(4)),
        n=LIF(tau=slow, tau_syn=fast, reset="soft"),
        on=Dense(weight=np.eye(4)),
        out=LIF(tau=slow, tau_syn=fast, reset="soft"),
    )


GRAPHS = {
    "hard": graph(),
    "soft": graph("soft"),
    "looped": looped(),
    "hosted": hosted(),
    "staged": staged(),
    "plain": plain(),
    "own": own(),
    "shifts": shifts(),
}


def run_on(target: str, net: Graph, folder: Path) -> list[str]:  # noqa: C901 - a branch each
    """Return the problems by which a run on a target is refused."""
    x = np.zeros((8, 1, *net.shapes["x"]))
    inputs = {"x": to_events(x.reshape(8, 1, -1))}
    none = np.zeros(0, np.int32)
    silent = {"x": Times(none, np.zeros(0), none, np.zeros(0), inputs["x"].shape)}
    try:
        if target == "torch":
            replay(net, inputs)
        elif target == "events":
            simulate(net, inputs)
        elif target == "exact":
            simulate(net, inputs, Exact())
        elif target == "nest":
            plan(net, silent, {})
        elif target == "nir":
            nir.to_nir(net)
        elif target == "lava":
            lower_graph(net, 8)
        elif target == "xylo":
            lower_graph(net, 8, OneCoreChip)
        elif target == "netx":
            write_net(folder / "a.net", lower(net, ticks=8))
        else:
            check_rules(lower(net, ticks=8), target)
    except (GraphError, LowerError, NestError, NetxError, nir.NirError) as error:
        return list(error.problems)
    except RuleBreach as error:
        return error.breaches
    return []


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("name", GRAPHS)
def test_a_check_says_what_a_run_would(name: str, target: str, tmp_path: Path) -> None:
    for package in {"nir": ["nir"], "netx": ["h5py"]}.get(target, []):
        pytest.importorskip(package)
    refused = run_on(target, GRAPHS[name], tmp_path)
    found = TARGETS[target](GRAPHS[name], 8, {})
    assert bool(found) == bool(refused)
    assert set(refused) <= set(found)


def test_what_is_checked_refuses_at_least_once_and_takes_at_least_once() -> None:
    pytest.importorskip("nir")
    judged = {
        t: [bool(check(g, 8, {})) for g in GRAPHS.values()] for t, check in TARGETS.items()
    }
    assert all(any(found) for found in judged.values())
    assert all(not all(found) for found in judged.values())


def test_every_chip_of_its_own_hardware_is_a_target() -> None:
    assert {n for n, chip in load_chips().items() if not chip.base} <= set(TARGETS)


def test_a_run_is_checked_with_its_own_length_and_a_refusal_ends_with_one(
    tmp_path: Path, cli: CommandLine
) -> None:
    cli.run("import", f"{write_networks(tmp_path)}:soft", "--out", tmp_path / "run")
    out, _ = cli.end(1, "check", tmp_path / "run")
    assert "loihi2 takes it" in " ".join(out.split())
    line = 'nest: hidden: NEST resets to a value, never by one; use reset="hard"'
    assert line in out
    assert "takes it" in cli.run("check", tmp_path / "run", "--target", "torch,loihi2")


def test_a_file_is_checked_before_there_is_a_run(tmp_path: Path, cli: CommandLine) -> None:
    save_graph(tmp_path / "net.safetensors", looped())
    out, _ = cli.end(1, "check", tmp_path / "net.safetensors", "--target", "torch,events")
    assert "torch, events: zero-delay loop one -> back -> one; give one of its edges" in out
    assert "torch, events: one: LIF.refractory" in out
    assert "takes it" in cli.run(
        "check", f"{write_networks(tmp_path)}:graph", "--target", "torch"
    )
    text = cli.refuse("check", tmp_path / "net.safetensors", "--target", "loihi3")
    assert "no target 'loihi3'; did you mean 'loihi2'? there are torch, events, exact" in text
    assert text.endswith("nest, all")
    for ticks in (0, 2**31):
        assert f"--ticks must be >= 1 and < 2^31, got {ticks}; 100 is usual" in cli.refuse(
            "check", tmp_path / "net.safetensors", "--ticks", ticks
        )
    assert "net.safetensors: no such file" in cli.refuse(
        "check", tmp_path / "gone" / "net.safetensors", "--ticks", 2**31 - 1
    )


def test_targets_are_words_with_commas() -> None:
    assert read_targets("all") == list(TARGETS)
    assert read_targets("lava, torch,lava") == ["lava", "torch"]


def test_longer_runs_need_more_head_room(tmp_path: Path) -> None:
    net = chain(x=Input(shape=(1,)), fc=Dense(weight=np.ones((1, 1))), out=LIF(tau=np.inf))
    save_graph(tmp_path / "net.safetensors", net)
    assert check_network(tmp_path / "net.safetensors", ["lava"], ticks=10) == {"lava": []}


def test_a_graph_that_draws_its_own_spikes_is_checked_for_nest() -> None:
    nodes = {
        "x": Poisson(rate=40.0, shape=(3,), seed=5),
        "fc": Dense(weight=np.full((2, 3), 0.5)),
        "cells": LIF(tau=0.02, refractory=Seconds(2e-3), reset="hard"),
    }
    edges = (Edge("x", "fc"), Edge("fc", "cells", Ticks(1)))
    own = Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))
    assert check_nest(own, 7, {}) == []
    soft = replace(own, nodes={**nodes, "cells": LIF(tau=0.02, refractory=Seconds(2e-3))})
    assert any("cells" in problem for problem in check_nest(soft, 7, {}))
