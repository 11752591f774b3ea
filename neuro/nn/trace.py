"""Conversion of a trained torch module to a Graph, or a list of parts that no Graph can hold.

A Graph can hold Stack, Sequential, Residual, Recurrent, Delay, Spiking; Linear, DelayedLinear,
Conv1d, Conv2d, ConvTranspose2d, AvgPool2d, MaxPool2d (of spikes), Upsample, Flatten, Unflatten;
BatchNorm (folded into the convolution or linear layer before it); Identity and the Dropouts,
which do nothing in evaluation; Softmax, Sigmoid, Tanh, SiLU, ReLU and CountedReLU, as host
nodes; and a Net, whose Graph is returned. A node has the name of its layer; for a layer inside
another, both names are joined with "_": rec_spiking and rec_feedback in a Recurrent, res_body
and res_shortcut in a Residual.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from neuro.base.arguments import make_type_error, to_numpy
from neuro.base.units import Seconds, Ticks
from neuro.graph import (
    AvgPool2d,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Edge,
    Flatten,
    Graph,
    GraphError,
    Input,
    Node,
    Pointwise,
    Softmax,
    Sparse,
    Unflatten,
    Upsample,
)
from neuro.graph.connections import as_pair
from neuro.neurons import ALIF, is_neuron
from neuro.nn.counted_relu import CountedReLU
from neuro.nn.delayed import DelayedLinear
from neuro.nn.fold_time import DROPOUTS, has_global_hooks, has_own_forward, is_quantised
from neuro.nn.layers import Delay, Recurrent, Residual, Spiking, Stack, Temporal, list_steps
from neuro.nn.net import Net


def convert_convolution(module: Any, weight: np.ndarray, bias: np.ndarray | None) -> Node:
    """Return the node of a convolution, with the given weight and bias."""
    if isinstance(module, nn.Conv1d):
        steps = {k: as_axes(getattr(module, k))[0] for k in ("stride", "padding", "dilation")}
        return Conv1d(weight=weight, bias=bias, groups=module.groups, **steps)
    pairs = {"stride": as_pair(module.stride), "padding": as_pair(module.padding)}
    if isinstance(module, nn.Conv2d):
        pairs["dilation"] = as_pair(module.dilation)
        return Conv2d(weight=weight, bias=bias, groups=module.groups, **pairs)
    far = as_pair(module.output_padding)
    return ConvTranspose2d(weight=weight, bias=bias, output_padding=far, **pairs)


def make_any_spike_nodes(module: nn.MaxPool2d) -> tuple[AvgPool2d, ALIF]:
    """Return the nodes that compute a maximum over binary spikes.

    They are the mean of a window, and a neuron without memory that fires if any spike arrives.
    """
    size, stride = as_pair(module.kernel_size), as_pair(module.stride)
    cell = ALIF(leak=1.0, threshold=0.5 / (size[0] * size[1]), reset="hard")
    return AvgPool2d(kernel=size, stride=stride), cell


@contextmanager
def parametrised_in_evaluation(module: nn.Module) -> Iterator[None]:
    """Put the parametrisations of a layer into evaluation mode during the context.

    In training mode, a spectral norm, for example, takes a step whenever its weight is read.
    """
    lists = module.parametrizations.children() if parametrize.is_parametrized(module) else ()  # type: ignore[union-attr]
    trained = [part for parts in lists for part in parts.modules() if part.training]
    for part in trained:
        part.training = False
    try:
        yield
    finally:
        for part in trained:
            part.training = True


def as_axes(value: Any) -> tuple[Any, ...]:
    """Return a size as a tuple."""
    return value if isinstance(value, tuple) else (value,)


def fold(weight: Any, bias: Any, norm: Any, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Fold a batch norm, as in evaluation, into the layer before it: (weight, bias).

    axis: the axis of the weight that holds the norm's channels.
    The result is computed in float64 and rounded to the precision of the weight.
    """
    mean, var = (to_numpy(x.double()) for x in (norm.running_mean, norm.running_var))
    scale = 1 / np.sqrt(var + norm.eps)
    if norm.weight is not None:
        scale = scale * to_numpy(norm.weight.double())
    shift = ((0.0 if bias is None else bias) - mean) * scale
    if norm.bias is not None:
        shift = shift + to_numpy(norm.bias.double())
    folded = weight * scale.reshape(-1, *[1] * (weight.ndim - 1 - axis))
    return folded.astype(weight.dtype), shift.astype(weight.dtype)


Sources = tuple[tuple[str, int], ...]  # (node, delay in ticks), whose outputs are added
_BatchNorm = (nn.BatchNorm1d, nn.BatchNorm2d)
# A BatchNorm behind one of them is folded into it.
_FOLDED = (nn.Linear, DelayedLinear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
_DROPOUTS = tuple(DROPOUTS)
_POINTWISE: dict[type[nn.Module], str] = {
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.SiLU: "silu",
    nn.ReLU: "relu",
}
_KNOWN: tuple[type[nn.Module], ...] = (
    *(Stack, Residual, Recurrent, Delay, Spiking, nn.Sequential, nn.Linear, DelayedLinear),
    *(nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.AvgPool2d, nn.MaxPool2d, nn.Upsample),
    *(nn.Flatten, nn.Unflatten, nn.Identity, *_DROPOUTS),
    *(*_BatchNorm, nn.Softmax, *_POINTWISE, CountedReLU),
)


_CURE = "build it from Stack, Residual, Recurrent, Delay, Spiking and torch layers"
_CURES: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    (
        (
            *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d),
            *(nn.LocalResponseNorm, nn.SyncBatchNorm),
        ),
        "a BatchNorm right behind a weight is folded into it",
    ),
    (
        (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
        "use AvgPool2d with the size of its windows, for a whole image (H, W)",
    ),
    (
        (nn.AvgPool1d, nn.AdaptiveAvgPool1d),
        "use a Conv1d with groups=channels, stride=k and all weights 1 / k",
    ),
    ((nn.MaxPool1d,), "use a Conv1d with a stride"),
    ((nn.ZeroPad1d, nn.ZeroPad2d), "use the padding of the convolution behind it"),
    (
        (
            *(nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.Softplus, nn.Hardtanh),
            *(nn.Hardsigmoid, nn.Hardswish, nn.Mish, nn.LogSoftmax),
        ),
        "use Spiking, or ReLU, SiLU, Sigmoid, Tanh or Softmax, which are host nodes",
    ),
)

_CALLS = ("__call__", "__getattr__", "__getattribute__")  # overriding one may change forward
_HARMLESS = frozenset(
    {
        *("extra_repr", "reset_parameters", "train", "eval", "state_dict", "load_state_dict"),
        *("_get_name", "_apply", "_save_to_state_dict", "_load_from_state_dict"),
    }
)


class TraceError(ValueError):
    """A module that cannot become a Graph; ``problems`` lists each part with its cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["the module cannot be traced:", *problems]))
        self.problems = problems


def trace(module: nn.Module, input_shape: tuple[int, ...] | None = None) -> Graph:
    """Return the Graph of a module as it acts in evaluation.

    Args:
        module: the module to trace.
        input_shape: shape of one tick of one sample: tuple(x.shape[2:]) for x with axes T B
            ...; a Net does not need it.

    Raises:
        TraceError: a Graph cannot hold the module; lists all parts that it cannot hold.
        GraphError: the parts do not fit together, or hold NaN.
    """
    if isinstance(module, Net) and type(module).forward is Net.forward:
        return module.graph()
    if not isinstance(module, nn.Module):
        cure = "Stack(..., Spiking(model)) makes one"
        raise make_type_error("module", "a torch module", module, cure)
    if input_shape is None:
        raise ValueError("trace needs input_shape, the shape of one tick, e.g. (1, 28, 28)")
    if input_shape == ():
        raise ValueError(
            "input_shape must have an axis besides ticks and samples, got (); for a single "
            "line use (1,), and x with axes T B 1"
        )
    entry = Input(shape=input_shape)
    tracer = Tracer(nodes={"input": entry})
    if has_global_hooks():
        tracer.problems.append(
            "hooks of all modules (torch.nn.modules.module.register_module_forward_hook) may "
            "act on any; remove them (the handle has remove())"
        )
    end = tracer.visit(module, "", (("input", 0),))
    if len(end) > 1 or any(delay for _, delay in end):
        tracer.problems.append(
            "the module ends in a Delay or a Residual, whose output is not a node; put a "
            "Spiking(...) behind it"
        )
    try:
        return tracer.graph()
    except GraphError as error:
        if hint := _explain_shape(entry.shape, tracer):
            raise GraphError([*error.problems, hint]) from error
        raise


def _explain_shape(shape: tuple[int, ...], tracer: "Tracer") -> str:
    """Return a hint if the input shape would fit without its first two axes, T B; or ""."""
    if len(shape) < 3:
        return ""
    try:
        replace(tracer, nodes={**tracer.nodes, "input": Input(shape=shape[2:])}).graph()
    except (GraphError, TypeError, ValueError):
        return ""
    return (
        f"input_shape is the shape of one tick of one sample, and {shape} seems to be "
        "the shape of x, T B ...; use tuple(x.shape[2:])"
    )


@dataclass
class Tracer:
    """A Graph that is built module by module, also from networks that no single module joins.

    nodes: at first the inputs. A module is connected to its sources: names of nodes, each with
        a delay in ticks, whose outputs are added. Modules act as in evaluation.
    """

    nodes: dict[str, Node]
    edges: list[Edge] = field(default_factory=list)
    dts: set[float] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def graph(self) -> Graph:
        """Return the Graph of the visited modules.

        Raises:
            TraceError: a Graph cannot hold a module; lists all modules that it cannot hold.
            GraphError: the parts do not fit together, or hold NaN.
        """
        problems = list(self.problems)
        if len(self.dts) > 1:
            problems.append(f"layers have different dt {sorted(self.dts)} s; use one for all")
        if not self.dts:
            problems.append("no Spiking layer: the module has no neurons")
        if problems:
            raise TraceError(problems)
        dt = Seconds(next(iter(self.dts)))
        return Graph(nodes=self.nodes, edges=tuple(self.edges), dt=dt)

    def add(self, name: str, node: Node, sources: Sources) -> Sources:
        """Add a node fed by ``sources``; return its output as a source."""
        if name in self.nodes:
            return self.refuse(name, "another node has this name; rename the module", sources)
        self.nodes[name] = node
        self.edges += [Edge(source, name, Ticks(delay)) for source, delay in sources]
        return ((name, 0),)

    def refuse(self, name: str, why: str, sources: Sources) -> Sources:
        """Note a problem and continue, so that all problems are reported together."""
        self.problems.append(f"{name or 'module'}: {why}")
        return sources

    def visit(self, module: nn.Module, name: str, sources: Sources) -> Sources:  # noqa: C901
        """Add a module fed by ``sources``; return its output as sources."""
        if any(is_lazy(p) for p in module.parameters(recurse=False)):
            why = f"{type(module).__name__} has no weights yet; run it on a stimulus first"
            return self.refuse(name, why, sources)
        acts = _list_overrides(module)
        if acts:
            why = f"{type(module).__name__} has {', '.join(acts)}, which a node cannot hold"
            return self.refuse(name, f"{why}; {_cure(module)}", sources)
        match module:
            case Stack() | nn.Sequential():
                temporal = any(isinstance(part, Temporal) for part in module.modules())
                if isinstance(module, nn.Sequential) and temporal:
                    why = "a Sequential passes on neither ticks nor state; make it a Stack"
                    self.refuse(name, why, sources)
                return self._sequence(list_steps(module), name, sources)
            case Residual():
                left = self.visit(module.body, _join(name, "body"), sources)
                right = self.visit(module.shortcut, _join(name, "shortcut"), sources)
                return left + right
            case Recurrent():
                return self._recurrent(module, name, sources)
            case Delay():
                return tuple((source, delay + module.ticks) for source, delay in sources)
            case Spiking():
                self.dts.add(float(module.dt))
                with parametrised_in_evaluation(module):
                    return self.add(name or "spiking", module.frozen(), sources)
            case (
                nn.Linear() | DelayedLinear() | nn.Conv1d() | nn.Conv2d() | nn.ConvTranspose2d()
            ):
                return self._weighted(module, None, name, sources)
            case nn.AvgPool2d() | nn.MaxPool2d():
                return self._pool(module, name, sources)
            case nn.Upsample():
                return self._upsample(module, name, sources)
            case nn.Flatten():
                if (module.start_dim, module.end_dim) != (1, -1):
                    return self.refuse(
                        name, "Flatten must keep only the batch: Flatten()", sources
                    )
                return self.add(name, Flatten(), sources)
            case nn.Unflatten():
                return self._unflatten(module, name, sources)
            case nn.Softmax():
                return self._softmax(module, name, sources)
            case nn.Sigmoid() | nn.Tanh() | nn.SiLU() | nn.ReLU():
                function = next(f for cls, f in _POINTWISE.items() if isinstance(module, cls))
                return self.add(name, Pointwise(function=function), sources)
            case CountedReLU():
                return self.add(name, module.frozen(), sources)
            case nn.Identity():
                return sources
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                why = (
                    "BatchNorm can only be folded into a weight right before it in the same "
                    "Stack; put it right behind its convolution or Linear, a Dropout or "
                    "AvgPool2d behind both, and the layers of a Sequential into the Stack"
                )
                return self.refuse(name, why, sources)
        if isinstance(module, _DROPOUTS):
            return sources
        if is_quantised(module):
            why = (
                f"a quantised {type(module).__name__} has no node in a Graph; trace the "
                "network before torch quantises it; lower(graph) makes integers"
            )
            return self.refuse(name, why, sources)
        cure = next((cure for kinds, cure in _CURES if isinstance(module, kinds)), _CURE)
        why = f"{type(module).__name__} has no node in a Graph; {cure}"
        return self.refuse(name, why, sources)

    def _sequence(
        self, children: list[tuple[str, nn.Module]], name: str, sources: Sources
    ) -> Sources:
        folded = {
            a
            for (a, m), (_, n) in pairwise(children)
            if isinstance(m, _FOLDED) and isinstance(n, _BatchNorm)
            if not _list_overrides(m) and not _list_overrides(n)
        }
        previous = ""
        for i, (key, child) in enumerate(children):
            if key in folded:
                norm: Any = children[i + 1][1]
                sources = self._weighted(child, norm, _join(name, key), sources)
            elif previous not in folded:
                sources = self.visit(child, _join(name, key), sources)
            previous = key
        return sources

    def _recurrent(self, module: Recurrent, name: str, sources: Sources) -> Sources:
        inner = _join(name, "spiking")
        out = self.visit(module.spiking, inner, sources)
        back = self.visit(module.feedback, _join(name, "feedback"), ((inner, module.delay),))
        self.edges += [Edge(source, inner, Ticks(delay)) for source, delay in back]
        return out

    def _softmax(self, module: nn.Softmax, name: str, sources: Sources) -> Sources:
        if not module.dim:  # 0 is the batch; for None torch would guess
            why = f"Softmax(dim={module.dim}) must run along an axis of one sample; use dim=1"
            return self.refuse(name, why, sources)
        return self.add(name, Softmax(axis=module.dim - (module.dim > 0)), sources)

    def _unflatten(self, module: nn.Unflatten, name: str, sources: Sources) -> Sources:
        sizes = module.unflattened_size
        if module.dim != 1 or not all(isinstance(n, int) and n > 0 for n in sizes):
            why = "Unflatten must split the axis behind the batch: Unflatten(1, (C, H, W))"
            return self.refuse(name, why, sources)
        return self.add(name, Unflatten(shape=tuple(sizes)), sources)

    def _pool(
        self, module: nn.AvgPool2d | nn.MaxPool2d, name: str, sources: Sources
    ) -> Sources:
        odd = as_pair(module.padding) != (0, 0) or module.ceil_mode
        if isinstance(module, nn.MaxPool2d):
            return self._max_pool(module, odd, name, sources)
        if odd or module.divisor_override is not None:
            why = "AvgPool2d with padding, ceil_mode or divisor_override; use the plain one"
            return self.refuse(name, why, sources)
        node = AvgPool2d(kernel=as_pair(module.kernel_size), stride=as_pair(module.stride))
        return self.add(name, node, sources)

    def _max_pool(
        self, module: nn.MaxPool2d, odd: bool, name: str, sources: Sources
    ) -> Sources:
        if odd or as_pair(module.dilation) != (1, 1) or module.return_indices:
            why = "MaxPool2d with padding, ceil_mode, dilation or indices; use the plain one"
            return self.refuse(name, why, sources)
        ((source, _), *more) = sources
        node = self.nodes[source]
        if more or not (is_neuron(node) and node.fires):
            cure = "put the pool behind the neuron and train it so, or use AvgPool2d"
            if isinstance(node, Input):
                cure = "start behind it, with its output as the stimulus, or use AvgPool2d"
            why = f"a maximum is a node only if it pools the spikes of one LIF or ALIF; {cure}"
            return self.refuse(name, why, sources)
        mean, cell = make_any_spike_nodes(module)
        return self.add(_join(name, "any"), cell, self.add(name, mean, sources))

    def _weighted(self, module: Any, norm: Any, name: str, sources: Sources) -> Sources:
        with parametrised_in_evaluation(module):
            own, bias = module.weight, module.bias
        if own.dtype not in (torch.float32, torch.float64):
            why = f"weights are {own.dtype}, a Graph holds float32 and float64"
            why += "; call .float() first"
            return self.refuse(name, why, sources)
        weight, bias = to_numpy(own), None if bias is None else to_numpy(bias)
        if norm is not None:
            if norm.running_mean is None:
                why = "BatchNorm without running statistics; use track_running_stats=True"
                return self.refuse(name, why, sources)
            axis = int(isinstance(module, nn.ConvTranspose2d))
            if norm.num_features != weight.shape[axis]:
                why = (
                    f"has {weight.shape[axis]} output features, and the BatchNorm behind it "
                    f"normalises {norm.num_features} along another axis; put a Flatten before "
                    "a Linear, and make the numbers equal"
                )
                return self.refuse(name, why, sources)
            with parametrised_in_evaluation(norm):
                weight, bias = fold(weight, bias, norm, axis)
        if isinstance(module, nn.Linear):
            return self.add(name, Dense(weight=weight, bias=bias), sources)
        if isinstance(module, DelayedLinear):
            return self._delayed(module, weight, bias, name, sources)
        cls = type(module).__name__
        spread = module.groups != 1 or any(d != 1 for d in as_axes(module.dilation))
        if spread and isinstance(module, nn.ConvTranspose2d):
            why = f"{cls} with groups or dilation; use Upsample and a Conv2d that has them"
            return self.refuse(name, why, sources)
        if isinstance(module.padding, str) or module.padding_mode != "zeros":
            return self.refuse(
                name, f"{cls} padding must be numbers, filled with zeros", sources
            )
        return self.add(name, convert_convolution(module, weight, bias), sources)

    def _delayed(
        self,
        module: DelayedLinear,
        weight: np.ndarray,
        bias: np.ndarray | None,
        name: str,
        sources: Sources,
    ) -> Sources:
        waits = np.broadcast_to(to_numpy(module.ticks()), weight.shape)
        if np.ptp(waits) == 0:
            later = tuple((source, delay + int(waits[0, 0])) for source, delay in sources)
            return self.add(name, Dense(weight=weight, bias=bias), later)
        target, source = np.indices(weight.shape).reshape(2, -1)
        delay = waits.ravel().astype(np.int32)
        node = Sparse.from_coo(
            *(source, target, weight.ravel()),
            shape=(module.outputs, module.inputs),
            delay=delay,
            bias=bias,
        )
        return self.add(name, node, sources)

    def _upsample(self, module: nn.Upsample, name: str, sources: Sources) -> Sources:
        scale = module.scale_factor
        whole = scale is not None and all(float(s).is_integer() for s in as_axes(scale))
        if module.mode != "nearest" or not whole:
            why = "Upsample must be nearest, by a whole scale_factor"
            return self.refuse(name, why, sources)
        high, wide = as_axes(scale)[0], as_axes(scale)[-1]
        return self.add(name, Upsample(scale=(int(high), int(wide))), sources)


def _list_overrides(module: nn.Module) -> list[str]:
    """List the methods and hooks that change the behaviour of a known module."""
    known = next((kind for kind in _KNOWN if isinstance(module, kind)), None)
    if known is None:
        return []
    acts = []
    for cls in type(module).__mro__[: type(module).__mro__.index(known)]:
        acts += [
            f"its own {name}"
            for name in vars(cls)
            if name in _CALLS or (hasattr(known, name) and not _is_harmless(name))
        ]
    hooks = {"forward hooks": module._forward_hooks, "pre-hooks": module._forward_pre_hooks}
    acts += [kind for kind, registered in hooks.items() if registered]
    if has_own_forward(module):
        acts.append("its own forward")
    return list(dict.fromkeys(acts))


def _is_harmless(name: str) -> bool:
    """Say whether a method has no effect on a module's output."""
    return name in _HARMLESS or (name.startswith("__") and name.endswith("__"))


def _cure(module: nn.Module) -> str:
    if module._forward_pre_hooks and hasattr(module, "weight"):
        return (
            "remove them first (prune.remove, remove_weight_norm, remove_spectral_norm), or "
            "use torch.nn.utils.parametrizations, which trace reads"
        )
    if module._forward_hooks or module._forward_pre_hooks:
        return "remove them (the handle that register_forward_hook returned has remove())"
    return "build it from the plain layers"


def _join(name: str, key: str) -> str:
    return f"{name}_{key}" if name else key
