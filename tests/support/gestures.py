"""SANA-FE's example for DVS gestures, there and here, on the same cores.

PYTHONPATH=. python tests/support/gestures.py 1000

Prints what so many ticks cost in SANA-FE (a peer, with its own weights), with its unit of dense
synapses for convolutions and with that for convolutions; and what ``loihi1_sanafe`` estimates
with SANA-FE's placement, and with neuro's own.
"""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
from sanafe import tutorial

from neuro.base.units import Seconds, Ticks
from neuro.energy import Estimate, estimate
from neuro.events import simulate
from neuro.graph import Conv2d, Dense, Edge, Flatten, Graph, Input, Unflatten
from neuro.neurons import IF
from neuro.spikes import to_events

CORES = (1, 4, 16, 16, 4, 1)  # of each layer, in SANA-FE's example
PEER = """
import json, sys
import numpy as np
import sanafe
from sanafe import layers, tutorial
from sanafe._examples import load_loihi

ticks, unit, counts = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
held, arch, net = np.load(tutorial.get_dvs_data()), load_loihi(), sanafe.Network()
limit = held["thresholds"]
stack = [layers.Input2D(net, 32, 32, threshold=limit[0])]
for k in range(1, 5):
    stride = {"stride_width": 2, "stride_height": 2} if k == 1 else {}
    stack += [layers.Conv2D(net, stack[-1], held[f"conv{k}"], threshold=limit[k], **stride)]
    for neuron in stack[-1]:
        neuron.set_attributes(default_synapse_hw_name=f"loihi_{unit}_synapse")
stack += [layers.Dense(net, stack[-1], 11, held["dense1"], threshold=limit[5])]
for neuron, bias in zip(stack[0], held["inputs"]):
    neuron.set_attributes(model_attributes={"bias": bias})
first = 0
for layer, count in zip(stack, counts):
    each = len(layer) // count
    for i, neuron in enumerate(layer):
        neuron.map_to_core(arch.cores()[first + min(i // each, count - 1)])
    first += count
chip = sanafe.SpikingChip(arch)
chip.load(net)
found = chip.sim(ticks, timing_model="simple")
print("RESULT", found["energy"]["total"], found["neurons_fired"], found["packets_sent"])
"""


def run_peer(ticks: int, unit: str) -> str:
    command = [sys.executable, "-c", PEER, str(ticks), unit, json.dumps(CORES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    (line,) = (x for x in done.stdout.splitlines() if x.startswith("RESULT"))
    joules, fired, messages = line.split()[1:]
    return f"{float(joules) * 1e3:.6g} mJ, {fired} spikes, {messages} messages"


def make_graph() -> Graph:
    """Return the network; SANA-FE fires above a threshold, a graph at it: weights are whole."""
    held = np.load(tutorial.get_dvs_data())
    limit = held["thresholds"] + 0.5
    nodes = {
        "off": Input(shape=(1,)),
        "bias": Dense(weight=np.zeros((1024, 1)), bias=held["inputs"].astype(float)),
        "image": Unflatten(shape=(1, 32, 32)),
        "pixels": IF(threshold=limit[0], reset="hard"),
    }
    for k in range(1, 5):
        weight = held[f"conv{k}"].astype(float).transpose(3, 2, 0, 1)
        nodes[f"conv{k}"] = Conv2d(weight=weight, stride=(2, 2) if k == 1 else (1, 1))
        nodes[f"layer{k}"] = IF(threshold=limit[k], reset="hard")
    nodes |= {
        "flat": Flatten(),
        "dense": Dense(weight=held["dense1"].astype(float).T.copy()),
        "out": IF(threshold=limit[5], reset="hard"),
    }
    late = {*(f"layer{k}" for k in range(1, 5)), "out"}  # each connection takes a tick
    edges = tuple(Edge(a, b, Ticks(int(b in late))) for a, b in pairwise(nodes))
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1.0))


def place_as_there(graph: Graph) -> dict[str, np.ndarray]:
    """Return the core of each neuron in SANA-FE's example."""
    found, first = {}, 0
    for name, count in zip(graph.populations, CORES, strict=True):
        each = graph.size(name) // count
        found[name] = first + np.minimum(np.arange(graph.size(name)) // each, count - 1)
        first += count
    return found


def tell(name: str, found: Estimate) -> None:
    core = found.core
    low, nominal, high = (f"{x * 1e3:.6g}" for x in (core.low, core.nominal, core.high))
    spikes = sum(o.spikes for o in found.operations.values())
    messages = sum(o.sent.messages for o in found.operations.values())
    print(f"{name}, {found.placement.cores} cores: {nominal} mJ ({low} - {high}), ", end="")
    print(f"{spikes} spikes, {messages} messages")


def main(ticks: int) -> None:
    for unit in ("dense", "conv"):
        print(f"SANA-FE, unit {unit}: {run_peer(ticks, unit)}", flush=True)
    graph = make_graph()
    record, _ = simulate(graph, {"off": to_events(np.zeros((ticks, 1, 1), bool))})
    tell("here, its", estimate(graph, record, "loihi1_sanafe", cores=place_as_there(graph)))
    tell("here, own", estimate(graph, record, "loihi1_sanafe"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
