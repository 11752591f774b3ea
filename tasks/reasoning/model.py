"""The network: it reads a question, thinks in hidden states, and says an answer.

A thought is an embedding in place of a word: the last hidden state after the final norm
(Coconut), a projection of it (CODI), or a learned embedding (pause). Thoughts act through the
state of the mixers, so every mixer of :mod:`neuro.mixers` can think.
In "diffusion" the network reads in both directions and guesses hidden words.
Axes: T tokens of a question, L thoughts, U tokens that are said, S = T + U, B samples, D
channels, V the vocabulary.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from neuro.nn.mixer_block import SPREAD, Reading
from neuro.nn.recurrent_depth import RecurrentModel
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.data import list_words
from tasks.runs.configuration import require_sound


class Prompt(NamedTuple):
    """A question and its thoughts, partly read.

    pending: embeddings that are not read yet: the last thought, or everything if no thought
        depends on another.
    state: state of the mixers before the pending embeddings. calls: network calls so far.
    depth: iterations of a recurrent core; None takes those of the state or the configuration.
    """

    pending: Float[Tensor, "P B D"]
    state: tuple[Any, ...] | None
    calls: int
    depth: int | None = None


class ReasoningModel(RecurrentModel):
    """Maps question, thoughts and words to hidden states; all arms share initial weights."""

    def __init__(self, config: ReasoningConfig, vocabulary: int) -> None:
        super().__init__(config, vocabulary, causal=config.arm != "diffusion")
        self.arm = config.arm
        # Created last, so that every arm draws the same values for the weights before.
        if self.arm == "pause":
            self.pause = nn.Parameter(torch.empty(config.width))
            nn.init.normal_(self.pause, std=SPREAD)
        if self.arm == "diffusion":
            self.mask = nn.Parameter(torch.empty(config.width))
            nn.init.normal_(self.mask, std=SPREAD)
        if self.arm == "codi":
            self.projection = nn.Sequential(
                nn.Linear(config.width, config.width),
                nn.GELU(),
                nn.Linear(config.width, config.width),
                nn.LayerNorm(config.width),
            )

    def make_thought(self, hidden: Float[Tensor, "L B D"]) -> Float[Tensor, "L B D"]:
        """Return the embeddings of the thoughts that follow hidden states."""
        if self.arm == "pause":
            return self.pause.expand_as(hidden)
        out: Tensor = self.projection(hidden) if self.arm == "codi" else hidden
        return out

    def think(
        self, question: Int64[Tensor, "T B"], count: int, depth: int | None = None
    ) -> Prompt:
        """Return a question followed by ``count`` thoughts.

        Each thought takes one network call, because the next thought depends on it; pauses are
        read together with the question. depth: see :meth:`RecurrentModel.read`.
        """
        self.require_known(question)
        x = self.embedding(question)
        if not count or self.arm == "pause":
            paused = self.make_thought(x.new_zeros(count, *x.shape[1:])) if count else x[:0]
            return Prompt(torch.cat([x, paused]), None, 0, depth)
        state, calls = None, 0
        for _ in range(count):
            reading = self.read(x, state, depth=depth)
            x, state, calls = self.make_thought(reading.hidden[-1:]), reading.state, calls + 1
        return Prompt(x, state, calls, depth)

    def forward(
        self,
        question: Int64[Tensor, "T B"],
        thoughts: int,
        said: Int64[Tensor, "U B"],
        keep_layers: bool = False,
        depth: int | None = None,
        hidden: Bool[Tensor, "S B"] | None = None,
    ) -> tuple[Reading, int]:
        """Return (reading of the words after ``thoughts`` thoughts, number of network calls).

        depth: see :meth:`RecurrentModel.read`. hidden: for "diffusion", which words of question
        and answer are hidden; the reading then covers both.
        """
        if hidden is not None:
            return self.read_hidden(torch.cat([question, said]), hidden), 1
        prompt = self.think(question, thoughts, depth)
        return self.listen(prompt, said, keep_layers), prompt.calls + 1

    def read_hidden(self, tokens: Int64[Tensor, "S B"], hidden: Bool[Tensor, "S B"]) -> Reading:
        """Return the reading of a text in which one embedding replaces all hidden words."""
        self.require_known(tokens)
        x = self.embedding(tokens)
        return self.read(torch.where(hidden[..., None], self.mask.to(x.dtype), x))

    def guess(
        self, tokens: Int64[Tensor, "S B"], hidden: Bool[Tensor, "S B"]
    ) -> Float[Tensor, "S B V"]:
        """Return the logits of the word at each place of a text with hidden words."""
        logits: Tensor = self.head(self.read_hidden(tokens, hidden).hidden)
        return logits

    def listen(
        self, prompt: Prompt, said: Int64[Tensor, "U B"], keep_layers: bool = False
    ) -> Reading:
        """Return the reading of words after a prompt; it covers only the words."""
        self.require_known(said)
        x = torch.cat([prompt.pending, self.embedding(said)])
        reading = self.read(x, prompt.state, keep_layers, prompt.depth)
        first = len(prompt.pending)
        return reading._replace(
            hidden=reading.hidden[first:],
            layers=tuple(x[first:] for x in reading.layers),
            depth=None if reading.depth is None else reading.depth[first:],
        )


def build(config: ReasoningConfig) -> ReasoningModel:
    """Return a fresh model. Weights that arms share do not depend on the arm.

    Raises:
        ValueError: the configuration is wrong; the message lists every problem.
    """
    require_sound(config)
    return ReasoningModel(config, config.vocabulary or len(list_words(config)))
