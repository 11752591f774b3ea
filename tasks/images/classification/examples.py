"""What a report shows beside a classifier's accuracy: test samples, and simple baselines."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from neuro.io.run_folder import Run
from tasks.runs.task import ACCURACY, Pair, Picture

SHOWN, FITTED = 8, 100  # samples of the picture; most training batches that baselines learn
FEW = 4  # inputs of which each spike is drawn as a line


def draw_samples(run: Run, x: Tensor, _: Tensor, titles: Sequence[str]) -> Picture:
    """Draw the first stimuli T B ... of a batch with their titles, as images or as rasters."""
    from matplotlib.figure import Figure

    from neuro.plot import draw_cells, shade

    figure = Figure((1.2 * SHOWN, 1.6), layout="constrained")
    raster = x.dim() < 5 or x.shape[3] == 1
    for ax, ticks, title in zip(figure.subplots(1, SHOWN), x.unbind(1), titles, strict=False):
        if raster and ticks[0].numel() <= FEW:  # pixels of a tick would be too thin to see
            rows = [row.nonzero()[:, 0].numpy() for row in ticks.flatten(1).T]
            ax.eventplot(rows, lineoffsets=range(len(rows)), linewidths=2)
            ax.set(xlim=(-2, len(ticks)), ylim=(len(rows) - 0.4, -0.6))
        elif raster:
            draw_cells(ax, ticks.flatten(1).numpy())
        else:
            total = ticks.sum(0) - ticks.sum(0).min().clamp(max=0)  # normalised pixels
            image = (total / total.max().clamp(min=1e-9)).numpy()
            ax.imshow(image.transpose(1, 2, 0) if len(image) == 3 else shade(image.sum(0)))
        ax.set_title(title.replace(" → ", "\n→ "), fontsize=9)
    for ax in figure.axes:
        ax.set(xticks=[], yticks=[], xlabel="", frame_on=False)
    what = "one column per tick, one row per input" if raster else "summed over the ticks"
    answers = ": true class → answer" * ("→" in titles[0])
    return make_picture(run, figure, f"Stimuli, {what}{answers}.")


def make_picture(run: Run, figure: Any, caption: str) -> Picture:
    """Write the example at the top of the report."""
    from tasks.report.figures import save_png

    save_png(figure, run.folder / "examples.png", dpi=150, facecolor="white")
    return Picture(file="examples.png", title="Test samples", caption=caption, example=True)


def score_baselines(train: Iterable[Pair], test: Iterable[Pair]) -> dict[str, dict[str, float]]:
    """Return the test accuracy of the most frequent class and of the nearest class, by name.

    They see the mean over the ticks of the input so far: earlier spikes count more.
    """
    both = (islice(train, FITTED), test)
    pairs = [[(x.cumsum(0).mean(0).flatten(1), y) for x, y in part] for part in both]
    (x, y), (seen, due) = (map(torch.cat, zip(*part, strict=True)) for part in pairs)
    classes = F.one_hot(y).to(x)
    count = classes.sum(0)
    means = classes.T @ x / count.clamp(min=1)[:, None]
    offset = means.square().sum(1).where(count > 0, torch.inf)  # no mean of an absent class
    answers = {
        "most frequent class": count.argmax(),
        f"nearest mean of {len(y):,} training samples": (2 * seen @ means.T - offset).argmax(1),
    }
    return {k: {ACCURACY.name: float((a == due).double().mean())} for k, a in answers.items()}
