"""A ``.net`` file of lava-dl as plain layers of whole numbers, all problems at once.

The files have no version. Both generations are read: neurons of type LOIHI, with kernels that
may end in an axis of 1, and of type CUBA. Each key of a file becomes part of the layers, or is
refused by its name; :class:`KeyFate` says which. Shapes are those of torch, (C, H, W).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from neuro.base.text import escape, format_shape, shorten_list
from neuro.graph import Conv2d, Dense
from neuro.interop.hdf5 import Tree, read_members

WEIGHTS = (-256, 255)  # 8 bits and a sign
BIASES = (-8192, 8191)  # weight units
CODED = 2**11 - 1  # largest bias and threshold of SDNN: 12 bits finer, they have 24 bits
DELAYS = (0, 62)  # steps
NEVER = 2**17 - 1  # a threshold from here on is that of a read-out
REGISTERS = {  # key: its least and largest value, and what becomes of it
    "iDecay": ((0, 4096), "du = iDecay - 1"),
    "vDecay": ((0, 4096), "dv"),
    "vThMant": ((0, 2**18 - 1), "vth; from 131071 on a read-out"),
}
WITHOUT_NEURONS = {"iDecay": 0, "vDecay": 4096, "vThMant": 2**17}  # as netx fills them in
ONLY = {  # key of neurons: its only value, and the cure for another
    "refDelay": (1, "neurons here have no other refractory period; train with 1"),
    "gradedSpike": (0, "spikes are binary here; train with graded_spike=False"),
    "messageBits": (0, "spikes are binary here; export the file without"),
    "wgtExp": (0, "netx drops it; multiply the weights by 2^wgtExp and write 0"),
    "weight_exp": (0, "netx drops it, the exponent of a norm; train with MeanOnlyBatchNorm"),
}
MOST_NEURONS = 2**22  # of a layer
MOST_PRODUCTS = 2**27  # of a convolution: windows, or output channels, x values under a kernel
MOST_TOLD = 100  # problems in a message
CLOSE = 1e-3  # what float32 leaves of a whole number, where the scale is no power of two
AGAIN = "export the file again"
MISSING = f"is missing; {AGAIN}"
CURES = {  # for a value out of range
    **dict.fromkeys(("weight", "weight_rec", "bias"), "train with a smaller scale"),
    "delay": "train with max_delay=62",
}
TYPES = ("input", "dense", "dense_rec", "conv", "flatten")
# Why a type of layer or of neurons is refused, with the cure.
REFUSED = {
    **dict.fromkeys(
        ("average", "pool", "unpool", "convT", "concat"),
        "netx refuses it, too; --set layers={index} ends the network before it",
    ),
    "ALIF": "netx fails on it, too; build the network of neuro's ALIF instead",
    "ADRF": "netx would load it as RF, without its adaptation; train it with CUBA neurons",
    "RF": "resonators have no form in Loihi's integers here; train it with CUBA neurons",
}


class NetFileError(ValueError):
    """A ``.net`` file that cannot be imported; ``problems`` lists each with its cure."""

    def __init__(self, problems: list[str], path: Path) -> None:
        self.problems = [escape(problem) for problem in problems]  # names may hold anything
        told = shorten_list(self.problems, MOST_TOLD)
        super().__init__("\n".join([f"{path} cannot be imported:", *told]))


class UnreadableLayerError(Exception):
    """The rest of a layer cannot be read; the reason is listed already."""


class KeyFate(NamedTuple):
    """What became of a key of a layer."""

    layer: int
    key: str
    became: str


@dataclass(frozen=True, kw_only=True, eq=False)
class NetLayer:
    """A layer in whole numbers.

    shape: (C, H, W) of "input" and "conv", (N,) of the others.
    synapses, loop: with whole weights; loop: of "dense_rec".
    bias: weight units, one, or one per neuron. delay: steps, one, or one per neuron.
    neuron: registers du, dv and vth, each with one value, or one per neuron; vth alone of
        sigma-delta neurons, none if they show their sums. None for an "input" that shows the
        stimulus, and for a "flatten".
    transform: of an "input" with neurons, weight and bias of its pixels.
    inexact: number of weights that are whole numbers only after rounding.
    """

    index: int
    type: str
    shape: tuple[int, ...]
    synapses: Conv2d | Dense | None = None
    loop: Dense | None = None
    bias: np.ndarray | None = None
    delay: np.ndarray | None = None
    neuron: Mapping[str, np.ndarray] | None = None
    transform: tuple[int, int] = (64, 0)
    inexact: int = 0

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def name(self) -> str:
        """Name of the population."""
        return f"{self.index}-{self.type}"

    @property
    def codes(self) -> bool:
        """Whether its neurons are sigma-delta neurons."""
        return self.neuron is not None and "du" not in self.neuron

    @property
    def is_silent(self) -> bool:
        """Whether its neurons never fire: no membrane can, or they show their sums."""
        if self.neuron is None:
            return False
        return "vth" not in self.neuron or bool((self.neuron["vth"] >= NEVER).all())


class NetFile(NamedTuple):
    """The layers of a file, in order, and what became of each key."""

    layers: tuple[NetLayer, ...]
    fates: tuple[KeyFate, ...]


def read_net(path: str | Path, layers: int = 0) -> NetFile:
    """Read a ``.net`` file.

    layers: number of layers, counted from the input, that are read; 0: all.

    Raises:
        NetFileError: lists every problem, each with its place and cure.
        FileNotFoundError: the file does not exist.
        RuntimeError: h5py is not installed.
    """
    path = Path(path)
    root, problems = read_members(path, "layer", what=".net files")
    found, fates = list[NetLayer](), list[KeyFate]()
    groups = [] if problems else _list_groups(root, problems)[: layers or None]
    for index, tree in enumerate(groups):
        reader = _LayerReader(index=index, tree=dict(tree), problems=problems, fates=fates)
        layer = reader.read(found[-1] if found else None)
        if layer is None:  # the shape of what follows is not known
            break
        found.append(layer)
    if not problems and not any(layer.synapses for layer in found):
        problems.append("it has no dense layer and no convolution; nothing would be computed")
    if problems:
        raise NetFileError(problems, path)
    return NetFile(tuple(found), tuple(fates))


def _list_groups(root: Tree, problems: list[str]) -> list[Tree]:
    """Return the groups of the layers in their order; list what is wrong with their names."""
    groups = root.get("layer")
    if not isinstance(groups, dict) or not groups:
        problems.append("no group 'layer' with layers in it; export_hdf5 of lava-dl writes one")
        return []
    names = [str(k) for k in range(len(groups))]
    problems += [
        f"layer/{name}: layers are groups named 0, 1, 2, ...; rename or remove it"
        for name, group in groups.items()
        if name not in names or not isinstance(group, dict)
    ]
    return [] if problems else [groups[name] for name in names]


@dataclass(kw_only=True, eq=False)
class _LayerReader:
    """Reader of one layer: it takes each key out of ``tree`` and lists problems and fates."""

    index: int
    tree: Tree
    problems: list[str]
    fates: list[KeyFate]
    inexact: int = 0

    def read(self, before: NetLayer | None) -> NetLayer | None:
        """Return the layer behind ``before``; None if it has a problem."""
        count = len(self.problems)
        try:
            kind = self.take_word("type", "a layer")
            if kind not in TYPES:
                why = REFUSED.get(kind, f"known are {', '.join(TYPES)}")
                self.stop("type", f"{kind!r}: {why.format(index=self.index)}")
            if (kind == "input") != (before is None):
                self.stop("type", f"{kind!r} in this place; a network begins with one input")
            layer = self.read_layer(kind, self.take_shape(), before)
        except UnreadableLayerError:
            return None
        if len(self.problems) == count:
            for key in self.tree:
                self.refuse(key, "no such key is known of this layer; remove it")
        return layer if len(self.problems) == count else None

    def read_layer(
        self, kind: str, shape: tuple[int, ...], before: NetLayer | None
    ) -> NetLayer:
        """Return a layer of a kind."""
        if before is None:
            return self.read_input(shape)
        size = math.prod(shape)
        if kind == "flatten":
            if size != before.size:
                self.refuse("shape", f"{size} of {before.size} neurons; {AGAIN}")
            return NetLayer(index=self.index, type=kind, shape=(size,))
        loop = None
        if kind == "conv":
            synapses: Conv2d | Dense = self.read_kernel(shape, before)
        else:
            synapses, shape = self.read_matrix(size, before), (size,)
            if kind == "dense_rec":
                loop = Dense(weight=self.take_weight("weight_rec", (size, size)))
        neuron = self.take_neurons(shape)
        codes = "du" not in neuron
        if codes and loop:
            self.refuse("type", "a dense_rec of SDNN neurons; SLAYER has none, use dense")
        if not neuron and "bias" in self.tree:
            self.refuse("bias", "neurons with sigma_output have none; remove it")
        return NetLayer(
            index=self.index,
            type=kind,
            shape=shape,
            synapses=synapses,
            loop=loop,
            bias=self.take_each(
                "bias",
                "bias of the neurons [weight units]",
                shape,
                (-CODED, CODED) if codes else BIASES,
            ),
            delay=self.take_each("delay", "steps that values wait", shape, DELAYS),
            neuron=neuron,
            inexact=self.inexact,
        )

    def read_input(self, shape: tuple[int, ...]) -> NetLayer:
        """Return an input; with neurons, it codes images as spikes."""
        if "neuron" not in self.tree:
            return NetLayer(index=self.index, type="input", shape=shape)
        told = "for the user: x = weight p + bias"
        weight, bias = (self.take_whole(key, told, 1) for key in ("weight", "bias"))
        return NetLayer(
            index=self.index,
            type="input",
            shape=shape,
            neuron=self.take_neurons(shape),
            transform=(
                int(64 if weight is None else weight[0]),
                int(0 if bias is None else bias[0]),
            ),
        )

    def read_matrix(self, outputs: int, before: NetLayer) -> Dense:
        """Return the synapses of a dense layer."""
        self.check("inFeatures", before.size)
        self.check("outFeatures", outputs)
        if before.type != "flatten" and sum(n > 1 for n in before.shape) > 1:
            told = f"neurons of shape {format_shape(before.shape)}"
            self.refuse(
                "type", f"dense behind {told}, whose order is unknown without a flatten"
            )
        return Dense(weight=self.take_weight("weight", (outputs, before.size)))

    def read_kernel(self, shape: tuple[int, ...], before: NetLayer) -> Conv2d:
        """Return the synapses of a convolution."""
        if not len(before.shape) == len(shape) == 3:
            self.stop("shape", f"a convolution from {before.shape} to {shape}; write (C, H, W)")
        pairs: Any = {
            k: self.take_pair(k) for k in ("kernelSize", "stride", "padding", "dilation")
        }
        groups = self.need("groups", "groups of channels", 1).item()
        self.check("inChannels", before.shape[0])
        self.check("outChannels", shape[0])
        kernel = pairs.pop("kernelSize")
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, pairs["dilation"], strict=True)]
        if min(*kernel, groups) < 1 or shape[0] % groups or before.shape[0] % groups:
            self.stop(
                "groups", f"{groups} of kernels {kernel} must divide the channels; {AGAIN}"
            )
        if any(p >= span for p, span in zip(pairs["padding"], spans, strict=True)):
            self.stop(
                "padding", f"{pairs['padding']} must be less than the kernel spans, {spans}"
            )
        most = max(shape[0], math.prod(shape[1:])) * before.shape[0] * math.prod(spans)
        if most > MOST_PRODUCTS:
            told = f"{most:,} products of windows or kernels, must be <= {MOST_PRODUCTS:,}"
            self.stop("shape", f"{told}; use smaller images, or fewer channels")
        ends = shape[0], before.shape[0] // groups
        weight = self.take_weight("weight", (*ends, *kernel))
        synapses = Conv2d(weight=weight, groups=groups, **pairs)
        fits = synapses.output_shape(before.shape)
        if fits != shape:
            told = fits if isinstance(fits, str) else f"the kernel gives {format_shape(fits)}"
            self.stop("shape", f"{format_shape(shape)}, but {told}; {AGAIN}")
        return synapses

    def take_neurons(self, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Return the registers of the group ``neuron``, or of a layer without it."""
        group = self.tree.pop("neuron", WITHOUT_NEURONS | {"type": "CUBA"})
        if not isinstance(group, dict):
            self.stop("neuron", f"is no group; {AGAIN}")
        self.tree |= {f"neuron/{key}": value for key, value in group.items()}
        kind = self.take_word("neuron/type", "the model of the neurons")
        if kind == "SDNN":
            return self.take_coder()
        if kind not in ("CUBA", "LOIHI"):
            family = next((name for name in ("ADRF", "RF") if kind.startswith(name)), kind)
            why = REFUSED.get(family, "known are CUBA and SDNN")
            self.stop("neuron/type", f"{kind!r}: {why}")
        found = {
            key: self.take_each(f"neuron/{key}", became, shape, bounds)
            for key, (bounds, became) in REGISTERS.items()
            if f"neuron/{key}" in self.tree
            or self.stop(f"neuron/{key}", f"is missing; {AGAIN}")
        }
        du, dv, vth = found.values()
        if du is None or dv is None or vth is None:  # refused
            raise UnreadableLayerError
        if vth.max() > NEVER > vth.min():
            told = f"{vth.max()} beside {vth.min()} has more than 17 bits"
            self.refuse("neuron/vThMant", f"{told}; write {NEVER} instead")
        for key, (wanted, cure) in ONLY.items():
            self.check(f"neuron/{key}", wanted, cure)
        theta = self.take_whole("neuron/theta", "nothing: vThMant is the threshold")
        if theta is not None and (theta != 64 * vth.max()).any():
            self.tell("neuron/theta", f"nothing, though {theta.max()} is not 64 vThMant")
        for key in ("neuron/tauRho", "neuron/scaleRho"):
            if self.tree.pop(key, None) is not None:
                self.tell(key, "nothing: of the surrogate gradient")
        return {"du": du - 1, "dv": dv, "vth": vth}

    def take_coder(self) -> dict[str, np.ndarray]:
        """Return the threshold of sigma-delta neurons; nothing if they show their sums."""
        head, shows = self.index == 0, "neuron/sigma_output" in self.tree
        self.check("neuron/sigma_output", int(not head), "leave it out")
        self.check("neuron/weight_exp", *ONLY["weight_exp"])
        plain = head or shows
        if "neuron/activation" in self.tree or not plain:
            told = "nothing: these neurons have none" if plain else "of the sums"
            word = self.take_word("neuron/activation", told)
            if not plain and word != "relu":
                self.refuse("neuron/activation", f"{word!r}: netx computes relu; train with it")
        if shows:
            self.take_whole("neuron/vThMant", "nothing: the sums are shown")
            return {}
        vth = self.need("neuron/vThMant", "threshold of changes", 1, (0, CODED))
        return {"vth": vth.ravel()}

    def take_word(self, key: str, became: str) -> str:
        """Return a word, or stop."""
        value = self.tree.pop(key, None)
        word = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
        if not isinstance(word, str):
            self.stop(key, f"is {'missing' if value is None else 'no word'}; {AGAIN}")
        self.tell(key, f"{word}: {became}")
        return word

    def take_shape(self) -> tuple[int, ...]:
        """Return the shape of the layer, or stop."""
        shape = tuple(self.need("shape", "the shape of the population").ravel().tolist())
        if len(shape) > 3 or min(shape) < 1 or math.prod(shape) > MOST_NEURONS:
            told = f"{format_shape(shape)}; must be 1 to 3 sizes >= 1"
            self.stop("shape", f"{told} of {MOST_NEURONS:,} neurons at most")
        return shape

    def take_pair(self, key: str) -> tuple[int, int]:
        """Return two whole numbers (y, x), for which one may stand, or stop."""
        value = self.need(key, "the same of the connection").ravel()
        least = int(key in ("stride", "dilation"))
        if value.size > 2 or value.min() < least:
            self.stop(key, f"{value.tolist()} is no pair (y, x) of numbers >= {least}; {AGAIN}")
        y, x = np.broadcast_to(value, 2).tolist()
        return y, x

    def take_weight(self, key: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return weights of a shape, which may end in axes of 1 or, if dense, lack an axis."""
        value = self.need(key, "weights, in whole numbers", 0, WEIGHTS)
        held = value.shape
        flat = len(shape) == 2 and held == (math.prod(shape),)
        if not flat and held != shape + (1,) * (len(held) - len(shape)):
            self.stop(
                key, f"has shape {format_shape(held)}, must be {format_shape(shape)}; {AGAIN}"
            )
        return value.reshape(shape).astype(np.float32)

    def take_each(
        self, key: str, became: str, shape: tuple[int, ...], bounds: tuple[int, int]
    ) -> np.ndarray | None:
        """Return one value, or one per neuron of (C, H, W), from one per channel or neuron."""
        value, size = self.take_whole(key, became, 0, bounds), math.prod(shape)
        if value is None or value.size == 1:
            return None if value is None else value.reshape(1)
        if value.size not in (shape[0], size):
            self.stop(key, f"{value.size} values, must be 1, {shape[0]} or {size}; {AGAIN}")
        if len(shape) == 3 and value.shape == shape[::-1]:
            value = value.T  # netx lays the biases of all neurons out as (W, H, C)
        return value.ravel().repeat(size // value.size)

    def need(self, key: str, became: str, *rules: Any) -> np.ndarray:
        """Return the result of :meth:`take_whole`, or stop."""
        missing, value = key not in self.tree, self.take_whole(key, became, *rules)
        if missing or value is None:
            if missing:
                self.refuse(key, MISSING)
            raise UnreadableLayerError
        return value

    def take_whole(
        self, key: str, became: str, size: int = 0, bounds: tuple[int, int] = (-(2**30), 2**30)
    ) -> np.ndarray | None:
        """Return whole numbers, rounded; None if they are absent, or refused.

        size: allowed number of values; 0: any but none. bounds: the least and the largest.
        """
        value = self.tree.pop(key, None)
        if value is None:
            return None
        if isinstance(value, dict) and {*value} == {"real", "imag"}:
            self.stop(key, f"complex: {REFUSED['RF']}")
        array = np.atleast_1d(np.asarray(value))
        if array.dtype.kind not in "biuf" or not array.size or size not in (0, array.size):
            self.refuse(key, f"holds no {f'{size} number' if size else 'numbers'}; {AGAIN}")
            return None
        exact, (low, high) = array.astype(np.float64), bounds
        whole: np.ndarray = np.rint(exact)
        wrong = exact[~((np.abs(exact - whole) <= CLOSE) & (whole >= low) & (whole <= high))]
        if wrong.size:
            told = f"{wrong.size} of {array.size} values, like {wrong[0]:g}"
            cure = CURES.get(key, AGAIN)
            self.refuse(key, f"{told}, are no whole numbers from {low} to {high}; {cure}")
            return None
        if key.startswith("weight"):
            self.inexact += int((np.trunc(exact) != whole).sum())
        self.tell(key, became)
        return whole.astype(np.int64)

    def check(self, key: str, wanted: int, cure: str = AGAIN) -> None:
        """Take a key that is absent, or holds the wanted number only."""
        value = self.take_whole(key, "as it must be")
        if value is not None and (value != wanted).any():
            self.refuse(key, f"is {value.ravel()[0]}, must be {wanted}; {cure}")

    def tell(self, key: str, became: str) -> None:
        """Note what became of a key."""
        self.fates.append(KeyFate(self.index, key, became))

    def refuse(self, key: str, why: str) -> None:
        """List a problem of a key."""
        self.problems.append(f"layer/{self.index}: {key}: {why}")

    def stop(self, key: str, why: str) -> NoReturn:
        """List a problem of a key without which the layer cannot be read."""
        self.refuse(key, why)
        raise UnreadableLayerError
