"""The terminal: what is printed stands there as it is, and changes nothing.

Names of folders, layers and metrics may hold what rich takes for markup, ``[bold]`` or
``[/b]``: no console of ours reads any. A style is said by a :class:`rich.text.Text`. They may
hold what a terminal takes for a command, too: control characters are shown, and not sent.
"""

import codecs
import io
import os
import re
import sys
import warnings
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

WIDE = 160  # characters of a line in a file or a pipe, where tables need not fit a window
DONE, FAILED = Text("✓", "green"), Text("✗", "red")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tabs and ends of lines
SPELLED = {  # our own signs, where a terminal has no letters for them
    **{"✓": "ok", "✗": "failed", "µ": "u", "±": "+-", "×": "x", "·": "."},
    **{"≠": "!=", "→": "->", "–": "-"},
}


class _ShowingConsole(Console):
    """A console that shows the control characters of what it is given."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of what is printed; those that rich makes itself have controls."""
        for segment in super().render(renderable, options):
            yield (
                segment
                if segment.control
                else segment._replace(text=show_controls(segment.text))
            )


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is, without markup and names of emoji.

    $COLUMNS says how wide it is; else that is the window, or :data:`WIDE` where there is none.
    """
    stream = sys.stderr if stderr else sys.stdout
    known = "COLUMNS" in os.environ or stream.isatty()
    return _ShowingConsole(
        stderr=stderr, markup=False, emoji=False, width=None if known else WIDE
    )


def show_controls(text: str) -> str:
    r"""Return a text with control characters written out.

    >>> show_controls("\x1b[31mred\x07\n") == r"\x1b[31mred\x07" + "\n"
    True
    """
    return CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def write_text(text: str) -> None:
    """Write text of a model: into a file or a pipe as it is, control characters included."""
    sys.stdout.write(show_controls(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def spell_out(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that a terminal cannot show, and where they end."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    odd = error.object[error.start : error.end]
    spelled = (SPELLED.get(c) or c.encode("ascii", "backslashreplace").decode() for c in odd)
    return "".join(spelled), error.end


def take_words(argv: list[str] | None) -> list[str]:
    """Return the words of a command line; None: those of this process, which is prepared."""
    if argv is not None:
        return argv
    prepare_process()
    return sys.argv[1:]


def prepare_process() -> None:
    """Let this process print and draw whatever its locale and its screen are.

    What the encoding of its terminal lacks is spelled out, warnings show control characters,
    and figures need no window, whatever $MPLBACKEND asks for.
    """
    os.environ["MPLBACKEND"] = "agg"
    codecs.register_error("neuro", spell_out)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="neuro")
    made = warnings.formatwarning
    warnings.formatwarning = lambda *of, **more: show_controls(made(*of, **more))
