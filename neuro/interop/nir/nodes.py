"""The nodes and edges of a NIR network: kinds, values and wiring checked, subgraphs flattened.

A node is named by its path: "rnn/lif" is node lif of subgraph rnn. The error lists every
problem with its node and a cure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuro.interop.hdf5 import Tree
from neuro.interop.nir.file import NirError, quote

LARGEST = float(np.finfo(np.float32).max)

# The values that a node needs, and the defaults of those that older files leave out.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "Input": ("shape",),
    "Output": ("shape",),
    "Affine": ("weight", "bias"),
    "Linear": ("weight",),
    "Scale": ("scale",),
    "Conv1d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
    "Conv2d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
    "SumPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "Flatten": (),
    "Delay": ("delay",),
    "Threshold": ("threshold",),
    "I": ("r",),
    "IF": ("r", "v_threshold"),
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"),
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "Conv1d": {"input_shape": None},
    "Conv2d": {"input_shape": None},
    "Flatten": {"input_type": None, "start_dim": 1, "end_dim": -1},
    "IF": {"v_reset": 0.0},
    "LIF": {"v_reset": 0.0},
    "CubaLI": {"w_in": 1.0},
    "CubaLIF": {"v_reset": 0.0, "w_in": 1.0},
}
FIRING = ("Threshold", "IF", "LIF", "CubaLIF")
INTEGRATING = ("I", "LI", "CubaLI")
NEURONS = (*FIRING, *INTEGRATING)
POINTWISE = (*NEURONS, "Scale", "Delay")  # their values have the shape of their input
SIZES = ("shape", "kernel_size", "stride", "padding", "dilation", "groups")
WHOLE = (*SIZES, "input_shape", "input_type", "start_dim", "end_dim")
FIRES, AT_THRESHOLD = "fires", "at the number after v_threshold"  # metadata of our writer
SINGLE = ("groups", "start_dim", "end_dim")
MAY_BE_NONE = ("bias", "input_shape", "input_type")


@dataclass(frozen=True, kw_only=True, eq=False)
class NirNode:
    """One node of a NIR network.

    kind: name of the node's class in NIR.
    values: arrays by name; a padding may be a word.
    inside: whether the node is an Input or Output of a subgraph; it hands its input on.
    inclusive: whether the neuron fires at the number after its threshold, as our writer notes.
    """

    kind: str
    values: Mapping[str, Any]
    inside: bool = False
    inclusive: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class NirNetwork:
    """Checked nodes by path and the edges between them. metadata: that of the whole network."""

    nodes: Mapping[str, NirNode]
    edges: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any]

    def into(self, name: str) -> list[str]:
        """Return the sources of a node, in order of the edges."""
        return [a for a, b in self.edges if b == name]

    def out_of(self, name: str) -> list[str]:
        """Return the targets of a node, in order of the edges."""
        return [b for a, b in self.edges if a == name]


def describe(name: str, node: NirNode) -> str:
    """Return the name of a node for messages."""
    return f"{name} ({node.kind})"


def check_tree(tree: Mapping[str, Any], what: str) -> NirNetwork:
    """Return the network of a tree.

    Args:
        tree: the tree of a file or of a NIRGraph.
        what: the start of an error message.

    Raises:
        NirError: the tree has problems; lists every one.
    """
    problems: list[str] = []
    nodes: dict[str, NirNode] = {}
    edges: list[tuple[str, str]] = []
    if _read_kind(tree) != "NIRGraph":
        cure = "wrap it: nir.NIRGraph.from_list(node)"
        problems.append(f"the outermost node is a {_read_kind(tree):.80}, no NIRGraph; {cure}")
    else:
        _collect(tree, "", nodes, edges, problems)
    network = NirNetwork(nodes=nodes, edges=tuple(sorted(edges)), metadata=_read_metadata(tree))
    if not problems:
        problems += _list_loose_ends(network)
    if problems:
        raise NirError(problems, what)
    return network


def _read_word(value: Any) -> Any:
    return value.decode("utf8", "replace") if isinstance(value, bytes) else value


def _read_kind(tree: Mapping[str, Any]) -> str:
    """Return the kind of a node; if the type is not a word, return it as text."""
    kind = _read_word(tree.get("type"))
    return kind if isinstance(kind, str) else quote(kind)


def _read_metadata(tree: Mapping[str, Any]) -> dict[str, Any]:
    notes = tree.get("metadata")
    return dict(notes) if isinstance(notes, Mapping) else {}


def _collect(
    tree: Mapping[str, Any],
    prefix: str,
    nodes: dict[str, NirNode],
    edges: list[tuple[str, str]],
    problems: list[str],
) -> None:
    """Add the nodes and edges of a graph and of its subgraphs."""
    where = prefix.rstrip("/") or "the network"
    members = tree.get("nodes")
    if not isinstance(members, Mapping):
        problems.append(f"{where}: has no nodes; write it again with nir.write")
        return
    ports: dict[str, tuple[list[str], list[str]]] = {}  # Inputs and Outputs of each subgraph
    for name, member in members.items():
        if not isinstance(member, Mapping):
            problems.append(f"{prefix}{name}: is no node; write it again with nir.write")
            continue
        kind = _read_kind(member)
        if kind == "NIRGraph":
            _collect(member, f"{prefix}{name}/", nodes, edges, problems)
            own = {k: _read_kind(m) for k, m in _members(member)}
            ports[name] = tuple(  # type: ignore[assignment]
                [f"{name}/{k}" for k, of in own.items() if of == port]
                for port in ("Input", "Output")
            )
            continue
        node = _check_node(f"{prefix}{name}", kind, member, bool(prefix), problems)
        if node is not None:
            nodes[f"{prefix}{name}"] = node
    for a, b in _check_edges(tree.get("edges"), where, members, problems):
        ends: list[str] = []
        for end, port, side in ((a, 1, "Output"), (b, 0, "Input")):
            inner = ports.get(end, ((end,), (end,)))[port]
            if len(inner) != 1:
                problems.append(
                    f"edge {prefix}{a} -> {prefix}{b}: subgraph {end} has {len(inner)} {side} "
                    "nodes, and NIR does not say which is meant; give it one"
                )
            ends += inner[:1]
        if len(ends) == 2:
            edges.append((f"{prefix}{ends[0]}", f"{prefix}{ends[1]}"))


def _members(tree: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    nodes = tree.get("nodes")
    if not isinstance(nodes, Mapping):
        return []
    return [(k, m) for k, m in nodes.items() if isinstance(m, Mapping)]


def _check_edges(
    edges: Any, where: str, names: Mapping[str, Any], problems: list[str]
) -> list[tuple[str, str]]:
    """Return the edges of a graph whose ends exist; add a problem for every other edge."""
    pairs: list[tuple[str, str]] = []
    listed = isinstance(edges, list | tuple) or (
        isinstance(edges, np.ndarray) and (edges.ndim == 2 or not edges.size)
    )
    if not listed:
        problems.append(f"{where}: has no list of edges; write it again with nir.write")
        return pairs
    for edge in edges:
        ends = [_read_word(end) for end in edge]
        if len(ends) != 2 or not all(isinstance(end, str) for end in ends):
            problems.append(f"{where}: {quote(edge)} is no edge; an edge is (source, target)")
            continue
        a, b = ends
        lost = [end for end in (a, b) if end not in names]
        if lost:
            have = ", ".join(map(str, names))
            problems.append(f"{where}: edge {a} -> {b}: no node {lost[0]!r}; have {have}")
        elif (a, b) in pairs:
            problems.append(f"{where}: edge {a} -> {b} is there twice; keep one")
        else:
            pairs.append((a, b))
    return pairs


def _check_node(
    name: str, kind: Any, member: Mapping[str, Any], inside: bool, problems: list[str]
) -> NirNode | None:
    """Return a node with its values as arrays; add its problems to the list."""
    if kind not in NEEDED:
        known = ", ".join(NEEDED)
        problems.append(
            f"{name}: unknown kind of node {quote(kind)}; known are {known}; write what it "
            "computes with these"
        )
        return None
    defaults = DEFAULTS.get(kind, {})
    needed = {*NEEDED[kind]} - {*member}
    if needed:
        lost = ", ".join(sorted(needed))
        problems.append(f"{name} ({kind}): has no {lost}; write it again with nir.write")
    strange = {*member} - {*NEEDED[kind], *defaults, "type", "metadata"}
    if strange:
        problems.append(
            f"{name} ({kind}): {', '.join(sorted(strange))} is unknown to NIR 1.0; remove it"
        )
    values = dict(defaults)
    for field in (*NEEDED[kind], *defaults):
        if field in member:
            checked = _check_value(f"{name} ({kind}).{field}", field, member[field], problems)
            if checked is not None or field in MAY_BE_NONE or field not in defaults:
                values[field] = checked
    if needed:
        return None
    if kind in POINTWISE:
        values = {k: _as_parameter(v) for k, v in values.items() if v is not None}
    fires = _read_word(_read_metadata(member).get(FIRES))
    inclusive = isinstance(fires, str) and fires == AT_THRESHOLD
    # Our writer notes the number below a threshold of 0; it is only compared.
    node = f"{name} ({kind})"
    found = {
        k: find_lost(v) for k, v in values.items() if not (inclusive and k == "v_threshold")
    }
    cure = "scale it up, or write 0"
    problems += [
        f"{node}.{k}: {lost:g} is 0 in float32; {cure}" for k, lost in found.items() if lost
    ]
    return NirNode(
        kind=kind,
        values=values,
        inside=inside and kind in ("Input", "Output"),
        inclusive=inclusive,
    )


def find_lost(value: Any) -> float:
    """Return the first number of an array that float32 rounds to 0; 0 if there is none."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return 0.0
    return float(value[(value != 0) & (value.astype(np.float32) == 0)].ravel()[:1].sum())


def _as_parameter(value: Any) -> np.ndarray:
    """Return a parameter in float64; a single value gets shape (1,), for all neurons."""
    array = np.asarray(value, np.float64)
    return array.reshape(1) if array.size == 1 else array


def _check_value(where: str, field: str, value: Any, problems: list[str]) -> Any:
    """Return a value as an array, a word or None; add its problem to the list."""
    value = _read_word(value)
    if value is None and field in MAY_BE_NONE:
        return None
    if isinstance(value, str):
        if field == "padding" and value in ("same", "valid"):
            return value
        cure = "'same', 'valid' or numbers" if field == "padding" else "numbers"
        problems.append(f"{where}: is the word {quote(value)}; give {cure}")
        return None
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError):
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        problems.append(f"{where}: holds no numbers but {quote(value)}; give numbers")
        return None
    problem = _find_problem(field, array)
    if problem:
        problems.append(f"{where}: {problem}")
        return None
    if field in WHOLE:
        return array.astype(np.int64).reshape(() if field in SINGLE else array.shape)
    return array


def _find_problem(field: str, array: np.ndarray) -> str:
    """Return what is wrong with an array of numbers, with the cure; "" if it is valid."""
    if not array.size or (field in SINGLE and array.size != 1):
        wanted = "one number" if field in SINGLE else "at least one number"
        return f"has shape {array.shape}; give {wanted}"
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(map(int, np.argwhere(bad)[0])) if array.ndim else "the value"
        return (
            f"{int(bad.sum())} of {array.size} values are NaN or infinite (first at {first}); "
            "look at what they were computed from"
        )
    largest = float(np.abs(array.astype(np.float64)).max())
    if largest > LARGEST:
        return f"{largest:.3g} is no float32; scale the network down"
    if field in WHOLE and ((array != np.rint(array)).any() or array.dtype.kind == "b"):
        return f"{array.tolist()} is not whole; give whole numbers"
    return ""


def _list_loose_ends(network: NirNetwork) -> list[str]:
    """Return the problems of inputs, outputs and nodes that have no source or no target."""
    problems = []
    kinds = [(n.kind, n.inside) for n in network.nodes.values()]
    if ("Input", False) not in kinds:
        problems.append("no Input: add one with its shape, nir.Input(input_type=...)")
    for name, node in network.nodes.items():
        ins, outs = network.into(name), network.out_of(name)
        own = describe(name, node)
        outermost = node.kind in ("Input", "Output") and not node.inside
        if node.kind == "Input" and outermost:
            if ins:
                problems.append(f"{own}: takes no edge; remove {ins[0]} -> {name}")
        elif not [a for a in ins if a != name]:
            problems.append(f"{own}: no edge feeds it; connect or remove it")
        if node.kind == "Output" and outermost:
            if outs:
                problems.append(f"{own}: feeds nothing; remove {name} -> {outs[0]}")
        elif not outs and node.kind not in NEURONS:
            problems.append(f"{own}: nothing follows it; connect it to an Output")
    cycle = _find_cycle(network, lambda name: network.nodes[name].kind not in NEURONS)
    if cycle:
        problems.append(f"loop {' -> '.join(cycle)} holds no neuron; put one into it")
    return problems


def _find_cycle(network: NirNetwork, among: Any) -> list[str]:
    """Return the names along one cycle of the nodes ``among``, from a node back to itself."""
    for edge in walk_back_edges(network.edges, sorted(filter(among, network.nodes)), among):
        a, b = edge
        return [*_find_way(network, b, a, among), b]
    return []


def _find_way(network: NirNetwork, start: str, end: str, among: Any) -> list[str]:
    """Return the names on a path from ``start`` to ``end``."""
    before: dict[str, str] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop(0)
        if name == end:
            break
        for target in filter(among, network.out_of(name)):
            if target not in before and target != start:
                before[target] = name
                waiting.append(target)
    way = [end]
    while way[0] != start:
        way.insert(0, before[way[0]])
    return way


def walk_back_edges(
    edges: tuple[tuple[str, str], ...], starts: list[str], among: Any
) -> Iterator[tuple[str, str]]:
    """Yield the edges that close a loop on a depth-first walk, ordered by name."""
    targets: dict[str, list[str]] = {}
    for a, b in edges:
        if among(a) and among(b):
            targets.setdefault(a, []).append(b)
    open_nodes: set[str] = set()
    done: set[str] = set()
    for start in starts:
        if start in done:
            continue
        open_nodes.add(start)
        path = [(start, iter(sorted(targets.get(start, []))))]
        while path:
            name, rest = path[-1]
            target = next(rest, None)
            if target is None:
                path.pop()
                open_nodes.discard(name)
                done.add(name)
            elif target in open_nodes:
                yield name, target
            elif target not in done:
                open_nodes.add(target)
                path.append((target, iter(sorted(targets.get(target, [])))))


__all__ = ["NirError", "NirNetwork", "NirNode", "Tree", "check_tree", "walk_back_edges"]
