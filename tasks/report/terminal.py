"""The terminal: text appears as it is, and never acts as a command.

Names of folders, layers and metrics may look like markup of rich, ``[bold]`` or ``[/b]``: our
consoles read no markup. A :class:`rich.text.Text` sets a style. Names may also hold commands of
a terminal, or characters that change the order of the others: both are written out, not sent.
"""

import codecs
import io
import os
import re
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

WIDE = 160  # characters of a line in a file or a pipe, where no window limits tables
DONE, FAILED = Text("✓", "green"), Text("✗", "red")
UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories: controls, formats, surrogates, line ends
JOINERS = "\u200c\u200d"  # formats that Persian, Hindi and emoji are written with
SPELLED = {  # our own signs, for a terminal that cannot show them
    **{"✓": "ok", "✗": "failed", "µ": "u", "±": "+-", "×": "x", "·": "."},
    **{"≠": "!=", "→": "->", "–": "-"},
}


class _ShowingConsole(Console):
    """A console that writes out control and format characters."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text; written out here, so that a table is wide enough for its cells."""
        return super().render_str(show_controls(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of a text; control characters of rich itself stay."""
        for segment in super().render(renderable, options):
            yield (
                segment
                if segment.control
                else segment._replace(text=show_controls(segment.text))
            )


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is, without markup and names of emoji.

    Its width is $COLUMNS, or that of the window, or :data:`WIDE` where there is no window.
    """
    stream = sys.stderr if stderr else sys.stdout
    known = "COLUMNS" in os.environ or stream.isatty()
    return _ShowingConsole(
        stderr=stderr, markup=False, emoji=False, width=None if known else WIDE
    )


def show_controls(text: str) -> str:
    r"""Return a text with control and format characters written out, but tabs and newlines.

    >>> show_controls("\x1b[31mred\x07\n\u202eder") == r"\x1b[31mred\x07" + "\n" + r"\u202eder"
    True
    """
    return re.sub(r"[^\t\n -~]", _show_character, text)


def _show_character(match: re.Match[str]) -> str:
    character = match[0]
    unsafe = unicodedata.category(character) in UNSAFE and character not in JOINERS
    return ascii(character)[1:-1] if unsafe else character


def write_text(text: str) -> None:
    """Write text of a model; a file or a pipe receives control characters, too."""
    sys.stdout.write(show_controls(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def spell_out(error: UnicodeError) -> tuple[str, int]:
    """Return a spelling of characters that a terminal cannot show, and where they end."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    odd = error.object[error.start : error.end]
    spelled = (SPELLED.get(c) or c.encode("ascii", "backslashreplace").decode() for c in odd)
    return "".join(spelled), error.end


def take_words(argv: list[str] | None) -> list[str]:
    """Return the words of a command line; None: prepare this process and return its own."""
    if argv is not None:
        return argv
    prepare_process()
    return sys.argv[1:]


def prepare_process() -> None:
    """Let this process print and draw with any locale and any screen.

    Characters that the encoding of the terminal lacks are spelled out, warnings and tracebacks
    write out control characters, and figures need no window, even if $MPLBACKEND names one.
    """
    os.environ["MPLBACKEND"] = "agg"
    codecs.register_error("neuro", spell_out)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="neuro")
    format_warning = warnings.formatwarning
    warnings.formatwarning = lambda *of, **more: show_controls(format_warning(*of, **more))
    sys.excepthook = lambda _, error, __: sys.stderr.write(
        show_controls("".join(traceback.format_exception(error)))
    )
