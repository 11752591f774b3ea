"""Bars of the report: where they begin and end is what was measured."""

from typing import Any

import pytest
from matplotlib.figure import Figure

from tasks.report import figures as pictures
from tasks.report.figures import Bar
from tasks.report.html import matrix
from tasks.runs.task import Html


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Keep the figures that are drawn, in place of their SVG."""
    found: list[Figure] = []

    def keep(figure: Figure, name: str, title: str) -> Html:  # noqa: ARG001
        found.append(figure)
        return Html("")

    monkeypatch.setattr(pictures, "_svg", keep)
    return found


def list_bars(figure: Figure, panel: int = 0) -> list[tuple[float, float]]:
    """Return (begin, end) of the bars of a panel."""
    bars: Any = figure.axes[panel].patches
    return [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]


def test_a_bar_of_energy_goes_from_low_to_high_with_a_mark_at_nominal_where_there_is_one(
    drawn: list[Figure],
) -> None:
    pictures.draw_energies([Bar("chip", "core", 1.0, 2.0, 8.0), Bar("", "system", 3, None, 9)])
    assert list_bars(drawn[0]) == [(1, 8), (3, 9)]
    (ax,) = drawn[0].axes
    assert [line.get_xdata()[0] for line in ax.lines] == [2]  # type: ignore[index]
    assert [text.get_text() for text in ax.texts] == ["2 J", "not published"]


def test_the_parts_of_a_layer_stand_one_behind_the_other(drawn: list[Figure]) -> None:
    layers = {
        "a": {"low": 1.0, "nominal": 6.0, "high": 9.0, "parts": {"x": 1.0, "y": 2.0, "z": 3.0}},
        "b": {"low": 0.0, "nominal": 1.0, "high": 1.0, "parts": {"x": 1.0, "y": 0.0, "z": 0.0}},
    }
    pictures.draw_layer_energies({"chip": layers})
    assert list_bars(drawn[0]) == [(0, 1), (0, 1), (1, 3), (1, 1), (3, 6), (1, 1)]
    (ranges,) = drawn[0].axes[0].collections
    ends = [path.vertices[:, 0].tolist() for path in ranges.get_paths()]  # type: ignore[index]
    assert ends == [[1, 9], [0, 1]]


def test_curves_are_those_of_a_history_over_its_epochs(drawn: list[Figure]) -> None:
    rows = [{"epoch": 0.5, "train_loss": 2.0}, {"epoch": 1, "train_loss": 1.0}]
    pictures.draw_curves(rows)
    (line,) = drawn[0].axes[0].lines
    assert list(line.get_xdata()) == [0.5, 1]  # type: ignore[arg-type]
    assert list(line.get_ydata()) == [2, 1]  # type: ignore[arg-type]


def test_a_confusion_is_shaded_by_the_share_of_its_row() -> None:
    made = matrix(["cat", "dog"], [[6, 2], [0, 0]])
    shares = [float(part[:5]) for part in made.split("--share:")[1:]]
    assert shares == [0.75, 0.25, 0, 0]
    assert made.count('class="strong"') == 1


def test_a_name_with_control_or_format_characters_is_written_out_in_a_picture() -> None:
    made = pictures.draw_rates({"py.\u202efdp": 0.5, "\u2066a\u2069": 0.25})
    assert r">py.\u202efdp<" in made
    assert r">\u2066a\u2069<" in made
    assert not set("\u202e\u2066\u2069") & set(made)
