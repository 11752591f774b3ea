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
    """Return the first parameter or layer that is not finite, or "" if all are finite.

    Args:
        model: the function checks its parameters, then the outputs of its layers in the order
            of computation.
        run: calls the model once.
    """
    for name, p in model.named_parameters():
        if not _is_finite(p):
            return f"parameter {name}"
    places: list[str] = []

    def make_hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def check(_: nn.Module, inputs: Any, outputs: Any) -> None:
            if not places and not _is_finite(outputs):
                places.append(f"layer {name}" if _is_finite(inputs) else f"the input of {name}")

        return check

    hooks = [m.register_forward_hook(make_hook(n)) for n, m in model.named_modules() if n]
    try:
        with suppress(FloatingPointError):  # from a layer that checks its own membrane
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return places[0] if places else ""


def _is_finite(values: Any) -> bool:
    tensors = [gather(t) for t in tree_leaves(values) if isinstance(t, Tensor)]
    return all(bool(torch.isfinite(t).all()) for t in tensors)
