"""What a comparison of the executors found, of one network or of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lava_export.parity import Parity, join_parities
from neuro.networks import join_layers, join_messages, name_layer
from tasks.runs.results import KEY


@dataclass(frozen=True, kw_only=True)
class Verification:
    """``verify.json``; :func:`tasks.verbs.verify.verify_samples` says what its figures mean.

    layers, flips: by layer. unexplained: differences that rounding cannot bring about. misfits:
    why there are no integers; none where there are. measured_on: digests of the graph and of
    the stimuli. without_metric: networks that no metric covers.
    """

    layers: Mapping[str, Mapping[str, Any]]
    flips: Mapping[str, Mapping[str, Any]]
    unexplained: Sequence[Mapping[str, Any]]
    parity: Parity
    quantisation: Mapping[str, float]
    metrics: Mapping[str, Mapping[str, float]]
    n: int
    ticks: int
    misfits: Sequence[str]
    measured_on: Mapping[str, str]
    without_metric: Sequence[str] = ()

    @property
    def mismatches(self) -> int:
        """Differences between torch and the event engine, of all layers."""
        return sum(layer["mismatches"] for layer in self.layers.values())

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a results file."""
        return {
            "torch_events": {
                "layers": dict(self.layers),
                "mismatches": self.mismatches,
                "float32_flips": dict(self.flips),
                "unexplained": list(self.unexplained),
            },
            "reference_lava": self.parity.as_json(),
            "quantisation": dict(self.quantisation),
            "metrics": dict(self.metrics),
            "n": self.n,
            "ticks": self.ticks,
            **({"misfits": list(self.misfits)} if self.misfits else {}),
            **({"without_metric": list(self.without_metric)} if self.without_metric else {}),
            KEY: dict(self.measured_on),
        }


def join_verifications(networks: Mapping[str, Verification]) -> Verification:
    """Return the verification of all networks; metrics, n and digests are of the first."""
    first = next(iter(networks.values()))
    return replace(
        first,
        layers=join_layers({k: v.layers for k, v in networks.items()}),
        flips=join_layers({k: v.flips for k, v in networks.items()}),
        unexplained=[
            {**difference, "name": name_layer(k, difference["name"])}
            for k, v in networks.items()
            for difference in v.unexplained
        ],
        parity=join_parities({k: v.parity for k, v in networks.items()}),
        quantisation=join_layers({k: v.quantisation for k, v in networks.items()}),
        misfits=join_messages({k: v.misfits for k, v in networks.items()}),
        without_metric=list(networks)[1:],
    )
