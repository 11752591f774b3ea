"""The table of mixers that a stack can name; a new mixer is one entry."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from neuro.mixers.delta_net import DeltaNet, GatedDeltaNet, KimiDelta
from neuro.mixers.mamba2 import Mamba2
from neuro.mixers.mixer import Mixer
from neuro.mixers.recurrence import GLA, HGRN, HGRN2, MLGRU, RetNet
from neuro.mixers.rwkv import RWKV5, RWKV6
from neuro.mixers.rwkv7 import RWKV7
from neuro.mixers.softmax import SoftmaxAttention

MakeMixer = Callable[..., Mixer]


@dataclass(frozen=True, kw_only=True)
class NamedMixer:
    """A mixer of a stack.

    make: returns the mixer, given its width and ``linear``, which makes its linear maps.
    arguments: further arguments of ``make``: some of ``heads``, ``eps``, ``limit`` (fields of a
        configuration), ``layer`` (its number), ``layers`` (of the stack) and ``causal``
        (whether no token reads a later one; mixers without it need
        :class:`neuro.mixers.BothWays`).
    has_floor: whether it also takes a row of :func:`neuro.mixers.layer_floors`.
    grows: whether its state grows with the text.
    """

    make: MakeMixer
    arguments: tuple[str, ...] = ()
    has_floor: bool = False
    grows: bool = False


def _with_head_width(name: str, mixer: MakeMixer) -> MakeMixer:
    def make(width: int, *, heads: int, **arguments: Any) -> Mixer:
        if width % heads:
            raise ValueError(
                f"{name}: width {width} is no multiple of {heads} heads; choose another number "
                "of heads"
            )
        return mixer(width, width // heads, **arguments)

    return make


RWKV_TAKES = ("heads", "layer", "layers")
MIXERS: Mapping[str, NamedMixer] = {
    "mlgru": NamedMixer(make=MLGRU, arguments=("eps",), has_floor=True),
    "hgrn": NamedMixer(make=HGRN, has_floor=True),
    "retnet": NamedMixer(make=RetNet, arguments=("heads",)),
    "gla": NamedMixer(make=GLA, arguments=("heads",)),
    "hgrn2": NamedMixer(make=HGRN2, arguments=("heads",), has_floor=True),
    "deltanet": NamedMixer(make=DeltaNet, arguments=("heads",)),
    "gdn": NamedMixer(make=GatedDeltaNet, arguments=("heads",)),
    "kda": NamedMixer(make=KimiDelta, arguments=("heads",)),
    "mamba2": NamedMixer(make=Mamba2, arguments=("heads",)),
    "rwkv5": NamedMixer(make=_with_head_width("rwkv5", RWKV5), arguments=RWKV_TAKES),
    "rwkv6": NamedMixer(make=_with_head_width("rwkv6", RWKV6), arguments=RWKV_TAKES),
    "rwkv7": NamedMixer(make=_with_head_width("rwkv7", RWKV7), arguments=RWKV_TAKES),
    "softmax": NamedMixer(
        make=SoftmaxAttention, arguments=("heads", "limit", "causal"), grows=True
    ),
}


def parse_stack(stack: str) -> tuple[str, ...]:
    """Return the mixer of each layer.

    >>> parse_stack("hgrn2*3+softmax")
    ('hgrn2', 'hgrn2', 'hgrn2', 'softmax')

    Raises:
        ValueError: the text is not a list of known mixers.
    """
    layers: list[str] = []
    for part in stack.split("+"):
        match = re.fullmatch(r"(\w+?)(?:\*([1-9]\d{0,3}))?", part.strip())
        if match is None or match[1] not in MIXERS:
            raise ValueError(
                f"stack {stack!r}: {part!r} is no mixer, nor one with a number; write names of "
                f"{', '.join(MIXERS)}, such as hgrn2*3+softmax"
            )
        layers += [match[1]] * int(match[2] or 1)
    return tuple(layers)
