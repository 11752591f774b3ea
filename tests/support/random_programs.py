"""Builds LoihiPrograms with random parameters, for the reference and Lava side by side."""

from typing import Any

import numpy as np

from lava_export.program import LoihiConnection, LoihiProgram, Population, as_int32
from neuro.spikes.record import Record


def same(one: Record, other: Record) -> None:
    assert one.spikes.keys() == other.spikes.keys()
    assert one.values.keys() == other.values.keys()
    for name, events in one.spikes.items():
        for a, b in zip(events, other.spikes[name], strict=True):
            assert np.array_equal(a, b), name
    for name, values in one.values.items():
        assert np.array_equal(values, other.values[name]), name


def even(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return as_int32(2 * rng.integers(-128, 128, shape))


class Builder:
    """Collects populations and connections with random parameters."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.lag: dict[str, int] = {}
        self.parts: list[Population] = []
        self.links: list[LoihiConnection] = []

    def add(self, name: str, kind: Any, shape: tuple[int, ...], lag: int, **more: Any) -> None:
        self.lag[name] = lag
        self.parts.append(Population(name=name, kind=kind, shape=shape, lag=lag, **more))

    def link(self, source: str, target: str, delay: int = 0, **more: Any) -> None:
        """Connect; ``delay`` is that of the graph."""
        extra = self.lag[target] - self.lag[source] + delay - 1
        name = f"{source}->{target}"
        self.links.append(
            LoihiConnection(name=name, source=source, target=target, extra=extra, **more)
        )

    def lif(self) -> dict[str, Any]:
        rng = self.rng
        return {
            "du": as_int32(rng.choice([0, 700, 4095])),
            "dv": as_int32(rng.choice([0, 300, 4095])),
            "vth": as_int32(rng.choice([0, 150, 600])),
        }

    def alif(self, n: int) -> dict[str, Any]:
        rng = self.rng
        return {
            "du": as_int32(rng.choice([0, 900, 4095], n)),
            "dv": as_int32(np.append(rng.integers(0, 4096, n - 1), 4096)),
            "vth": as_int32(rng.integers(0, 500, n)),
            "da": as_int32(rng.integers(0, 4096, n)),
            "beta": as_int32(rng.integers(0, 300, n)),
            "bias_mant": as_int32(rng.integers(-4096, 4096, n)),
            "bias_exp": as_int32(rng.integers(0, 4, n)),
            "hard": bool(rng.integers(2)),
            "bias_after": int(rng.integers(3)),
        }

    def program(self) -> LoihiProgram:
        return LoihiProgram(populations=tuple(self.parts), connections=tuple(self.links))
