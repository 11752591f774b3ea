"""Sequence mixers: layers that carry information from token to token."""

from neuro.mixers.both_ways import BothWays
from neuro.mixers.delta_net import DeltaNet, DeltaState, GatedDeltaNet, KimiDelta
from neuro.mixers.mamba2 import Mamba2
from neuro.mixers.mixer import MatrixState, Mixer
from neuro.mixers.named import MIXERS, NamedMixer, parse_stack
from neuro.mixers.recurrence import (
    GLA,
    HGRN,
    HGRN2,
    MLGRU,
    RetentionState,
    RetNet,
    VectorState,
    layer_floors,
)
from neuro.mixers.rwkv import RWKV5, RWKV6, TimeMixState
from neuro.mixers.rwkv7 import RWKV7
from neuro.mixers.softmax import KeysValues, SoftmaxAttention

__all__ = [
    "GLA",
    "HGRN",
    "HGRN2",
    "MIXERS",
    "MLGRU",
    "RWKV5",
    "RWKV6",
    "RWKV7",
    "BothWays",
    "DeltaNet",
    "DeltaState",
    "GatedDeltaNet",
    "KeysValues",
    "KimiDelta",
    "Mamba2",
    "MatrixState",
    "Mixer",
    "NamedMixer",
    "RetNet",
    "RetentionState",
    "SoftmaxAttention",
    "TimeMixState",
    "VectorState",
    "layer_floors",
    "parse_stack",
]
