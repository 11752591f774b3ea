"""Sequence mixers: layers that carry information from token to token."""

from neuro.mixers.delta_net import DeltaNet, DeltaState, GatedDeltaNet
from neuro.mixers.matrix_recurrence import GLA, HGRN2, RetentionState, RetNet
from neuro.mixers.mixer import MatrixState, Mixer
from neuro.mixers.rwkv import RWKV5, RWKV6, TimeMixState
from neuro.mixers.softmax import KeysValues, SoftmaxAttention
from neuro.mixers.vector_recurrence import HGRN, MLGRU, VectorState, layer_floors

__all__ = [
    "GLA",
    "HGRN",
    "HGRN2",
    "MLGRU",
    "RWKV5",
    "RWKV6",
    "DeltaNet",
    "DeltaState",
    "GatedDeltaNet",
    "KeysValues",
    "MatrixState",
    "Mixer",
    "RetNet",
    "RetentionState",
    "SoftmaxAttention",
    "TimeMixState",
    "VectorState",
    "layer_floors",
]
