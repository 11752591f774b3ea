"""neuro.interop.nir.read: what each NIR primitive becomes, against hand numbers."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("nir")
import nir
from nir_graphs import chain

from neuro.events import Exact, simulate
from neuro.graph import Conv2d, Flatten, Pointwise, Unflatten
from neuro.interop import nir as neuro_nir
from neuro.interop.imported import run_clock, verify_import
from neuro.neurons import LI, DiscreteLIF
from neuro.nn import replay
from neuro.spikes import to_events
from tasks.imported.tutorials.random_nir import draw_graph

DATA = Path(os.environ.get("NEURO_DATA", ".")) / "nir"


def ones(*shape, value=1.0):
    return np.full(shape, value)


def run(network, x):
    """Return what the only Output shows, (T, B, *N), after a comparison with the equations."""
    name, (source,) = network.graph.outputs[0], network.graph.inputs
    ours, theirs = run_clock(network.graph, {source: x}), network.run_source({source: x})
    assert np.allclose(ours.outputs[name], theirs.outputs[name], rtol=0, atol=1e-12)
    return ours.outputs[name]


def put(values):
    """Return values of one neuron by tick as an input."""
    return np.array(values, float)[:, None, None]


def lif(**changes):
    """Return one LIF of tau 4, r 4, rest 0, threshold 1: with dt = 1, decay 3/4, gain 1."""
    values = {"tau": 4.0, "r": 4.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.LIF(**{k: ones(1, value=v) for k, v in (values | changes).items()})


def test_an_euler_step_of_a_lif_with_a_leak_voltage_follows_the_hand_numbers():
    # v += ((1 - v) + 2 I) / 4 from v = 1, I = 1: 1.5, 1.875, 2.15625 > 2, so 0.5; 1.125, ...
    cell = lif(r=2.0, v_leak=1.0, v_threshold=2.0, v_reset=0.5)
    network = neuro_nir.read(chain(cell, inputs=[1], outputs=[1]), dt=1.0)
    x = put([1] * 6)
    assert run(network, x)[:, 0, 0].tolist() == [0, 0, 1, 0, 0, 0]
    membrane = network.run_source({"input": x}).membranes["n0"][:, 0, 0] + 1
    assert membrane.tolist() == [1.5, 1.875, 0.5, 1.125, 1.59375, 1.9453125]
    (cell,) = (n for n in network.graph.nodes.values() if isinstance(n, DiscreteLIF))
    assert (cell.decay, cell.gain, cell.rest, cell.reset_to) == (0.75, 0.5, 1.0, 0.5)


def test_an_exponential_step_is_exact_for_a_constant_input():
    # u = 4 (1 - exp(-t / 4)) for I = 1
    graph = chain(lif(v_threshold=10.0), inputs=[1], outputs=[1])
    network = neuro_nir.read(graph, dt=1.0, discretisation="exponential")
    membrane = run_clock(network.graph, {"input": put([1] * 5)}).membranes["n0"][:, 0, 0]
    assert np.allclose(membrane, 4 * (1 - np.exp(-np.arange(1, 6) / 4)), rtol=1e-14)


def test_an_exponential_step_of_a_cuba_lif_solves_both_equations_between_spikes():
    # An impulse of area dt raises I by w_in dt / tau_syn; then v(t) = r I0 / (1 - tau / tau_s)
    # (exp(-t / tau_s) - exp(-t / tau)) tau_s / tau_s, with tau = 4, tau_s = 2, r = 3, w_in = 5.
    values = {"tau_mem": 4.0, "tau_syn": 2.0, "r": 3.0, "w_in": 5.0, "v_leak": 0.0}
    values |= {"v_threshold": 100.0, "v_reset": 0.0}
    cell = nir.CubaLIF(**{k: ones(1, value=v) for k, v in values.items()})
    graph = chain(cell, inputs=[1], outputs=[1])
    network = neuro_nir.read(graph, dt=0.5, discretisation="exponential")
    membrane = run_clock(network.graph, {"input": put([1, 0, 0, 0])}).membranes["n0"][:, 0, 0]
    t, first = 0.5 * np.arange(1, 5), 5 * 0.5 / 2
    exact = 3 * first * 2 / (2 - 4) * (np.exp(-t / 2) - np.exp(-t / 4))
    assert np.allclose(membrane, exact, rtol=1e-12)


@pytest.mark.parametrize(
    ("reset", "spikes"),
    # I = 2, 0, 0, ...; decay 3/4, gain 1. hard: 2 -> 0. soft: 2 -> 1, .75, .5625.
    # delayed: 2, then 1.5 - 1 = .5. With threshold 0.7 subtracted: see the membranes.
    [
        ("hard", [1, 0, 0, 0]),
        # 2 -> 1.3; .975 -> .275; .20625
        ("soft", [1, 1, 0, 0]),
        # 2; 1.5 - .7 = .8 fires; .6 - .7 = -.1
        ("delayed", [1, 1, 0, 0]),
    ],
)
def test_the_kind_of_reset_is_a_choice(reset, spikes):
    graph = chain(lif(v_threshold=0.7), inputs=[1], outputs=[1])
    network = neuro_nir.read(graph, dt=1.0, reset=reset)
    x = put([2, 0, 0, 0])
    assert run(network, x)[:, 0, 0].tolist() == spikes
    assert network.choices["reset"].startswith({"delayed": "soft and late"}.get(reset, reset))
    if reset == "delayed":
        # .8 fires in tick 1, so tick 2 is .75 * .8 - .7, and DiscreteLIF holds .8 - .7 / .75
        membrane = run_clock(network.graph, {"input": x}).membranes["n0"][:, 0, 0]
        assert np.allclose(membrane[1:3], [0.8 - 0.7 / 0.75, 0.6 - 0.7])


def test_a_membrane_at_its_threshold_stays_silent():
    graph = chain(nir.IF(r=ones(1), v_threshold=ones(1)), inputs=[1], outputs=[1])
    assert run(neuro_nir.read(graph), put([1, 0, 0.5]))[:, 0, 0].tolist() == [0, 0, 1]


def test_integrators_put_out_their_voltage_and_a_current_comes_first():
    graph = chain(nir.I(r=ones(1, value=2.0)), inputs=[1], outputs=[1])
    assert run(neuro_nir.read(graph, dt=0.5), put([1, 2, 0]))[:, 0, 0].tolist() == [1, 3, 3]
    cell = nir.LI(tau=ones(1, value=2.0), r=ones(1, value=2.0), v_leak=np.zeros(1))
    graph = chain(cell, inputs=[1], outputs=[1])
    assert run(neuro_nir.read(graph, dt=1.0), put([1, 0, 0]))[:, 0, 0] == pytest.approx(
        [1, 0.5, 0.25], rel=1e-15
    )
    # I = 1/2 I + 2 S, v = 1/2 v + 1/2 I: I 2, 1, .5; v 1, 1, .75
    values = {"tau_syn": 2.0, "tau_mem": 2.0, "r": 1.0, "v_leak": 0.0, "w_in": 4.0}
    cell = nir.CubaLI(**{k: ones(1, value=v) for k, v in values.items()})
    network = neuro_nir.read(chain(cell, inputs=[1], outputs=[1]), dt=1.0)
    assert run(network, put([1, 0, 0]))[:, 0, 0] == pytest.approx([1, 1, 0.75], rel=1e-15)
    assert [type(network.graph.nodes[n]) for n in ("n0_1", "n0")] == [LI, LI]


def test_linear_nodes_scale_add_and_delay():
    graph = chain(
        nir.Scale(np.array([2.0, 3.0])),
        nir.Delay(np.array([1.0, 0.0])),
        nir.Affine(np.array([[1.0, 10.0], [0.0, 1.0]]), np.array([0.5, 0.0])),
        inputs=[2],
        outputs=[2],
    )
    x = np.array([[[1.0, 1.0]], [[0.0, 2.0]], [[0.0, 0.0]]])
    y = run(neuro_nir.read(graph, dt=1.0), x)[:, 0]
    # scaled: (2, 3), (0, 6); the first value a tick later: (0, 3), (2, 6), (0, 0)
    assert y.tolist() == [[30.5, 3.0], [62.5, 6.0], [0.5, 0.0]]


def test_pools_sum_and_average_and_their_padding_counts_as_zeros():
    x = np.arange(1.0, 5.0).reshape(1, 1, 1, 2, 2)
    for kind, corner in ((nir.SumPool2d, 1.0), (nir.AvgPool2d, 0.25)):
        pool = kind(np.array([2, 2]), np.array([1, 1]), np.array([1, 1]))
        y = run(neuro_nir.read(chain(pool, inputs=[1, 2, 2], outputs=[1, 3, 3])), x)
        assert y[0, 0, 0, 0, 0] == corner
        assert y[0, 0, 0, 1, 1] == 10 * corner


def test_a_padding_of_same_puts_the_odd_zero_behind_as_torch_does():
    weight = np.array([[[1.0, 10.0]]])
    conv = nir.Conv1d(
        3, weight, stride=1, padding="same", dilation=1, groups=1, bias=np.zeros(1)
    )
    y = run(neuro_nir.read(chain(conv, inputs=[1, 3], outputs=[1, 3])), np.ones((1, 1, 1, 3)))
    assert y[0, 0, 0].tolist() == [11, 11, 1]


def test_a_padding_of_same_counts_the_gaps_of_a_dilated_kernel():
    conv = nir.Conv1d(
        *(5, np.array([[[1.0, 10.0]]])),
        **{"stride": 1, "padding": "same", "dilation": 3, "groups": 1, "bias": np.zeros(1)},
    )
    x = np.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    y = run(neuro_nir.read(chain(conv, inputs=[1, 5], outputs=[1, 5])), x)
    # One zero in front, two behind: y[n] = x[n - 1] + 10 x[n + 2].
    assert y[0, 0, 0].tolist() == [30, 41, 52, 3, 4]


def test_a_flatten_of_some_axes_keeps_the_others():
    flat = nir.Flatten({"input": np.array([2, 3, 4])}, start_dim=1)
    scale = nir.Scale(np.arange(24.0).reshape(2, 12))
    network = neuro_nir.read(chain(flat, scale, inputs=[2, 3, 4], outputs=[2, 12]))
    kinds = [type(n) for n in network.graph.nodes.values()]
    assert kinds.count(Flatten) == 2
    assert kinds.count(Unflatten) == 2
    y = run(network, np.ones((1, 1, 2, 3, 4)))
    assert (y[0, 0] == np.arange(24.0).reshape(2, 12)).all()


def test_a_weight_of_many_matrices_applies_each_to_its_own_row():
    linear = nir.Linear(np.array([[[1.0, 2.0]], [[3.0, 4.0]]]))
    y = run(neuro_nir.read(chain(linear, inputs=[2, 2], outputs=[2, 1])), np.ones((1, 1, 2, 2)))
    assert y[0, 0].tolist() == [[3.0], [7.0]]


def test_a_threshold_forgets_and_a_host_hands_the_values_of_an_integrator_on():
    graph = chain(
        nir.I(r=ones(1)),
        nir.Linear(np.array([[2.0]])),
        nir.Threshold(ones(1, value=3.0)),
        inputs=[1],
        outputs=[1],
    )
    network = neuro_nir.read(graph)
    assert run(network, put([1, 0.5, 0.25, -1]))[:, 0, 0].tolist() == [0, 0, 1, 0]
    assert isinstance(network.graph.nodes["n0_values"], Pointwise)


def test_thresholds_of_a_channel_stay_values_of_a_channel():
    thresholds = np.broadcast_to(np.array([1.0, 2.0])[:, None, None], (2, 3, 3))
    graph = chain(
        nir.IF(r=ones(2, 3, 3), v_threshold=np.array(thresholds)),
        inputs=[2, 3, 3],
        outputs=[2, 3, 3],
    )
    network = neuro_nir.read(graph)
    cell = network.graph.nodes["n0"]
    assert np.shape(cell.threshold) == (2, 1, 1)
    assert run(network, ones(2, 1, 2, 3, 3))[1, 0].mean((1, 2)).tolist() == [1, 0]


def test_a_loop_acts_a_tick_late_and_its_bias_in_every_tick():
    nodes = {
        "input": nir.Input(np.array([1])),
        "rnn": nir.NIRGraph(
            {
                "input": nir.Input(np.array([1])),
                "lif": nir.IF(r=ones(1), v_threshold=ones(1, value=0.9)),
                "w": nir.Affine(np.array([[-1.0]]), np.array([0.5])),
                "output": nir.Output(np.array([1])),
            },
            [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")],
            type_check=False,
        ),
        "output": nir.Output(np.array([1])),
    }
    graph = nir.NIRGraph(nodes, [("input", "rnn"), ("rnn", "output")], type_check=False)
    network = neuro_nir.read(graph)
    # v: 0 + .5 + 1 > .9, reset to 0; then .5 - 1 = -.5, then 0, .5, 1 > .9
    assert run(network, put([1, 0, 0, 0, 0]))[:, 0, 0].tolist() == [1, 0, 0, 0, 1]
    assert network.choices["recurrence"].endswith("rnn/lif -> rnn/w")
    assert {(e.source, e.target) for e in network.graph.edges if e.delay} == {
        ("rnn_lif", "rnn_w")
    }


@pytest.mark.parametrize("reset", ["hard", "soft", "delayed"])
@pytest.mark.parametrize("discretisation", ["euler", "exponential"])
def test_a_neuron_whose_leak_is_above_its_threshold_fires_without_input(discretisation, reset):
    """The nearer v_leak is to the threshold, the fewer its spikes; one rests below it."""
    r = np.array([[0.5, 0.25, 1.0], [0.75, 2.0, 0.125]])
    values = {"r": r, "v_reset": ones(2, 3, value=-0.25)}
    leak = np.array([[1.25, 1.5, 0.5], [3.0, 1.125, 1.0625]])
    slow = {
        "tau_syn": ones(2, 3, value=8.0),
        "tau_mem": ones(2, 3, value=4.0),
        "w_in": ones(2, 3),
    }
    for cell in (
        nir.LIF(tau=ones(2, 3, value=4.0), v_leak=leak, v_threshold=ones(2, 3), **values),
        nir.CubaLIF(v_leak=leak, v_threshold=ones(2, 3), **slow, **values),
    ):
        graph = chain(nir.Scale(ones(2, 3, value=4.0)), cell, inputs=[2, 3], outputs=[2, 3])
        network = neuro_nir.read(graph, dt=1.0, discretisation=discretisation, reset=reset)
        rows = verify_import(network, ticks=40)
        assert all(row.agrees for row in rows)
        spikes = run(network, np.zeros((40, 1, 2, 3))).sum(0)[0]
        assert spikes[0, 2] == 0
        counts = spikes.ravel()[[3, 1, 0, 4, 5]].tolist()
        assert counts == sorted(counts, reverse=True)
        assert counts[0] >= 15
        assert counts[-1] >= 2
        inputs = {"input": to_events(np.ones((40, 1, 6), np.float32))}
        ours, theirs = replay(network.graph, inputs), simulate(network.graph, inputs)[0]
        assert np.array_equal(ours.spikes["n1"].tick, theirs.spikes["n1"].tick)
        assert network.choices["start"] == (
            "membranes at v_leak, 0 without one; currents at 0; at v_reset where v_leak, a "
            "constant drive, is above v_threshold: n1"
        )


def test_a_neuron_driven_to_1_2_takes_its_time_from_reset_to_threshold():
    """0.01 s * log(1.2 / 0.2) = 17.92 ms: the 180th tick of 0.1 ms, counted from 1."""
    values = {"tau": ones(1, value=0.01), "r": ones(1), "v_leak": ones(1, value=1.2)}
    cell = nir.LIF(**values, v_threshold=ones(1))
    graph = chain(nir.Linear(np.eye(1)), cell, inputs=[1], outputs=[1])
    network = neuro_nir.read(graph, discretisation="exponential")
    assert np.flatnonzero(run(network, np.zeros((560, 1, 1)))).tolist() == [179, 359, 539]
    record, _ = simulate(network.graph, {"input": to_events(np.zeros((560, 1, 1)))}, Exact())
    period = 0.01 * np.log(6)
    np.testing.assert_allclose(record.times["n1"].time, period * np.arange(1, 4), rtol=1e-9)


def test_the_longest_delay_costs_nothing_and_a_longer_one_is_refused():
    """A chain of two delays, of which one differs from neuron to neuron."""
    longest = 2.0**31 - 1
    nodes = [nir.Delay(np.array([longest, 2.0])), nir.IF(r=ones(2), v_threshold=ones(2) / 2)]
    network = neuro_nir.read(chain(*nodes, inputs=[2], outputs=[2]), dt=1.0)
    assert run(network, np.ones((5, 1, 2)))[:, 0].tolist() == [[0, 0]] * 2 + [[0, 1]] * 3
    whole = chain(nir.Delay(ones(2, value=longest)), nodes[1], inputs=[2], outputs=[2])
    assert run(neuro_nir.read(whole, dt=1.0), np.ones((5, 1, 2))).sum() == 0
    nodes[0].delay[0] += 1
    with pytest.raises(neuro_nir.NirError) as told:
        neuro_nir.read(chain(*nodes, inputs=[2], outputs=[2]), dt=1.0)
    assert told.value.problems == [
        "n0 (Delay): a delay is 2147483648 steps of dt = 1; it must be <= 2147483647. Shorten "
        "it, or read with a longer dt"
    ]


def test_a_delay_in_a_loop_needs_no_further_tick():
    nodes = {
        "input": nir.Input(np.array([1])),
        "lif": nir.IF(r=ones(1), v_threshold=ones(1, value=0.5)),
        "late": nir.Delay(ones(1, value=3.0)),
        "output": nir.Output(np.array([1])),
    }
    edges = [("input", "lif"), ("lif", "late"), ("late", "lif"), ("lif", "output")]
    network = neuro_nir.read(nir.NIRGraph(nodes, edges, type_check=False), dt=1.0)
    assert "recurrence" not in network.choices
    assert run(network, put([1] + [0] * 6))[:, 0, 0].tolist() == [1, 0, 0, 1, 0, 0, 1]


def test_the_step_is_that_with_which_input_acts_in_full_else_the_usual_one():
    def choose(**changes):
        graph = chain(lif(**changes), inputs=[1], outputs=[1])
        return neuro_nir.read(graph)

    full = choose(tau=2e-3, r=4.0)
    assert full.choices["dt"].startswith("0.0005 ")
    assert full.graph.dt == 5e-4
    assert choose(tau=2e-3, r=1.0).choices["dt"].startswith("0.0001 ")  # r = 1 tells nothing
    assert choose(tau=2e-3, r=0.1).choices["dt"].startswith("0.0001 ")  # dt longer than tau
    rockpool = choose(tau=2e-3, r=4.0 * np.exp(-0.25))
    assert rockpool.choices["dt"].startswith("0.0005 ")
    assert "Rockpool" in rockpool.choices["dt"]


def test_a_network_without_times_counts_in_ticks_of_a_millisecond():
    graph = chain(nir.IF(r=ones(1), v_threshold=ones(1)), inputs=[1], outputs=[1])
    assert neuro_nir.read(graph).graph.dt == 1e-3
    assert neuro_nir.read(graph, tick=5e-3).graph.dt == 5e-3
    graph.nodes["n0"].r[:] = 1e4
    assert neuro_nir.read(graph).graph.dt == 1e-4


def test_the_mapping_says_what_each_node_became():
    network = neuro_nir.read(chain(lif(), inputs=[1], outputs=[1]), dt=1.0)
    rows = {row.source.partition(":")[0]: row for row in network.mapping}
    assert rows["n0 (LIF)"].node == "n0"
    assert "tau [4.0]" in rows["n0 (LIF)"].source
    assert rows["n0 (LIF)"].became.startswith("DiscreteLIF(decay=0.75")
    assert rows["output (Output)"].became == "what n0 puts out"


def test_a_sum_pool_is_a_convolution_of_ones_by_channel():
    pool = nir.SumPool2d(np.array([2, 3]), np.array([2, 3]), np.array([0, 0]))
    network = neuro_nir.read(chain(pool, inputs=[3, 4, 6], outputs=[3, 2, 2]))
    node = network.graph.nodes["n0"]
    assert isinstance(node, Conv2d)
    assert (node.groups, node.weight.shape) == (3, (3, 1, 2, 3))


@pytest.mark.slow
@given(seed=st.integers(0, 10_000))
@settings(max_examples=12)
def test_a_random_graph_fires_as_its_equations_say(seed):
    network = neuro_nir.read(
        draw_graph(seed),
        dt=1e-4,
        discretisation=("euler", "exponential")[seed % 2],
        reset=("hard", "soft", "delayed")[seed % 3],
    )
    assert all(row.agrees for row in verify_import(network, ticks=12, samples=1))


@pytest.mark.skipif(not DATA.is_dir(), reason="$NEURO_DATA/nir holds no published networks")
@pytest.mark.parametrize("name", ["cnn_sinabs", "braille_noDelay_noBias_subtract", "lif_norse"])
def test_a_published_network_fires_as_its_equations_say(name):
    rows = verify_import(neuro_nir.read(DATA / f"{name}.nir"), ticks=16, samples=1)
    assert sum(row.spikes for row in rows) > 0
    assert all(row.agrees for row in rows)


@pytest.mark.skipif(not DATA.is_dir(), reason="$NEURO_DATA/nir holds no published networks")
def test_a_published_network_whose_shapes_do_not_meet_is_refused_with_a_cure():
    with pytest.raises(neuro_nir.NirError, match=r"states shape \(1, 1, 1\) and takes \(1,\)"):
        neuro_nir.read(DATA / "lif_rockpool.nir")
    network = neuro_nir.read(DATA / "lif_rockpool.nir", ignore_declared_shapes=True)
    assert "as Rockpool writes" in network.choices["dt"]
