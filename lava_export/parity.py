"""Agreement of the reference and Lava, and the results of an export of several networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neuro.energy.networks import join_layers, join_messages, name_layer


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The reference beside Lava.

    layers, mismatches: as in :func:`lava_export.report.compare`.
    of_one: facts of a single network: the first difference, and the ticks if Lava ran fewer.
    skipped: why Lava did not run.
    failed: whether it was skipped because Lava ended with an error.
    """

    samples: int
    mismatches: int = 0
    layers: Mapping[str, Any] = field(default_factory=dict)
    of_one: Mapping[str, Any] = field(default_factory=dict)
    skipped: str = ""
    failed: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a results file."""
        skipped = {"skipped": self.skipped} if self.skipped else {}
        failed = {"failed": True} if self.skipped and self.failed else {}
        compared = {"mismatches": self.mismatches, "layers": dict(self.layers), **self.of_one}
        # If one network was skipped, the differences of the others still count.
        shown = {} if self.skipped and not self.mismatches else compared
        return {"samples": self.samples, **skipped, **failed, **shown}


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """The results of an export of a program.

    fits: by chip, the rules that the program breaks; empty where it fits.
    scaling: one row per layer, from floats to integers.
    """

    fits: Mapping[str, Sequence[str]]
    scaling: Sequence[Mapping[str, Any]]
    parity: Parity

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a results file."""
        return {
            "fits": {chip: list(breaches) for chip, breaches in self.fits.items()},
            "scaling": list(self.scaling),
            "reference_lava": self.parity.as_json(),
        }


def join_parities(parities: Mapping[str, Parity]) -> Parity:
    """Return the parity of several networks, skipped or failed if that of one is.

    samples, mismatches and layers are those of all networks that ran.
    """
    first, *others = parities.values()
    if not others:
        return first
    skipped = {network: [p.skipped] for network, p in parities.items() if p.skipped}
    return Parity(
        samples=sum(p.samples for p in parities.values()),
        mismatches=sum(p.mismatches for p in parities.values()),
        layers=join_layers({network: p.layers for network, p in parities.items()}),
        skipped="; ".join(join_messages(skipped)),
        failed=any(p.failed for p in parities.values()),
    )


def join_exports(exports: Mapping[str, ExportReport]) -> ExportReport:
    """Return the export results of several networks as one."""
    chips = next(iter(exports.values())).fits
    return ExportReport(
        fits={
            chip: join_messages({network: e.fits[chip] for network, e in exports.items()})
            for chip in chips
        },
        scaling=[
            {**row, "layer": name_layer(network, row["layer"])}
            for network, e in exports.items()
            for row in e.scaling
        ],
        parity=join_parities({network: e.parity for network, e in exports.items()}),
    )
