"""Find the first layer of a model whose output holds NaN or infinity."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from neuro.training.sharded import gather


@torch.no_grad()
def find_nonfinite(model: nn.Module, run: Callable[[], Any]) -> str:
    """Return which parameter or layer is not finite first, or "" if all are finite.

    Args:
        model: its parameters are checked, then the outputs of its layers in the order in which
            they are computed.
        run: calls the model once.
    """
    for name, p in model.named_parameters():
        if not _finite(p):
            return f"parameter {name}"
    found: list[str] = []

    def make_hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def check(_: nn.Module, inputs: Any, outputs: Any) -> None:
            if not found and not _finite(outputs):
                found.append(f"layer {name}" if _finite(inputs) else f"the input of {name}")

        return check

    hooks = [m.register_forward_hook(make_hook(n)) for n, m in model.named_modules() if n]
    try:
        with suppress(FloatingPointError):  # a layer that looks itself stops here
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""


def _finite(values: Any) -> bool:
    tensors = [gather(t) for t in tree_leaves(values) if isinstance(t, Tensor)]
    return all(bool(torch.isfinite(t).all()) for t in tensors)
