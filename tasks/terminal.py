"""The terminal: what is printed stands there as it is.

Names of folders and files may hold what rich takes for markup, ``[bold]`` or ``[/b]``: no
console of ours reads any. A style is said by a :class:`rich.text.Text`.
"""

from rich.console import Console
from rich.text import Text

DONE, FAILED = Text("✓", "green"), Text("✗", "red")


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is, without markup and names of emoji."""
    return Console(stderr=stderr, markup=False, emoji=False)
