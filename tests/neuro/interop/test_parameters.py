"""Networks of other libraries whose parts cannot be read."""

import inspect

import pytest
import torch
from torch import nn

from neuro.interop.neuron_reader import CaptureError
from neuro.interop.parameters import require_readable

EMPTY = " has no weights yet; run it on a stimulus first"
SCRIPTED = (
    ": torch.jit runs it outside of Python, where nothing can be recorded; give the module "
    "that was scripted or traced"
)


def refuse(network: nn.Module) -> list[str]:
    with pytest.raises(CaptureError) as caught:
        require_readable(network)
    return caught.value.problems


def test_modules_without_weights_are_refused_by_their_names() -> None:
    lazy = nn.Sequential(nn.Sequential(nn.LazyLinear(5)), nn.LazyBatchNorm1d(affine=False))
    assert refuse(lazy) == [f"0_0: LazyLinear{EMPTY}", f"1: LazyBatchNorm1d{EMPTY}"]
    assert refuse(nn.LazyLinear(5)) == [f"module: LazyLinear{EMPTY}"]
    lazy(torch.ones(2, 3))
    require_readable(lazy)


@pytest.mark.filterwarnings("ignore:.torch.jit")  # torch's own
def test_modules_that_run_outside_of_python_are_refused_once() -> None:
    scripted = [torch.jit.script(nn.Sequential(nn.Linear(3, 3))) for _ in range(2)]
    assert refuse(nn.Sequential(nn.Sequential(*scripted))) == [f"0_0{SCRIPTED}"]
    traced = torch.jit.trace(nn.Linear(3, 3), torch.zeros(2, 3))
    assert refuse(nn.Sequential(nn.LazyLinear(2), traced)) == [
        f"0: LazyLinear{EMPTY}",
        f"1{SCRIPTED}",
    ]
    assert refuse(traced) == [f"module{SCRIPTED}"]


@pytest.mark.parametrize("library", ["snntorch", "norse", "spikingjelly"])
def test_every_reader_refuses_them(library: str) -> None:
    pytest.importorskip(library)
    reader = pytest.importorskip(f"neuro.interop.{library}")
    with pytest.raises(CaptureError) as caught:
        reader.import_module(nn.Sequential(nn.LazyLinear(5)), (3,))
    assert caught.value.problems == [f"0: LazyLinear{EMPTY}"]


def test_what_is_no_module_is_refused() -> None:
    plain = inspect.unwrap(require_readable)  # without the types that tests check
    with pytest.raises(TypeError, match=r"module must be a torch module, got .*function first"):
        plain(nn.Linear)  # type: ignore[arg-type]
