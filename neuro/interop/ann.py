"""Reads the torch module of an ANN, also one with a ``forward`` of its own, as a Graph.

The module runs once and is recorded, as imports of spiking networks are
(:mod:`neuro.interop.recording`); then it runs beside its Graph. Axes: B samples.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuro.base.arguments import describe
from neuro.base.units import Seconds
from neuro.graph import Graph, Input, Pointwise
from neuro.graph.convert import AVERAGE, WITHOUT_NODE
from neuro.interop.capture import OPERATIONS, copy_module, describe_error
from neuro.interop.imported import ROUNDING
from neuro.interop.layer_operations import Handler, apply_plain
from neuro.interop.neuron_reader import CannotRunError, CaptureError, NeuronReader
from neuro.interop.one_tick import INPUT, STIMULUS, GraphBuilder, TickNetwork
from neuro.interop.outputs import find_tick
from neuro.interop.parameters import require_readable
from neuro.interop.recording import Operation, RecordedRun, Recorder, StimulusTick, list_tensors
from neuro.nn.counted_relu import CountedReLU
from neuro.nn.net import Net

SAMPLES = 8  # of the images on which module and Graph are compared


class ReadANN(NamedTuple):
    """An ANN as a Graph. error: largest relative difference of their outputs, of rounding."""

    graph: Graph
    error: float


class _NoNeurons(NeuronReader):
    """A reader for which no module is a neuron; nothing else of it is called."""

    @property
    def library(self) -> str:
        """The library of the modules."""
        return "torch"

    def is_neuron(self, module: nn.Module) -> bool:  # noqa: ARG002
        """No module is a neuron."""
        return False


def _refuse(why: str) -> Handler:
    def handle(op: Operation) -> Any:
        name = op.recorder.name(op.name)
        return replace(op.lose(f"of {name} has no spiking form; {why}"), unsupported=True)

    return handle


def _count(module: CountedReLU, x: Tensor) -> Tensor:
    """Compute a CountedReLU by one function of torch, which is recorded."""
    step = module.scale.item() / module.levels
    return torch.fake_quantize_per_tensor_affine(x, step, 0, 0, module.levels)


def _read_count(op: Operation) -> Any:
    step, zero, least, levels = (op.args[1:] + tuple(op.kwargs.values()))[:4]
    if zero or least:
        return op.lose("whose zero point is not 0 is no ReLU; quantise from 0 up")
    node = Pointwise(function="relu", levels=levels, scale=float(step) * levels)
    return apply_plain(op, "counted_relu", node)


_ACTIVATIONS = (
    *("relu6", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "elu", "elu_", "selu", "celu"),
    *("gelu", "silu", "mish", "softplus", "hardtanh", "hardswish", "hardsigmoid", "sigmoid"),
    *("tanh", "threshold", "logsigmoid", "glu"),
)
_MAXIMA = ("max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d")
_NORMS = ("layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm")
_ENDS = ("softmax", "log_softmax")
ANN_OPERATIONS: Mapping[str, Handler] = {
    **OPERATIONS,
    "relu_": OPERATIONS["relu"],
    "fake_quantize_per_tensor_affine": _read_count,
    **dict.fromkeys(_ACTIVATIONS, _refuse(WITHOUT_NODE)),
    **dict.fromkeys(_MAXIMA, _refuse(AVERAGE)),
    **dict.fromkeys(_NORMS, _refuse("train with BatchNorm1d or BatchNorm2d in its place")),
    **dict.fromkeys(
        ("clamp", "clamp_", "clamp_min", "maximum"), _refuse("use ReLU for x >= 0")
    ),
    "mean": _refuse("use AvgPool2d, or adaptive_avg_pool2d(x, 1) for a whole image"),
    **dict.fromkeys(_ENDS, _refuse("return the logits; their order is the same")),
}


def read_ann(module: nn.Module, input_shape: tuple[int, ...]) -> ReadANN:
    """Return the Graph of an ANN, of one tick, whose output is what the module returns.

    Args:
        module: takes images (B, *input_shape), returns logits; stays unchanged. A copy runs in
            float64 and in evaluation mode.
        input_shape: of one image.

    Raises:
        CaptureError: the module does something that no spiking network can; lists everything,
            with file, line and cures.
        GraphError: the parts do not fit together.
    """
    require_readable(module)
    source = copy_module(module).double()
    graph = _fold(_record(source, input_shape), input_shape, Seconds(1e-3))
    return ReadANN(graph, _compare(source, graph, input_shape))


def _record(source: nn.Module, shape: tuple[int, ...]) -> RecordedRun:
    network = deepcopy(source)
    for module in network.modules():
        if isinstance(module, CountedReLU):
            module.forward = partial(_count, module)  # type: ignore[method-assign]
    recorder = Recorder(network, _NoNeurons(), ANN_OPERATIONS, follow=True)  # type: ignore[abstract]
    x = _draw(shape, 2)
    recorder.keep(x)
    recorder.put(x, StimulusTick(shape=tuple(shape), tick=None))
    with recorder.recording() as record:
        try:
            returned = network(x)
        except CaptureError:
            raise
        except Exception as error:
            raise CannotRunError([describe_error(error)]) from error
        if not isinstance(returned, Tensor) or returned.dim() < 2:
            raise CaptureError(
                [f"the module returns {describe(returned)}; return its logits alone, (B, K)"]
            )
        record.outputs += [v for y in list_tensors(returned) if (v := recorder.get(y))]
    return record


def _fold(record: RecordedRun, input_shape: tuple[int, ...], dt: Seconds) -> Graph:
    """Return the Graph of a recorded module without neurons, which ran on one image.

    Raises:
        CaptureError: the recording contains what a Graph cannot hold; lists everything.
        GraphError: the parts do not fit together.
    """
    network = TickNetwork({})
    read = dict.fromkeys(network.terms(v, find_tick(v), "the output") for v in record.outputs)
    problems = [*record.problems, *network.problems]
    builder = GraphBuilder(network, {INPUT: Input(shape=input_shape)}, {STIMULUS: INPUT})
    if not problems:
        builder.add_readouts(read, dt)
    if problems + builder.problems:
        raise CaptureError(list(dict.fromkeys(problems + builder.problems)))
    return Graph(nodes=builder.nodes, edges=tuple(builder.edges), dt=dt)


def _draw(shape: tuple[int, ...], samples: int) -> Tensor:
    draw = torch.Generator().manual_seed(samples)
    return torch.randn(samples, *shape, generator=draw, dtype=torch.float64)


@torch.no_grad()
def _compare(source: nn.Module, graph: Graph, shape: tuple[int, ...]) -> float:
    """Return the largest relative difference between the outputs of a module and its Graph."""
    x = _draw(shape, SAMPLES)
    theirs = source(x)
    ours = Net(graph).double()({graph.inputs[0]: x[None]})[0][graph.outputs[0]][0]
    if not theirs.any():
        raise CaptureError(["the module returns 0 for random images; load its weights"])
    error = float((ours.flatten(1) - theirs.flatten(1)).abs().max() / theirs.abs().max())
    if not error <= ROUNDING:
        raise CaptureError(
            [
                f"the module and its Graph differ by {error:.2g} of the largest output on "
                f"{SAMPLES} random images, so the module does not compute the same for all; "
                "let forward depend on nothing but the image"
            ]
        )
    return error
