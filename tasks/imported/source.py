"""The source of an import: a file of NIR or lava-dl, a Graph, or a function that returns one.

The classes inside a module determine the library that runs it. A function is called without
arguments; its file runs like a script, with its folder on the path.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import nn

from neuro.base.arguments import describe
from neuro.base.text import format_model
from neuro.base.version import __version__
from neuro.graph import Graph
from neuro.interop.imported import ImportedNetwork, MappedNode, SourceRun
from neuro.interop.parameters import require_readable
from neuro.io.graph_file import load_graph
from neuro.nn.layers import Temporal
from neuro.nn.net import Net
from neuro.nn.trace import trace
from tasks.runs.find import digest, run_file
from tasks.runs.names import UnknownName, require_one_of
from tasks.runs.settings import read_value

KINDS = (
    "a .nir file, a .net file of lava-dl, a .safetensors file of a Graph, or file.py:function"
)
READERS = {  # module and function that return an ImportedNetwork, imported when used
    "nir": "neuro.interop.nir:read",
    "net": "neuro.interop.lava_dl:read",
    "snntorch": "neuro.interop.snntorch:import_module",
    "norse": "neuro.interop.norse:import_module",
    "spikingjelly": "neuro.interop.spikingjelly:import_module",
    "lava": "neuro.interop.slayer:import_module",
}
# Recognised by the packages of modules; lava: blocks of lava-dl.
LIBRARIES = ("snntorch", "norse", "spikingjelly", "lava")
OTHERS = ("sinabs", "rockpool", "spyx", "bindsnet", "brevitas")  # without a reader


class SourceError(ValueError):
    """The source cannot be imported; the message says why, with the cure."""


@dataclass(frozen=True, kw_only=True)
class OpenedSource:
    """A source after reading.

    folder, name: folder and name of its file.
    function: "" if the file holds the network itself. digest: SHA-256 of the file.
    """

    network: ImportedNetwork
    folder: Path
    name: str
    function: str
    digest: str


def open_source(
    source: str, shape: tuple[int, ...] | None = None, choices: Mapping[str, str] | None = None
) -> OpenedSource:
    """Read the network of a source.

    shape: of one tick of one sample; a module does not contain it.
    choices: keywords of the reader in :mod:`neuro.interop` that the source leaves open; text.

    Raises:
        SourceError: there is no such source, or no reader for it.
        TaskFileError: the Python file of the source cannot be run.
        ValueError: a reader refuses the source; lists every reason with its cure.
    """
    choices = dict(choices or {})
    file, colon, function = source.rpartition(":")
    if not (colon and file.endswith(".py")):
        file, function = source, ""
    path = Path(file)
    if path.suffix not in (".nir", ".net", ".safetensors", ".py"):
        raise SourceError(f"{source} is not {KINDS}{_explain_kind(path)}")
    if not path.is_file():
        raise SourceError(f"{path}: no such file; SOURCE is {KINDS}")
    if path.suffix == ".py":
        network = _import_value(
            _call(path, function), f"{path.name}:{function}", shape, choices
        )
    elif path.suffix in (".nir", ".net"):
        network = _read(READERS[path.suffix[1:]], f"a {path.suffix} file", choices, path)
    else:
        _refuse_choices(choices, "a Graph")
        network = import_graph(load_graph(path))
    return OpenedSource(
        network=network,
        folder=path.parent,
        name=path.name,
        function=function,
        digest=digest(path.read_bytes()),
    )


@dataclass(frozen=True, kw_only=True)
class LoadedModule:
    """A torch module of a Python file; see :class:`OpenedSource`."""

    module: nn.Module
    name: str
    function: str
    digest: str


def load_module(source: str) -> LoadedModule:
    """Return the torch module that a function in a Python file returns.

    source: file.py:function.

    Raises:
        SourceError: there is no such source, or it returns something else.
        TaskFileError: the file cannot be run.
    """
    file, colon, function = source.rpartition(":")
    path = Path(file)
    if not (colon and path.suffix == ".py" and path.is_file()):
        raise SourceError(f"{source} is neither a run folder nor file.py:function of a file")
    module = _call(path, function)
    if not isinstance(module, nn.Module):
        raise SourceError(f"{source} returned {describe(module)}; return a torch module")
    return LoadedModule(
        module=module, name=path.name, function=function, digest=digest(path.read_bytes())
    )


def _explain_kind(path: Path) -> str:
    if path.suffix in (".pt", ".pth", ".ckpt", ".bin"):
        return (
            ": a checkpoint holds weights without the network that they belong to; write a "
            "function that builds the network, loads them and returns it"
        )
    if path.is_dir():
        return ": it is a folder without the config.json of a MatMul-free language model"
    return ""


def _call(path: Path, name: str) -> Any:
    """Return the result of a function in a file, or the network that has this name there."""
    with _on_path(path.parent):
        module = run_file(path)
        names = [n for n, value in vars(module).items() if _is_source(module, value)]
        if not name:
            raise SourceError(
                f"{path}: names no function; write {path}:NAME"
                + (f", such as {path}:{names[0]}" if names else "")
            )
        if name not in vars(module):
            require_one_of(name, names or ["none"], f"function in {path}:")
        value = getattr(module, name)
        if isinstance(value, nn.Module | Graph | ImportedNetwork) or not callable(value):
            return value
        needed = [
            p.name
            for p in signature(value).parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        if needed:
            raise SourceError(
                f"{path}: {name} takes {', '.join(needed)}, and is called without arguments; "
                f"write a function that calls it: def make(): return {name}(...)"
            )
        return value()


def _is_source(module: Any, value: Any) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return own and (callable(value) or isinstance(value, Graph))


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """Let imports find the modules in a folder, as for a script."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)


def _import_value(
    value: Any, source: str, shape: tuple[int, ...] | None, choices: Mapping[str, str]
) -> ImportedNetwork:
    """Import the network that the user's function returned."""
    if isinstance(value, ImportedNetwork):
        _refuse_choices(choices, f"{source}, which imports itself")
        return value
    if isinstance(value, Net):
        value = value.graph()
    if isinstance(value, Graph):
        _refuse_choices(choices, "a Graph")
        return import_graph(value)
    if type(value).__module__.partition(".")[0] == "nir":
        return _read(READERS["nir"], "a NIR graph", choices, value)
    if not isinstance(value, nn.Module):
        raise SourceError(
            f"{source} returned {describe(value)}; return a torch module of snnTorch, Norse or "
            "SpikingJelly, a Stack or a Graph of neuro, or an ImportedNetwork"
        )
    require_readable(value)
    library = find_library(value, source)
    if shape is None:
        raise SourceError(
            f"{source}: a module does not say the shape of its input; give --shape, of one "
            "tick of one sample, such as --shape 2,34,34, or a --stimulus of one array with "
            "axes (ticks, samples, shape), and beside it none but 'labels'"
        )
    if library == "neuro":
        _refuse_choices(choices, "a Stack")
        return import_stack(value, shape)
    return _read(READERS[library], f"a module of {library}", choices, value, shape)


def find_library(module: nn.Module, source: str) -> str:
    """Return the library whose neurons a module contains.

    Raises:
        SourceError: the module has no neurons, or neurons of several libraries.
    """
    packages = {type(m).__module__.partition(".")[0]: m for m in module.modules()}
    found = [name for name in LIBRARIES if name in packages]
    if len(found) > 1:
        raise SourceError(
            f"{source}: has parts of {' and '.join(found)}; a network is read by one of them: "
            "replace the parts of the other"
        )
    if found:
        return found[0]
    if isinstance(module, Temporal):
        return "neuro"
    for name in OTHERS:
        if name in packages:
            raise SourceError(
                f"{source}: {type(packages[name]).__name__} is of {name}, which is read "
                "through NIR: write the network as a .nir file with it, and import that"
            )
    raise SourceError(
        f"{source}: {type(module).__name__} holds no neuron of snnTorch, Norse, SpikingJelly "
        "or neuro; neurons that are written in its forward must become one of theirs first, "
        "and neuro convert takes an ANN"
    )


def _read(
    reader: str, what: str, choices: Mapping[str, str], *source: object
) -> ImportedNetwork:
    """Read a source with a reader of ``READERS``."""
    module, _, name = reader.partition(":")
    read = getattr(import_module(module), name)
    network: ImportedNetwork = read(*source, **_read_choices(read, choices, what))
    return network


def _read_choices(
    reader: Callable[..., Any], choices: Mapping[str, str], what: str
) -> dict[str, Any]:
    """Return the choices as keywords of a reader; raise if a name or a type is wrong."""
    hints = get_type_hints(reader)
    known = [
        p.name
        for p in signature(reader).parameters.values()
        if p.kind is p.KEYWORD_ONLY and not _is_function(hints[p.name])
    ]
    for name in choices:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise UnknownName(f"--set: {what} leaves no {name!r} open; {hint}")
    return {name: read_value(text, hints[name], name) for name, text in choices.items()}


def _is_function(hint: Any) -> bool:
    """Say whether a type is a function type, which text cannot express."""
    return get_origin(hint) is Callable or any(map(_is_function, get_args(hint)))


def _refuse_choices(choices: Mapping[str, str], what: str) -> None:
    if choices:
        raise UnknownName(
            f"--set: {what} leaves nothing open, so there is no {', '.join(choices)}; leave it "
            "out"
        )


def import_graph(graph: Graph) -> ImportedNetwork:
    """Import a Graph of ours, which has no other library to be compared with."""
    return ImportedNetwork(
        graph=graph,
        library=f"neuro {__version__}",
        mapping=(),
        choices={},
        run_source=lambda _: SourceRun({}, {}, {}),
    )


def import_stack(stack: nn.Module, shape: tuple[int, ...]) -> ImportedNetwork:
    """Import a Stack of ours; its source shows only the output."""
    graph = trace(stack.eval(), shape)
    mapping = [
        MappedNode(node=name, source=name, became=format_model(node))
        for name, node in graph.nodes.items()
    ]
    network = replace(import_graph(graph), mapping=tuple(mapping))
    if len(graph.outputs) != 1 or len(graph.inputs) != 1:
        return network
    module, (output,) = deepcopy(stack).double(), graph.outputs

    @torch.no_grad()
    def run(inputs: Mapping[str, np.ndarray]) -> SourceRun:
        (x,) = inputs.values()
        return SourceRun({output: module(torch.from_numpy(x))[0].numpy()}, {}, {})

    return replace(network, run_source=run)
