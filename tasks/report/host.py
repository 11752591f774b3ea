"""What stays on a host, by the kind of node, and its shares of operations and energy."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class HostShares(NamedTuple):
    """The host's shares of all operations, and of the energy by the 45 nm convention."""

    operations: float
    energy: float


def sum_host(result: Mapping[str, Any]) -> dict[str, int]:
    """Return the MACs of host nodes in ``energy.json``, summed by the kind of node."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for part in result.get("host", ()):
        kinds.setdefault(part.get("kind", part["node"]), []).append(part)
    return {
        f"{kind}, {len(own)} nodes" if len(own) > 1 else own[0]["node"]: sum(
            part["macs"] for part in own
        )
        for kind, own in kinds.items()
    }


def share_host(result: Mapping[str, Any]) -> HostShares | None:
    """Return the shares of the host in ``energy.json``.

    An operation of the chip is a synaptic event. None: no operation stays on a host.
    """
    convention, macs = result["conventional45nm"], sum(sum_host(result).values())
    if not macs or not convention.get("host"):
        return None
    chip = next(x for x in result.values() if isinstance(x, dict) and "layers" in x)
    events = sum(layer.get("synaptic_events", 0) for layer in chip["layers"].values())
    return HostShares(macs / (macs + events), convention["host"] / convention["snn"])


def describe_host(result: Mapping[str, Any]) -> str:
    """Describe the host operations of ``energy.json``."""
    kinds = sum_host(result)
    return (
        f"host: {'; '.join(kinds)} run on a host, {sum(kinds.values()):,} MACs per inference "
        "(an exponential counts as one); only the 45 nm convention includes their energy, no "
        "tier of a chip does"
    )
