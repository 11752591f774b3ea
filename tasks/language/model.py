"""A language model: embedding, blocks (a mixer and a gated linear unit each), and read-out.

    x <- x + mixer(RMSNorm x)        x <- x + W_d (SiLU(W_u x') V x'),  x' = RMSNorm x

With ternary maps and MLGRU it is the MatMul-free language model (Zhu et al. 2024, arXiv
2406.02528). Axes: T tokens, B samples, D channels, V the vocabulary.
"""

from neuro.nn.mixer_block import NextTokenModel
from tasks.language.config import LanguageConfig


class LanguageModel(NextTokenModel):
    """Maps tokens and a state to the logits of the next token and the new state."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__(config, config.vocabulary)
