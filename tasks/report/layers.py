"""The layers of ``energy.json``, summed if there are many, and the variants of its chips."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch.utils._pytree import tree_map

from neuro.energy import load_chips

LONG = 24  # most layers that are shown one by one
RULES = (
    lambda name: name,
    lambda name: re.sub(r"\d+", "*", name),
    lambda name: re.sub(r"\d+", "*", name).partition(": ")[0],  # its network
)
SUMMED = (
    f"Of more than {LONG} layers, those whose names differ in numbers (*) alone, or those of "
    "one network, are summed; energy.json lists each."
)


def group_layers(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names by group: each alone, or if there are many those that are alike."""
    groups: dict[str, list[str]] = {}
    for rule in RULES:
        groups = {}
        for name in names:
            groups.setdefault(rule(name), []).append(name)
        if len(groups) <= LONG:
            break
    return {
        f"{group}, {len(own)} layers" if len(own) > 1 else own[0]: own
        for group, own in groups.items()
    }


def sum_layers(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the groups of layers."""
    return {
        group: tree_map(lambda *x: sum(x), *(layers[name] for name in own))
        for group, own in group_layers(layers).items()
    }


def describe_variants(result: Mapping[str, Any]) -> list[str]:
    """Say how variants of a chip in ``energy.json`` differ from it: by their constants."""
    chips = load_chips()
    return [
        f"{name}: {' '.join(chips[name].description.split()).partition('. ')[0]}"
        for name in result
        if name in chips and chips[name].base
    ]


def describe_folding(result: Mapping[str, Any]) -> list[str]:
    """Say why ``neuro energy`` and ``neuro simulate`` count other synaptic events, if so."""
    layers = next((chip["layers"] for chip in result.values() if "layers" in chip), ())
    folded = ", ".join(name for name in layers if "+" in name)
    told = (
        f"Synaptic events of {folded} are those of a chip, which folds these nodes into one "
        "connection and serves its whole fan-out at each spike; neuro simulate counts by node."
    )
    return [told] if folded else []
