"""A language model: an embedding, blocks of a mixer and a gated linear unit, and a read-out.

    x <- x + mixer(RMSNorm x)        x <- x + W_d (SiLU(W_u x') V x'),  x' = RMSNorm x

With ternary maps and MLGRU it is the MatMul-free language model (Zhu et al. 2024, arXiv
2406.02528). Axes: T tokens, B samples, D channels, V the vocabulary.
"""

from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

from neuro.nn.mixer_block import MixerModel
from tasks.language.config import LanguageConfig


class LanguageModel(MixerModel):
    """Tokens to the logits of the next token; state in, state out."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__(config, config.vocabulary)

    def forward(
        self, tokens: Int64[Tensor, "T B"], state: tuple[Any, ...] | None = None
    ) -> tuple[Float[Tensor, "T B V"], tuple[Any, ...]]:
        """Return (logits, state of each layer).

        Raises:
            ValueError: a token is not of the vocabulary, or the state is of other samples.
        """
        self.require_known(tokens)
        reading = self.read(self.embedding(tokens), state)
        logits: Tensor = self.head(reading.hidden)
        return logits, reading.state
