"""Prints text to the terminal literally, so that it never acts as a command.

Names of folders, layers and metrics may look like rich's markup, ``[bold]`` or ``[/b]``, so our
consoles ignore markup; a :class:`rich.text.Text` sets a style. Names may also contain terminal
commands, or characters that reorder text; both are printed as escapes.
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

WIDE = 160  # characters per line in a file or a pipe, where no window limits tables
DONE, FAILED = Text("✓", "green"), Text("✗", "red")
NOTHING_KEPT = "kept: nothing yet; the next start begins anew"
UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories: controls, formats, surrogates, line ends
JOINERS = "\u200c\u200d"  # format characters that Persian, Hindi and emoji need
SPELLED = {  # spellings of our own symbols for terminals that cannot show them
    **{"✓": "ok", "✗": "failed", "µ": "u", "±": "+-", "×": "x", "·": "."},
    **{"≠": "!=", "→": "->", "–": "-"},
}


class _ShowingConsole(Console):
    """A console that prints control and format characters as escapes."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text with escapes, so that tables reserve enough width for its cells."""
        return super().render_str(show_controls(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of a text with escapes; rich's own control characters are kept."""
        for segment in super().render(renderable, options):
            yield (
                segment
                if segment.control
                else segment._replace(text=show_controls(segment.text))
            )


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text literally, without markup and emoji names.

    Its width is $COLUMNS, or the width of the window, or :data:`WIDE` without a window.
    """
    stream = sys.stderr if stderr else sys.stdout
    known = "COLUMNS" in os.environ or stream.isatty()
    return _ShowingConsole(
        stderr=stderr, markup=False, emoji=False, width=None if known else WIDE
    )


def show_controls(text: str) -> str:
    r"""Return a text with control and format characters as escapes, except tabs and newlines.

    >>> show_controls("\x1b[31mred\x07\n\u202eder") == r"\x1b[31mred\x07" + "\n" + r"\u202eder"
    True
    """
    return re.sub(r"[^\t\n -~]", _show_character, text)


def _show_character(match: re.Match[str]) -> str:
    character = match[0]
    unsafe = unicodedata.category(character) in UNSAFE and character not in JOINERS
    return ascii(character)[1:-1] if unsafe else character


def write_text(text: str) -> None:
    """Write text of a model; only a terminal gets control characters as escapes."""
    sys.stdout.write(show_controls(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def spell_out(error: UnicodeError) -> tuple[str, int]:
    """Return an ASCII spelling of characters that a terminal cannot show, and their end."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    odd = error.object[error.start : error.end]
    spelled = (SPELLED.get(c) or c.encode("ascii", "backslashreplace").decode() for c in odd)
    return "".join(spelled), error.end


def take_words(argv: list[str] | None) -> list[str]:
    """Return ``argv``; if it is None, prepare this process and return its arguments."""
    if argv is not None:
        return argv
    prepare_process()
    return sys.argv[1:]


def prepare_process() -> None:
    """Let this process print and draw with any locale and any screen.

    Characters that the terminal's encoding lacks are spelled in ASCII, warnings and tracebacks
    print control characters as escapes, and figures need no window, whatever $MPLBACKEND is.
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
