"""Find the populations that send no spike during a validation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from neuro.neurons import is_neuron


@contextmanager
def watch_silence(model: nn.Module) -> Iterator[set[str]]:
    """Watch the populations that a block runs; yield the names of those without a spike.

    The watch of a population ends with its first spike, for a working network in the first
    batch.
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
