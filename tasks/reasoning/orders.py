"""Orders of filling, compared on the same weights, and a picture of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import nn

from neuro.plot import ACCENT, INK, MUTED, STYLE
from tasks.reasoning.config import ORDERS, Order, ReasoningConfig
from tasks.reasoning.data import load
from tasks.reasoning.fill import FilledItem, fill_split
from tasks.report.figures import save_png
from tasks.runs.task import Picture, Table

PICTURE = "diffusion_order.png"
SHOWN = 4  # items in the picture
Filled = Mapping[Order, Sequence[FilledItem]]


def fill_in_orders(config: ReasoningConfig, model: nn.Module) -> Filled:
    """Fill the answers of the test split in each order, with the same weights."""
    return {o: fill_split(replace(config, order=o), model, "test") for o in ORDERS}


def measure_filled(filled: Sequence[FilledItem]) -> tuple[float, float, float]:
    """Return the shares of exact answers, of right words, and of right words not given.

    A word is given if the question has it at the same place, like the digits of a Sudoku.
    """
    exact = [one.answer == one.item.answer for one in filled]
    words, found = list[bool](), list[bool]()
    for one in filled:
        right = [a == b for a, b in zip(one.answer, one.item.answer, strict=True)]
        words += right
        found += [r for r, given in zip(right, _list_given(one), strict=True) if not given]
    return float(np.mean(exact)), float(np.mean(words)), float(np.mean(found or words))


def _list_given(filled: FilledItem) -> list[bool]:
    question, answer = filled.item.question, filled.item.answer
    if len(question) != len(answer):
        return [False] * len(answer)
    return [a == b for a, b in zip(question, answer, strict=True)]


def tabulate_orders(filled: Filled) -> Table:
    """Return a table with one row per order."""
    rows = list[tuple[str | float, ...]]()
    for order, own in filled.items():
        shares = (f"{share:.1%}" for share in measure_filled(own))
        rows.append((order, *shares, str(own[0].calls)))
    return Table(
        title="By order of filling",
        head=("order", "accuracy", "words right", "of those not given", "network calls"),
        rows=rows,
        caption="The same weights. Confidence: in each step those guesses stay of which the "
        "network is surest; random: any; left: the first ones. A word is given where the "
        "question has it at the same place, such as the digits of a Sudoku.",
    )


@mpl.rc_context(STYLE)
def draw_orders(config: ReasoningConfig, filled: Filled, folder: Path) -> Picture:
    """Draw the steps that fill the words of some test items; return the picture."""
    count = min(SHOWN, *(len(own) for own in filled.values()))
    words, columns = load(config).words, _count_columns(config, filled)
    figure = Figure((9.58, 2.3 * len(filled)), layout="constrained")
    panels = figure.subplots(len(filled), count, squeeze=False)
    for row, (order, own) in zip(panels, filled.items(), strict=True):
        for k, (ax, one) in enumerate(zip(row, own[:count], strict=True)):
            ax.set_title(f"{order}, item {k}")
            _draw_item(ax, one, words, columns)
    save_png(figure, folder / PICTURE)
    return Picture(
        file=PICTURE,
        title="Diffusion order",
        caption=f"Words of the first {count} test items: the darker, the sooner they are "
        "filled; the small number is the step. Words that the question gives are grey, "
        "wrong ones have a frame.",
    )


def _count_columns(config: ReasoningConfig, filled: Filled) -> int:
    """Return the number of words per row: 4 for a Sudoku, else all words of an answer."""
    if config.puzzle == "sudoku" and not config.data:
        return 4
    return max(len(one.answer) for own in filled.values() for one in own)


def _draw_item(ax: Axes, filled: FilledItem, words: Sequence[str], columns: int) -> None:
    rows = -(-len(filled.answer) // columns)
    ax.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[], aspect="equal")
    given = _list_given(filled)
    for k, (token, step) in enumerate(zip(filled.answer, filled.steps, strict=True)):
        row, column = divmod(k, columns)
        alpha = 0.65 * (1 - step / max(filled.calls, 1))
        ax.add_patch(Rectangle((column, row), 1, 1, color=ACCENT, alpha=alpha, linewidth=0))
        if token != filled.item.answer[k]:
            ax.add_patch(
                Rectangle((column + 0.06, row + 0.06), 0.88, 0.88, fill=False, color=INK)
            )
        color = MUTED if given[k] else INK
        ax.text(column + 0.5, row + 0.55, words[token], ha="center", va="center", color=color)
        ax.text(column + 0.1, row + 0.25, str(step + 1), fontsize=5, color=MUTED)
