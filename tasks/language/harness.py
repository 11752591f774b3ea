"""Scores of language models by the harness of EleutherAI, ``lm-eval``.

    lm_eval.simple_evaluate(model=load_harness_model("runs/mm370m"), tasks=["lambada_openai"])

The harness is no dependency of this project: ``pip install lm-eval``.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tasks.language.config import LanguageConfig
from tasks.language.data import NOTHING, find_tokenizer
from tasks.language.generate import generate
from tasks.language.task import read_lanes
from tasks.language.writer import load_writer

MOST = 256  # tokens of an answer, unless the harness names another number


class Scorer:
    """The three calls of the harness; a request holds its texts in ``args``.

    model: maps tokens and a state to logits, in evaluation mode.
    config: names the tokenizer; recurrent models read a text of any length as one stream,
        others in windows (:func:`tasks.language.task.measure_bits`).
    """

    def __init__(self, model: nn.Module, config: LanguageConfig) -> None:
        self.model, self.settings = model, config
        self.tokenizer = find_tokenizer(config)

    def loglikelihood(
        self,
        requests: Sequence[Any],
        disable_tqdm: bool = False,  # noqa: ARG002 - the harness passes it
    ) -> list[tuple[float, bool]]:
        """Return (log-probability of the continuation [nat], whether it is the likeliest).

        ``args`` are a context, which may be empty, and its continuation. Blanks at the end of a
        context count as the beginning of its continuation.
        """
        out = []
        for context, continuation in (request.args for request in requests):
            bare = context.rstrip()
            whole = self._encode(context + continuation)
            before = len(self._encode(bare)) if bare else 0
            out.append(self.score(whole[:before], whole[before:]))
        return out

    def loglikelihood_rolling(
        self,
        requests: Sequence[Any],
        disable_tqdm: bool = False,  # noqa: ARG002
    ) -> list[float]:
        """Return the log-probability of each whole text [nat]; ``args`` hold the text."""
        return [self.score([], self._encode(request.args[0]))[0] for request in requests]

    def generate_until(
        self,
        requests: Sequence[Any],
        disable_tqdm: bool = False,  # noqa: ARG002
    ) -> list[str]:
        """Return continuations up to a text that ends them.

        ``args`` are a prompt and the keys ``until``, ``max_gen_toks`` and, for random draws,
        ``do_sample`` with ``temperature``.
        """
        out = []
        for prompt, words in (request.args for request in requests):
            stops = words.get("until") or []
            stops = [stops] if isinstance(stops, str) else list(stops)
            heat = float(words.get("temperature") or 0) if words.get("do_sample") else 0.0
            pieces = generate(self.model, self.tokenizer, prompt.encode(), heat)
            most = words.get("max_gen_toks", MOST)
            out.append(_join_until(pieces, stops, most))
        return out

    @torch.no_grad()
    def score(self, before: Sequence[int], after: Sequence[int]) -> tuple[float, bool]:
        """Return (log-probability of the tokens ``after`` [nat], whether all are likeliest)."""
        tokens = torch.tensor([self.tokenizer.begin, *before, *after])[:, None]
        y = tokens[1:].clone()
        y[: len(before)] = NOTHING
        size = self.settings.tokens
        pairs = zip(torch.split(tokens[:-1], size), torch.split(y, size), strict=True)
        nats, greedy = 0.0, True
        for logits, targets in read_lanes(self.settings, self.model, pairs):
            kept = targets[:, 0] != NOTHING
            rows, own = logits[kept, 0].double(), targets[kept, 0]
            nats += float(rows.log_softmax(-1).gather(1, own[:, None]).sum())
            greedy &= bool((rows[:, : self.tokenizer.size].argmax(-1) == own).all())
        return nats, greedy

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text.encode()).tolist()


def load_harness_model(run: str | Path) -> Any:
    """Return a run, or a packed file, as a model of the harness.

    Raises:
        RunError: the run is of another task, or not trained yet.
        ModuleNotFoundError: the harness is not installed.
    """
    base = import_module("lm_eval.api.model").LM

    class HarnessModel(Scorer, base):  # type: ignore[misc, valid-type]
        def __init__(self, model: nn.Module, config: LanguageConfig) -> None:
            base.__init__(self)
            Scorer.__init__(self, model, config)

    return HarnessModel(*load_writer(Path(run)))


def _join_until(pieces: Iterable[bytes], stops: Sequence[str], most: int) -> str:
    """Return the text of at most ``most`` pieces, before the first of the stops."""
    data, ends = b"", [stop.encode() for stop in stops if stop]
    for number, piece in enumerate(pieces):
        if number == most:
            break
        data += piece
        found = [at for end in ends if (at := data.find(end)) >= 0]
        if found:
            data = data[: min(found)]
            break
    return data.decode(errors="replace")
