"""The command line: its verbs, their words, and what they print."""

from tasks.cli.parser import main

__all__ = ["main"]
