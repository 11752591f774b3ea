"""Networks of ``lava.lib.dl.slayer`` blocks as Graphs, compared with SLAYER's own forward.

SLAYER's blocks write themselves as layers of a ``.net`` file, which
:mod:`neuro.interop.lava_dl` reads. Axes: N samples, F or C H W neurons, T ticks; SLAYER's
tensors are N F T or N C H W T.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuro.base.extras import require_extra
from neuro.interop.imported import ImportedNetwork, SourceRun
from neuro.interop.lava_dl.network import INPUT, import_layers
from neuro.interop.lava_dl.read import NetFile, read_net
from neuro.interop.neuron_reader import CannotRunError, CaptureError


def import_module(module: nn.Module, input_shape: tuple[int, ...]) -> ImportedNetwork:
    """Return a network of SLAYER blocks, in the integers of Loihi and SLAYER's own time.

    Args:
        module: has its blocks in order in ``module.blocks``, as lava-dl's tutorials do, or is
            itself a sequence of them. It must compute them one after the other.
        input_shape: of a tick of a sample, (F,) or (C, H, W).

    Raises:
        NetFileError: lists everything that has no form in Loihi's integers, with its layer.
        CaptureError: the module is no sequence of blocks, or does not take the shape.
        RuntimeError: h5py is not installed.
    """
    blocks = deepcopy(nn.ModuleList(_list_blocks(module))).eval().cpu()
    try:
        with torch.no_grad():
            _run_blocks(blocks, torch.zeros(1, *input_shape, 2))  # gives each block its shape
            net = _read_blocks(blocks, input_shape)
    except (RuntimeError, AttributeError, AssertionError) as error:
        raise CannotRunError(
            [
                f"the blocks do not run on an input of shape {input_shape}: {error}; give the "
                "shape of a tick of a sample, (features,) or (channels, height, width)"
            ]
        ) from error
    if net.layers[0].neuron is not None or any(layer.codes for layer in net.layers):
        what = "first block codes images" if net.layers[0].neuron else "blocks code changes"
        raise CaptureError(
            [
                f"the {what} with neurons; write the network with export_hdf5 and import the "
                ".net file with a stimulus of whole numbers"
            ]
        )
    skip = len(net.layers) - len(blocks)  # 1 if an input was put before them

    def run_source(inputs: Mapping[str, np.ndarray]) -> SourceRun:
        x = torch.from_numpy(inputs[INPUT]).movedim(0, -1).float()
        if (x != x.round()).any():  # no spikes: the integers of the chip do not take them
            return SourceRun({}, {}, {})
        with torch.no_grad():
            fired = _run_blocks(blocks, x)
        outputs = {
            layer.name: fired[layer.index - skip].movedim(-1, 0).double().numpy()
            for layer in net.layers
            if layer.neuron is not None and not layer.is_silent
        }
        return SourceRun(outputs, {}, {})

    shifts = {bool(block.delay_shift) for block in blocks if hasattr(block, "delay_shift")}
    if len(shifts) > 1:
        raise CaptureError(
            ["its blocks differ in delay_shift; give all the same, True as by default"]
        )
    return import_layers(
        net, "slayer", shifts != {False}, library=_name_library(), run_source=run_source
    )


def _name_library() -> str:
    try:
        return f"lava-dl {version('lava-dl')}"
    except PackageNotFoundError:  # a source tree on the path
        return "lava-dl"


def _list_blocks(module: nn.Module) -> list[nn.Module]:
    """Return the blocks of a module in their order."""
    blocks: Any = getattr(module, "blocks", module)
    if not isinstance(blocks, Iterable):
        raise CaptureError(
            [
                f"{type(module).__name__} has no blocks; put them in order into "
                "self.blocks = torch.nn.ModuleList([...]), as lava-dl's tutorials do"
            ]
        )
    listed: list[nn.Module] = list(blocks)
    odd = [type(block).__name__ for block in listed if not hasattr(block, "export_hdf5")]
    if odd or not listed:
        raise CaptureError(
            [
                f"{type(module).__name__} holds {', '.join(odd) or 'no block'}; only blocks of "
                "lava.lib.dl.slayer can be read, one after the other"
            ]
        )
    return listed


def _read_blocks(blocks: nn.ModuleList, input_shape: tuple[int, ...]) -> NetFile:
    """Return the layers that blocks write of themselves, behind an input."""
    with require_extra("interop", "networks of lava-dl need h5py"):
        import h5py
    with TemporaryDirectory() as folder:
        path = Path(folder, "module.net")
        with h5py.File(path, "w") as file:
            first = 0
            if "Input" not in type(blocks[0]).__name__:  # spikes enter the first block
                head = file.create_group("layer/0")
                head.create_dataset("type", (1,), "S10", [b"input"])
                head.create_dataset("shape", data=np.array(input_shape))
                first = 1
            for k, block in enumerate(blocks):
                write: Any = block.export_hdf5
                write(file.create_group(f"layer/{k + first}"))
        return read_net(path)


def _run_blocks(blocks: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """Return what the neurons of each block send, before its delays."""
    fired: list[Tensor] = []
    _return_to_rest(blocks)
    for block in blocks:
        seen: list[Tensor] = []
        neuron: Any = getattr(block, "neuron", None)
        if neuron is None:
            x = block(x)
        else:
            hook = neuron.register_forward_hook(lambda _, __, y, kept=seen: kept.append(y))
            x = block(x)
            hook.remove()
        x = x[0] if isinstance(x, tuple) else x  # with count_log: the spikes, and their mean
        fired.append(torch.cat(seen, -1) if seen else x)
    return fired


def _return_to_rest(blocks: nn.ModuleList) -> None:
    """Forget what blocks keep from one call to the next, as recurrent ones do."""
    part: Any
    for part in blocks.modules():
        for name in ("current_state", "voltage_state", "spike_state"):
            if isinstance(state := getattr(part, name, None), Tensor):
                state.zero_()
        if hasattr(part, "delay_buffer"):
            part.delay_buffer = None
