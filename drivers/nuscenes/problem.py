"""Problems of a data set, each with its place, fault and cure."""

from collections.abc import Sequence
from dataclasses import dataclass

from neuro.base.text import escape

SHOWN = 8  # largest number of problems in one message


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A mistake in a data set.

    table: name of the table, or path of the file relative to the root of the data set.
    token: token of the record, "" for all records. field: field of the record.
    what: the fault. cure: the remedy.
    """

    table: str
    token: str = ""
    field: str = ""
    what: str
    cure: str

    def __str__(self) -> str:
        where = " ".join(part for part in (self.table, self.token, self.field) if part)
        return escape(f"{where}: {self.what}; {self.cure}")


class NuScenesError(ValueError):
    """The error of a data set that has ``problems``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"and {len(self.problems) - SHOWN} problems more")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type["NuScenesError"], tuple[tuple[Problem, ...]]]:
        return NuScenesError, (self.problems,)  # for pickling between processes
