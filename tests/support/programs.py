"""A small LoihiProgram that several tests share."""

from dataclasses import fields

import numpy as np

from lava_export.program import LoihiConnection, LoihiProgram, Population, as_int32


def program() -> LoihiProgram:
    return LoihiProgram(
        populations=(
            Population(name="x", kind="input", shape=(1, 3, 3)),
            Population(
                name="conv/1",
                kind="alif",
                shape=(2, 2, 2),
                lag=1,
                scale=12.5,
                reset_to=as_int32(np.arange(8) - 8),
            ),
            Population(name="out", kind="li", shape=(2,), lag=2, bias_mant=as_int32([3, -4])),
        ),
        connections=(
            LoihiConnection(
                name="conv",
                source="x",
                target="conv/1",
                kind="conv",
                weight=as_int32(2 * np.arange(8).reshape(2, 1, 2, 2)),
                shape=(1, 3, 3),
            ),
            LoihiConnection(
                name="fc",
                source="conv/1",
                target="out",
                kind="dense",
                weight=as_int32(np.ones((2, 8)) * 2),
                extra=3,
            ),
        ),
    )


def same(one: LoihiProgram, other: LoihiProgram) -> bool:
    pairs = [
        *zip(one.populations, other.populations, strict=True),
        *zip(one.connections, other.connections, strict=True),
    ]
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name))
        and type(getattr(a, f.name)) is type(getattr(b, f.name))
        for a, b in pairs
        for f in fields(a)
    )
