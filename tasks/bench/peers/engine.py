"""``neuro bench engine``: the event engine beside other simulators.

Networks are those of :mod:`tasks.bench.peers.networks`; every simulator gets the same
synapses, weights, membranes and input. The numbers beside peers are targets: smallest ratios.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from neuro.base.units import Seconds
from neuro.events import Exact, Grid
from tasks.bench.comparison import BOUND, Case, Pair
from tasks.bench.harness import Build, Run
from tasks.bench.peers import (
    networks,
    subjects_brian,
    subjects_nest,
    subjects_neuro,
    subjects_torch,
)
from tasks.bench.peers.problem import BenchProblem, kicked, recurrent
from tasks.bench.peers.subjects_neuro import Make
from tasks.bench.peers.subjects_torch import TorchStimulus

KICK = 15.0  # [mV] lifts a membrane at rest (10) well above the threshold (20)
RTF = "s / simulated s"
NEST, NEST_GRID = "NEST precise", "NEST grid"
CYTHON, CPP = "Brian2 cython", "Brian2 C++"
EXACT, GRID = "neuro exact", "neuro grid"
SIMULATORS: Mapping[str, Callable[[Make, int], Run]] = {
    EXACT: subjects_neuro.exact,
    BOUND: subjects_neuro.bound,
    NEST: partial(subjects_nest.nest, precise=True),
    NEST_GRID: partial(subjects_nest.nest, precise=False),
    CYTHON: subjects_brian.cython,
    CPP: subjects_brian.cpp,
}
CLASSIFIERS: Mapping[str, Callable[[TorchStimulus, int], Run]] = {
    GRID: partial(subjects_torch.ours, clock=Grid(dtype=np.float32)),
    EXACT: partial(subjects_torch.ours, clock=Exact()),
    "torch GEMM": subjects_torch.gemm,
    "torch CSR": subjects_torch.csr,
    "torch embedding bags": subjects_torch.bags,
    "SpikingJelly step": partial(subjects_torch.spikingjelly, mode="s"),
    "SpikingJelly multi-step": partial(subjects_torch.spikingjelly, mode="m"),
    "Norse": subjects_torch.norse,
    "snnTorch": subjects_torch.snntorch,
}
FULL, SMALL = (4000, 1.0), (400, 0.1)  # neurons and simulated seconds
SMALL_STIMULUS = TorchStimulus(layers=(50, 20, 10), ticks=20)
TORCH = tuple(name for name in CLASSIFIERS if name.startswith("torch"))


def of_cuba(n: int, seconds: float) -> BenchProblem:
    """Return CUBA; a smaller one is more densely connected, so that it stays active."""
    return recurrent(networks.cuba(1, n, min(0.2, 80 / n)), Seconds(seconds))


def of_brette4(n: int, seconds: float) -> BenchProblem:
    """Return Brette's benchmark 4."""
    return recurrent(networks.brette4(1, n), Seconds(seconds))


def of_delta(n: int, seconds: float, p: float = 0.02, v_inf: float = 21.0) -> BenchProblem:
    """Return voltage jumps, driven from inside."""
    return recurrent(networks.delta(1, n, p, v_inf), Seconds(seconds))


def of_kicked(n: int, seconds: float, kicks: float) -> BenchProblem:
    """Return voltage jumps, silent except for ``kicks`` per neuron and second."""
    quiet = networks.delta(1, n, v_inf=10.0)
    return kicked(quiet, round(kicks * n * seconds), KICK, Seconds(seconds))


def of_network(
    name: str, subjects: Mapping[str, Build], pairs: tuple[Pair, ...], size: tuple[int, float]
) -> Case:
    """Return subjects that run a network. size: neurons and simulated seconds."""
    n, seconds = size
    return Case(
        name=name,
        subjects=subjects,
        pairs=pairs,
        unit=RTF,
        per=seconds,
        cell_seconds=n * seconds,
        conditions={"cells": n, "simulated_seconds": seconds},
    )


def recurrent_case(
    name: str,
    make: Callable[..., BenchProblem],
    size: tuple[int, float],
    targets: Mapping[str, float | None],
) -> Case:
    """Return a network under our exact clock beside the peers in ``targets``.

    size: neurons and simulated seconds.
    """
    names = (EXACT, BOUND, *(peer for peer in targets if peer != BOUND))
    subjects = {k: partial(SIMULATORS[k], partial(make, *size)) for k in names}
    pairs = tuple(Pair(EXACT, (peer,), target) for peer, target in targets.items())
    return of_network(name, subjects, pairs, size)


def classifier_case(stimulus: TorchStimulus, pairs: tuple[Pair, ...]) -> Case:
    """Return the classifier for one batch size; unit: time per sample."""
    names = dict.fromkeys(name for pair in pairs for name in (pair.ours, *pair.theirs))
    return Case(
        name=f"classifier, batch {stimulus.batch}",
        subjects={k: partial(CLASSIFIERS[k], stimulus) for k in names},
        pairs=pairs,
        unit="ms / sample",
        per=1e-3 * stimulus.batch,
        conditions={
            "batch": stimulus.batch,
            "ticks": stimulus.ticks,
            "activity": {"value": stimulus.activity, "unit": "of the inputs a tick"},
            "layers": stimulus.layers,
        },
    )


def cuba(quick: bool) -> list[Case]:
    """Return decaying currents: a self-sustained network at about 5.8 Hz."""
    targets: dict[str, float | None] = {BOUND: 0.06, NEST: 20.0, NEST_GRID: 10.0, CYTHON: 6.0}
    if quick:
        return [recurrent_case("CUBA", of_cuba, SMALL, targets)]
    return [recurrent_case("CUBA", of_cuba, FULL, {**targets, CPP: 1.2})]


def delta(quick: bool) -> list[Case]:
    """Return voltage jumps at about 15 and 60 Hz."""
    if quick:
        return [recurrent_case("delta, 15 Hz", of_delta, SMALL, {NEST: 40.0, NEST_GRID: 20.0})]
    peers = {BOUND: None, NEST: 40.0, NEST_GRID: 20.0, CYTHON: None, CPP: 2.0}
    faster = partial(of_delta, v_inf=42.0)
    return [
        recurrent_case("delta, 15 Hz", of_delta, FULL, peers),
        recurrent_case("delta, 60 Hz", faster, FULL, {NEST: None, CPP: None}),
    ]


def brette4(quick: bool) -> list[Case]:
    """Return voltage jumps with the shortest delay."""
    targets = {BOUND: None, NEST: 40.0, NEST_GRID: None}
    return [recurrent_case("Brette 4", of_brette4, SMALL if quick else FULL, targets)]


def large(quick: bool) -> list[Case]:
    """Return 40 million synapses, limited by memory."""
    size = (1000, 0.1) if quick else (20_000, 0.5)
    make = partial(of_delta, p=0.1)
    return [recurrent_case(f"delta, {size[0]:,} cells, p = 0.1", make, size, {BOUND: 0.5})]


def silent(quick: bool) -> list[Case]:
    """Return networks with hardly a spike."""
    nearly, few = partial(of_kicked, kicks=0.1), partial(of_kicked, kicks=1.5)
    if quick:
        return [recurrent_case("delta, 0.1 Hz", nearly, SMALL, {CPP: 50.0})]
    size = (4000, 5.0)  # longer, to make the cost of starting a run negligible
    return [
        recurrent_case("delta, 0.1 Hz", nearly, size, {NEST: None, CPP: 50.0}),
        recurrent_case("delta, 1.5 Hz", few, FULL, {NEST: None, CPP: None}),
    ]


def classifier(quick: bool) -> list[Case]:
    """Return 784-512-10 neurons, 100 ticks, 5 % active inputs per tick, batch 1 and 64."""
    libraries = ("SpikingJelly step", "SpikingJelly multi-step", "Norse", "snnTorch")
    least = dict(zip(libraries, (150.0, 80.0), strict=False))
    pairs = (*(Pair(GRID, (name,), least.get(name)) for name in libraries), Pair(GRID, TORCH))
    if quick:
        return [classifier_case(SMALL_STIMULUS, (*pairs, Pair(EXACT, TORCH, 1.5)))]
    many = (
        Pair(GRID, TORCH, 5.0),
        Pair(EXACT, TORCH, 1.5),
        *(Pair(GRID, (name,)) for name in (*TORCH, *libraries)),
    )
    return [
        classifier_case(TorchStimulus(), (*pairs, Pair(EXACT, TORCH))),
        classifier_case(TorchStimulus(batch=64), many),
    ]


def threads(quick: bool) -> list[Case]:
    """Return wall times on all cores: one large network, and a batch of samples."""
    cores = os.cpu_count() or 1
    size = SMALL if quick else (20_000, 0.5)
    name = f"delta, {size[0]:,} cells, {cores} threads"
    peers: dict[str, float | None] = {NEST: None} if quick else {NEST: None, NEST_GRID: None}
    shared, alone = recurrent_case(name, of_delta, size, peers), f"{EXACT}, 1 thread"
    shared = replace(
        shared,
        subjects={
            **{k: subject for k, subject in shared.subjects.items() if k != BOUND},
            alone: partial(subjects_neuro.alone, shared.subjects[EXACT]),
        },
        pairs=(*shared.pairs, Pair(EXACT, (alone,))),
    )
    pairs = (Pair(GRID, TORCH), Pair(GRID, ("SpikingJelly multi-step",)))
    batch = classifier_case(TorchStimulus(batch=64), pairs)
    batch = replace(batch, name=f"{batch.name}, {cores} threads")
    cases = (shared,) if quick else (shared, batch)
    return [replace(case, threads=cores, clock="wall") for case in cases]


CASES: Mapping[str, Callable[[bool], list[Case]]] = {
    "cuba": cuba,
    "delta": delta,
    "brette4": brette4,
    "large": large,
    "silent": silent,
    "classifier": classifier,
    "threads": threads,
}
