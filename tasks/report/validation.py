"""The appendix of the report: validates the estimates of energy and time."""

from collections.abc import Mapping
from typing import Any

from neuro.energy import load_chips
from neuro.energy.validation import check_energy, check_steps
from tasks.report import html as page
from tasks.report.tables import format_quantity
from tasks.runs.task import Html


def show_validation(energy: Mapping[str, Any]) -> Html:
    """Show the model beside published figures, and counts comparable with other tables."""
    chips = load_chips()
    checks = [check_energy(chips["loihi1"]), *check_steps(chips["loihi2"])]
    rows = [
        [
            check.name,
            *(
                format_quantity(x, check.unit) if check.unit else f"{x:.3f}"
                for x in (check.ours, check.theirs)
            ),
            f"{check.ratio:.3f}",
            f"{check.low:g} to {check.high:g}",
        ]
        for check in checks
    ]
    return page.section(
        "Appendix: validation of the estimates",
        page.table(["check", "model", "measured", "ratio", "accepted"], rows),
        page.paragraph(
            "PilotNet on Loihi 2: published power, times and cores (benchmark notebook of "
            "lava-dl), and the events of its published network. Prices of Loihi 2 are fitted "
            "to this case, so that those of Loihi 1 are tested; of the time, only the pattern.",
            "caption",
        ),
        page.paragraph(
            "SANA-FE 2.2.9: the constants loihi1_sanafe give its energy to 1e-9 for dense, "
            "convolutional and biased networks without a leak, under any placement; with a "
            "leak or many weights of zero its result lies inside the range. It has no adaptive "
            "neurons."
        ),
        *_show_operations(energy["conventional45nm"].get("operations")),
    )


def _show_operations(operations: Mapping[str, float] | None) -> list[Html]:
    if operations is None:  # written by an earlier version
        return []
    return [
        page.paragraph(
            "Synaptic operations of this run per inference, counted as NeuroBench 2.3 does: "
            f"Effective_ACs {operations['acs']:,.1f}, "
            f"Effective_MACs {operations['macs']:,.1f}, Dense {operations['dense']:,.0f}."
        )
    ]
