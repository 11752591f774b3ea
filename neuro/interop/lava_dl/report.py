"""What an import of a ``.net`` file reports: the fate of each key, and the faults of netx.

netx is lava-dl's own loader, in version 0.6.0, its last.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from neuro.graph import Dense
from neuro.interop.imported import MappedNode
from neuro.interop.lava_dl.read import NetFile, NetLayer

EXACT = 4096  # thresholds from here on have no room for 0.01 in float32


def map_keys(net: NetFile) -> tuple[MappedNode, ...]:
    """Return one row for each key and what became of it, with the layers that have it."""
    found: dict[tuple[str, str], list[int]] = {}
    for fate in net.fates:
        found.setdefault((fate.key, fate.became), []).append(fate.layer)
    return tuple(
        MappedNode(node=_name(layers), source=key, became=became)
        for (key, became), layers in found.items()
    )


def describe_netx(net: NetFile, early: bool) -> dict[str, str]:
    """Return what netx would load, or SLAYER compute, otherwise than the import; by fault.

    early: whether biases of netx act earlier, against the input, than in training.
    """
    layers = [layer for layer in net.layers if layer.neuron is not None]
    faults: dict[str, list[int]] = {}
    for layer in layers:
        for fault in _list_faults(layer):
            faults.setdefault(fault, []).append(layer.index)
    if early:
        fault = "begins its biases earlier, against the input, than SLAYER"
        faults[fault] = [x.index for x in layers if x.bias is not None and x.bias.any()]
    out = {f"netx {fault}": _name(where) for fault, where in faults.items() if where}
    vth = {x.index: x.neuron["vth"].max() for x in layers if x.neuron and not x.is_silent}
    high = [index for index, most in vth.items() if most >= EXACT]
    if high:
        out["SLAYER fires at v = 64 vThMant, chips above it"] = _name(high)
    if loops := [x.index for x in layers if x.is_silent and x.loop]:
        out["weight_rec is left out, since its neurons never fire"] = _name(loops)
    head = net.layers[0]
    if head.neuron:
        weight, bias = head.transform
        out["input"] = f"x = {weight} p + {bias} in whole numbers, for pixels p from -1 to 1"
    return out


def _list_faults(layer: NetLayer) -> Iterator[str]:
    """Yield what netx makes of a layer, where it is not what the file says."""
    if layer.inexact:
        yield "lowers weights by 1 that float32 left below a whole number"
    late = layer.delay is not None and bool(layer.delay.any())
    if layer.type == "conv" and late:
        yield "drops the delays of convolutions"
    if layer.type == "dense_rec" and late:
        yield "loses the exponent of weights with a loop and delays"
    if isinstance(layer.synapses, Dense):
        both = [node.weight.ravel() for node in (layer.synapses, layer.loop) if node]
        weight = np.concatenate(both)
        low, high = int(weight.min()), int(weight.max())
        if not weight.any():
            yield "fails where all weights are 0"
        elif high <= 0 and -low & (-low - 1) == 0:
            yield "cuts the lowest weight off where none is positive"
        if low < 0 < high and (weight % 2).any():
            yield "gives odd weights of both signs 9 bits, which chips do not have"


def _name(layers: Iterable[int]) -> str:
    return f"layer/{', '.join(map(str, dict.fromkeys(layers)))}"
