"""Which of two nodes of a graph can be reached from a root: like ProsQA, with symbols.

The graph has two trees whose targets are equally deep, and further edges between all nodes. No
further edge leads from one root to the other target or shortens a path. The question lists the
edges in random order, both targets and one of the roots; the steps are the nodes on the path.
Both targets look alike: only the path from the root tells which one is the answer.
(Hao et al. 2024, arXiv 2412.06769; symbols as in Zhu et al. 2025, arXiv 2505.12514.)
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from drivers.puzzles.puzzle import (
    Puzzle,
    PuzzleItem,
    UnsolvablePuzzleError,
    Words,
    require_sizes,
)

ASK, FROM = "?", ">"  # before the targets, and before the root
TRIES = 60  # graphs to try per item, and edges to try per edge of a graph
Edge = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Reachability(Puzzle):
    """nodes: number of nodes, even. edges: number of edges; 0: nodes + 2.

    least, most: bounds of the number of steps from the root to its target.

    Raises:
        ValueError: too few nodes for ``most`` steps, too few edges for two trees, or odd nodes.
    """

    nodes: int = 12
    edges: int = 0
    least: int = 2
    most: int = 4

    def __post_init__(self) -> None:
        require_sizes(
            "Reachability",
            nodes=(self.nodes, 2 * (self.most + 1)),
            least=(self.least, 1),
            most=(self.most, self.least),
            edges=(self.count_edges, self.nodes - 2),
        )
        if self.nodes % 2:
            raise ValueError(f"Reachability: nodes is {self.nodes}; give an even number")

    @property
    def count_edges(self) -> int:
        """The number of edges."""
        return self.edges or self.nodes + 2

    @property
    def symbols(self) -> Words:
        """The nodes and both marks."""
        return (*(str(k) for k in range(self.nodes)), ASK, FROM)

    def draw(self, rng: np.random.Generator) -> PuzzleItem:
        """Return a random item.

        Raises:
            ValueError: the nodes have no room for this many edges.
        """
        depth = int(rng.integers(self.least, self.most + 1))
        for _ in range(TRIES):
            edges = self._draw_edges(rng, depth)
            if edges is not None:
                break
        else:
            raise ValueError(
                f"Reachability: {self.count_edges} edges do not fit {self.nodes} nodes at "
                f"depth {depth}; give fewer edges, or more nodes"
            )
        half = self.nodes // 2
        ways = {0: tuple(range(depth + 1)), half: tuple(range(half, half + depth + 1))}
        root = (0, half)[int(rng.integers(2))]
        targets = [depth, half + depth]
        rng.shuffle(targets)
        rng.shuffle(edges)
        names = [str(k) for k in rng.permutation(self.nodes)]
        question = [word for a, b in edges for word in (names[a], names[b])]
        question += [ASK, *(names[k] for k in targets), FROM, names[root]]
        way = [names[k] for k in ways[root][1:]]
        return PuzzleItem(tuple(question), tuple((n,) for n in way), (way[-1],))

    def _draw_edges(self, rng: np.random.Generator, depth: int) -> list[Edge] | None:
        """Return a graph with a path of ``depth`` edges from node 0 to node ``depth``, and the
        same in its other half; None if ``count_edges`` edges do not fit."""
        half, edges = self.nodes // 2, list[Edge]()
        for first in (0, half):
            edges += [(first + k, first + k + 1) for k in range(depth)]
            edges += [(first + int(rng.integers(k)), first + k) for k in range(depth + 1, half)]
        goals = ((0, depth), (half, half + depth))
        for _ in range(TRIES * self.count_edges):
            if len(edges) >= self.count_edges:
                return edges
            a, b = (int(k) for k in rng.choice(self.nodes, 2, replace=False))
            if (a, b) in edges or measure_distance(edges, b, a) is not None:
                continue
            more = [*edges, (a, b)]
            apart = [measure_distance(more, g[0], h[1]) for g in goals for h in goals]
            if apart == [depth, None, None, depth]:
                edges = more
        return None

    def solve(self, question: Words) -> Words:
        """Return the target that a breadth-first search finds from the root."""
        text, (ask, one, other, mark, root) = question[:-5], (*[""] * 5, *question)[-5:]
        if (ask, mark) != (ASK, FROM) or len(text) % 2:
            raise UnsolvablePuzzleError(f"no edges, targets and root: {' '.join(question)}")
        edges = list(zip(text[::2], text[1::2], strict=True))
        found = [t for t in (one, other) if measure_distance(edges, root, t) is not None]
        if len(found) != 1:
            raise UnsolvablePuzzleError(
                f"{len(found)} of the targets {one} and {other} can be reached from {root}; "
                "exactly one must be"
            )
        return (found[0],)


def measure_distance(
    edges: Iterable[tuple[object, object]], a: object, b: object
) -> int | None:
    """Return the number of edges on the shortest path from a to b, or None without a path."""
    after: dict[object, list[object]] = {}
    for tail, head in edges:
        after.setdefault(tail, []).append(head)
    far, queue = {a: 0}, deque([a])
    while queue:
        node = queue.popleft()
        if node == b:
            return far[node]
        for head in after.get(node, ()):
            if head not in far:
                far[head] = far[node] + 1
                queue.append(head)
    return None
