"""Signs of a bad training: growing parameters, silent populations, NaN and infinity."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from neuro.neurons import is_neuron
from neuro.training.distributed import gather

REPORTED, DIVERGED = 10.0, 1000.0  # factors relative to the largest initial value, or to LEAST
LEAST = 0.1
LISTED = 3  # parameters listed in a message


@torch.no_grad()
def measure_sizes(model: nn.Module) -> dict[str, float]:
    """Return the largest absolute value of each parameter, by name."""
    return {n: float(gather(p).abs().max()) for n, p in model.named_parameters() if p.numel()}


def explain_divergence(grown: str) -> str:
    """Return the message for a training that has diverged, with the cure.

    grown: result of :func:`describe_growth`.
    """
    return (
        f"the training has diverged: {grown}; lower the learning rate, and train again in "
        "another folder (--out)"
    )


def explain_nonfinite(names: Sequence[str], lr: float) -> str:
    """Return the message, with the cure, for parameters that are no longer finite."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (
        f"{', '.join(names[:5])}{more}: not finite after an update at a learning rate of "
        f"{lr:g}; the last good checkpoint remains; lower the rate, and train again"
    )


def describe_growth(
    model: nn.Module, before: Mapping[str, float], lr: float, factor: float = REPORTED
) -> str:
    """Describe which parameters grew, their sizes, and the learning rate; "" if none grew.

    before: sizes at the start of the training.
    factor: least growth to report. A size below :data:`LEAST` counts as LEAST, because biases
        start at 0.
    """
    now = measure_sizes(model)
    ratios = {name: now[name] / max(size, LEAST) for name, size in before.items()}
    grown = sorted((n for n in ratios if not ratios[n] <= factor), key=lambda n: -ratios[n])
    if not grown:
        return ""
    sizes = [f"{name} grew from {before[name]:.3g} to {now[name]:.3g}" for name in grown]
    more = f" and {len(grown) - LISTED} more" if len(grown) > LISTED else ""
    return f"{', '.join(sizes[:LISTED])}{more} at a learning rate of {lr:g}"


@contextmanager
def watch_silence(model: nn.Module) -> Iterator[set[str]]:
    """Watch the populations that a block runs; yield the names of those without a spike.

    The watch of a population ends with its first spike; in a working network that is in the
    first batch.
    """
    silent: set[str] = set()
    hooks: dict[str, RemovableHandle] = {}

    def look(name: str, _: nn.Module, __: Any, out: Any) -> None:
        if bool(out[0].any()):
            silent.discard(name)
            hooks.pop(name).remove()
        else:
            silent.add(name)

    for name, module in model.named_modules():
        neuron = getattr(module, "model", None)
        if is_neuron(neuron) and neuron.fires:
            hook: Callable[..., None] = partial(look, name)
            hooks[name] = module.register_forward_hook(hook)
    try:
        yield silent
    finally:
        for handle in hooks.values():
            handle.remove()


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
