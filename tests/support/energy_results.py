"""What the verb energy finds, for tests of results and of the report."""

from typing import Any

CONVENTION: dict[str, Any] = {
    "snn": 1.76e-7,
    "ann": 4.09e-7,
    "spikes_per_synapse": 0.807,
    "break_even_spikes_per_synapse": 5.11,
    "break_even_rate": 1.28,
}


def span(nominal: float) -> dict[str, float]:
    return {"low": nominal / 2, "nominal": nominal, "high": 3 * nominal}


def chip(title: str, joules: float, *layers: str, **use: float) -> dict[str, Any]:
    """Return a chip; use: of its limits by the first layer, which the first of them binds."""
    first = {"neurons": 1300, "cores": 2, "neurons_per_core": 650, "use": use}
    first["binds"] = next(iter(use))
    other = {**first, "neurons": 7, "cores": 1, "use": {}, "binds": ""}
    parts = {"synapse": 0.75, "active": 0.25}
    share = 1 / len(layers)
    return {
        "title": title,
        "core": span(joules),
        "chip": span(10 * joules),
        "static_share": 0.345,
        "layers": {
            name: {
                **span(share * joules),
                "parts": {part: x * share * joules for part, x in parts.items()},
            }
            for name in layers
        },
        "mapping": {
            "cores": 1 + len(layers),
            "chips": 1,
            "layers": dict(zip(layers, [first, *[other] * (len(layers) - 1)], strict=True)),
            "problems": [f"{title}: {layers[-1]} is too large"],
            "loads": {
                "core": [0, 1, 128],
                "layer": [layers[0], layers[0], layers[-1]],
                "chip": [0, 0, 1],
                "x": [0, 0, 8],
                "y": [0, 0, 0],
                "in_tile": [0, 1, 0],
                "memory": [1e-3, 5e-4, 0.0],
                "compute": [2e-4, 1e-4, 1e-4],
                "sending": [0.0, 0.0, 0.0],
                "arriving": [2e-4, 1e-4, 0.0],
                "binds": ["memory", "memory", "compute"],
            },
        },
        "latency": {
            "inference": span(2e-3),
            "tick": span(4e-5),
            "bottleneck": layers[-1],
            "states": {"memory": 1e-3, "compute": 2e-4, "traffic": 3e-4, "barrier": 5e-4},
            "binds": "memory",
        },
    }
