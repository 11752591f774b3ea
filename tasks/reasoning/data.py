"""Items as tokens: the vocabulary, the splits, what is refused in them.

A question is followed by BEGIN and by thoughts. Behind SPEAK the network says steps, ANSWER,
the answer, END.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from drivers.puzzles import (
    Hops,
    ModularAddition,
    Multiplication,
    Puzzle,
    PuzzleItem,
    Reachability,
    Reversal,
    Sudoku,
    draw_splits,
    list_repeated,
    read_splits,
)
from tasks.reasoning.config import LATENT, LIST, STEPPED, ReasoningConfig, list_problems
from tasks.runs.names import require_one_of
from tasks.runs.task import Split

PAD, BEGIN, THOUGHT, SPEAK, ANSWER, END = range(6)
MARKS = ("<pad>", "<begin>", "<thought>", "<speak>", "<answer>", "<end>")
Tokens = tuple[int, ...]
PUZZLES: Mapping[str, Callable[[int], Puzzle]] = {  # by name, of a size; 0: the default
    "reachability": lambda nodes: Reachability(nodes=nodes or 12),
    "multiplication": lambda digits: Multiplication(digits=digits or 2),
    "addition": lambda operands: ModularAddition(operands=operands or 8),
    "hops": lambda hops: Hops(hops=hops or 4),
    "sudoku": lambda holes: Sudoku(holes=holes or 8),
    "reversal": lambda pairs: Reversal(pairs=pairs or 100),
}
SHOWN = 5  # items in a message


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


@dataclass(frozen=True)
class ReasoningData:
    """The items of each split. words: of each token."""

    words: tuple[str, ...]
    items: Mapping[Split, tuple[EncodedItem, ...]]

    @property
    def longest_thinking(self) -> int:
        """The largest number of tokens of the steps of a training item."""
        return max(len(item.thinking) for item in self.items["train"])

    @property
    def longest_answer(self) -> int:
        """The largest number of tokens of a training item's answer."""
        return max(len(item.answer) for item in self.items["train"])


def make_puzzle(config: ReasoningConfig) -> Puzzle:
    """Return the puzzle of a configuration.

    Raises:
        UnknownName: there is no such puzzle.
        ValueError: it does not exist in that size.
    """
    return PUZZLES[require_one_of(config.puzzle, tuple(PUZZLES), "puzzle")](config.size)


def list_words(config: ReasoningConfig) -> tuple[str, ...]:
    """Return the word of each token; of a puzzle, without drawing an item."""
    if config.data:
        return load(config).words
    return (*MARKS, *make_puzzle(config).symbols)


def load(config: ReasoningConfig) -> ReasoningData:
    """Return the items of a configuration.

    Raises:
        ValueError: the configuration or its items do not hold together; lists every problem.
    """
    problems = list_problems(config)
    if not problems:
        digest = digest_files(config)
        if config.data_digest not in ("", digest):
            raise ValueError(
                f"{config.data}: the files have changed since the training began; put them "
                "back, or train another run"
            )
        counts = {"train": config.train, "val": config.val, "test": config.test}
        data = _load(
            *(config.puzzle, config.size, config.data, digest, config.seed_of_data),
            tuple(counts.items()),
        )
        problems = list_item_problems(config, data)
    if problems:
        raise ValueError("\n".join([LIST, *problems]))
    return data


@lru_cache(maxsize=4)
def _load(
    puzzle: str,
    size: int,
    folder: str,
    digest: str,  # noqa: ARG001 - of the files, so that changed ones are read again
    seed: int,
    counts: tuple[tuple[Split, int], ...],
) -> ReasoningData:
    if folder:
        found = read_splits(Path(folder))
        items = {split: found[split][: n or None] for split, n in counts}
        own = (word for part in found.values() for item in part for word in _list_item(item))
        words = (*MARKS, *sorted(set(own)))
    else:
        drawn = PUZZLES[puzzle](size)
        found = draw_splits(drawn, {split: n for split, n in counts}, seed)
        items = {split: found[split] for split, _ in counts}
        words = (*MARKS, *drawn.symbols)
    token = {word: k for k, word in enumerate(words)}
    return ReasoningData(
        words, {s: tuple(encode_item(token, item) for item in own) for s, own in items.items()}
    )


def _list_item(item: PuzzleItem) -> tuple[str, ...]:
    return (*item.question, *(word for step in item.steps for word in step), *item.answer)


def encode_item(token: Mapping[str, int], item: PuzzleItem) -> EncodedItem:
    """Return an item as tokens; token: of each word."""
    question, *steps, answer = (
        tuple(token[word] for word in words)
        for words in (item.question, *item.steps, item.answer)
    )
    return EncodedItem(question, tuple(steps), answer)


def list_item_problems(config: ReasoningConfig, data: ReasoningData) -> list[str]:
    """Return what the items lack for a configuration, each with its cure."""
    train, problems = data.items["train"], list[str]()
    bare = [k for k, item in enumerate(train) if not item.steps]
    if bare and config.arm in STEPPED:
        shown = ", ".join(map(str, bare[:SHOWN])) + (", ..." if len(bare) > SHOWN else "")
        problems.append(
            f"{len(bare)} of {len(train)} training items have no steps (items {shown}), and "
            f'arm "{config.arm}" learns from them; add the steps, leave the items out, or set '
            "arm=none"
        )
    if config.limit:
        longest = max(len(item.question) for own in data.items.values() for item in own)
        room = config.limit - longest - 2  # BEGIN and SPEAK
        if config.arm in LATENT and config.thoughts > room:
            problems.append(
                f"{config.thoughts} latents (latents x stages) do not fit the context: limit "
                f"is {config.limit}, and the longest question takes {longest + 2} tokens; give "
                "fewer latents, or a larger limit"
            )
        said = 2 + data.longest_answer + (data.longest_thinking if config.arm in STEPPED else 0)
        if config.thoughts <= room < config.thoughts + said:
            problems.append(
                f"limit is {config.limit}, and a training item takes up to "
                f"{longest + 2 + config.thoughts + said} tokens; give a larger limit"
            )
    if config.vocabulary and config.vocabulary < len(data.words):
        problems.append(
            f"vocabulary is {config.vocabulary}, and the items have {len(data.words)} words; "
            "give at least so many, or 0"
        )
    if repeated := _list_repeated(data):
        problems.append(
            f"{len(repeated)} questions stand in more than one split, such as "
            f"{repeated[0]!r}; leave them out of all but one"
        )
    return problems


def _list_repeated(data: ReasoningData) -> list[str]:
    def decode(tokens: Tokens) -> tuple[str, ...]:
        return tuple(data.words[k] for k in tokens)

    return list_repeated(
        {
            split: tuple(PuzzleItem(decode(item.question), (), ()) for item in own)
            for split, own in data.items.items()
        }
    )


def digest_files(config: ReasoningConfig) -> str:
    """Return the SHA-256 of the files of a folder; "" where items are generated."""
    if not config.data:
        return ""
    sums = [
        f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(Path(config.data).glob("*"))
        if path.is_file()
    ]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def pin_files(config: ReasoningConfig) -> ReasoningConfig:
    """Return a configuration that holds the digest of its files."""
    return replace(config, data_digest=digest_files(config))
