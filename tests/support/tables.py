"""Tables of refusals: a line of code, and below it, indented, what the error says."""

from typing import Any

import pytest


def read_table(text: str) -> list[tuple[str, str]]:
    """Return each line of code with the lines below it as one; lines with # are titles."""
    pairs: list[tuple[str, str]] = []
    for line in text.strip().splitlines():
        if line.startswith("    "):
            code, answer = pairs.pop()
            pairs.append((code, f"{answer} {line.strip()}".strip()))
        elif not line.startswith("#"):
            pairs.append((line, ""))
    return pairs


def require_answer(code: str, answer: str, names: dict[str, Any]) -> None:
    """Raise unless code fails with an answer: "TypeOfError: phrase | phrase"."""
    error, phrases = answer.split(": ", 1)
    with pytest.raises(Exception) as raised:  # noqa: PT011 the answer says which
        eval(code, names)
    assert type(raised.value).__name__ == error
    assert [x for x in phrases.split(" | ") if x.strip() not in str(raised.value)] == []
