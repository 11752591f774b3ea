"""A LoihiProgram as C99 without malloc: tables, and one runtime for every program."""

from lava_export.c99.write import list_problems, write_c

__all__ = ["list_problems", "write_c"]
