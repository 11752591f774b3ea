"""New images of all arms from the same noise: kept beside the figures, drawn as one sheet.

Axes: N images, C channels, Y X pixels.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from neuro.plot import STYLE
from tasks.bench.rows import Row
from tasks.flow.config import FlowConfig
from tasks.flow.generate import Context, draw_start, generate
from tasks.flow.loss import require_flow
from tasks.images.metrics.sheet import draw_sheet
from tasks.report.figures import save_png

SAMPLES = 20  # images of an arm and context
Strips = dict[str, str]  # by context: images side by side, as PNG in base64


def make_strips(
    config: FlowConfig, model: nn.Module, seed: int, contexts: Iterable[Context]
) -> Strips:
    """Return the first new images of each context; seed: of the noise, the same for all."""
    flow, start = require_flow(model), draw_start(config, SAMPLES, seed)
    images = {context: generate(config, flow, start, context) for context in contexts}
    return {
        context: base64.b64encode(draw_sheet(own, SAMPLES)).decode()
        for context, own in images.items()
    }


def read_strip(strip: str) -> np.ndarray:
    """Return the pixels of images side by side: Y (N X), with colours a third axis."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(strip))))


@mpl.rc_context(STYLE)
def draw_strips(rows: Sequence[Row], path: Path) -> None:
    """Draw the images of each arm and context as a row, a panel a part.

    rows: those with ``samples`` in their conditions are drawn.
    """
    shown = [row for row in rows if row.conditions.get("samples")]
    cases = {case: [r for r in shown if r.case == case] for case in [r.case for r in shown]}
    heights = [0.9 + 0.36 * len(own) for own in cases.values()]
    figure = Figure((9.58, sum(heights)), layout="constrained")
    panels = figure.subplots(len(cases), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (case, own) in zip(panels, cases.items(), strict=True):
        _draw_panel(ax, own)
        ax.set_title(f"{case}, seed {own[0].conditions['seeds'][-1]}", fontsize=9)
    save_png(figure, path, dpi=150)


def _draw_panel(ax: Axes, rows: Sequence[Row]) -> None:
    for k, row in enumerate(rows):
        strip = read_strip(row.conditions["samples"])
        extent = (-0.5, SAMPLES - 0.5, k + 0.47, k - 0.47)
        ax.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=extent)
    classes = rows[0].conditions["classes"]
    ax.set(xlim=(-0.5, SAMPLES - 0.5), ylim=(len(rows) - 0.5, -0.5))
    ax.set_xticks(range(SAMPLES), [str(k % classes) for k in range(SAMPLES)], fontsize=7)
    ax.set_yticks(range(len(rows)), [row.subject for row in rows], fontsize=7)
    ax.set_xlabel("a column has the same noise, and this class where labels are told")
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
