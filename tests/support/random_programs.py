"""Builds LoihiPrograms with random parameters, for the reference and Lava side by side."""

from dataclasses import replace
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

    def resets(self, n: int) -> dict[str, Any]:
        """Draw what a spike of an alif does, and for how long."""
        rng = self.rng
        return {
            "refractory": int(rng.choice([0, 1, 3])),
            "hard": (hard := bool(rng.integers(2))),
            "reset_to": as_int32(rng.integers(-5000, 0, n)) if hard else None,
            "reset_by": None if hard or rng.integers(2) else as_int32(rng.integers(0, 9**5, n)),
        }

    def sparse(self, n: int, m: int) -> dict[str, Any]:
        """Draw about half of the synapses from n to m neurons."""
        places = np.argwhere(self.rng.random((m, n)) < 0.5).T
        weight = even(self.rng, places.shape[1])
        return {"kind": "sparse", "weight": weight, "places": as_int32(places), "sizes": (m, n)}

    def waits(self, n: int, m: int) -> dict[str, Any]:
        """Draw delays of n sources, of m targets, of both, or none."""
        rng = self.rng
        return {
            "delays_in": as_int32(rng.integers(0, 4, n)) if rng.integers(2) else None,
            "delays_out": as_int32(rng.integers(0, 6, m)) if rng.integers(2) else None,
        }

    def exponent(self) -> int:
        return int(self.rng.choice([-8, -3, 0, 0, 2, 7]))

    def program(self) -> LoihiProgram:
        return LoihiProgram(populations=tuple(self.parts), connections=tuple(self.links))


def draw_program(seed: int) -> LoihiProgram:
    """Return a program of random kinds: membranes, or (every third seed) coders of changes."""
    builder = Builder(seed)
    (draw_coders if seed % 3 == 2 else draw_membranes)(builder)
    return replace(builder.program(), ticks=10**4)


def draw_coders(b: Builder) -> None:
    rng = b.rng
    n, m = (int(x) for x in rng.integers(3, 8, 2))
    b.add("x", "input", (n,), 0, message_bits=int(rng.integers(2, 7)))
    more = {"cumulative": bool(rng.integers(2)), "message_bits": int(rng.integers(18, 25))}
    exps = {"spike_exp": int(rng.integers(3)), "state_exp": int(rng.integers(4))}
    b.add("delta", "delta", (n,), 1, **more, **exps, vth=as_int32(rng.integers(0, 40)))
    b.add(
        *("hidden", "sigma_delta", (m,), 2),
        **more,
        state_exp=int(rng.integers(4)),
        relu=bool(rng.integers(2)),
        bias_mant=as_int32(rng.integers(-900, 900, m)),
        bias_after=int(rng.integers(3)),
        vth=as_int32(rng.integers(0, 300)),
    )
    b.add("out", "sigma", (2,), 3)
    b.link("x", "delta", kind="identity", weight=as_int32(rng.choice([1, 2, 5], n)), **ONES)
    b.link("delta", "hidden", kind="dense", weight=even(rng, m, n) // 16 * 2)
    late = b.sparse(n, m) | b.waits(n, m)
    b.link("delta", "hidden", int(rng.integers(4)), **late, weight_exp=-3)
    b.link("hidden", "hidden", 2, kind="identity", weight=even(rng, m), weight_exp=-8)
    b.link("hidden", "out", kind="dense", weight=even(rng, 2, m) // 16 * 2, weight_exp=-1)


ONES: dict[str, Any] = {"sign_mode": "excitatory"}


def draw_membranes(b: Builder) -> None:
    rng = b.rng
    graded = int(rng.choice([0, 0, 9, 24]))
    (groups, outputs), kernel = ((1, 3), (2, 6), (4, 4))[rng.integers(3)], rng.integers(1, 4, 2)
    dilation = np.minimum(rng.integers(1, 4, 2), [4, 3] // np.maximum(kernel - 1, 1))
    conv: dict[str, Any] = {
        "kind": "conv",
        "weight": as_int32(rng.integers(-256, 256, (outputs, 4 // groups, *kernel))),
        "shape": (4, 5, 4),
        "stride": tuple(int(s) for s in rng.integers(1, 3, 2)),
        "padding": tuple(int(p) for p in rng.integers(0, 3, 2)),
        "dilation": tuple(int(d) for d in dilation),
        "groups": groups,
    }
    size = [
        int(n + 2 * p - (k - 1) * d - 1) // s + 1
        for n, k, p, s, d in zip(
            (5, 4), kernel, conv["padding"], conv["stride"], dilation, strict=True
        )
    ]
    image, m, n = outputs * size[0] * size[1], *(int(k) for k in rng.integers(3, 9, 2))
    b.add("x", "input", (4, 5, 4), 0, message_bits=graded)
    b.add("y", "input", (n,), 0)
    interval = {"reset_interval": int(rng.choice([0, 7])), "reset_offset": int(rng.integers(9))}
    bias = {"bias_mant": as_int32(rng.integers(-90, 900, image)), "bias_exp": as_int32(3)}
    b.add("image", "lif", (outputs, *size), 1, **b.lif(), **interval, **bias)
    b.add("mixed", "alif", (m,), 2, **(b.alif(m) | b.resets(m)), **interval)
    b.add("third", "ternary", (n,), 3, **b.lif(), vth_low=as_int32(-rng.integers(90)))
    b.add("out", "li", (2,), 4, du=as_int32([-1, 4095]), dv=as_int32([7, 4096]), **interval)
    b.link("x", "image", **conv, **b.waits(80, image))
    late = b.sparse(n, image) | b.waits(n, image)
    b.link("y", "image", int(rng.integers(3)), **late, weight_exp=b.exponent())
    full = {"kind": "dense", "weight": even(rng, m, image), **b.waits(image, m)}
    b.link("image", "mixed", **full, weight_exp=b.exponent())
    b.link("y", "mixed", 3, **b.sparse(n, m), weight_exp=b.exponent())
    loop = {"kind": "identity", "weight": even(rng, m), **b.waits(m, m)}
    b.link("mixed", "mixed", 2, **loop, weight_exp=b.exponent())
    b.link("mixed", "third", kind="dense", weight=even(rng, n, m))
    odd = as_int32(rng.integers(0, 256, n))
    b.link("third", "third", 1, kind="identity", weight=odd, **ONES)
    b.link("third", "out", 1, kind="dense", weight=even(rng, 2, n), weight_exp=b.exponent())
