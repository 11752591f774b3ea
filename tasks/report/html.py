"""Builds a self-contained web page from text, tables and pictures, and escapes all of them."""

import base64
import html
import io
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from PIL import Image
from rich.table import Table

from tasks.report.tables import WORDS
from tasks.report.terminal import show_controls
from tasks.runs.task import Html

MOST_TILES = 6  # key figures side by side
MOST_PIXELS = 1 << 26  # largest picture, since a small file may decompress to any size


class KeyFigure(NamedTuple):
    """A key figure: its name, its value with the unit, and a remark.

    minor: whether it stands behind the others.
    """

    label: str
    value: str
    note: str
    minor: bool = False


_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --muted: #656d76; --line: #d8dee4;
  --paper: #ffffff; --soft: #f6f8fa; --accent: #0b6fa4; --shade: #1f232838; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --muted: #9aa4af;
  --line: #3a424b; --paper: #16191d; --soft: #1e2328; --accent: #4ba9dc;
  --shade: #000000b0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 960px; padding: 32px 20px 64px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 48px 0 8px; padding-top: 12px;
  border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 24px 0 4px; }
p { margin: 6px 0; max-width: 75ch; overflow-wrap: anywhere; }
code { font: 13px/1.4 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
.verdict { font-size: 17px; margin: 16px 0; }
.muted, .caption, figcaption, .tiles dt, .tiles .note { color: var(--muted); }
figure { margin: 12px 0; }
.caption, figcaption { font-size: 13px; max-width: 90ch; margin: 4px 0; }
.wide { overflow-x: auto; background-repeat: no-repeat; /* shade where more is to be scrolled */
  background-image: linear-gradient(to right, var(--paper) 50%, transparent),
    linear-gradient(to left, var(--paper) 50%, transparent),
    linear-gradient(to right, var(--shade), transparent),
    linear-gradient(to left, var(--shade), transparent);
  background-attachment: local, local, scroll, scroll;
  background-position: 0, 100%, 0, 100%;
  background-size: 40px 100%, 40px 100%, 10px 100%, 10px 100%; }
.pixels { image-rendering: pixelated; max-width: 100%; }
svg { display: block; height: auto; max-width: 100%; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif !important; }
.tiles { display: grid; gap: 10px; margin: 20px 0 0;
  grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); }
.tiles div { background: var(--soft); border-radius: 8px; padding: 10px 14px; }
.tiles dt { font-size: 13px; }
.tiles dd { margin: 0; font-size: 24px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tiles .note { font-size: 12px; line-height: 1.35; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: 13.5px; margin: 8px 0;
  font-variant-numeric: tabular-nums; }
th, td { padding: 4px 14px 4px 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; white-space: normal; }
.word, th.text, td:first-child { text-align: left; }
th:last-child, td:last-child { padding-right: 0; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.matrix th, .matrix td { padding: 0; width: 44px; height: 34px; text-align: center;
  border: 1px solid var(--paper); }
.matrix th { font-weight: 400; color: var(--muted); vertical-align: middle; }
.matrix .across { text-align: left; padding-left: 14px; }
.matrix .down { width: 24px; writing-mode: vertical-rl; }
.matrix td { background: color-mix(in srgb, var(--accent) calc(var(--share) * 100%),
  var(--soft)); }
.matrix td.none { color: var(--muted); }
.matrix td.strong { color: var(--paper); }
.missing { background: var(--soft); border-left: 3px solid var(--line); padding: 8px 14px;
  color: var(--muted); }
.warning { background: var(--soft); border-left: 3px solid var(--accent); padding: 8px 14px; }
.best { font-weight: 600; }
summary { cursor: pointer; color: var(--muted); font-size: 13px; }
.part { border-top: 1px solid var(--line); padding: 10px 0; }
.part > summary { color: inherit; }
.part > summary h2 { display: inline; border: 0; margin: 0; font-size: 17px; }
@media (max-width: 600px) { .matrix th, .matrix td { width: 36px; }
  body { padding: 20px 14px 40px; } .tiles { grid-template-columns: 1fr 1fr; }
  .tiles dd { font-size: 20px; } }
"""


def text(value: object) -> Html:
    """Return a value as escaped text, with control and format characters as ``\\u202e``."""
    return Html(html.escape(show_controls(str(value))))


def join(parts: Iterable[Html]) -> Html:
    """Return pieces of a page joined in their order."""
    return Html("\n".join(parts))


def heading(words: str) -> Html:
    """Return the title of the page."""
    return Html(f"<h1>{text(words)}</h1>")


def subheading(words: str) -> Html:
    """Return a heading inside a section."""
    return Html(f"<h3>{text(words)}</h3>")


def paragraph(words: str, kind: str = "") -> Html:
    """Return a paragraph; ``kind`` is a class of the style sheet."""
    return Html(f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>")


def missing(command: str, words: str = "not measured yet") -> Html:
    """Return a note that a result is not measured yet, with the command that measures it."""
    return Html(f'<p class="missing">{text(words)}: <code>{text(command)}</code></p>')


def warning(words: str, command: str) -> Html:
    """Return a warning with the command that measures again."""
    return Html(f'<p class="warning">{text(words)}: <code>{text(command)}</code></p>')


def section(title: str, *parts: Html) -> Html:
    """Return a part of the page under a heading."""
    return Html(f"<section>\n<h2>{text(title)}</h2>\n{join(parts)}\n</section>")


def fold(section_: Html) -> Html:
    """Return a section that shows only its heading until the reader unfolds it."""
    return Html(
        section_.replace("<section>\n<h2>", '<details class="part">\n<summary><h2>', 1)
        .replace("</h2>", "</h2></summary>", 1)
        .removesuffix("</section>")
        + "</details>"
    )


def picture(svg: Html, caption: str) -> Html:
    """Return a picture with a caption; it scrolls if it cannot shrink."""
    return Html(
        f'<figure><div class="wide">{svg}</div>'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def photo(image: bytes, caption: str) -> Html:
    """Return a PNG or an animated GIF with a caption."""
    data = base64.b64encode(image).decode()
    kind = "gif" if image.startswith(b"GIF8") else "png"
    return Html(
        f'<figure><div class="wide"><img class="pixels" alt="{text(caption)}" '
        f'src="data:image/{kind};base64,{data}"></div>'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def is_photo(image: bytes) -> bool:
    """Say whether bytes are a decodable PNG or GIF with at most MOST_PIXELS pixels."""
    try:
        with Image.open(io.BytesIO(image), formats=("PNG", "GIF")) as opened:
            return opened.width * opened.height <= MOST_PIXELS and opened.load() is not None
    except Exception:  # decoders raise any kind of error for damaged bytes
        return False


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    bold: Collection[tuple[int, int]] = (),
) -> Html:
    """Return a table; columns of numbers are right-aligned, the first and those of words left.

    bold: (row, column) of the cells in bold.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    sides = [
        "num"
        if i and name not in WORDS and any(row[i].lstrip("-")[:1].isdigit() for row in cells)
        else "word"
        for i, name in enumerate(head)
    ]
    return _make_table(head, cells, sides, bold)


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """Return a table of words, whose cells wrap instead of scrolling."""
    return _make_table(head, list(rows), ["text"] * len(head))


def _make_table(
    head: Sequence[str],
    cells: Sequence[Sequence[str]],
    sides: Sequence[str],
    bold: Collection[tuple[int, int]] = (),
) -> Html:
    top = _row("th", head, sides)
    kinds = [
        [f"{side} best" if (i, j) in bold else side for j, side in enumerate(sides)]
        for i in range(len(cells))
    ]
    rows = (f"<tr>{_row('td', row, kinds[i])}</tr>" for i, row in enumerate(cells))
    body = "\n".join(rows)
    return Html(
        f'<div class="wide"><table><thead><tr>{top}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(tag: str, cells: Sequence[str], sides: Sequence[str]) -> str:
    return "".join(
        f'<{tag} class="{side}">{text(cell)}</{tag}>'
        for cell, side in zip(cells, sides, strict=True)
    )


def terminal_table(table_: Table) -> Html:
    """Return a terminal table as HTML, with the same cells."""
    head = [str(column.header).replace("_", " ") for column in table_.columns]
    rows = zip(*(list(column.cells) for column in table_.columns), strict=True)
    return table(head, [[str(cell) for cell in row] for row in rows])


def pairs(values: Iterable[tuple[str, object]]) -> Html:
    """Return names and values as a table without a header."""
    rows = "\n".join(
        f'<tr><td>{text(name)}</td><td class="text">{text(value)}</td></tr>'
        for name, value in values
    )
    return Html(f'<div class="wide"><table><tbody>{rows}</tbody></table></div>')


def matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    """Return a confusion matrix: true classes down, answers across, shaded by row share."""
    n = len(names)
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in names)
    rows = [
        f'<th scope="row">{text(name)}</th>{_shaded(row)}</tr>'
        for name, row in zip(names, counts, strict=True)
    ]
    down = f'<th class="down" scope="rowgroup" rowspan="{n}">true class →</th>'
    body = f"<tr>{down}" + "\n<tr>".join(rows)
    return Html(
        '<div class="wide"><table class="matrix"><thead>'
        f'<tr><td colspan="2"></td><th class="across" scope="colgroup" colspan="{n}">answer →'
        f'</th></tr>\n<tr><td colspan="2"></td>{top}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _shaded(row: Sequence[int]) -> str:
    total = max(1, sum(row))
    cells = []
    for count in row:
        share = count / total
        kind = "strong" if share > 0.5 else "" if count else "none"
        cells.append(f'<td class="{kind}" style="--share:{share:.3f}">{count or "·"}</td>')
    return "".join(cells)


def tiles(figures: Iterable[KeyFigure]) -> Html:
    """Return key figures side by side, minor ones last; all behind the sixth are folded."""
    ordered = sorted(figures, key=lambda figure: figure.minor)
    more = ordered[MOST_TILES:]
    folded = [details(f"{len(more)} more", _list_tiles(more))] if more else []
    return join((_list_tiles(ordered[:MOST_TILES]), *folded))


def _list_tiles(figures: Iterable[KeyFigure]) -> Html:
    cells = "\n".join(
        f"<div><dt>{text(f.label)}</dt><dd>{text(f.value)}</dd>"
        f'<dd class="note">{text(f.note)}</dd></div>'
        for f in figures
    )
    return Html(f'<dl class="tiles">{cells}</dl>')


def details(summary: str, *parts: Html) -> Html:
    """Return parts that the reader can unfold."""
    return Html(f"<details><summary>{text(summary)}</summary>\n{join(parts)}\n</details>")


def page(title: str, *body: Html) -> str:
    """Return the whole page; it refers to nothing outside itself."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{join(body)}\n</body>\n</html>\n"
    )
