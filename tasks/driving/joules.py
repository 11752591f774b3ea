"""What driving costs: joules a planned second, streaming or with all frames anew.

A plan is made every half second. Of all frames anew the encoder runs for each camera and past
frame; streaming, what it said of past frames is kept, and only the images of the present are
new. Pathways and decoder run over all frames in both, as the map moves with the car.
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
    """Of a chip, [J] a planned second. images: that are encoded for each plan, in words."""

    chip: str
    images: str
    core: dict[str, float]
    whole: dict[str, float]


def list_joules(found: Mapping[str, Any]) -> list[Joules]:
    """Return the core and the chip tier of each chip, both ways, by ``energy.json``.

    Empty where it is not of all parts.
    """
    encoder = found.get("parts", {}).get(ENCODER)
    if encoder is None:
        return []
    out = []
    for name in show.list_chips(dict(found)):
        for images in (encoder["runs"], len(CAMERAS)):
            saved = encoder["runs"] - images
            core, whole = {}, {}
            for end in ENDS:
                chip, part = found[name], encoder[name]
                seconds = chip["latency"]["inference"][end]
                left = (seconds - saved * part["seconds"][end]) / seconds
                static = chip["chip"][end] - chip["core"][end]
                core[end] = (chip["core"][end] - saved * part["core"][end]) / FRAME
                whole[end] = core[end] + static * left / FRAME
            variant = "streaming" if saved else "all frames"
            out.append(Joules(name, f"{variant}, {images} images", core, whole))
    return out


def show_joules(run: Run, evaluation: Mapping[str, Any]) -> tuple[Html, ...]:  # noqa: ARG001
    """Return the section of the report, where energy was measured."""
    found = read_result(run.folder, "energy")
    rows = list_joules(found) if found else []
    if not rows:
        return ()
    cells = [
        [r.chip, r.images, show.format_range(r.core), show.format_range(r.whole)] for r in rows
    ]
    told = (
        "Two plans a second. Streaming: what the encoder said of past frames is kept. What the "
        "host does is listed below in multiply-accumulates, and is in no tier."
    )
    return (
        page.section(
            "Joules a planned second",
            page.table(("chip", "for each plan", "core", "chip"), cells),
            page.paragraph(told, "caption"),
        ),
    )
