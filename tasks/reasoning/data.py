"""The items of a configuration: puzzles by name, splits, and checks of the items."""

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
from tasks.reasoning.config import LATENT, STAGED, STEPPED, ReasoningConfig
from tasks.reasoning.curriculum import count_thoughts, count_words, keep_steps, say
from tasks.reasoning.items import MARKS, EncodedItem, Tokens, encode_item
from tasks.runs.configuration import refuse_problems, require_sound
from tasks.runs.names import require_one_of
from tasks.runs.task import Split


def make_graphs(nodes: int) -> Reachability:
    """Return graphs with targets from depth 2 to the depth that the nodes allow, at most 4."""
    return Reachability(nodes=nodes, most=max(2, min(4, nodes // 2 - 2)))


PUZZLES: Mapping[str, Callable[[int], Puzzle]] = {  # name -> puzzle of a size; 0: default
    "reachability": lambda nodes: make_graphs(nodes or 12),
    "multiplication": lambda digits: Multiplication(digits=digits or 2),
    "addition": lambda operands: ModularAddition(operands=operands or 8),
    "hops": lambda hops: Hops(hops=hops or 4),
    "sudoku": lambda holes: Sudoku(holes=holes or 8),
    "reversal": lambda pairs: Reversal(pairs=pairs or 100),
}
RULES = {  # name -> what a puzzle asks; in "hops" with the number of steps
    "reachability": "The question lists the edges of a graph as pairs (from, to), then two "
    "targets behind ? and a start behind >. Which target can be reached from the start?",
    "multiplication": "Multiply two numbers, all digits written from the last to the first.",
    "addition": "Add the digits, modulo 10.",
    "hops": "Begin at the last letter. A hop goes back to the nearest earlier letter of the "
    "same kind, and one place on. Which letter is reached? Hops: {steps}.",
    "sudoku": "Fill the dots of a 4 x 4 grid, written row by row: each row, column and 2 x 2 "
    "block has the digits 1 to 4.",
    "reversal": '"A is" asks for the name that follows A in the training, "B was" for the name '
    "before B.",
}
SHOWN = 5  # items in a message


@dataclass(frozen=True)
class ReasoningData:
    """The items of each split. words: the word of each token."""

    words: tuple[str, ...]
    items: Mapping[Split, tuple[EncodedItem, ...]]

    @property
    def longest_thinking(self) -> int:
        """The largest number of tokens of the steps of a training item."""
        return max(len(item.thinking) for item in self.items["train"])

    @property
    def longest_steps(self) -> int:
        """The largest number of tokens of the steps of any item."""
        return max(len(item.thinking) for own in self.items.values() for item in own)

    @property
    def longest_answer(self) -> int:
        """The largest number of tokens of any item's answer."""
        return max(len(item.answer) for own in self.items.values() for item in own)


def make_puzzle(name: str, size: int) -> Puzzle:
    """Return the puzzle with this name; size 0 takes its default size.

    Raises:
        UnknownName: there is no such puzzle.
        ValueError: the puzzle does not exist in this size.
    """
    return PUZZLES[require_one_of(name, tuple(PUZZLES), "puzzle")](size)


def list_words(config: ReasoningConfig) -> tuple[str, ...]:
    """Return the word of each token; puzzles know it without drawing items."""
    if config.data:
        return load(config).words
    return (*MARKS, *make_puzzle(config.puzzle, config.size).symbols)


def load(config: ReasoningConfig) -> ReasoningData:
    """Return the items of a configuration.

    Raises:
        ValueError: configuration and items contradict each other; the message lists every
            problem.
    """
    require_sound(config)
    digest = digest_files(config)
    if config.data_digest not in ("", digest):
        raise ValueError(
            f"{config.data}: the files have changed since the training began; put them back, "
            "or train another run"
        )
    return _load_sound(config, digest)


@lru_cache(maxsize=8)
def _load_sound(config: ReasoningConfig, digest: str) -> ReasoningData:
    counts = {"train": config.train, "val": config.val, "test": config.test}
    data = _load(
        *(config.puzzle, config.size, config.data, digest, config.seed_of_data),
        tuple(counts.items()),
    )
    refuse_problems(list_item_problems(config, data))
    return data


@lru_cache(maxsize=4)
def _load(
    puzzle: str,
    size: int,
    folder: str,
    digest: str,  # noqa: ARG001 - a key of the cache, so that changed files are read again
    seed: int,
    counts: tuple[tuple[Split, int], ...],
) -> ReasoningData:
    if folder:
        found = read_splits(Path(folder))
        items = {split: found[split][: n or None] for split, n in counts}
        own = (word for part in found.values() for item in part for word in _list_item(item))
        words = (*MARKS, *sorted(set(own)))
    else:
        drawn = make_puzzle(puzzle, size)
        found = draw_splits(drawn, {split: n for split, n in counts}, seed)
        items = {split: found[split] for split, _ in counts}
        words = (*MARKS, *drawn.symbols)
    token = {word: k for k, word in enumerate(words)}
    return ReasoningData(
        words, {s: tuple(encode_item(token, item) for item in own) for s, own in items.items()}
    )


def _list_item(item: PuzzleItem) -> tuple[str, ...]:
    return (*item.question, *(word for step in item.steps for word in step), *item.answer)


def list_item_problems(config: ReasoningConfig, data: ReasoningData) -> list[str]:
    """Return every problem of the items in a configuration, each with its cure."""
    train, problems = data.items["train"], list[str]()
    bare = [k for k, item in enumerate(train) if not item.steps]
    if bare and config.arm in STEPPED:
        shown = ", ".join(map(str, bare[:SHOWN])) + (", ..." if len(bare) > SHOWN else "")
        problems.append(
            f"{len(bare)} of {len(train)} training items have no steps (items {shown}), and "
            f'arm "{config.arm}" learns from them; add the steps, leave the items out, or set '
            "arm=none"
        )
    problems += _list_unfit_for_diffusion(config, data)
    if config.limit:
        longest = 1 + max(len(item.question) for own in data.items.values() for item in own)
        needed = count_context(config, data)
        if config.arm in LATENT and longest + config.thoughts > config.limit:
            problems.append(
                f"{config.thoughts} latents (latents x stages) do not fit the context: limit "
                f"is {config.limit}, and the longest question takes {longest} tokens; give "
                "fewer latents, or a larger limit"
            )
        elif needed > config.limit:
            problems.append(
                f"limit is {config.limit}, and an item takes up to {needed} tokens; give a "
                "larger limit"
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


def _list_unfit_for_diffusion(config: ReasoningConfig, data: ReasoningData) -> list[str]:
    if config.arm != "diffusion":
        return []
    problems, longest = list[str](), data.longest_answer
    named = [
        (s, k, len(item.answer)) for s, own in data.items.items() for k, item in enumerate(own)
    ]
    if short := [f"{split} {k}: {n}" for split, k, n in named if n != longest]:
        shown = ", ".join(short[:SHOWN]) + (", ..." if len(short) > SHOWN else "")
        problems.append(
            f"{len(short)} of {len(named)} items have answers of fewer words than the longest, "
            f"{longest} ({shown}), and diffusion fills a fixed number of words; fill the "
            "answers up, leave the items out, or set arm=none"
        )
    if config.denoising_steps > longest:
        problems.append(
            f"denoising_steps is {config.denoising_steps}, and an answer has {longest} words; "
            f"give 0 (one word a step) to {longest}"
        )
    return problems


def count_context(config: ReasoningConfig, data: ReasoningData) -> int:
    """Return the largest number of tokens that training or an answer reads."""
    thinking = data.longest_thinking
    stages = range(config.stages + 1) if config.arm in STAGED else range(1)
    question = 1 + max(len(item.question) for own in data.items.values() for item in own)
    if config.arm == "diffusion":
        return question + data.longest_answer
    behind = [
        count_thoughts(config, stage)
        + len(say(keep_steps(config, item, stage, thinking), item.answer))
        for item in data.items["train"]
        for stage in stages
    ]
    if config.arm == "codi":
        behind += [len(say(item.thinking, item.answer)) for item in data.items["train"]]
    given = 1 if config.arm == "cot" else 2  # SPEAK, ANSWER
    words = count_words(config, data.longest_steps, data.longest_answer)
    return question + max(*behind, config.thoughts + given + words - 1)


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
    """Return the SHA-256 of the files in a folder; "" if items are generated."""
    if not config.data:
        return ""
    sums = [
        f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(Path(config.data).glob("*"))
        if path.is_file()
    ]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def pin_files(config: ReasoningConfig) -> ReasoningConfig:
    """Return the configuration with the digest of its files."""
    return replace(config, data_digest=digest_files(config))
