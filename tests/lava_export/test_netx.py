"""Files for netx, read and run by a reader that knows nothing of LoihiPrograms."""

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_graphs import chain

from lava_export import LoihiConnection, LoihiProgram, Population, lower, reference
from lava_export.netx import NEVER, NetxError, describe_loading, list_problems, write_net
from lava_export.program import as_int32
from neuro import LI, LIF, Conv2d, Dense, DiscreteLIF, Edge, Flatten, Graph, Input, Ticks
from neuro.spikes import to_events

h5py = pytest.importorskip("h5py")
TICKS = 30
M = 2**23


def lif(**changed: object) -> LIF:
    return LIF(**{"tau": 0.01, "reset": "hard", **changed})  # type: ignore[arg-type]


def weights(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.15, 0.4, shape)


def convolutions(bias: bool = False) -> Graph:
    """Return two convolutions, a dense layer and a read-out, with biases of whole weights."""
    kernel = np.round(weights(0, 3, 2, 3, 2) * 20) / 20
    kernel[0, 0, 0, 0] = 1.27  # becomes 254, so that 0.005 is a weight unit
    biases = np.array([0.1, -0.15, 0.0]) if bias else None
    return chain(
        x=Input(shape=(2, 7, 6)),
        c1=Conv2d(weight=kernel, bias=biases, stride=(2, 1), padding=(1, 0)),
        n1=DiscreteLIF(decay=0.9, threshold=2.0, reset="hard"),
        c2=Conv2d(weight=weights(1, 4, 3, 1, 2), padding=(0, 1)),
        n2=lif(tau_syn=0.004, threshold=1.5),
        flat=Flatten(),
        fc=Dense(weight=weights(2, 6, 96) - 0.15),
        n3=lif(tau=0.02, threshold=1.5),
        last=Dense(weight=weights(3, 2, 6)),
        out=LI(tau=0.02),
    )


def dense(delay: int = 0) -> Graph:
    nodes = {
        "x": Input(shape=(9,)),
        "a": Dense(weight=weights(4, 7, 9)),
        "n": lif(tau_syn=0.005, threshold=0.6),
        "b": Dense(weight=np.abs(weights(5, 3, 7))),
        "m": lif(threshold=0.7),
    }
    edges = [Edge("x", "a"), Edge("a", "n"), Edge("n", "b", Ticks(delay)), Edge("b", "m")]
    return Graph(nodes=nodes, edges=tuple(edges), dt=chain(x=Input(shape=(1,)), n=lif()).dt)


def read_layers(path: Path) -> list[dict[str, Any]]:
    """Return the layers of a file as plain values; ``neuron`` is a dict in them."""
    with h5py.File(path, "r") as file:
        groups = [file[f"layer/{i}"] for i in range(len(file["layer"]))]
        return [
            {
                key: {k: d[()] for k, d in member.items()}
                if isinstance(member, h5py.Group)
                else member[()]
                for key, member in group.items()
            }
            for group in groups
        ]


def load_weight(weight: np.ndarray) -> tuple[np.ndarray, int]:
    """Return what netx and Lava's Dense make of a matrix: integers, and their exponent."""
    weight = weight.astype(int)
    most, least = weight.max(), weight.min()
    mixed = not (most < 0 or least >= 0)
    with np.errstate(divide="ignore"):
        if mixed:
            scale = min(np.float64(127) / most if most else np.inf, -128 / least)
        else:
            scale = -256 / least if most < 0 else np.float64(255) / most
    bits = int(np.floor(np.log2(scale))) + mixed  # OverflowError where all are 0
    whole = next(n for n in range(8, -1, -1) if not (weight % 2**n).any())
    kept = 8 - bits - (whole - mixed)
    weight = weight << bits
    # Lava asks for the signs again.
    if weight.min() >= 0:
        weight, cut = np.clip(weight, 0, 255), 8 - kept
        return (weight >> cut) << cut, -bits
    if weight.max() <= 0:
        weight, cut = np.clip(weight, -255, 0), 8 - kept
        return -((-weight >> cut) << cut), -bits
    weight, cut = np.clip(weight, -256, 255), 8 - kept + 1
    return (weight >> cut) << cut, -bits


def make_synapses(layer: dict[str, Any], image: tuple[int, ...]) -> Any:
    """Return the sums (N,) of spikes, and the shape of what leaves the layer."""
    if layer["type"][0] == b"dense":
        weight, exponent = load_weight(layer["weight"])
        return lambda s: (weight @ s) >> -exponent, tuple(layer["shape"])
    kernel = layer["weight"].astype(int)
    assert layer["groups"] == 1
    assert (layer["dilation"] == 1).all()
    (sh, sw), (ph, pw), (_, h, w) = layer["stride"], layer["padding"], layer["shape"]

    def convolve(s: np.ndarray) -> np.ndarray:
        padded = np.pad(s.reshape(image), ((0, 0), (ph, ph), (pw, pw)))
        out = np.zeros(layer["shape"], int)
        for y, x in product(range(h), range(w)):
            top, left = y * sh, x * sw
            part = padded[:, top : top + kernel.shape[2], left : left + kernel.shape[3]]
            out[:, y, x] = (kernel * part).sum((1, 2, 3))
        return out.ravel()

    return convolve, tuple(layer["shape"])


def run_file(path: Path, raster: np.ndarray, steps: int, reset: int = 0) -> list[np.ndarray]:
    """Return spikes of each layer (of the last, v and spikes), as netx runs a file on Lava.

    A layer sends what it received in the step before, and is reset, with ``reset``, at step
    k + 2 and every ``reset`` steps. Spikes of a layer have axes steps, neurons.
    """
    head, *layers = read_layers(path)
    assert head["type"][0] == b"input"
    assert "neuron" not in head  # else it would be a layer of neurons
    source = np.zeros((steps, int(np.prod(head["shape"]))), int)
    source[: len(raster)] = raster
    shape, out, k, flat = tuple(head["shape"]), [], 0, True
    for layer in layers:
        if layer["type"][0] == b"flatten":
            flat = True
            continue
        assert flat or layer["type"][0] == b"conv" or len(shape) == 1
        flat = False
        synapses, shape = make_synapses(layer, shape)
        wait = int(np.max(layer.get("delay", 0))) + 1
        neuron, size = layer["neuron"], int(np.prod(shape))
        du, dv = int(neuron["iDecay"]) - 1, int(neuron["vDecay"])
        bias = np.zeros(size, int)
        if "bias" in layer:
            assert len(shape) == 1 or layer["bias"].shape == shape[::-1]
            bias = (layer["bias"].T if len(shape) == 3 else layer["bias"]).ravel() << 6
        u, v = np.zeros(size, int), np.zeros(size, int)
        spikes, membrane = np.zeros((steps, size), int), np.zeros((steps, size), int)
        for t in range(steps):
            if reset and (t + 1) % reset == (k + 2) % reset:
                u, v = 0 * u, 0 * v
            x = synapses(source[t - wait]) if t >= wait else 0
            u = np.sign(u) * (abs(u) * (4096 - (du + 1)) >> 12) + 64 * x
            v = np.sign(v) * (abs(v) * (4096 - dv) >> 12) + u + bias
            v = np.clip(v, -(M - 1), M - 1)
            spikes[t] = v > int(neuron["vThMant"]) << 6
            membrane[t] = v
            v = np.where(spikes[t], 0, v)
        out.append(spikes)
        source, k = spikes, k + 1
    return [*out, membrane]


def compare(program: LoihiProgram, path: Path, reset: int = 0) -> int:
    """Run a program and its file beside each other; return the spikes of the layers."""
    size = program.populations[0].size
    raster = np.random.default_rng(9).random((TICKS, size)) < 0.3
    record = reference.run(program, {"x": to_events(raster[:, None] * 1.0)}, TICKS)
    steps = TICKS + program.latency
    *layers, membrane = run_file(write_net(path, program), raster.astype(int), steps, reset)
    total = 0
    for p, spikes in zip(program.populations[1:], layers, strict=True):
        after = slice(p.lag, p.lag + TICKS)
        if p.kind == "li":
            assert np.array_equal(membrane[after], record.values[p.name][:, 0])
            assert not spikes.any()
            continue
        ours = np.zeros((TICKS, p.size), int)
        events = record.spikes[p.name]
        ours[events.tick, events.neuron] = 1
        assert np.array_equal(spikes[after], ours), p.name
        assert 0 < ours.sum() < ours.size, p.name
        total += ours.sum()
    return total


@pytest.mark.parametrize(
    "graph", [convolutions(), dense(), dense(5)], ids=["conv", "dense", "delay"]
)
def test_a_file_gives_the_spikes_of_the_reference_a_step_later_for_each_layer(
    graph: Graph, tmp_path: Path
) -> None:
    assert compare(lower(graph, ticks=TICKS), tmp_path / "a.net") > 20


def test_a_bias_is_taken_back_by_the_reset_that_the_call_names(tmp_path: Path) -> None:
    program = lower(convolutions(bias=True), ticks=TICKS)
    assert program["n1"].bias_mant.any()
    path = tmp_path / "a.net"
    assert compare(program, path, reset=TICKS) > 20
    assert describe_loading("a.net", program) == (
        "lava.lib.dl.netx.hdf5.Network(net_config='a.net', reset_interval=30, reset_offset=1)"
    )
    with pytest.raises(AssertionError, match="n1"):  # without, the bias is a step early
        compare(program, path)


def test_the_layout_is_that_of_slayer(tmp_path: Path) -> None:
    program = lower(convolutions(), ticks=TICKS)
    layers = read_layers(write_net(tmp_path / "a.net", program))
    words = [bytes(layer["type"][0]) for layer in layers]
    assert words == [b"input", b"conv", b"conv", b"flatten", b"dense", b"dense"]
    assert list(layers[0]["shape"]) == [2, 7, 6]
    assert list(layers[2]["shape"]) == [4, 4, 6]
    first = {
        k: np.array(v).tolist() for k, v in layers[1].items() if k not in ("neuron", "type")
    }
    assert first == {
        "shape": [3, 4, 5],
        "inChannels": 2,
        "outChannels": 3,
        "kernelSize": [3, 2],
        "stride": [2, 1],
        "padding": [1, 0],
        "dilation": [1, 1],
        "groups": 1,
        "weight": program.connections[0].weight.tolist(),
    }
    assert (layers[4]["inFeatures"], layers[4]["outFeatures"]) == (96, 6)
    n2 = program["n2"]
    assert layers[2]["neuron"] == {
        "type": b"CUBA",
        "iDecay": n2.du[0] + 1,
        "vDecay": n2.dv[0],
        "vThMant": n2.vth[0],
        "refDelay": 1,
        "gradedSpike": False,
    }
    assert layers[5]["neuron"]["vThMant"] == NEVER
    assert NEVER << 6 > M


def test_a_run_with_delays_is_loaded_anew_for_each_sample() -> None:
    call = describe_loading("a.net", lower(dense(5), ticks=TICKS))
    assert call == "lava.lib.dl.netx.hdf5.Network(net_config='a.net')"


def layer(weight: object, **changed: object) -> LoihiProgram:
    """Return a program of one dense layer; ``changed`` of its neurons or its connection."""
    synapses = as_int32(weight)
    extra = changed.pop("extra", 0)
    size = synapses.shape[0]
    return LoihiProgram(
        populations=(
            Population(name="x", kind="input", shape=(synapses.shape[1],)),
            Population(name="n", kind="alif", shape=(size,), lag=1, **changed),  # type: ignore[arg-type]
        ),
        connections=(
            LoihiConnection(
                name="w",
                source="x",
                target="n",
                kind="dense",
                weight=synapses,
                extra=extra,  # type: ignore[arg-type]
            ),
        ),
    )


def is_kept(weight: np.ndarray) -> bool:
    """Say whether the loader's sums of single spikes are the weights themselves."""
    try:
        held, exponent = load_weight(weight)
    except OverflowError:  # all are 0
        return False
    return np.array_equal(held >> -exponent, weight)


def test_a_matrix_is_refused_where_the_loader_changes_it() -> None:
    ends = [0, *(s * w for w in (2, 4, 6, 64, 126, 128, 130, 252, 254) for s in (1, -1))]
    refused = set()
    for one, other in product(ends, ends):
        weight = np.array([[one, other]])
        assert is_kept(weight) == (not list_problems(layer(weight))), weight
        refused |= {(one, other)} if not is_kept(weight) else set()
    assert {(0, 0), (-128, 0), (-4, -128)} <= refused
    assert not {(-128, 2), (128, 2), (-126, 0)} & refused


def test_sparse_synapses_become_a_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.array([[2, 0, -4], [0, 6, 0]])
    places = as_int32(np.array(np.nonzero(whole)))
    sparse = layer(whole)
    wiring = replace(
        sparse.connections[0], kind="sparse", weight=as_int32(whole[whole != 0]), places=places
    )
    program = replace(sparse, connections=(replace(wiring, sizes=(2, 3)),))
    layers = read_layers(write_net(tmp_path / "a.net", program))
    assert np.array_equal(layers[1]["weight"], whole)
    monkeypatch.setattr("lava_export.netx.LARGEST_MATRIX", 6)
    assert list_problems(program) == []
    monkeypatch.setattr("lava_export.netx.LARGEST_MATRIX", 5)
    (problem,) = list_problems(program)
    assert problem.startswith("w: a matrix of 2 x 3 weights, which netx needs of a list")


W = np.array([[2, -4], [6, 8]])
REFUSED = {
    "soft reset, netx's neurons set v to 0": {"hard": False},
    "its reset sets v to a value": {"reset_to": as_int32(-64)},
    "beta > 0 adapts the threshold": {"beta": as_int32(3)},
    "vth goes from 3 to 4, a layer has one for all; give its neurons the same threshold": {
        "vth": as_int32([3, 4])
    },
    "du goes from 1 to 2": {"du": as_int32([1, 2])},
    "dv goes from 1 to 2": {"dv": as_int32([1, 2])},
    "its membrane keeps nothing": {"dv": as_int32(4096)},
    "a bias of 0.5 weight units, a layer holds whole ones; in the graph, round bias x gain "
    "to multiples of 1/20": {"bias_mant": as_int32([64, 32]), "scale": 20.0},
    "its bias reaches 4096 weight units, a layer holds 4095": {
        "bias_mant": as_int32([2048, -64]),
        "bias_exp": as_int32(7),
    },
    "its bias reaches 4098 weight units": {
        "bias_mant": as_int32([-2049, 64]),
        "bias_exp": as_int32(7),
    },
    "a refractory period of 2 ticks": {"refractory": 2},
    "returns to rest every 3 ticks": {"reset_interval": 3},
    "its bias sets in after 2 ticks": {"bias_mant": as_int32(64), "bias_after": 2},
    "it has a bias, which sets in at step 1": {"bias_mant": as_int32(64), "extra": 1},
    "a spike waits 63 steps, the loader cuts at 62": {"extra": 63},
}


@pytest.mark.parametrize(
    "own",
    [{"weight_exp": 1}, {"sign_mode": "excitatory", "weight": W * W}, {"weight_bits": 7}],
    ids=["exponent", "sign", "bits"],
)
def test_a_coding_of_weights_is_refused_by_itself(own: dict[str, object]) -> None:
    program = layer(W)
    coded: Any = replace(program.connections[0], **own)
    told = list_problems(replace(program, connections=(coded,)))
    assert any("has a weight_exp, a sign_mode or weight_bits of its own" in t for t in told)


@pytest.mark.parametrize("told", REFUSED)
def test_what_a_layer_cannot_hold_is_refused_alone(told: str) -> None:
    (problem,) = list_problems(layer(W, **REFUSED[told]))  # type: ignore[arg-type]
    assert told in problem
    assert problem.startswith("w: " if "spike waits" in told else "n: ")


def test_what_a_layer_just_holds_is_not_refused() -> None:
    bias = {"bias_mant": as_int32([-4096, 4095]), "bias_exp": as_int32(6)}
    assert list_problems(layer(W, **bias)) == []
    assert list_problems(layer(W, extra=62, dv=as_int32(4095))) == []


def test_all_that_is_no_chain_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    one = layer(W)
    x, n = one.populations
    (w,) = one.connections
    image = LoihiConnection(
        name="conv",
        source="n",
        target="m",
        kind="conv",
        weight=as_int32(np.full((2, 1, 1, 1), 2)),
        shape=(1, 1, 2),
        extra=1,
    )
    program = LoihiProgram(
        populations=(x, replace(x, name="y"), n, replace(n, name="m", shape=(4,), lag=3)),
        connections=(
            w,
            replace(w, name="w2", source="y"),
            replace(w, name="loop", source="n", extra=1),
            image,
            replace(w, name="skip", target="m", weight=as_int32(np.full((4, 2), 6)), extra=2),
        ),
    )
    with pytest.raises(NetxError) as error:
        write_net(tmp_path / "a.net", program)
    told = "; ".join(error.value.problems)
    for part in (
        "x, y: netx has one input; join them into one Input",
        "x: sends to m, n, a layer of the chain feeds one",
        "loop: recurrence from n to n",
        "n: 2 connections end here (w, w2), a layer has one",
        "m: 2 connections end here (conv, skip)",
        "conv: a spike waits 1 steps before a convolution",
    ):
        assert part in told
    assert not list(tmp_path.iterdir())
    joined = replace(program, connections=(w, program.connections[1], image))
    assert "a convolution over" not in "; ".join(list_problems(joined))  # a join says enough
    plain = replace(program, populations=(x, n, program.populations[3]), connections=(w, image))
    assert "conv: a convolution over (1, 1, 2), and n is a layer of shape (2,)" in "; ".join(
        list_problems(plain)
    )


def test_a_file_needs_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(RuntimeError, match=r"writing .net files needs h5py .*interop"):
        write_net(tmp_path / "a.net", layer(W))
