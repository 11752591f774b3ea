"""Files of lava-dl: equal to their equations and to Intel's records, or refused by name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import net_files
import numpy as np
import pytest
from net_files import Layer

from lava_export import lower, reference
from lava_export.reference import iterate_ticks
from neuro.events import simulate
from neuro.interop import lava_dl
from neuro.interop.lava_dl import NetFileError
from neuro.nn import replay
from neuro.spikes import to_events, to_raster

h5py = pytest.importorskip("h5py")
TICKS = 25
DATA = Path(os.environ.get("NEURO_DATA", "nowhere")) / "netx"
recorded = pytest.mark.skipif(
    not (DATA / "tiny.net").is_file(), reason="$NEURO_DATA/netx has no recorded networks"
)


CHOICES: dict[str, dict[str, Any]] = {
    **{time: {"time": time} for time in ("lava", "slayer")},
    "unshifted": {"time": "slayer", "delay_shift": False},
}


@pytest.mark.parametrize("time", CHOICES)
@pytest.mark.parametrize("seed", range(10))
def test_a_random_file_computes_its_equations(seed: int, time: str, tmp_path: Path) -> None:
    rng = np.random.default_rng([seed, 2])
    layers = net_files.draw(rng, conv_delays=True, last_delays=time == "lava")
    interval = int(rng.choice([0, 7]))
    path = net_files.write(tmp_path / "a.net", layers)
    x = rng.random((TICKS, int(np.prod(layers[0]["shape"])))) < 0.4
    graph = lava_dl.read(path, **CHOICES[time], reset_interval=interval).graph
    events = {"input": to_events(x[:, None])}
    wanted = net_files.run(layers, x, time, interval)
    records = [reference.run(lower(graph), events, TICKS), replay(graph, events)]
    if seed < 3:
        records.append(simulate(graph, events)[0])
    for record in records:
        unit = 1 if record.executor == "integers" else 64  # of a read-out
        for name, of_layer in zip(graph.populations, wanted, strict=True):
            if name in record.values:
                assert np.array_equal(record.values[name][:, 0] * unit, of_layer), name
            else:
                assert np.array_equal(to_raster(record.spikes[name])[:, 0], of_layer), name


def neurons(**changed: Any) -> Layer:
    keys = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 40, "refDelay": 1}
    return {f"neuron/{k}": v for k, v in {**keys, "gradedSpike": False, **changed}.items()}


def small(kind: str = "dense", **changed: Any) -> list[Layer]:
    """Return an input and two layers; ``changed`` of the last, None leaves a key out."""
    image: Layer = {"type": "input", "shape": np.array([2, 4, 3])}
    conv = {
        "type": "conv", "shape": np.array([2, 3, 2]), "inChannels": 2, "outChannels": 2,
        "kernelSize": np.array([2, 2]), "stride": np.array([1, 1]),
        "padding": np.array([0, 0]), "dilation": np.array([1, 1]), "groups": 1,
        "weight": 2.0 * np.arange(16).reshape(2, 2, 2, 2) - 14, **neurons(),
    }  # fmt: skip
    if kind == "conv":
        return [image, {**conv, **changed}]
    flat: Layer = {"type": "flatten", "shape": np.array([12, 1, 1])}
    last: Layer = {
        "type": kind, "shape": np.array([3]), "inFeatures": 12, "outFeatures": 3,
        "weight": 2.0 * np.arange(36).reshape(3, 12) - 30, **neurons(),
    }  # fmt: skip
    if kind == "dense_rec":
        last["weight_rec"] = 2.0 * np.arange(9).reshape(3, 3) - 6
    return [image, conv, flat, {**last, **changed}]


def list_problems(path: Path, layers: list[Layer], **choices: Any) -> list[str]:
    with pytest.raises(NetFileError) as refused:
        lava_dl.read(net_files.write(path / "a.net", layers), **choices)
    assert str(refused.value).startswith(f"{path / 'a.net'} cannot be imported:\n")
    return refused.value.problems


def test_the_small_files_themselves_are_read(tmp_path: Path) -> None:
    for kind in ("dense", "dense_rec", "conv"):
        net = lava_dl.read(net_files.write(tmp_path / "a.net", small(kind)))
        assert net.choices["time"].startswith("slayer, ")
        listed = {
            (int(k), row.source)
            for row in net.mapping
            for k in row.node.removeprefix("layer/").split(", ")
        }
        keys = {(k, key) for k, layer in enumerate(small(kind)) for key in layer}
        assert listed == keys


REFUSED: dict[str, tuple[str, Layer]] = {
    "neuron/refDelay: is 2, must be 1; neurons here": ("dense", neurons(refDelay=2)),
    "neuron/gradedSpike: is 1, must be 0; spikes are": ("dense", neurons(gradedSpike=True)),
    "neuron/messageBits: is 8, must be 0; spikes are": ("dense", neurons(messageBits=8)),
    "neuron/wgtExp: is 3, must be 0; netx drops it": ("dense", neurons(wgtExp=3)),
    "neuron/weight_exp: is -1, must be 0; netx drops it": ("conv", neurons(weight_exp=-1)),
    "neuron/type: 'ADRF_IZ': netx would load it as RF": ("dense", neurons(type="ADRF_IZ")),
    "neuron/type: 'RF_IZHIKEVICH': resonators": ("dense", neurons(type="RF_IZHIKEVICH")),
    "neuron/type: 'ALIF': netx fails on it": ("dense", neurons(type="ALIF")),
    "neuron/type: 'LIF': known are CUBA and SDNN": ("dense", neurons(type="LIF")),
    "neuron/activation: no such key": ("dense", neurons(activation="relu")),
    "neuron/iDecay: 1 of 1 values, like 4097, are no whole": ("dense", neurons(iDecay=4097)),
    "neuron/vDecay: 1 of 3 values, like -1": ("dense", neurons(vDecay=np.array([7, -1, 2]))),
    "neuron/vDecay: 2 values, must be 1, 3 or 3": ("dense", neurons(vDecay=np.array([7, 1]))),
    "neuron/vThMant: 1 of 1 values, like 262144, are no": ("dense", neurons(vThMant=2**18)),
    "neuron/vThMant: 131072 beside 5 has more than 17 bits": (
        "dense", neurons(vThMant=np.array([5, 131072, 6])),
    ),
    "neuron/vThMant: is missing": ("dense", {"neuron/vThMant": None}),
    "type: 'average': netx refuses it, too; --set layers=3": ("dense", {"type": "average"}),
    "type: 'convT': netx refuses it, too; --set layers=1": ("conv", {"type": "convT"}),
    "type: 'pool'": ("conv", {"type": "pool"}),
    "type: 'mixture': known are input, dense": ("dense", {"type": "mixture"}),
    "weight: complex: resonators": ("dense", {
        "weight": None, "weight/real": np.ones((3, 12)), "weight/imag": np.ones((3, 12)),
    }),
    "weight: 2 of 36 values, like 0.25, are no whole": ("dense", {
        "weight": np.array([0.25, 0.75, *[2.0] * 34]).reshape(3, 12),
    }),
    "weight: 1 of 36 values, like nan": ("dense", {
        "weight": np.array([np.nan, *[2.0] * 35]).reshape(3, 12),
    }),
    "weight: 1 of 36 values, like 256, are no whole numbers from -256 to 255": ("dense", {
        "weight": np.array([256.0, *[2.0] * 35]).reshape(3, 12),
    }),
    "weight: has shape 12 x 3, must be 3 x 12": ("dense", {"weight": np.ones((12, 3))}),
    "weight: is missing": ("conv", {"weight": None}),
    "bias: 1 of 3 values, like -8193": ("dense", {"bias": np.array([2.0, 0, -8193])}),
    "bias: 2 values, must be 1, 3 or 3": ("dense", {"bias": np.array([2.0, 4])}),
    "delay: 1 of 2 values, like 63": ("conv", {"delay": np.array([0.0, 63])}),
    "inFeatures: is 13, must be 12": ("dense", {"inFeatures": 13}),
    "outChannels: is 3, must be 2": ("conv", {"outChannels": 3}),
    "shape: 2 x 4 x 2, but the kernel gives 2 x 3 x 2; export": (
        "conv", {"shape": np.array([2, 4, 2])},
    ),
    "shape: a convolution from (2, 4, 3) to (2, 6)": ("conv", {"shape": np.array([2, 6])}),
    "groups: 3 of kernels (2, 2) must divide the channels": ("conv", {"groups": 3}),
    "stride: [0, 1] is no pair (y, x) of numbers >= 1": ("conv", {"stride": np.array([0, 1])}),
    "padding: (2, 0) must be less than the kernel spans": (
        "conv", {"padding": np.array([2, 0]), "shape": np.array([2, 7, 2])},
    ),
    "kernelSize: [2, 2, 2] is no pair": ("conv", {"kernelSize": np.array([2, 2, 2])}),
    "momentum: no such key is known": ("dense", {"momentum": 0.9}),
    "type: 'input' in this place; a network begins": ("dense", {"type": "input"}),
}  # fmt: skip


@pytest.mark.parametrize("told", REFUSED)
def test_what_has_no_form_is_refused_by_its_key(told: str, tmp_path: Path) -> None:
    kind, changed = REFUSED[told]
    problems = list_problems(tmp_path, small(kind, **changed))
    place = 1 if kind == "conv" else 3
    assert any(p.startswith(f"layer/{place}: {told}") for p in problems), problems
    assert all(p.startswith(f"layer/{place}: ") for p in problems)


def test_all_problems_of_a_layer_are_told_at_once(tmp_path: Path) -> None:
    wrong = {"delay": np.array([70.0]), "bias": np.array([0.5]), **neurons(wgtExp=1)}
    assert len(list_problems(tmp_path, small("dense", inFeatures=11, **wrong))) == 4


def test_what_has_no_form_in_one_time_is_told_with_the_other(tmp_path: Path) -> None:
    late = small("dense", delay=np.array([0.0, 3, 1]))
    (told,) = list_problems(tmp_path, late)
    assert told.startswith("layer/3: delay: in SLAYER's time the delays of the last layer")
    lava_dl.read(net_files.write(tmp_path / "b.net", late), time="lava")
    deaf = small("dense")
    deaf[1] |= neurons(vThMant=2**17 - 1)
    (told,) = list_problems(tmp_path, deaf, time="lava")
    assert told.startswith("layer/1: neuron/vThMant: its neurons never fire")
    assert told.endswith("--set layers=2 ends the network with them")
    graph = lava_dl.read(tmp_path / "a.net", layers=2).graph
    assert graph.outputs == graph.readouts == ("1-conv",)


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ([], "no group 'layer' with layers in it"),
        (small()[:1], "it has no dense layer and no convolution"),
        (small()[1:], "layer/0: type: 'conv' in this place; a network begins with one"),
        (small()[2:], "layer/0: type: 'flatten' in this place"),
        (small()[3:], "layer/0: type: 'dense' in this place"),
        (
            [*small()[:2], small()[3]],
            "layer/2: type: dense behind neurons of shape 2 x 3 x 2",
        ),
    ],
)
def test_layers_in_a_wrong_order_are_refused(
    layers: list[Layer], told: str, tmp_path: Path
) -> None:
    assert list_problems(tmp_path, layers)[0].startswith(told)


def test_layers_are_numbered_in_numeric_order(tmp_path: Path) -> None:
    one = {"shape": np.array([1]), "inFeatures": 1, "outFeatures": 1, **neurons()}
    layers = [{"type": "input", "shape": np.array([1])}]
    layers += [{"type": "dense", **one, "weight": np.array([[2.0 * k]])} for k in range(10)]
    graph: Any = lava_dl.read(net_files.write(tmp_path / "a.net", layers)).graph
    found = [graph.nodes[f"{name}:synapses"].weight.item() for name in graph.populations]
    assert found == [2.0 * k for k in range(10)]
    with h5py.File(tmp_path / "a.net", "a") as file:
        file.move("layer/3", "layer/11")
    with pytest.raises(NetFileError, match="layer/11: layers are groups named 0, 1"):
        lava_dl.read(tmp_path / "a.net")


def test_an_argument_out_of_range_is_refused(tmp_path: Path) -> None:
    path, choices = net_files.write(tmp_path / "a.net", small()), dict[str, Any]()
    for choices, told in (
        ({"layers": -1}, "layers is -1; it must be >= 0"),
        ({"reset_interval": -1}, "reset_interval is -1; it must be >= 0"),
    ):
        with pytest.raises(ValueError, match=told):
            lava_dl.read(path, **choices)


def test_faults_of_the_loader_and_the_trainer_are_told(tmp_path: Path) -> None:
    rows = {
        "netx lowers weights by 1 that float32": {"weight": np.full((3, 12), 5.9999995)},
        "netx fails where all weights are 0": {"weight": np.zeros((3, 12))},
        "netx cuts the lowest weight off": {"weight": np.full((3, 12), -128.0)},
        "netx gives odd weights of both signs 9 bits": {
            "weight": np.array([3.0, *[-2.0] * 35]).reshape(3, 12)
        },
        "SLAYER fires at v = 64 vThMant, chips above it": neurons(vThMant=4096),
        "netx begins its biases earlier": {"bias": np.array([2.0, 4, 6])},
    }
    for told, changed in rows.items():
        path = net_files.write(tmp_path / "a.net", small("dense", **changed))
        found = lava_dl.read(path).choices
        assert {v for k, v in found.items() if k.startswith(told)} == {"layer/3"}, told
        assert [k for k in found if k not in ("time", "reset_interval")] == [
            k for k in found if k.startswith(told)
        ]
    path = net_files.write(tmp_path / "a.net", small("conv", delay=np.array([1.0, 2])))
    assert lava_dl.read(path, time="lava").choices["netx drops the delays of convolutions"]
    first = net_files.write(tmp_path / "a.net", small("conv", bias=np.array([2.0, 4])))
    told = "netx begins its biases earlier, against the input, than SLAYER"
    assert lava_dl.read(first).choices[told] == "layer/1"
    assert told not in lava_dl.read(first, time="lava").choices
    quiet = small("dense", **neurons(vThMant=4095), bias=np.zeros(3))
    assert len(lava_dl.read(net_files.write(tmp_path / "a.net", quiet)).choices) == 2


def test_an_inexact_weight_is_rounded(tmp_path: Path) -> None:
    weight = np.full((3, 12), 6.0)
    weight[1, 2:4] = 5.9999995, -3.9999998
    path = net_files.write(tmp_path / "a.net", small("dense", weight=weight))
    node: Any = lava_dl.read(path).graph.nodes["3-dense:synapses"]
    assert set(np.unique(node.weight)) == {6.0, -4.0}


CHANGES: list[Callable[[Any], Any]] = [
    lambda _: None, lambda _: "dense", lambda v: 1e6 * np.asarray(v), lambda v: -1.0 * v,
    lambda v: np.ravel(v)[:-1], lambda v: np.asarray(v) + 0.5, lambda v: np.repeat([v], 3, 0),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "seeds", [range(100), pytest.param(range(100, 500), marks=pytest.mark.nightly)], ids=len
)
def test_a_damaged_file_is_refused_with_its_place_or_runs(seeds: range, tmp_path: Path) -> None:
    """Bytes are damaged by tests/test_mutate_inputs.py, values here."""
    refused = list[NetFileError]()
    for seed in seeds:
        rng, path = np.random.default_rng([seed, 5]), tmp_path / f"{seed}.net"
        layers = net_files.draw(rng)
        for _ in range(rng.integers(1, 3)):
            layer = layers[rng.integers(len(layers))]
            key = list(layer)[rng.integers(len(layer))]
            if key == "type":
                layer[key] = str(rng.choice(["conv", "dense", "flatten", "input", "x"]))
            elif not isinstance(layer[key], str | None):
                layer[key] = CHANGES[rng.integers(len(CHANGES))](layer[key])
        net_files.write(path, layers)
        try:
            graph = lava_dl.read(path, time="lava").graph
        except NetFileError as error:
            refused.append(error)
            continue
        x = rng.random((3, 1, graph.size("input"))) < 0.4
        reference.run(lower(graph), {"input": to_events(x)}, 3)
    assert 0.2 < len(refused) / len(seeds) < 0.9
    assert all(p.startswith("layer/") for error in refused for p in error.problems)


def order(x: np.ndarray) -> np.ndarray:
    """Return a record (x, y, channel, step) or (neuron, step) as (step, neuron in C order)."""
    return x.T.reshape(x.shape[-1], -1).astype(int)


def states(name: str, image: np.ndarray, ticks: int, time: str, **choices: Any) -> list[Any]:
    """Return the ticks of a recorded network on the reference."""
    program = lower(lava_dl.read(DATA / f"{name}.net", **CHOICES[time], **choices).graph)
    return list(iterate_ticks(program, {"input": image}, ticks))


@recorded
@pytest.mark.parametrize("time", CHOICES)
def test_tiny_is_its_record(time: str) -> None:
    record = np.load(DATA / "tiny.npz")
    image = order(record["input_bias"][..., None]).astype(np.int32)
    ticks = states("tiny", np.repeat(image[None], 18, 0), 18, time, reset_interval=17)
    for k, (name, key) in enumerate(
        (("0-input", "input"), ("1-conv", "layer1"), ("2-conv", "output"))
    ):
        wanted = record[key][0].reshape(-1, 16).T[1:]
        first = 0 if time == "unshifted" else k
        got = np.stack([t.out[name][0] for t in ticks])[first : first + 15]
        assert np.array_equal(got, wanted), name
    current = record["current"][0].reshape(-1, 16).T.astype(int) * 64
    u = np.stack([t.states["1-conv"].u[0] for t in ticks])
    assert np.array_equal(u[:15] if time == "unshifted" else u[1:16], current[1:])


@recorded
@pytest.mark.slow
@pytest.mark.parametrize("time", CHOICES)
def test_pilotnet_is_its_record(time: str) -> None:
    record = np.load(DATA / "pilotnet_lif.npz")
    image = order(record["image"][..., None]).astype(np.int32)
    ticks = states("pilotnet_lif", np.repeat(image[None], 24, 0), 24, time, reset_interval=17)
    names = {"0-input": "input"} | {f"{k + 1}-conv": f"conv-{k}" for k in range(5)}
    names |= {f"{k + 7}-dense": f"fc-{k}" for k in range(3)}
    compared = 0
    for k, (name, key) in enumerate(names.items()):
        spikes = order(record[key])
        wanted = {"s": spikes}
        if f"{key}-u" in record:
            v = order(record[f"{key}-v"])
            wanted |= {"u": order(record[f"{key}-u"]), "v": np.where(spikes, 0, v)}
        late = k if time == "unshifted" else 0  # its tick 0 is step k + 1
        for what, of_step in wanted.items():
            got = [t.out[name] if what == "s" else getattr(t.states[name], what) for t in ticks]
            assert np.array_equal(np.stack(got)[: 24 - late, 0], of_step[late:]), (name, what)
            compared += 1
    assert compared == 25


@recorded
@pytest.mark.slow
@pytest.mark.parametrize("time", CHOICES)
def test_ntidigits_is_its_record(time: str) -> None:
    record = np.load(DATA / "ntidigits.npz")
    x = to_events(record["input"].T[:, None].astype(bool))
    graph = lava_dl.read(DATA / "ntidigits.net", **CHOICES[time], layers=5).graph
    spikes = to_raster(simulate(graph, {"input": x})[0].spikes["4-dense"])[:, 0]
    late = {"lava": 0, "slayer": 1, "unshifted": 3}[time]
    assert spikes.sum() > 22_000
    assert np.array_equal(spikes[: 2999 - late], record["output"].T[1 + late :])
    short = x._replace(
        **{k: getattr(x, k)[x.tick < 200] for k in x._fields[:4]}, shape=(200, 1, 64)
    )
    few = reference.run(lower(graph), {"input": short}, 200).spikes["4-dense"]
    assert np.array_equal(to_raster(few)[:, 0], spikes[:200])
