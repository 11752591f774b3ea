"""The kernels in Triton compile for GPUs; run by ``test_fused_triton`` in a process of its own.

Nothing is run: a driver that knows of one GPU stands in, and a launch only compiles.
"""

from typing import Any

import pytest
import torch
from fused_cases import MODELS, Case, bell, on_triton, outcome
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from neuro.neurons.surrogate import arctan, triangle

CASES = {
    "one cell": ("soft", Case((1, 1, 1), False, torch.float32, arctan)),
    "odd": ("current", Case((3, 5, 211), True, torch.float32, triangle)),
    "aligned": ("adaptive", Case((4, 2, 128), True, torch.float32, bell)),
    "doubles": ("adaptive", Case((3, 5, 211), False, torch.float64, arctan)),
}


NVIDIA, AMD = GPUTarget("cuda", 80, 32), GPUTarget("hip", "gfx942", 64)


class Driver:
    """A driver with one GPU, numbered by what it is: compiled kernels are kept by number."""

    def __init__(self, target: GPUTarget) -> None:
        self.get_current_target = lambda: target
        self.get_current_device = lambda: [NVIDIA, AMD].index(target)
        self.get_current_stream = lambda _: 0


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what has been compiled since."""
    found, run = [], JITFunction.run

    def only_compile(self: Any, *args: Any, warmup: bool, **options: Any) -> None:  # noqa: ARG001
        found.append(run(self, *args, warmup=True, **options))

    monkeypatch.setattr(JITFunction, "run", only_compile)
    return found


@pytest.mark.sample(case="aligned")
@pytest.mark.parametrize("case", CASES)
def test_kernels_compile_for_nvidia_and_contract_nothing(case: str, compiled: list) -> None:
    driver.set_active(Driver(NVIDIA))
    model, how = CASES[case]
    outcome(on_triton, MODELS[model], 0, how)
    assert [k.name for k in compiled] == names(model)
    for k in compiled:
        assert "cubin" in k.asm
        assert "fma" not in k.asm["ptx"]
        assert ".ftz" not in k.asm["ptx"]


@pytest.mark.sample(case="odd")
@pytest.mark.parametrize("case", CASES)
def test_kernels_compile_for_amd(case: str, compiled: list) -> None:
    driver.set_active(Driver(AMD))
    model, how = CASES[case]
    outcome(on_triton, MODELS[model], 0, how)
    assert [k.name for k in compiled] == names(model)
    assert all("hsaco" in k.asm for k in compiled)


def names(model: str) -> list[str]:
    """Return the kernels that a run of a model and the way back launch."""
    return ["forward", *(["thresholds"] if model == "adaptive" else []), "backward"]
