"""The terminal: what is printed stands there as it is.

Names of folders and files may hold what rich takes for markup, ``[bold]`` or ``[/b]``: no
console of ours reads any. A style is said by a :class:`rich.text.Text`.
"""

import os
import sys

from rich.console import Console
from rich.text import Text

WIDE = 160  # characters of a line in a file or a pipe, where tables need not fit a window
DONE, FAILED = Text("✓", "green"), Text("✗", "red")


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is, without markup and names of emoji.

    $COLUMNS says how wide it is; else that is the window, or :data:`WIDE` where there is none.
    """
    stream = sys.stderr if stderr else sys.stdout
    known = "COLUMNS" in os.environ or stream.isatty()
    return Console(stderr=stderr, markup=False, emoji=False, width=None if known else WIDE)
