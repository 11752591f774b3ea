"""Dense layers with learned, fixed random or no delays, the arms of one comparison."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from neuro.base.units import Ticks
from neuro.nn import DelayedLinear

Delays = Literal["learned", "fixed", "none"]


def make_linear(
    delays: Delays,
    sizes: tuple[int, int],
    most: Ticks,
    *,
    soft_steps: int,
    kind: Literal["axonal", "synaptic"],
    bias: bool = True,
) -> nn.Linear | DelayedLinear:
    """Return a new layer. sizes: inputs, outputs. The rest: see DelayedLinear."""
    if delays == "none":
        return nn.Linear(*sizes, bias=bias)
    learned = delays == "learned"
    soft = soft_steps if learned else 0
    layer = DelayedLinear(*sizes, most, soft_steps=soft, kind=kind, bias=bias)
    layer.late.requires_grad_(learned)
    return layer


def list_controls(config: Any) -> Mapping[str, Mapping[str, str]]:
    """Return the twins of learned delays."""
    if config.delays != "learned":
        return {}
    return {"random delays": {"delays": "fixed"}, "no delays": {"delays": "none"}}


def explain_unpriced(config: Any) -> str:
    """Explain why no energy is estimated; "" if it is."""
    if config.delays not in ("learned", "fixed"):
        return ""
    return (
        "no energy is estimated, because how a chip stores synapses with delays of their own "
        "is not known here; --set delays=none has no delays"
    )
