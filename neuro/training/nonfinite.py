"""Where numbers stop being finite: the first layer of a model that makes NaN or infinity."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


@torch.no_grad()
def first_not_finite(model: nn.Module, run: Callable[[], Any]) -> str:
    """Return the name of what is first not finite, or "" where all is.

    Args:
        model: whose parameters, and then whose layers in the order in which they finish, are
            looked at.
        run: calls the model once.
    """
    for name, p in model.named_parameters():
        if not _finite(p):
            return f"parameter {name}"
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(_: nn.Module, given: Any, made: Any) -> None:
            if not found and not _finite(made):
                found.append(f"layer {name}" if _finite(given) else f"what {name} is given")

        return look

    hooks = [m.register_forward_hook(watch(n)) for n, m in model.named_modules() if n]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""


def _finite(values: Any) -> bool:
    tensors = [t for t in tree_leaves(values) if isinstance(t, Tensor)]
    return all(bool(torch.isfinite(t).all()) for t in tensors)
