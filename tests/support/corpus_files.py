"""Corpora at toy size, in the layouts that are read: folders, and files of the Pile."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NAMES = ("fables", "letters", "recipes", "songs", "tables")
PILE_NAMES = ("Enron Emails", "Github", "PubMed Abstracts", "Wikipedia (en)")


def draw_text(corpus: int, rng: np.random.Generator, words: int = 60) -> str:
    """Return words of four letters; each corpus prefers letters of its own."""
    p = np.exp(-0.3 * ((np.arange(26) - 4 * corpus) % 26))
    letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz"), (words, 4), p=p / p.sum())
    return " ".join("".join(word) for word in letters) + ".\n"


def write_corpus_folders(
    root: Path, names: Sequence[str] = NAMES, each: int = 8, words: int = 60, seed: int = 0
) -> Path:
    """Write NAME/*.txt, but of every second corpus one NAME/*.jsonl, with licence tags."""
    rng = np.random.default_rng(seed)
    for k, name in enumerate(names):
        folder = root / name
        folder.mkdir(parents=True)
        texts = [draw_text(k, rng, words) for _ in range(each)]
        if k % 2:
            lines = [json.dumps({"text": text, "licence": "CC0-1.0"}) for text in texts]
            (folder / "all.jsonl").write_text("\n".join(lines) + "\n")
            continue
        (folder / "LICENCE").write_text("MIT\n\nPermission is granted\n")
        for n, text in enumerate(texts):
            (folder / f"{n:03}.txt").write_text(text)
    return root


def write_pile(
    path: Path, names: Sequence[str] = PILE_NAMES, each: int = 8, seed: int = 0
) -> Path:
    """Write a line for every document, from one corpus after the other."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"text": draw_text(k, rng), "meta": {"pile_set_name": name}})
        for _ in range(each)
        for k, name in enumerate(names)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path
