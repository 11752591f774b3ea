"""The energy of driving: joules per planned second, with and without encoding the past again.

The car plans every half second. With all frames, each plan encodes the images of all past and
present frames. Streaming keeps the outputs of past frames and encodes only the present images.
In both variants pathways and decoder run over all frames, because the map moves with the car.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.window import FRAME
from neuro.io.run_folder import Run
from tasks.report import html as page, tables as show
from tasks.runs.results import read_result
from tasks.runs.task import Html

ENCODER = "encoder"
ENDS = ("low", "nominal", "high")


class Joules(NamedTuple):
    """Energy of a chip [J] per planned second; ``images`` says what each plan encodes."""

    chip: str
    images: str
    core: dict[str, float]
    whole: dict[str, float]


def list_joules(energy: Mapping[str, Any]) -> list[Joules]:
    """Return the core and the chip tier of each chip for both variants, from ``energy.json``.

    The list is empty unless the file covers all parts.
    """
    encoder = energy.get("parts", {}).get(ENCODER)
    if encoder is None:
        return []
    out = []
    for name in show.list_chips(dict(energy)):
        for images in (encoder["runs"], len(CAMERAS)):
            saved = encoder["runs"] - images
            core, whole = {}, {}
            for end in ENDS:
                chip, part = energy[name], encoder[name]
                seconds = chip["latency"]["inference"][end]
                left = (seconds - saved * part["seconds"][end]) / seconds
                static = chip["chip"][end] - chip["core"][end]
                core[end] = (chip["core"][end] - saved * part["core"][end]) / FRAME
                whole[end] = core[end] + static * left / FRAME
            variant = "streaming" if saved else "all frames"
            out.append(Joules(name, f"{variant}, {images} images", core, whole))
    return out


def show_joules(run: Run, evaluation: Mapping[str, Any]) -> tuple[Html, ...]:  # noqa: ARG001
    """Return the section of the report, if the run has an energy file."""
    energy = read_result(run.folder, "energy")
    rows = list_joules(energy) if energy else []
    if not rows:
        return ()
    cells = [
        [r.chip, r.images, show.format_range(r.core), show.format_range(r.whole)] for r in rows
    ]
    caption = (
        "Two plans per second. Streaming: the encoder keeps its outputs for past frames. The "
        "tiers exclude the host, whose multiply-accumulates follow below."
    )
    if sweeps := run.config.source.sweeps:
        caption += f" An image stands for {sweeps + 1}, one for each tick of the encoder."
    return (
        page.section(
            "Joules per planned second",
            page.table(("chip", "for each plan", "core", "chip"), cells),
            page.paragraph(caption, "caption"),
        ),
    )
