"""Membranes without a leak: measured bounds keep the bits of the weights in long runs."""

from dataclasses import replace

import numpy as np

from lava_export import load_program, lower, lower_graph, save_program
from lava_export.calibration import SPARE, measure_bounds
from lava_export.integers import run_counting_clips, run_integers
from lava_export.reference import run
from lava_export.rules import bound_states, list_breaches
from neuro.graph import Dense, Edge, GradedInput, Graph
from neuro.neurons import LI, DiscreteLIF
from neuro.nn.net import replay
from neuro.spikes import Events, to_events, to_raster

# Neuron 0 charges by 3 of its threshold 2 in every tick: it fires always, and its v rises
# without end. Neuron 1 falls without end. Neuron 2 falls to -5 and comes back.
WEIGHT = np.array([[3.0, 0.0], [-1.0, 0.0], [-1.0, 1.5]])
TICKS = 12


def make_graph(weight: np.ndarray = WEIGHT, **read: float) -> Graph:
    nodes = {
        "x": GradedInput(shape=(2,), message_bits=9),
        "w": Dense(weight=weight),
        "n": DiscreteLIF(decay=1.0, threshold=2.0, rest=1.0, reset_by=2.0),
        "v": Dense(weight=np.array([[1.0, 0.0, -0.5]])),
        "out": LI(tau=np.inf, **read),
    }
    edges = (Edge("x", "w"), Edge("w", "n"), Edge("n", "v"), Edge("v", "out"))
    return Graph(nodes=nodes, edges=edges, dt=1e-3)  # type: ignore[arg-type]


def make_stimulus(ticks: int = TICKS) -> dict[str, Events]:
    x = np.zeros((ticks, 1, 2))
    x[:, 0, 0] = 1.0
    x[6:, 0, 1] = 1.0  # from then on neuron 2 gains 0.5 a tick
    return {"x": to_events(x)}


def test_the_bound_is_the_smallest_clip_that_changes_no_spike() -> None:
    """Neuron 2 must reach -6 to fire as late as it does; a clip of 4 thresholds is at -4."""
    bounds = measure_bounds(make_graph(), make_stimulus(24))
    # the threshold is 1 above rest; clips of 2 and 4 bring neuron 2 back too early
    assert bounds["n"] == SPARE * 8 == 16
    read_out = replay(make_graph(), make_stimulus(24)).values["out"]
    assert bounds["out"] == SPARE * np.abs(read_out).max()


def test_clips_that_change_nothing_are_as_small_as_two_thresholds() -> None:
    assert measure_bounds(make_graph(), make_stimulus(5))["n"] == 4


def test_v_is_clipped_above_too() -> None:
    """Neuron 0 rises to 6 above its threshold, and fires on while its input is negative."""
    weight = np.array([[3.0, -4.0], [-1.0, 0.0], [-1.0, 0.0]])
    assert measure_bounds(make_graph(weight), make_stimulus(24))["n"] == SPARE * 8


def test_a_sum_that_meets_its_bound_exactly_is_clipped() -> None:
    """v falls by 64 x 128 a tick, and reaches -2^23 in tick 1,024."""
    graph = make_graph()
    program = lower(graph, ticks=1024, bounds=measure_bounds(graph, make_stimulus(24)))
    first = replace(
        program.connections[0],
        weight=np.array([[0, 0], [-128, 0], [0, 0]], np.int32),
        weight_exp=0,
    )
    neurons = replace(program["n"], v_bound=1)
    populations = tuple(neurons if p.name == "n" else p for p in program.populations)
    changed = replace(
        program, populations=populations, connections=(first, *program.connections[1:])
    )
    for ticks, clips in ((1023, 0), (1024, 1)):
        x = {"x": to_events(np.tile([1.0, 0.0], (ticks, 1, 1)))}
        assert run_counting_clips(changed, x, ticks)[1]["n"] == clips


def test_neurons_that_leak_or_reset_hard_or_lack_inputs_have_no_bound() -> None:
    graph = make_graph()
    leaky = DiscreteLIF(decay=0.9, threshold=2.0, reset_by=2.0)
    hard = DiscreteLIF(decay=1.0, threshold=2.0, reset="hard")
    for node in (leaky, hard):
        other = Graph(nodes={**graph.nodes, "n": node}, edges=graph.edges, dt=graph.dt)
        assert "n" not in measure_bounds(other, make_stimulus())
    assert measure_bounds(graph, {}) == {}


def test_measured_bounds_keep_weights_that_the_worst_case_loses() -> None:
    graph, ticks = make_graph(), 40
    worst = lower(graph, ticks=ticks)
    inputs = make_stimulus(ticks)
    measured = lower(graph, ticks=ticks, bounds=measure_bounds(graph, inputs))
    largest = [int(np.abs(p.connections[0].weight).max()) for p in (worst, measured)]
    exponents = [p.connections[0].weight_exp for p in (worst, measured)]
    finer = np.log2(largest[1]) + exponents[1] - np.log2(largest[0]) - exponents[0]
    assert finer > 3
    assert worst["n"].v_bound == 0
    bound = 64 * measured["n"].scale * measure_bounds(graph, inputs)["n"]
    assert measured["n"].v_bound == np.ceil(bound)
    assert list_breaches(measured, "loihi2") == []
    bounds = bound_states(measured["n"], measured.into("n"), ticks, measured.messages)
    assert bounds.v.tolist() == [measured["n"].v_bound] * 3


def test_a_bound_that_nothing_needs_changes_nothing() -> None:
    graph = make_graph()
    plain = lower(graph, ticks=2)
    bounded = lower(graph, ticks=2, bounds={"n": 1e-3, "out": 1e-3})
    for one, other in zip(plain.populations, bounded.populations, strict=True):
        assert (one.scale, one.v_bound) == (other.scale, other.v_bound)


def test_clips_are_counted_and_the_specification_agrees() -> None:
    graph, ticks = make_graph(), 2000
    inputs = make_stimulus(ticks)
    program = lower(graph, ticks=ticks, bounds=measure_bounds(graph, inputs))
    record, clipped = run_counting_clips(program, inputs, ticks)
    assert set(clipped) == {"n", "out"} & {p.name for p in program.populations if p.v_bound}
    # v of neurons 0 and 1 moves by 1 a tick until it stands at its bound; neuron 2 returns.
    left = ticks - 2**23 / (64 * program["n"].scale)
    assert 0 < 2 * left - 6 < clipped["n"] < 2 * left + 6
    specified = run(program, inputs, ticks)
    spikes = to_raster(record.spikes["n"])
    np.testing.assert_array_equal(spikes, to_raster(specified.spikes["n"]))
    np.testing.assert_array_equal(record.values["out"], specified.values["out"])
    floats = to_raster(replay(graph, inputs).spikes["n"])
    np.testing.assert_array_equal(spikes, floats)
    np.testing.assert_array_equal(
        to_raster(run_integers(program, inputs, ticks).spikes["n"]), spikes
    )


def test_a_program_keeps_its_bounds_in_a_file_and_tells_its_clips(tmp_path: object) -> None:
    graph, inputs = make_graph(), make_stimulus(2000)
    program = lower_graph(graph, 2000, inputs=inputs)
    save_program(f"{tmp_path}/p.safetensors", program)
    again = load_program(f"{tmp_path}/p.safetensors")
    assert again.program["n"].v_bound == program.program["n"].v_bound > 0
    _, excess = again.run_with_excess(inputs)
    assert excess["n"].clipped == run_counting_clips(program.program, inputs, 2000)[1]["n"] > 0
    assert excess["n"].of == 3 * 2000
    assert excess["n"].saturated == 0


def test_without_samples_weights_leave_room_for_the_worst_case() -> None:
    graph, ticks = make_graph(), 40
    assert lower_graph(graph, ticks).program["n"].scale == lower(graph, ticks=ticks)["n"].scale
