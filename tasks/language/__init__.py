"""Language: the next token of a text, by mixers with float, ternary or spiking maps."""

from tasks.language.task import TASK

__all__ = ["TASK"]
