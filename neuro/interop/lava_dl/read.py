"""A ``.net`` file of lava-dl as plain layers of whole numbers, all problems at once.

The files have no version. Both generations are read: neurons of type LOIHI, with kernels that
may end in an axis of 1, and of type CUBA. Each key of a file becomes part of the layers, or is
refused by its name; :class:`KeyFate` says which. Shapes are those of torch, (C, H, W).
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuro.base.text import escape, format_shape, shorten_list
from neuro.interop.hdf5 import Tree, read_members

LONGEST_DELAY = 62
WEIGHTS = (-256, 255)  # 8 bits and a sign
BIASES = (-8192, 8191)  # weight units
NEVER = 2**17 - 1  # a threshold from here on is that of a read-out
MOST_NEURONS = 2**22  # of a layer
MOST_PRODUCTS = 2**27  # of a convolution: windows, or output channels, x values under a kernel
MOST_TOLD = 100  # problems in a message
CLOSE = 1e-3  # what float32 leaves of a whole number, where the scale is no power of two
SYNAPSES = ("dense", "dense_rec", "conv")
TYPES = ("input", *SYNAPSES, "flatten")
# Why a type of layer or of neurons is refused, with the cure.
REFUSED = {
    **dict.fromkeys(
        ("average", "pool", "unpool", "convT", "concat"),
        "netx refuses it, too; --set layers={index} ends the network before it",
    ),
    "SDNN": "sigma-delta neurons; build the network of neuro's Delta and SigmaDelta instead",
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


@dataclass(frozen=True, kw_only=True)
class KeyFate:
    """What became of a key of a layer."""

    layer: int
    key: str
    became: str


@dataclass(frozen=True, kw_only=True, eq=False)
class NetNeurons:
    """CUBA neurons in registers of Loihi; each register has one value, or one per neuron."""

    du: np.ndarray
    dv: np.ndarray
    vth: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class NetLayer:
    """A layer in whole numbers.

    shape: (C, H, W) of "input", "conv" and "flatten", (N,) of dense layers.
    weight: (out, in), or (Cout, Cin / groups, kh, kw). weight_rec: of "dense_rec".
    bias: weight units, one per neuron. delay: steps, one per neuron.
    neuron: None for an "input" that shows the stimulus, and for a "flatten".
    image: of "conv", the shape before it.
    transform: of an "input" with neurons, weight and bias of its pixels.
    inexact: number of weights that are whole numbers only after rounding.
    """

    index: int
    type: str
    shape: tuple[int, ...]
    weight: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    weight_rec: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    bias: np.ndarray | None = None
    delay: np.ndarray | None = None
    neuron: NetNeurons | None = None
    image: tuple[int, ...] = ()
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    transform: tuple[int, int] = (64, 0)
    inexact: int = 0

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def is_silent(self) -> bool:
        """Whether no membrane reaches its threshold."""
        return self.neuron is not None and bool((self.neuron.vth >= NEVER).all())

    @property
    def image_range(self) -> tuple[int, int]:
        """The least and the largest x = weight p + bias, for pixels p from -1 to 1."""
        weight, bias = self.transform
        return bias - abs(weight), bias + abs(weight)

    @property
    def name(self) -> str:
        """Name in messages and in programs."""
        return f"{self.index}-{self.type}"


@dataclass(frozen=True, kw_only=True, eq=False)
class NetFile:
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
    if not problems:
        for index, tree in enumerate(_list_groups(root, layers, problems)):
            reader = _LayerReader(index=index, tree=dict(tree), problems=problems, fates=fates)
            layer = reader.read(found[-1] if found else None)
            if layer is None:  # the shape of what follows is not known
                break
            found.append(layer)
    if not problems and not any(layer.type in SYNAPSES for layer in found):
        problems.append("it has no dense layer and no convolution; nothing would be computed")
    if problems:
        raise NetFileError(problems, path)
    return NetFile(layers=tuple(found), fates=tuple(fates))


def _list_groups(root: Tree, layers: int, problems: list[str]) -> list[Tree]:
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
    if problems:
        return []
    return [groups[name] for name in names[: layers or None]]


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
        kind, layer = self.take_word("type"), None
        if kind in TYPES:
            layer = getattr(self, f"read_{kind.removesuffix('_rec')}")(kind, before)
            for key in self.tree if len(self.problems) == count else ():
                self.refuse(key, "no such key is known of this layer; remove it")
        elif len(self.problems) == count:
            why = REFUSED.get(kind, f"known are {', '.join(TYPES)}")
            self.refuse("type", f"{kind!r}: {why.format(index=self.index)}")
        return layer if len(self.problems) == count else None

    def read_input(self, kind: str, before: NetLayer | None) -> NetLayer | None:
        """Return an input; with neurons, it codes images as spikes."""
        if before is not None:
            self.refuse("type", "'input' behind other layers; a network has one, its first")
            return None
        shape = self.take_shape()
        if not shape:
            return None
        if "neuron" not in self.tree:
            self.tell("type", "a source of spikes")
            return NetLayer(index=self.index, type=kind, shape=shape)
        self.tell("type", "a source of images and neurons that code them")
        numbers = []
        for key, default in (("weight", 64), ("bias", 0)):
            value = self.take_whole(key, "for the user: x = weight p + bias", size=1)
            numbers.append(default if value is None else int(value.item()))
        return NetLayer(
            index=self.index,
            type=kind,
            shape=shape,
            neuron=self.take_neurons(shape),
            transform=(numbers[0], numbers[1]),
        )

    def read_flatten(self, kind: str, before: NetLayer | None) -> NetLayer | None:
        """Return a flatten, which renames neurons in C order of (C, H, W)."""
        self.tell("type", "the order of neurons: channel, y, x")
        shape = self.take_shape()
        if before is None:
            self.refuse("type", "'flatten' is the first layer; there is no input before it")
        elif shape and math.prod(shape) != before.size:
            self.refuse("shape", f"{math.prod(shape)} of {before.size} neurons; write all")
        return NetLayer(index=self.index, type=kind, shape=(math.prod(shape),))

    def read_dense(self, kind: str, before: NetLayer | None) -> NetLayer | None:
        """Return a dense layer, with or without recurrence."""
        if before is None:
            self.refuse("type", f"{kind!r} is the first layer; write an input before it")
            return None
        self.tell("type", f"{'loop and ' * (kind == 'dense_rec')}dense synapses with neurons")
        shape = self.take_shape()
        if not shape:
            return None
        outputs = math.prod(shape)
        self.check("inFeatures", before.size)
        self.check("outFeatures", outputs)
        if before.type != "flatten" and sum(n > 1 for n in before.shape) > 1:
            told = f"lies behind neurons of shape {format_shape(before.shape)}"
            self.refuse("type", f"{kind!r} {told} without a flatten, so their order is unknown")
        return NetLayer(
            index=self.index,
            type=kind,
            shape=(outputs,),
            weight=self.take_weight("weight", (outputs, before.size)),
            weight_rec=self.take_weight("weight_rec", (outputs, outputs))
            if kind == "dense_rec"
            else np.zeros((0, 0), np.int64),
            **self.take_each((outputs,)),
        )

    def read_conv(self, _: str, before: NetLayer | None) -> NetLayer | None:
        """Return a convolution."""
        if before is None or len(before.shape) != 3:
            self.refuse("type", "'conv' without an image (C, H, W) before it")
            return None
        self.tell("type", "a cross-correlation, as in torch, with neurons")
        shape = self.take_shape()
        pairs = {k: self.take_pair(k) for k in ("kernelSize", "stride", "padding", "dilation")}
        groups = self.take_whole("groups", "groups of channels", size=1, required=True)
        if len(shape) in (1, 2):
            self.refuse("shape", f"{format_shape(shape)} of a convolution; write (C, H, W)")
        if len(shape) != 3 or groups is None or None in pairs.values():
            return None
        self.check("inChannels", before.shape[0])
        self.check("outChannels", shape[0])
        return self.place_kernel(before, shape, pairs, groups.item())

    def place_kernel(
        self, before: NetLayer, shape: tuple[int, ...], pairs: dict[str, Any], groups: int
    ) -> NetLayer | None:
        """Return a convolution from its sizes, if they fit each other."""
        kernel, stride, padding, dilation = pairs.values()
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        sizes = [
            (n + 2 * p - span) // max(s, 1) + 1
            for n, p, span, s in zip(before.shape[1:], padding, spans, stride, strict=True)
        ]
        if min(*kernel, *stride, *dilation, groups) < 1 or min(padding) < 0:
            told = f"kernel {kernel}, stride {stride}, dilation {dilation}, groups {groups}"
            self.refuse("stride", f"{told} must be >= 1, padding {padding} >= 0")
        elif before.shape[0] % groups or shape[0] % groups:
            self.refuse("groups", f"{groups} do not divide {before.shape[0]} and {shape[0]}")
        elif tuple(shape[1:]) != tuple(sizes):
            told = (
                f"an image {format_shape(before.shape)} gives {sizes[0]} x {sizes[1]} windows"
            )
            self.refuse("shape", f"{format_shape(shape)}, but {told}; export the file again")
        elif any(p >= span for p, span in zip(padding, spans, strict=True)):
            self.refuse("padding", f"{padding} must be less than the kernel spans, {spans}")
        elif (
            math.prod((max(shape[0], math.prod(sizes)), before.shape[0], *spans))
            > MOST_PRODUCTS
        ):
            told = f"inputs x windows or kernels exceed {MOST_PRODUCTS:,}"
            self.refuse("shape", f"{told}; use smaller images, or fewer channels")
        else:
            ends = (shape[0], before.shape[0] // groups)
            return NetLayer(
                index=self.index,
                type="conv",
                shape=shape,
                weight=self.take_weight("weight", (*ends, *kernel)),
                image=before.shape,
                stride=stride,
                padding=padding,
                dilation=dilation,
                groups=groups,
                **self.take_each(shape),
            )
        return None

    def take_each(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return bias, delay and neurons of a layer, and how many weights were inexact."""
        bias = self.take_whole("bias", "bias of the neurons, in weight units")
        if bias is not None and bias.shape == shape[::-1] and len(shape) == 3:
            bias = bias.T  # netx lays the biases of all neurons out as (W, H, C)
        if bias is not None and not BIASES[0] <= bias.min() <= bias.max() <= BIASES[1]:
            told = f"from {bias.min()} to {bias.max()}, must be {BIASES[0]} ... {BIASES[1]}"
            self.refuse("bias", f"{told}; train with a smaller scale")
        delay = self.take_whole("delay", "steps that what reaches a neuron waits")
        if delay is not None and not 0 <= delay.min() <= delay.max() <= LONGEST_DELAY:
            told = f"from {delay.min()} to {delay.max()}, must be 0 ... {LONGEST_DELAY}"
            self.refuse("delay", f"{told}; train with max_delay={LONGEST_DELAY}")
        delay = self.spread("delay", delay, shape)
        if "neuron" in self.tree:
            neuron = self.take_neurons(shape)
        else:  # as netx fills it in
            values = {"du": -1, "dv": 4096, "vth": 2**17}
            neuron = NetNeurons(**{k: np.array([v]) for k, v in values.items()})
        return {
            "bias": self.spread("bias", bias, shape),
            "delay": None if delay is None else np.broadcast_to(delay, math.prod(shape)),
            "neuron": neuron,
            "inexact": self.inexact,
        }

    def take_neurons(self, shape: tuple[int, ...]) -> NetNeurons | None:
        """Return the neurons of the group ``neuron``."""
        group = self.tree.pop("neuron")
        if not isinstance(group, dict):
            self.refuse("neuron", "is no group; export the file again")
            return None
        self.tree |= {f"neuron/{key}": value for key, value in group.items()}
        kind = self.take_word("neuron/type")
        self.tell("neuron/type", "current-based leaky neurons, hard reset to 0")
        if kind and kind not in ("CUBA", "LOIHI"):
            family = next((name for name in ("ADRF", "RF") if kind.startswith(name)), kind)
            self.refuse("neuron/type", f"{kind!r}: {REFUSED.get(family, 'known is CUBA')}")
            for key in [key for key in self.tree if key.startswith("neuron/")]:
                del self.tree[key]
            return None
        found = dict[str, Any]()
        for key, low, high, became in (
            ("iDecay", 0, 4096, "du = iDecay - 1"),
            ("vDecay", 0, 4096, "dv"),
            ("vThMant", 0, 2**18 - 1, "vth; from 131071 on a read-out"),
        ):
            value = self.take_whole(f"neuron/{key}", became, required=True)
            if value is not None and not low <= value.min() <= value.max() <= high:
                told = f"from {value.min()} to {value.max()}, must be {low} ... {high}"
                self.refuse(f"neuron/{key}", f"{told}; export the file again")
            found[key] = self.spread(f"neuron/{key}", value, shape)
        vth = found["vThMant"]
        if vth is not None and vth.max() > NEVER > vth.min():
            told = f"{vth.max()} beside {vth.min()} has more than 17 bits"
            self.refuse("neuron/vThMant", f"{told}; write {NEVER} instead")
        self.take_rest(vth)
        if any(value is None for value in found.values()):
            return None
        du, dv, vth = found.values()
        return NetNeurons(du=du - 1, dv=dv, vth=vth)

    def take_rest(self, vth: np.ndarray | None) -> None:
        """Take the keys of CUBA neurons that have one allowed value, or none in a program."""
        for key, (wanted, cure) in {
            "refDelay": (1, "neurons here have no other refractory period; train with 1"),
            "gradedSpike": (0, "spikes are binary here; train with graded_spike=False"),
            "messageBits": (0, "spikes are binary here; export the file without"),
            "wgtExp": (0, "netx drops it; multiply the weights by 2^wgtExp and write 0"),
            "weight_exp": (
                0,
                "the norm divides currents by 2^weight_exp, which netx drops; train with "
                "MeanOnlyBatchNorm",
            ),
        }.items():
            self.check(f"neuron/{key}", wanted, cure)
        theta = self.take_whole("neuron/theta", "nothing: vThMant is the threshold")
        if theta is not None and vth is not None and (theta != 64 * vth.max()).any():
            self.tell("neuron/theta", f"nothing, though {theta.max()} is not 64 vThMant")
        for key in ("neuron/tauRho", "neuron/scaleRho"):
            if self.tree.pop(key, None) is not None:
                self.tell(key, "of the surrogate gradient: nothing")

    def take_word(self, key: str) -> str:
        """Return a word; "" with a problem if there is none."""
        value = self.tree.pop(key, None)
        word = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
        if isinstance(word, str):
            return word
        told = "is missing" if value is None else "is no word"
        self.refuse(key, f"{told}; export the file again")
        return ""

    def take_shape(self) -> tuple[int, ...]:
        """Return the shape of the layer; () with a problem if there is none."""
        value = self.take_whole("shape", "the shape of the population", required=True)
        if value is None:
            return ()
        shape = tuple(int(n) for n in value.ravel())
        if not 1 <= len(shape) <= 3 or min(shape) < 1 or math.prod(shape) > MOST_NEURONS:
            told = f"{format_shape(shape)}; must be 1 to 3 sizes >= 1"
            self.refuse("shape", f"{told} of {MOST_NEURONS:,} neurons at most")
            return ()
        return shape

    def take_pair(self, key: str) -> tuple[int, int] | None:
        """Return two whole numbers (y, x); one stands for both."""
        value = self.take_whole(key, "the same of the connection", required=True)
        if value is not None and value.size > 2:
            self.refuse(key, "is no pair (y, x) of whole numbers; export the file again")
            value = None
        if value is None:
            return None
        y, x = np.broadcast_to(value.ravel(), 2).tolist()
        return y, x

    def take_weight(self, key: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return weights of a shape, which may end in axes of 1 or, if dense, lack an axis."""
        value = self.take_whole(key, "weights, in whole numbers", required=True)
        if value is None:
            return np.zeros(shape, np.int64)
        held = tuple(value.shape)
        same = held[: len(shape)] == shape and set(held[len(shape) :]) <= {1}
        if not same and not (
            value.ndim == 1 and len(shape) == 2 and value.size == math.prod(shape)
        ):
            told = f"has shape {format_shape(held)}, must be {format_shape(shape)}"
            self.refuse(key, f"{told}; export the file again")
            return np.zeros(shape, np.int64)
        low, high = WEIGHTS
        wide = value[(value < low) | (value > high)]
        if wide.size:
            told = f"{wide.size} weights like {wide[0]}, must be {low} ... {high}"
            self.refuse(key, f"{told}, which are 8 bits and a sign; train with a smaller scale")
        return value.reshape(shape)

    def take_whole(
        self, key: str, became: str, size: int = 0, required: bool = False
    ) -> np.ndarray | None:
        """Return whole numbers, rounded; None if they are absent, or refused.

        size: allowed number of values; 0: any but none.
        """
        value = self.tree.pop(key, None)
        if value is None:
            if required:
                self.refuse(key, "is missing; export the file again")
            return None
        if isinstance(value, dict) and {*value} == {"real", "imag"}:
            self.refuse(key, "complex weights are those of resonators; train with CUBA neurons")
            return None
        array = np.atleast_1d(np.asarray(value))
        if (
            array.dtype.kind not in "biuf"
            or not array.size
            or array.size != (size or array.size)
        ):
            told = f"{size} number" if size else "numbers"
            self.refuse(key, f"holds no {told}; export the file again")
            return None
        exact = array.astype(np.float64)
        whole = np.rint(exact)
        wrong = exact[~(np.abs(exact - whole) <= CLOSE) | (np.abs(exact) > 2**30)]
        if wrong.size:
            told = f"{wrong.size} of {array.size} values, like {wrong[0]:g}"
            self.refuse(key, f"{told}, are no whole numbers of 30 bits; export the file again")
            return None
        if key.startswith("weight"):
            self.inexact += int((np.trunc(exact) != whole).sum())
        self.tell(key, became)
        return whole.astype(np.int64)

    def spread(
        self, key: str, value: np.ndarray | None, shape: tuple[int, ...]
    ) -> np.ndarray | None:
        """Return one value, or one per neuron of (C, H, W), from one per channel or neuron."""
        if value is None or value.size == 1:
            return None if value is None else value.reshape(1)
        size = math.prod(shape)
        if value.size not in (shape[0], size):
            told = f"{value.size} values, must be 1, {shape[0]} or {size}"
            self.refuse(key, f"{told}; export the file again")
            return None
        return value.ravel().repeat(size // value.size)

    def check(self, key: str, wanted: int, cure: str = "export the file again") -> None:
        """Take a key that is absent, or holds the wanted number only."""
        if key not in self.tree:
            return
        value = self.take_whole(key, f"{wanted}, as it must be")
        if value is not None and (value != wanted).any():
            self.refuse(key, f"is {value.ravel()[0]}, must be {wanted}; {cure}")

    def tell(self, key: str, became: str) -> None:
        """Note what became of a key."""
        self.fates.append(KeyFate(layer=self.index, key=key, became=became))

    def refuse(self, key: str, why: str) -> None:
        """List a problem of a key."""
        self.problems.append(f"layer/{self.index}: {key}: {why}")
