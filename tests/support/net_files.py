"""Files of lava-dl, drawn at random, and their equations written out in whole numbers."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

Layer = dict[str, Any]
Rng = np.random.Generator


def write(path: Path, layers: list[Layer]) -> Path:
    """Write layers as lava-dl does; a key may hold a group, and None leaves it out."""
    import h5py

    with h5py.File(path, "w") as file:
        for k, layer in enumerate(layers):
            group = file.create_group(f"layer/{k}")
            for key, value in layer.items():
                if key == "type":
                    group.create_dataset(key, (1,), "S10", [value.encode()])
                elif value is not None:
                    group.create_dataset(key, data=value)
    return path


def cuba(rng: Rng, channels: int, old: bool = False) -> Layer:
    """Return the keys of neurons; decays are of all or of each channel."""
    found = {
        "iDecay": rng.choice([0, 700, 2048, 4096], rng.choice([1, channels])),
        "vDecay": rng.choice([0, 128, 1024, 4096], rng.choice([1, channels])),
        "vThMant": int(rng.integers(20, 90)),
        "refDelay": 1,
    }
    found |= {key: found[key][0] for key in ("iDecay", "vDecay") if rng.random() < 0.5}
    if old:
        found |= {"theta": 64 * found["vThMant"], "wgtExp": 0, "tauRho": 0.5, "scaleRho": 10.0}
    else:
        found["gradedSpike"] = False
    kind = "LOIHI" if old else "CUBA"
    return {f"neuron/{key}": value for key, value in {"type": kind, **found}.items()}


def weights(rng: Rng, *shape: int) -> np.ndarray:
    """Return weights of both signs; half of the time they are even."""
    even = 1 + int(rng.integers(2))
    return even * rng.integers(-28 // even, 44 // even, shape).astype(np.float32)


def delays(rng: Rng, size: int, longest: int = 5) -> np.ndarray | None:
    return rng.integers(0, longest + 1, size).astype(float) if rng.random() < 0.5 else None


def convolution(rng: Rng, image: tuple[int, ...], late: bool, old: bool) -> Layer:
    """Return a convolution over an image of an even number of channels."""
    outputs, groups = 2 * int(rng.integers(1, 3)), int(rng.integers(1, 3))
    kernel, stride, dilation = (rng.integers(1, 3, 2) for _ in range(3))
    kernel = np.minimum(kernel, image[1:])
    dilation = np.minimum(dilation, np.maximum(np.array(image[1:]) - 1, 1))
    span = dilation * (kernel - 1) + 1
    padding = rng.integers(0, span)
    sizes = (np.array(image[1:]) + 2 * padding - span) // stride + 1
    weight = weights(rng, outputs, image[0] // groups, *kernel)
    return {
        "type": "conv",
        "shape": np.array([outputs, *sizes]),
        "inChannels": image[0],
        "outChannels": outputs,
        "kernelSize": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "weight": weight[..., None] if old else weight,
        "bias": 2 * rng.integers(-9, 12, outputs) if rng.integers(2) else None,
        "delay": delays(rng, outputs) if late else None,
        **cuba(rng, outputs, old),
    }


def dense(rng: Rng, inputs: int, late: bool, old: bool = False, loop: bool = False) -> Layer:
    outputs = int(rng.integers(3, 7))
    return {
        "type": "dense_rec" if loop else "dense",
        "shape": np.array([outputs, 1, 1] if old else [outputs]),
        "inFeatures": inputs,
        "outFeatures": outputs,
        "weight": weights(rng, outputs, inputs),
        "weight_rec": weights(rng, outputs, outputs) if loop else None,
        "bias": 2 * rng.integers(-9, 12, outputs) if rng.integers(2) else None,
        "delay": delays(rng, outputs) if late else None,
        **cuba(rng, outputs, old),
    }


def draw(rng: Rng, conv_delays: bool = False, last_delays: bool = True) -> list[Layer]:
    """Return the layers of a random network with spikes as its input."""
    old = bool(rng.integers(2))
    layers: list[Layer]
    if rng.integers(2):
        image = (2, *(int(n) for n in rng.integers(5, 8, 2)))
        layers = [{"type": "input", "shape": np.array(image)}]
        for _ in range(rng.integers(1, 3)):
            before = tuple(int(n) for n in layers[-1]["shape"])
            layers.append(convolution(rng, before, conv_delays, old))
        size = int(np.prod(layers[-1]["shape"]))
        layers.append({"type": "flatten", "shape": np.array([1, 1, size])})
    else:
        size = int(rng.integers(4, 9))
        layers = [{"type": "input", "shape": np.array([size])}]
    for _ in range(rng.integers(1, 3)):
        # netx shifts the weights of a loop with delays wrong
        loop = not old and bool(rng.integers(2))
        layers.append(dense(rng, size, late=not loop, old=old, loop=loop))
        size = layers[-1]["outFeatures"]
    last = layers[-1]
    if not last_delays:
        last["delay"] = None
    if rng.random() < 0.3 and not old:
        for key in [key for key in last if key.startswith("neuron/")]:
            del last[key]
    return layers


def shift(product_: np.ndarray) -> np.ndarray:
    return np.sign(product_) * (np.abs(product_) >> 12)


def correlate(layer: Layer, image: np.ndarray) -> np.ndarray:
    """Return a cross-correlation, window by window."""
    kernel = np.asarray(layer["weight"]).astype(int)
    kernel = kernel.reshape(kernel.shape[:4])
    out = np.zeros(tuple(layer["shape"]), int)
    (sy, sx), (py, px), (dy, dx) = (layer[k] for k in ("stride", "padding", "dilation"))
    padded = np.pad(image, ((0, 0), (py, py), (px, px)))
    share = len(out) // layer["groups"]
    for c, y, x in product(*map(range, out.shape)):
        first = c // share * kernel.shape[1]
        part = padded[first : first + kernel.shape[1], y * sy :: dy, x * sx :: dx]
        out[c, y, x] = (part[:, : kernel.shape[2], : kernel.shape[3]] * kernel[c]).sum()
    return out.ravel()


def spread(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return one value for each neuron, from one, or one per channel."""
    flat = np.asarray(0 if values is None else values).astype(int).ravel()
    return np.broadcast_to(
        flat.reshape(-1, *[1] * (len(shape) - 1))
        if flat.size in (1, shape[0])
        else flat.reshape(shape),
        shape,
    ).ravel()


def take(history: list[np.ndarray], waits: np.ndarray) -> np.ndarray:
    """Return what each neuron had its own number of ticks before the last of a history."""
    out = np.zeros_like(history[-1])
    for n, wait in enumerate(waits):
        if wait < len(history):
            out[n] = history[-1 - wait][n]
    return out


def run(layers: list[Layer], x: np.ndarray, time: str, interval: int = 0) -> list[np.ndarray]:
    """Return the spikes (T, N) of each layer with synapses; v of one without neurons.

    x: spikes of the input (T, N). time: lava, slayer, or unshifted: slayer without a shift.
    """
    source, sent_late, found = list(x.astype(int)), np.zeros(x.shape[1], int), list[Any]()
    image = tuple(int(n) for n in layers[0]["shape"])
    for layer in (layer for layer in layers[1:] if layer["type"] != "flatten"):
        shape = tuple(int(n) for n in layer["shape"])
        shape = shape if layer["type"] == "conv" else (int(np.prod(shape)),)
        size, k = int(np.prod(shape)), len(found)
        bare = "neuron/vThMant" not in layer
        i_decay = spread(layer.get("neuron/iDecay", 0), shape)
        v_decay = spread(layer.get("neuron/vDecay", 4096), shape)
        bias, late = spread(layer["bias"], shape), spread(layer["delay"], shape)
        u, v = np.zeros(size, int), np.zeros(size, int)
        sums, spikes, shown = list[Any](), list[Any](), list[Any]()
        for t in range(len(x)):
            if interval and t % interval == (0 if time == "unshifted" else k % interval):
                u, v = 0 * u, 0 * v
            at_once = time == "unshifted" or (time == "slayer" and k == 0)
            known = source[: t + at_once]
            now = np.zeros(size, int)
            if known:
                arrived = take(known, 0 * sent_late if time == "lava" else sent_late)
                if layer["type"] == "conv":
                    now = correlate(layer, arrived.reshape(image))
                else:
                    now = np.asarray(layer["weight"]).astype(int).reshape(size, -1) @ arrived
            if spikes and layer.get("weight_rec") is not None:
                now = now + layer["weight_rec"].astype(int) @ spikes[-1]
            sums.append(now)
            now = take(sums, late if time == "lava" else 0 * late)
            u = shift(u * (4096 - i_decay)) + 64 * now
            v = shift(v * (4096 - v_decay)) + u + 64 * bias
            fired = (v > 64 * layer["neuron/vThMant"]) if not bare else np.zeros(size, bool)
            spikes.append(fired.astype(int))
            shown.append(v)
            v = np.where(fired, 0, v)
        found.append(np.array(shown if bare else spikes))
        source, sent_late, image = spikes, late, shape
    return found


def sdnn(rng: Rng, **keys: Any) -> Layer:
    vth = int(rng.integers(0, 12))
    return {"neuron/type": "SDNN", "neuron/activation": "relu", "neuron/vThMant": vth} | keys


def draw_sdnn(rng: Rng, late: bool = True, coded: bool = True) -> list[Layer]:
    """Return a sigma-delta network that ends in a read-out of sums, or in a coding layer.

    late: whether convolutions have delays. coded: whether the input codes images.
    """
    image = (2, *(int(n) for n in rng.integers(5, 8, 2)))
    layers: list[Layer] = [{"type": "input", "shape": np.array(image)}]
    if coded:
        layers[0] |= {**sdnn(rng), "weight": 30.0, "bias": 5.0}
    for k in range(2):
        before = tuple(int(n) for n in layers[-1]["shape"])
        conv = convolution(rng, before, late, old=False)
        conv = {key: v for key, v in conv.items() if not key.startswith("neuron/")}
        if k:
            conv["bias"] = rng.integers(-300, 400, int(np.prod(conv["shape"])))
        layers.append(conv | sdnn(rng))
    size = int(np.prod(layers[-1]["shape"]))
    layers.append({"type": "flatten", "shape": np.array([size])})
    for shows in (False, bool(rng.integers(2))):
        outputs = int(rng.integers(3, 6))
        plain = dense(rng, size, late=not shows)
        plain = {key: v for key, v in plain.items() if not key.startswith("neuron/")}
        plain |= {"outFeatures": outputs, "shape": np.array([outputs])}
        plain |= {"weight": weights(rng, outputs, size), "bias": None, "delay": None}
        if not shows:
            plain |= {
                "bias": 2 * rng.integers(-90, 120, outputs),
                "delay": delays(rng, outputs),
            }
        layers.append(plain | sdnn(rng, **({"neuron/sigma_output": True} if shows else {})))
        size = outputs
    layers[-1]["delay"] = None
    return layers


def run_sdnn(layers: list[Layer], x: np.ndarray, time: str) -> list[np.ndarray]:
    """Return the messages (T, N), in whole numbers, or sums of each layer with neurons.

    x: images (T, N), or messages. time: lava, slayer: without a shift, or shifted.
    """
    source, sent_late, found = list(x.astype(int)), np.zeros(x.shape[1], int), list[Any]()
    shape = tuple(int(n) for n in layers[0]["shape"])
    behind = int("neuron/vThMant" not in layers[0])  # layers passed, the input included
    for layer in (layer for layer in layers if "neuron/vThMant" in layer):
        head, image = layer["type"] == "input", shape
        shape = tuple(int(n) for n in layer["shape"])
        size, shows = int(np.prod(shape)), "neuron/sigma_output" in layer
        vth = layer["neuron/vThMant"] << 12
        if time != "lava":
            vth = max(vth, 64)
        bias = spread(None if head else layer["bias"], shape) << 12
        late = spread(None if head else layer["delay"], shape)
        sigma, act, rest = np.zeros((3, size), int)
        sums, sent = list[Any](), list[Any]()
        wait = 0 if head else int(time == "lava" or (time == "shifted" and behind > 1))
        for t in range(len(x)):
            if head:
                y = source[t] << 12
            else:
                now = np.zeros(size, int)
                if t >= wait:
                    known = source[: t + 1 - wait]
                    arrived = take(known, 0 * sent_late if time == "lava" else sent_late)
                    if layer["type"] == "conv":
                        now = correlate(layer, arrived.reshape(image))
                    else:
                        now = np.asarray(layer["weight"]).astype(int) @ arrived
                sums.append(now)
                sigma = sigma + take(sums, late if time == "lava" else 0 * late)
                y = np.maximum(sigma + bias, 0)
            change = y - act + rest
            message = np.where(abs(change) >= vth, change, 0)
            act, rest = y, change - message
            sent.append(sigma if shows else message // 64)
        found.append(np.array(sent))
        source, sent_late, behind = sent, late, behind + 1
    return found
