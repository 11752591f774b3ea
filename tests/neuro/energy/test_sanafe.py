"""The closed form against SANA-FE, a chip simulator (GPL-3): a peer, run in its own process."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from neuro.energy import find_chip
from neuro.energy.constants import sum_intervals
from neuro.energy.mapping import LayerPlacement, place
from neuro.energy.operations import count_operations, count_workload, price_operations
from neuro.graph import Dense, Edge, Graph, Input
from neuro.neurons import LIF
from neuro.record import Record
from neuro.spikes import to_events
from neuro.units import Seconds

TICKS = 30

SIMULATE = """
import json, sys
import sanafe

case = json.load(sys.stdin)
arch, net = sanafe.load_loihi(), sanafe.Network()
lif = {"threshold": 40, "reset": 0, "leak_decay": 0.5, "input_decay": 0.0, "reset_mode": "hard"}
groups = {}
for name, cores in case["cores"].items():
    groups[name] = net.create_neuron_group(
        name, len(cores), model_attributes={} if name == "in" else lif, log_spikes=True,
        soma_hw_name="loihi_inputs[0]" if name == "in" else "loihi_lif", log_potential=True,
        default_synapse_hw_name="loihi_dense_synapse",
    )
    for i, core in enumerate(cores):
        groups[name][i].map_to_core(arch.tiles[core // 4].cores[core % 4])
for i, spikes in enumerate(case["spikes"]):
    groups["in"][i].set_attributes(
        soma_hw_name=f"loihi_inputs[{i}]", model_attributes={"spikes": spikes}
    )
for source, target, weight in case["weights"]:
    groups[source].connect_neurons_dense(groups[target], {"weight": weight})
chip = sanafe.SpikingChip(arch)
chip.load(net)
found = chip.sim(
    case["ticks"], timing_model="simple",
    spike_trace=True, potential_trace=True, perf_trace=True,
)
trace = [[(s.group_name, s.neuron_offset) for s in tick] for tick in found["spike_trace"]]
json.dump({
    "energy": found["energy"], "events": found["spikes"], "messages": found["packets_sent"],
    "hops": sum(found["perf_trace"]["hops"]), "spikes": trace,
    "potentials": found["potential_trace"],
}, open(sys.argv[1], "w"))
"""


def network(rng: np.random.Generator) -> Graph:
    nodes = {
        "in": Input(shape=(20,)),
        "w1": Dense(weight=rng.integers(1, 20, (60, 20)) * rng.choice([-1, 1], (60, 20))),
        "hidden": LIF(tau=1.0),
        "w2": Dense(weight=rng.integers(1, 20, (10, 60)) * rng.choice([-1, 1], (10, 60))),
        "out": LIF(tau=1.0),
    }
    names = list(nodes)
    edges = tuple(Edge(a, b) for a, b in pairwise(names))
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


def cores_of(layer: LayerPlacement) -> list[int]:
    on = layer.blocks()
    return [core for core, block in on.items() for _ in range(layer.neurons)[block]]


def updated(fired: dict[str, np.ndarray], potentials: np.ndarray) -> dict[str, int]:
    """Return the neurons that SANA-FE updates: with input one tick before, or still charged."""
    found, start = {}, fired["in"].shape[1]
    for source, name in (("in", "hidden"), ("hidden", "out")):
        stop = start + fired[name].shape[1]
        charged, reached = np.zeros((2, TICKS, stop - start), bool)
        charged[1:] = potentials[:-1, start:stop] != 0
        reached[1:] = fired[source][:-1].any(1, keepdims=True)  # no weight is zero
        found[name], start = int((charged | reached).sum()), stop
    return found


def test_with_its_count_of_updated_neurons_the_closed_form_equals_a_simulation_of_the_chip(
    tmp_path,
) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("sanafe")
    rng = np.random.default_rng(0)
    graph, chip = network(rng), find_chip("loihi1_sanafe")
    three = replace(chip.limits.neurons, value=3.0, low=3.0, high=3.0)
    chip = replace(chip, limits=replace(chip.limits, neurons=three))
    placement = place(graph, chip)
    assert placement.cores == 24  # on 6 tiles of 2 columns
    spikes = (rng.random((TICKS, 20)) < 0.3).astype(int)
    case = {
        "ticks": TICKS,
        "cores": {n: cores_of(placement.layers[n]) for n in ("in", "hidden", "out")},
        "spikes": spikes.T.tolist(),
        "weights": [
            (a, b, graph.nodes[w].weight.T.ravel().tolist())
            for a, w, b in (("in", "w1", "hidden"), ("hidden", "w2", "out"))
        ],
    }
    answer = tmp_path / "answer.json"
    command = [sys.executable, "-c", SIMULATE, str(answer)]
    subprocess.run(command, input=json.dumps(case), text=True, check=True, capture_output=True)
    peer = json.loads(answer.read_text())

    fired = {n: np.zeros((TICKS, graph.size(n)), int) for n in case["cores"]}
    for tick, events in enumerate(peer["spikes"]):
        for name, neuron in events:
            fired[name][tick, neuron] = 1
    np.testing.assert_array_equal(fired["in"], spikes)
    record = Record(
        executor="events",
        ticks=TICKS,
        samples=1,
        spikes={n: to_events(x[:, None]) for n, x in fired.items()},
        values={},
    )
    # SANA-FE delivers a spike in the tick that sends it, as edges without delay do.
    ops = count_operations(graph, count_workload(graph, record), placement, chip)
    busy = updated(fired, np.array(peer["potentials"]))
    ops |= {
        n: replace(ops[n], active=k, inactive=graph.size(n) * TICKS - k)
        for n, k in busy.items()
    }
    parts = {n: price_operations(o, chip.energy) for n, o in ops.items()}
    total = {
        part: sum(x[part].nominal for x in parts.values())
        for part in ("synapse", "active", "inactive", "spike", "message", "hop")
    }

    assert sum(o.synaptic_events for o in ops.values()) == peer["events"]
    assert sum(o.sent.messages for o in ops.values()) == peer["messages"]
    assert sum(o.sent.hops_x + o.sent.hops_y for o in ops.values()) == peer["hops"]
    energy = peer["energy"]
    assert total["synapse"] == pytest.approx(energy["synapse"], rel=1e-9)
    assert total["message"] + total["hop"] == pytest.approx(energy["network"], rel=1e-9)
    soma = total["active"] + total["inactive"] + total["spike"]
    assert soma == pytest.approx(energy["soma"], rel=1e-9)
    core = sum_intervals([x for part in parts.values() for x in part.values()])
    assert core.nominal == pytest.approx(energy["total"], rel=1e-9)
