"""Toy puzzles: a small configuration; files as of ProsQA, GSM8K, implicit chain of thought."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from drivers.puzzles import Reachability, draw_splits
from tasks.reasoning.config import tiny_spiking

# Continuous thoughts on graphs of 12 nodes: 33 words of a question, 2 to 4 steps.
GRAPHS = replace(tiny_spiking(), arm="coconut", stack="softmax*2", linear="float")


def write_prosqa(folder: Path, train: int) -> None:
    """Write prosqa_train.json, prosqa_valid.json and prosqa_test.json: graphs as sentences."""
    splits = draw_splits(Reachability(), {"train": train, "val": 4, "test": 4}, 0)
    folder.mkdir(exist_ok=True)
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        items = []
        for item in splits[split]:
            *text, _, one, other, _, root = item.question
            edges = zip(text[::2], text[1::2], strict=True)
            facts = [f"Every {name_node(a)} is a {name_node(b)}." for a, b in edges]
            way = [root, *(word for (word,) in item.steps)]
            asked = f"Is Tom a {name_node(one)} or {name_node(other)}?"
            items.append(
                {
                    "question": " ".join([*facts, f"Tom is a {name_node(root)}.", asked]),
                    "steps": [
                        f"Every {name_node(a)} is a {name_node(b)}." for a, b in pairwise(way)
                    ],
                    "answer": f"Tom is a {name_node(item.answer[0])}.",
                }
            )
        (folder / f"prosqa_{name}.json").write_text(json.dumps(items))


def name_node(number: str) -> str:
    """Return a word for a node."""
    return "".join("abcdefghij"[int(digit)] for digit in number) + "pus"


def write_gsm8k(folder: Path, items: int) -> None:
    """Write train.jsonl and test.jsonl: a sum and a product in two lines."""
    for first, name in ((1, "train"), (1000, "test")):
        lines = []
        for n in range(first, first + items):
            steps = (
                f"She has {n} + {n} = <<{n}+{n}={2 * n}>>{2 * n} cards.\n"
                f"Then {2 * n} * 2 = <<{2 * n}*2={4 * n}>>{4 * n} cards."
            )
            question = f"Ann has {n} cards, and gets {n} more. Bea has twice as many. How many?"
            lines.append(json.dumps({"question": question, "answer": f"{steps}\n#### {4 * n}"}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def write_implicit(folder: Path, items: int) -> None:
    """Write train.txt, valid.txt and test.txt: steps in << >>."""
    for k, name in enumerate(("train", "valid", "test")):
        lines = [
            f"Twice {n} + {n}?||<<{n}+{n}={2 * n}>> <<{2 * n}*2={4 * n}>> #### {4 * n}"
            for n in range(1 + 100 * k, 1 + 100 * k + items)
        ]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
