"""Every simulator runs the same network: as a proof, its spikes."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import bench_problems
import numpy as np
import pytest
from one_process import measure_together, run_one

from neuro.events import Exact, simulate
from neuro.graph import Sparse
from tasks.bench.harness import Build, Measurement
from tasks.bench.peers import subjects_brian, subjects_neuro
from tasks.bench.peers.engine import CLASSIFIERS, EXACT, NEST, NEST_GRID, SIMULATORS
from tasks.bench.peers.networks import start
from tasks.bench.peers.problem import CELLS, BenchProblem, iterate_projections
from tasks.bench.peers.subjects_torch import TorchStimulus

UNOPTIMISED = ("-w", "-O0", "-std=c++11")  # the compiler then takes a third of the time
STIMULUS = TorchStimulus(batch=3, ticks=40, layers=(200, 100, 10))


def ran(found: dict[str, Measurement], name: str) -> int:
    """Return what a subject counted; skip where its package is missing."""
    problem = found[name].problem
    if "is not installed" in problem:
        pytest.skip(problem)
    assert problem == ""
    (timing,) = found[name].runs
    assert 0 < timing.cpu < 60
    return timing.counted


@pytest.fixture(scope="module")
def spikes(request: pytest.FixtureRequest) -> dict[str, Measurement]:
    """Return what simulators did, by network and name.

    Ours run here; NEST has a process of its own, and so has each target of Brian2. The C++ of
    Brian2 is built if the test that asks for it runs.
    """
    makes = {
        "cuba": bench_problems.cuba,
        "kicked": bench_problems.kicked,
        "microcircuit": bench_problems.microcircuit,
        "late microcircuit": bench_problems.late_microcircuit,
    }
    simulators = {
        **SIMULATORS,
        "grid32": partial(subjects_neuro.grid, dtype=np.float32),
        "grid64": partial(subjects_neuro.grid, dtype=np.float64),
        "Brian2 C++": partial(subjects_brian.cpp, flags=UNOPTIMISED),
        "Brian2 cython": partial(subjects_brian.cython, target="numpy"),
    }
    late = "late microcircuit"
    ours = (
        *(("cuba", EXACT), ("cuba", "scatter-add"), ("kicked", EXACT)),
        *(("microcircuit", EXACT), (late, "grid32"), (late, "grid64")),
    )
    nests = ("cuba", NEST), ("cuba", NEST_GRID), ("kicked", NEST)
    together = (
        (*nests, ("microcircuit", NEST), (late, NEST_GRID)),
        (("cuba", "Brian2 cython"), ("microcircuit", "Brian2 cython")),
        (("kicked", "Brian2 C++"),),
    )

    def build(subjects: tuple[tuple[str, str], ...]) -> dict[str, Build]:
        return {f"{n} {k}": partial(simulators[k], makes[n]) for n, k in subjects}

    found = {name: run_one(own) for name, own in build(ours).items()}
    builds = any("Brian2 C++" in item.nodeid for item in request.session.items)
    for subjects in together if builds else together[:-1]:
        found |= measure_together(build(subjects))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "name", "within"),
    [
        ("cuba", "scatter-add", 0),
        ("cuba", "NEST precise", 0),
        ("cuba", "Brian2 cython", 0.1),
        ("kicked", "NEST precise", 0),
        pytest.param("kicked", "Brian2 C++", 0.02, marks=pytest.mark.nightly),
        ("microcircuit", "NEST precise", 0),
    ],
)
def test_simulators_find_as_many_spikes(
    spikes: dict[str, Measurement], network: str, name: str, within: float
) -> None:
    ours = ran(spikes, f"{network} {EXACT}")
    assert ours > 150
    assert ran(spikes, f"{network} {name}") == pytest.approx(ours, rel=within, abs=0)


@pytest.mark.slow
def test_nest_at_ticks_finds_as_many_spikes_as_our_grid(spikes: dict[str, Measurement]) -> None:
    problem = bench_problems.cuba()
    first = {
        name: train._replace(shape=(1, *train.shape[1:]))
        for name, train in problem.inputs.items()
    }
    _, rest = simulate(problem.graph, first)
    cells = np.zeros_like(rest.neurons[CELLS])
    cells[0, 0] = problem.membranes[CELLS]
    state = replace(rest, neurons={**rest.neurons, CELLS: cells})
    ours, _ = simulate(problem.graph, problem.inputs, state=state)
    assert ran(spikes, f"cuba {NEST_GRID}") == ours.spikes[CELLS].tick.size > 400


@pytest.mark.slow
@pytest.mark.parametrize("ours", ["grid32", "grid64"])
def test_with_a_tick_more_our_grid_finds_the_spikes_of_nest_and_brian_at_ticks(
    spikes: dict[str, Measurement], ours: str
) -> None:
    found = ran(spikes, f"late microcircuit {ours}")
    assert found > 150
    assert ran(spikes, f"late microcircuit {NEST_GRID}") == found
    assert ran(spikes, "microcircuit Brian2 cython") == found


@pytest.fixture(scope="module")
def outputs() -> dict[str, Measurement]:
    return measure_together({name: partial(s, STIMULUS) for name, s in CLASSIFIERS.items()})


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_find_the_same_spikes(outputs: dict[str, Measurement], name: str) -> None:
    ours = ran(outputs, "neuro grid")
    assert ours > 20
    # In float32 the sum of inputs depends on its order: a spike may flip.
    assert abs(ran(outputs, name) - ours) <= 2


def test_synaptic_events_are_those_of_all_inputs_and_hidden_spikes() -> None:
    inputs = STIMULUS.raster
    timing = CLASSIFIERS["neuro grid"](STIMULUS, 1)()
    hidden, rest = divmod(timing.events - int(inputs.sum()) * 100, 10)
    assert rest == 0
    assert 0 < hidden < 100 * 40 * 3


@pytest.mark.parametrize("make", [bench_problems.cuba, bench_problems.kicked])
def test_the_bound_adds_what_the_network_delivers_in_its_order(
    make: Callable[[], BenchProblem],
) -> None:
    problem = make()
    times = subjects_neuro.spikes_of(problem)
    rows = subjects_neuro.rows_of(problem)
    sums, slowly = np.zeros(problem.size), np.zeros(problem.size)
    ones = np.ones(times.neuron.size)
    columns = (rows.indptr, rows.indices, rows.weight, times.neuron)
    added = subjects_neuro.scatter(*columns, ones, sums)
    for neuron in times.neuron:
        row = slice(rows.indptr[neuron], rows.indptr[neuron + 1])
        slowly[rows.indices[row]] += rows.weight[row]
    np.testing.assert_allclose(sums, slowly, rtol=1e-12)
    degree = sum(
        np.diff(p.synapses.indptr)[times.neuron].sum()
        for p in iterate_projections(problem)
        if p.source == CELLS
    )
    assert added == degree


def test_kicks_come_from_outside_and_drive_all_there_is() -> None:
    problem = bench_problems.kicked()
    outside = problem.inputs["outside"]
    assert outside.tick.size == 200
    quiet = {**problem.inputs, "outside": outside._replace(value=outside.value[:0])}
    for k in ("sample", "tick", "neuron"):
        quiet["outside"] = quiet["outside"]._replace(**{k: getattr(outside, k)[:0]})
    state = start(problem.graph, problem.membranes)
    counts = [
        simulate(problem.graph, inputs, Exact(), state=state)[0].counts[CELLS].spikes
        for inputs in (problem.inputs, quiet)
    ]
    assert counts[0] > 150
    assert counts[1] == 0


def test_projections_say_how_spikes_act() -> None:
    found = {p.name: p for p in iterate_projections(bench_problems.cuba())}
    assert {k: (p.source, p.tau, p.delay) for k, p in found.items()} == {
        "exc": (CELLS, 0.005, 0.0015),
        "inh": (CELLS, 0.01, 0.0015),
    }
    kicks = {p.name: p for p in iterate_projections(bench_problems.kicked())}
    assert kicks["kick"].tau is None
    assert isinstance(kicks["kick"].synapses, Sparse)
    assert set(kicks["kick"].synapses.weight) == {15.0}
