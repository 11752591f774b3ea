"""Tables of refusals: a line of code, and below it, indented, what the error says."""


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
