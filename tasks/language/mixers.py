"""The one table of mixers that a stack can name; a new mixer is one entry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from neuro.mixers import (
    GLA,
    HGRN,
    HGRN2,
    MLGRU,
    RWKV5,
    RWKV6,
    DeltaNet,
    GatedDeltaNet,
    Mixer,
    RetNet,
    SoftmaxAttention,
)

MakeMixer = Callable[..., Mixer]


@dataclass(frozen=True, kw_only=True)
class NamedMixer:
    """A mixer of a stack.

    make: returns the mixer, given its width and ``linear``, which makes its linear maps.
    arguments: what ``make`` takes besides: some of ``heads``, ``eps``, ``limit`` (fields of a
    configuration), ``layer`` (its number) and ``layers`` (of the stack). has_floor: whether it
    also reads a row of :func:`neuro.mixers.layer_floors`. grows: whether its state grows with
    the text. hybrid: its title in ``neuro bench hybrids``; "": not compared there.
    """

    make: MakeMixer
    arguments: tuple[str, ...] = ()
    has_floor: bool = False
    grows: bool = False
    hybrid: str = ""


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
    "hgrn": NamedMixer(make=HGRN, has_floor=True, hybrid="HGRN"),
    "retnet": NamedMixer(make=RetNet, arguments=("heads",), hybrid="RetNet"),
    "gla": NamedMixer(make=GLA, arguments=("heads",), hybrid="GLA"),
    "hgrn2": NamedMixer(make=HGRN2, arguments=("heads",), has_floor=True, hybrid="HGRN-2"),
    "deltanet": NamedMixer(make=DeltaNet, arguments=("heads",), hybrid="DeltaNet"),
    "gdn": NamedMixer(make=GatedDeltaNet, arguments=("heads",), hybrid="GatedDeltaNet"),
    "rwkv5": NamedMixer(make=_with_head_width("rwkv5", RWKV5), arguments=RWKV_TAKES),
    "rwkv6": NamedMixer(make=_with_head_width("rwkv6", RWKV6), arguments=RWKV_TAKES),
    "softmax": NamedMixer(make=SoftmaxAttention, arguments=("heads", "limit"), grows=True),
}
