"""Names of layers if an inference runs several networks: "stem", and "encoder: stem".

The first network is called "", and its layers keep their names.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def name_layer(network: str, layer: str) -> str:
    """Return the name of a layer among those of all networks.

    >>> name_layer("", "stem"), name_layer("encoder", "stem")
    ('stem', 'encoder: stem')
    """
    return f"{network}: {layer}" if network else layer


def join_layers(networks: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
    """Merge a value per layer of each network into one mapping."""
    return {
        name_layer(network, layer): value
        for network, layers in networks.items()
        for layer, value in layers.items()
    }


def join_messages(networks: Mapping[str, Iterable[str]]) -> list[str]:
    """Merge the messages about each network into one list."""
    return [
        name_layer(network, message)
        for network, messages in networks.items()
        for message in messages
    ]
