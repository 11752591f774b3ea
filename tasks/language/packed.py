"""Files of packed language models, with two bits per ternary weight."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuro.io.schema import convert
from neuro.io.store import StoreError, load_tensors, save_tensors
from neuro.nn.ternary import BitLinear, PackedLinear, pack_model
from tasks.language.config import LanguageConfig
from tasks.language.model import LanguageModel

KIND = "packed"
NOT_FINITE = "hold values that are not finite (NaN or infinity)"
UNUSED = 0b01010101  # finds code 3, which stands for no weight: it has both bits of a pair


class PackedSize(NamedTuple):
    """The size of a packed model.

    weights: number of ternary weights. packed: bytes of their codes and scales. rest: bytes of
    the float32 values: embedding, gains, norms, other parameters of mixers.
    """

    weights: int
    packed: int
    rest: int

    @property
    def bits(self) -> float:
        """Return the bits per ternary weight, scales included."""
        return 8 * self.packed / self.weights


def measure_size(model: nn.Module) -> PackedSize:
    """Return the size of a packed model, which is the same in memory and in a file."""
    layers = [m for m in model.modules() if isinstance(m, PackedLinear)]
    packed = sum(m.packed.nbytes + m.scale.nbytes for m in layers)
    whole = sum(t.nbytes for t in model.state_dict().values())
    return PackedSize(sum(len(m.packed) * m.inputs for m in layers), packed, whole - packed)


def save_packed(path: str | Path, model: nn.Module, config: LanguageConfig) -> None:
    """Write a packed model and its configuration.

    Raises:
        ValueError: the model holds values that are not finite.
    """
    if bad := _find_nonfinite(model.state_dict()):
        raise ValueError(f"{path} is not written: {bad} {NOT_FINITE}; train the model again")
    save_tensors(path, KIND, model.state_dict(), {"config": asdict(config)})


def load_packed(path: str | Path) -> tuple[nn.Module, LanguageConfig]:
    """Return the packed model in a file, and its configuration.

    Raises:
        StoreError: the file is missing, damaged, cut short or not a packed model.
    """
    tensors, meta = load_tensors(path, KIND)
    try:
        config: LanguageConfig = convert(meta["config"], LanguageConfig)
        if meta != {"config": asdict(config)}:
            raise ValueError("its header holds more than a configuration")
        model = make_empty(config)
        require_fitting(model, tensors)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise StoreError(
            f"{path}: no whole packed model ({error}); restore it from a copy, or write it "
            "again with neuro pack RUN"
        ) from error
    model.load_state_dict(tensors, assign=True)
    return model, config


def make_empty(config: LanguageConfig) -> nn.Module:
    """Return a packed model whose tensors have no values yet."""

    def pack(layer: BitLinear) -> PackedLinear:
        outputs, inputs = layer.weight.shape
        return PackedLinear(inputs, outputs, layer.quantise, eps=layer.eps)

    with torch.device("meta"):
        return pack_model(LanguageModel(config), pack)


def require_fitting(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Raise unless the tensors fit the packed model.

    Raises:
        ValueError: names, shapes or dtypes differ, a code stands for no weight, or a value is
            not finite.
    """
    need = {k: (tuple(v.shape), v.dtype) for k, v in model.state_dict().items()}
    shapes = {k: (tuple(v.shape), v.dtype) for k, v in tensors.items()}
    differ = sorted(k for k in need | shapes if need.get(k) != shapes.get(k))
    if differ:
        raise ValueError(f"{', '.join(differ[:9])} differ in name, shape or dtype")
    bad = [
        name
        for name, codes in tensors.items()
        if codes.dtype is torch.uint8 and (codes & codes >> 1 & UNUSED).any()
    ]
    if bad:
        raise ValueError(f"{', '.join(bad[:9])}: holds a code that stands for no weight")
    if odd := _find_nonfinite(tensors):
        raise ValueError(f"{odd} {NOT_FINITE}")


def _find_nonfinite(tensors: Mapping[str, Tensor]) -> str:
    """Return the names of tensors with NaN or infinity; "" if there are none."""
    floats = ((n, t) for n, t in tensors.items() if t.is_floating_point())
    return ", ".join([name for name, t in floats if not t.isfinite().all()][:9])
