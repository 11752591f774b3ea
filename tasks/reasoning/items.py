"""Items of puzzles as tokens, and the marks between their parts.

BEGIN and the thoughts follow a question. After SPEAK the network says steps, ANSWER, the
answer, END.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.puzzles import PuzzleItem

PAD, BEGIN, THOUGHT, SPEAK, ANSWER, END = range(6)
MARKS = ("<pad>", "<begin>", "<thought>", "<speak>", "<answer>", "<end>")
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class EncodedItem:
    """An item as tokens."""

    question: Tokens
    steps: tuple[Tokens, ...]
    answer: Tokens

    @property
    def thinking(self) -> Tokens:
        """The tokens of all steps."""
        return tuple(token for step in self.steps for token in step)


def encode_item(token: Mapping[str, int], item: PuzzleItem) -> EncodedItem:
    """Return an item as tokens. token: the token of each word."""
    question, *steps, answer = (
        tuple(token[word] for word in words)
        for words in (item.question, *item.steps, item.answer)
    )
    return EncodedItem(question, tuple(steps), answer)
