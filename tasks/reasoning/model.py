"""The network: it reads a question, thinks in hidden states, and says an answer.

A thought is an embedding that stands for a word: the last hidden state behind the final norm
(Coconut), a projection of it (CODI), or a learned embedding (pause). It enters through the
state of the mixers, so any mixer of :mod:`neuro.mixers` thinks.
In "diffusion" it reads both ways, and guesses words that are hidden.
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
    """A question and thoughts, read so far.

    pending: embeddings that are not read yet: the last thought, or everything where no thought
    depends on another. state: of the mixers before them. calls: of the network so far.
    depth: iterations of a core that recurs; None: as in the state, or in the configuration.
    """

    pending: Float[Tensor, "P B D"]
    state: tuple[Any, ...] | None
    calls: int
    depth: int | None = None


class ReasoningModel(RecurrentModel):
    """Question, thoughts and words to hidden states; the weights of all arms begin alike."""

    def __init__(self, config: ReasoningConfig, vocabulary: int) -> None:
        super().__init__(config, vocabulary, causal=config.arm != "diffusion")
        self.arm = config.arm
        # Behind the others, so that they are drawn alike in every arm.
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
        """Return the embeddings of thoughts behind hidden states."""
        if self.arm == "pause":
            return self.pause.expand_as(hidden)
        out: Tensor = self.projection(hidden) if self.arm == "codi" else hidden
        return out

    def think(
        self, question: Int64[Tensor, "T B"], count: int, depth: int | None = None
    ) -> Prompt:
        """Return a question followed by so many thoughts.

        Each thought is one call of the network, as the next one depends on it; thoughts that
        depend on nothing are read with the question. depth: of :meth:`RecurrentModel.read`.
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
        """Return (what it makes of the words behind so many thoughts, calls of the network).

        depth: of :meth:`RecurrentModel.read`. hidden: in "diffusion", which words of question
        and answer are; then the reading is of both.
        """
        if hidden is not None:
            return self.read_hidden(torch.cat([question, said]), hidden), 1
        prompt = self.think(question, thoughts, depth)
        return self.listen(prompt, said, keep_layers), prompt.calls + 1

    def read_hidden(self, tokens: Int64[Tensor, "S B"], hidden: Bool[Tensor, "S B"]) -> Reading:
        """Return what it makes of a text with hidden words, which all look alike."""
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
        """Return what it makes of words behind a prompt; only their hidden states."""
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
        ValueError: the configuration is wrong; lists every problem.
    """
    require_sound(config)
    return ReasoningModel(config, config.vocabulary or len(list_words(config)))
