"""The operator in Triton is the loop: in its interpreter, and on a GPU where there is one."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from neuro.base.units import Seconds
from neuro.neurons import LIF
from neuro.neurons.fused import FusedOnCPU, choose_operator, has_triton, make_fused_form

HERE = Path(__file__).parent
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def require_green(file: str, cache: Path, **settings: str) -> None:
    """Run tests in a process of their own: Triton reads its settings when it is imported."""
    kept = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    pytest_alone = "-m pytest -q -o addopts=--import-mode=importlib -p no:cacheprovider"
    some = [] if os.environ.get("NEURO_NIGHTLY") == "1" else ["-m", "not nightly"]
    done = subprocess.run(
        [sys.executable, *pytest_alone.split(), *some, HERE / file],
        cwd=HERE.parents[2],
        env=kept | {"TRITON_CACHE_DIR": str(cache)} | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@needs_triton
def test_in_the_interpreter_operator_and_loop_agree(tmp_path: Path) -> None:
    gpus = {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1"}
    require_green("fused_triton_runs.py", tmp_path, **gpus)


@pytest.mark.slow
@needs_triton
def test_kernels_compile_for_gpus_that_are_not_here(tmp_path: Path) -> None:
    require_green("fused_triton_compiles.py", tmp_path)


@needs_triton
@needs_gpu
def test_on_a_gpu_operator_and_loop_agree(tmp_path: Path) -> None:
    require_green("fused_triton_runs.py", tmp_path)


def test_a_tensor_on_a_cpu_goes_to_the_operator_for_cpus() -> None:
    assert choose_operator(torch.zeros(3, 2, 4)) is FusedOnCPU


@pytest.mark.slow
@needs_triton
def test_a_tensor_on_a_gpu_goes_to_triton_in_the_precisions_it_has() -> None:
    with FakeTensorMode():  # has the tensors of a GPU without one
        x = torch.empty(3, 2, 4, device="cuda")
        assert choose_operator(x).__name__ == "FusedOnGPU"
        neuron, dt = LIF(tau=0.01), Seconds(1e-3)
        assert make_fused_form(neuron, x, dt) is not None
        assert make_fused_form(neuron, x.double(), dt) is not None
        assert make_fused_form(neuron, x.bfloat16(), dt) is None


@pytest.mark.parametrize(("version", "enough"), [("3.4.0", False), ("3.5.1+git", True)])
def test_a_triton_that_hands_no_tuples_to_kernels_is_not_used(
    version: str, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuro.neurons.fused.find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(__version__=version))
    assert has_triton.__wrapped__() is enough


@pytest.mark.slow
def test_neuro_does_not_import_triton() -> None:
    code = "import sys, neuro; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
