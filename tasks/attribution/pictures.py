"""The picture of shares along a document. Axes: T tokens, N documents, K corpora."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure
from torch.nn import functional as F

from neuro.plot import STYLE
from tasks.attribution.documents import Documents
from tasks.report.figures import save_png


@mpl.rc_context(STYLE)
def draw_shares(
    documents: Documents, along: Mapping[str, Float64[np.ndarray, "T N K"]], path: Path
) -> None:
    """Draw what each method says of each token of the document with the most switches."""
    sources = documents.sources
    chosen = int((sources[1:] != sources[:-1]).sum(0).argmax())
    corpora = next(iter(along.values())).shape[2]
    truth = F.one_hot(sources, corpora).double().numpy()
    rows = {"true corpus": truth, **along}
    figure = Figure((6.4, 0.8 + 0.6 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, shares) in zip(axes, rows.items(), strict=True):
        ax.stackplot(np.arange(len(sources)), shares[:, chosen].T, step="post")
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
        ax.set_yticks([])
        ax.set_ylim(0, 1)
        ax.set_xlim(0, len(sources) - 1)
    axes[-1].set_xlabel("token")
    save_png(figure, path)
