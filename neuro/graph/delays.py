"""Lags of populations on a chip, where every connection takes a step of its own."""

from neuro.graph.graph import Graph
from neuro.graph.paths import Route


def find_tight_loops(graph: Graph, routes: list[Route]) -> list[str]:
    """Return each loop whose delays add up to less than its connections, with a cure."""
    problems = []
    for group in graph.components:
        inside = [r for r in routes if r.source in group and r.target in group]
        loop = _find_tight_loop(inside)
        if loop:
            names = " -> ".join([*(r.source for r in loop), loop[-1].target])
            problems.append(
                f"loop {names}: its delays add up to {sum(r.delay for r in loop)} ticks, but "
                f"every connection of a chip takes one step; make them at least {len(loop)}"
            )
    return problems


def _find_tight_loop(inside: list[Route]) -> list[Route]:
    """Return the routes of a loop along which lags would grow without end, if any."""
    lag = {name: 0 for r in inside for name in (r.source, r.target)}
    came: dict[str, Route] = {}
    for _ in range(len(lag) + 1):
        last = ""
        for r in inside:
            if lag[r.target] < lag[r.source] + 1 - r.delay:
                lag[r.target] = lag[r.source] + 1 - r.delay
                came[r.target], last = r, r.target
    if not last:
        return []
    for _ in lag:  # back far enough to stand inside the loop
        last = came[last].source
    loop = [came[last]]
    while loop[0].source != last:
        loop.insert(0, came[loop[0].source])
    return loop


def assign_lags(names: list[str], routes: list[Route]) -> dict[str, int]:
    """Return the lag of each population [steps]: its tick t happens at step t + lag.

    It is the least, from 0 on, with lag[target] >= lag[source] + 1 - delay on every route.
    """
    lag = dict.fromkeys(names, 0)
    for _ in names:
        for r in routes:
            lag[r.target] = max(lag[r.target], lag[r.source] + 1 - r.delay)
    return lag
