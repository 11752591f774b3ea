"""Sigma-delta networks of lava-dl: equal to their equations and to Lava, or refused by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import net_files
import numpy as np
import pytest
from net_files import Layer

from lava_export import ProgramError, lower, make_scaling_table, reference
from lava_export.run import available, run
from neuro.events import simulate
from neuro.interop import lava_dl
from neuro.interop.lava_dl import NetFileError
from neuro.neurons import LI, Delta, SigmaDelta
from neuro.nn import replay
from neuro.spikes import to_events, to_raster
from neuro.spikes.record import Record

pytest.importorskip("h5py")
TICKS = 14
CHOICES: dict[str, dict[str, Any]] = {
    **{time: {"time": time} for time in ("lava", "slayer")},
    "shifted": {"time": "slayer", "delay_shift": True},
}


def draw(seed: int) -> tuple[list[Layer], np.ndarray]:
    """Return a network and its stimulus: images that stay for some ticks, or messages."""
    rng, coded = np.random.default_rng([seed, 7]), seed % 3 != 2
    layers = net_files.draw_sdnn(rng, coded=coded)
    size = int(np.prod(layers[0]["shape"]))
    if coded:
        return layers, rng.integers(-25, 36, (TICKS // 2, size)).repeat(2, 0)
    return layers, rng.integers(-900, 1200, (TICKS, size)) * (rng.random((TICKS, size)) < 0.4)


def require_equal(record: Record, names: Sequence[str], wanted: list[np.ndarray]) -> None:
    whole = record.executor in ("integers", "lava")
    for name, of_layer in zip(names, wanted, strict=True):
        unit = 1 if whole else 4096 if name in record.values else 64  # of a weight unit
        got = record.values.get(name)
        got = to_raster(record.spikes[name]) if got is None else got
        assert np.array_equal(got[:, 0].reshape(of_layer.shape) * unit, of_layer), name
        assert of_layer.any()


@pytest.mark.parametrize("time", CHOICES)
@pytest.mark.parametrize("seed", range(6))
def test_a_random_file_computes_its_equations(seed: int, time: str, tmp_path: Path) -> None:
    layers, x = draw(seed)
    path = net_files.write(tmp_path / "a.net", layers)
    graph = lava_dl.read(path, **CHOICES[time]).graph
    events, program = {"input": to_events(x[:, None])}, lower(graph)
    wanted = net_files.run_sdnn(layers, x, time)
    for record in (reference.run(program, events, TICKS), replay(graph, events),
                   simulate(graph, events)[0]):  # fmt: skip
        require_equal(record, graph.populations, wanted)


def small(place: int = 2, **changed: Any) -> list[Layer]:
    """Return a coding input, a layer and a read-out; ``changed`` of one, None leaves out."""
    neuron = {"neuron/type": "SDNN", "neuron/activation": "relu", "neuron/vThMant": 3}
    one = {"type": "dense", "shape": np.array([2]), "inFeatures": 3, "outFeatures": 2}
    hidden = {**one, "weight": np.array([[20.0, -6, 8], [4, 255, -256]]), **neuron}
    last = {**one, "shape": np.array([1]), "inFeatures": 2, "outFeatures": 1}
    layers: list[Layer] = [
        {"type": "input", "shape": np.array([3]), "weight": 30.0, "bias": 5.0, **neuron},
        {**hidden, "bias": np.array([-2047.0, 2047])},
        {**last, "weight": np.array([[8.0, -2]]), **neuron, "neuron/sigma_output": True},
    ]
    layers[place] |= changed
    return layers


def read(path: Path, layers: list[Layer], **choices: Any) -> lava_dl.network.ImportedNetwork:
    return lava_dl.read(net_files.write(path / "a.net", layers), **choices)


def test_neurons_weights_and_units_are_those_of_the_file(tmp_path: Path) -> None:
    network = read(tmp_path, small(0, **{"neuron/vThMant": 2047}), time="lava")
    graph, nodes = network.graph, dict[str, Any](network.graph.nodes)
    assert network.images == (-25, 35)
    assert nodes["input"].message_bits == 12
    head, hidden, last = (nodes[name] for name in graph.populations)
    assert isinstance(head, Delta)
    assert isinstance(hidden, SigmaDelta)
    assert isinstance(last, LI)
    assert (head.threshold, head.spike_exp, hidden.threshold) == (2047.0, 6, 3.0)
    assert hidden.bias.tolist() == [-2047.0, 2047.0]
    assert nodes["1-dense:synapses"].weight.tolist()[0] == [20 / 64, -6 / 64, 8 / 64]
    assert network.choices == {"time": "lava, as netx runs it", "reset_interval": "no reset",
                               "netx gives odd weights of both signs 9 bits, which chips do "
                               "not have": "layer/1",
                               "input": "x = 30 p + 5 in whole numbers, for pixels p from -1 "
                               "to 1"}  # fmt: skip
    program = lower(graph)
    kinds = [
        (p.kind, p.scale, p.spike_exp, p.state_exp, p.message_bits) for p in program.populations
    ]
    assert kinds == [("input", 1, 0, 0, 12), ("delta", 4096, 6, 6, 24),
                     ("sigma_delta", 4096, 6, 6, 24), ("sigma", 4096, 0, 0, 0)]  # fmt: skip
    assert program["0-input"].vth.tolist() == [2047 << 12]
    assert program["1-dense"].bias_mant.tolist() == [-2047 << 12, 2047 << 12]
    assert [c.kind for c in program.connections] == ["identity", "dense", "dense", "dense"]
    _, even, odd, read_out = program.connections
    assert (even.weight + odd.weight).tolist() == [[20, -6, 8], [4, 255, -256]]
    assert read_out.weight.tolist() == [[8, -2]]
    rows = make_scaling_table(graph, program)
    assert [(row["weight_error_max"], row["head_room"]) for row in rows] == [(0, None)] * 3


def test_a_threshold_of_0_is_that_of_its_loader(tmp_path: Path) -> None:
    silent = small(0, **{"neuron/vThMant": 0})
    nodes: Any = read(tmp_path, silent).graph.nodes
    assert nodes["0-input"].threshold == 1 / 64  # SLAYER raises it to the unit of a message
    nodes = read(tmp_path, silent, time="lava").graph.nodes
    assert nodes["0-input"].threshold == 0


def test_without_coding_neurons_the_input_is_messages(tmp_path: Path) -> None:
    bare = [{"type": "input", "shape": np.array([3])}, *small()[1:]]
    bare[1]["bias"] = None
    nodes: Any = read(tmp_path, bare).graph.nodes
    assert nodes["input"].message_bits == 24
    assert nodes["1-dense:synapses"].weight[0, 0] == 20 / 4096
    assert nodes["2-dense:synapses"].weight[0, 0] == 8 / 64
    assert "input" not in read(tmp_path, bare).choices


@pytest.mark.parametrize(
    ("choices", "time", "early"),
    [
        ({}, "slayer, as in training with delay_shift=False", True),
        ({"delay_shift": True}, "slayer, as in training with delay_shift=True", True),
        ({"time": "lava"}, "lava, as netx runs it", False),
    ],
)
def test_the_time_is_told(
    choices: dict[str, Any], time: str, early: bool, tmp_path: Path
) -> None:
    network = read(tmp_path, small(), **choices)
    assert network.choices["time"] == time
    told = "netx begins its biases earlier, against the input, than SLAYER"
    assert network.choices.get(told) == ("layer/1" if early else None)
    delays = [edge.delay for edge in network.graph.edges if edge.source in network.graph.firing]
    assert delays == ([1, 1] if choices.get("time") else [0, int(bool(choices))])


CUBA = {
    "neuron/activation": None,
    "neuron/type": "CUBA",
    "neuron/iDecay": 9,
    "neuron/vDecay": 9,
}
REFUSED: dict[str, list[Layer]] = {
    "layer/1: neuron/activation: 'gelu': netx computes relu": small(
        1, **{"neuron/activation": "gelu"}
    ),
    "layer/1: neuron/activation: is missing": small(1, **{"neuron/activation": None}),
    "layer/1: neuron/vThMant: is missing": small(1, **{"neuron/vThMant": None}),
    "layer/1: neuron/vThMant: 1 of 1 values, like 2048, are no": small(
        1, **{"neuron/vThMant": 2048}
    ),
    "layer/1: neuron/vThMant: holds no 1 number": small(
        1, **{"neuron/vThMant": np.array([2, 3])}
    ),
    "layer/1: neuron/weight_exp: is 1, must be 0": small(1, **{"neuron/weight_exp": 1}),
    "layer/1: neuron/messageBits: no such key": small(1, **{"neuron/messageBits": 16}),
    "layer/1: bias: 1 of 2 values, like -2048, are no": small(1, bias=np.array([-2048, 5])),
    "layer/1: bias: 1 of 2 values, like 2048, are no": small(1, bias=np.array([5, 2048])),
    "layer/2: bias: neurons with sigma_output have none": small(bias=np.array([4])),
    "layer/2: neuron/sigma_output: is 0, must be 1": small(**{"neuron/sigma_output": False}),
    "layer/0: neuron/sigma_output: is 1, must be 0": small(0, **{"neuron/sigma_output": True}),
    "layer/1: type: a dense_rec of SDNN neurons": small(
        1, type="dense_rec", weight_rec=np.ones((2, 2))
    ),
    "layer/1: neuron/vThMant: its neurons never fire": small(
        1, bias=None, **{"neuron/sigma_output": True}
    ),
    "layer/1: neuron/type: CUBA neurons, as those of layers without, beside SDNN": small(
        1, bias=None, **CUBA
    ),
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_has_no_form_is_refused_by_its_key(told: str, tmp_path: Path) -> None:
    with pytest.raises(NetFileError) as refused:
        read(tmp_path, REFUSED[told])
    assert [p for p in refused.value.problems if p.startswith(told)] == refused.value.problems


@pytest.mark.parametrize("place", [0, 2])
def test_neurons_without_an_activation_may_name_any(place: int, tmp_path: Path) -> None:
    network = read(tmp_path, small(place, **{"neuron/activation": "gelu"}))
    told = [row.became for row in network.mapping if row.source == "neuron/activation"]
    assert "gelu: nothing: these neurons have none" in told


def test_sigma_delta_neurons_have_no_reset(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reset_interval is 5; sigma-delta neurons have no"):
        read(tmp_path, small(), reset_interval=5)


def test_states_beyond_24_bits_are_refused_by_the_program(tmp_path: Path) -> None:
    weight = np.array([[254, -256, 8], [4, 2, 2]])
    graph = read(tmp_path, small(1, weight=weight, bias=None), time="lava").graph
    x = {"input": to_events(np.broadcast_to([300, -300, 300], (3, 1, 3)))}
    assert replay(graph, x).ticks == 3  # floats have no end
    with pytest.raises(ProgramError, match=r"1-dense: sigma of neuron 0, sample 0, is"):
        reference.run(lower(graph), x, 3)


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.skipif(not available(), reason="lava-nc is not installed: make setup")
@pytest.mark.parametrize("time", ["slayer", "lava"])
def test_lava_computes_an_imported_network(time: lava_dl.Time, tmp_path: Path) -> None:
    layers, x = draw(1)
    graph = read(tmp_path, layers, time=time).graph
    record = run(lower(graph), {"input": to_events(x[:, None])}, TICKS)
    require_equal(record, graph.populations, net_files.run_sdnn(layers, x, time))


def test_only_changes_of_the_input_take_no_tick_where_layers_shift(tmp_path: Path) -> None:
    spiking = [layer | CUBA | {"neuron/sigma_output": None} for layer in small()]
    for layers, ticks in ((spiking, 1), (small(), 0)):
        graph = read(tmp_path, layers, delay_shift=True).graph
        (edge,) = (edge for edge in graph.edges if edge.source == "0-input")
        assert edge.delay == ticks
