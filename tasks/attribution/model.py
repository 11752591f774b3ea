"""A language model and the probe that reads it. Axes: T tokens, B documents, K corpora."""

from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuro.io.run_folder import RunError
from tasks.attribution.config import AttributionConfig, require_sound
from tasks.attribution.language_model import SourceModel, prepend_begin, read_states
from tasks.attribution.probes import Probe
from tasks.attribution.spiking_probe import SpikingProbe


class AttributionModel(nn.Module):
    """A language model, alone or frozen behind a probe.

    The weights of the language model are drawn first, so they are the same in all arms.
    """

    def __init__(self, config: AttributionConfig) -> None:
        super().__init__()
        self.lm = SourceModel(config)
        self.probe = None if config.is_lm else make_probe(config)
        self.lm.requires_grad_(config.is_lm)

    def forward(self, tokens: Int64[Tensor, "T B"]) -> Float[Tensor, "T B M"]:
        """Return the logits of each token: of the corpus, or without a probe of the token."""
        if self.probe is None:
            logits: Tensor = self.lm(prepend_begin(self.lm, tokens)[:-1])[0]
        else:
            logits = self.probe(read_states(self.lm, tokens))[0]
        return logits


def make_probe(config: AttributionConfig) -> Probe | SpikingProbe:
    """Return a fresh probe of an arm that has one."""
    return SpikingProbe(config) if config.is_spiking else Probe(config)


def build(config: AttributionConfig) -> AttributionModel:
    """Return a fresh model.

    Raises:
        ValueError: the configuration does not hold together; lists every problem.
    """
    require_sound(config)
    return AttributionModel(config)


def require_attribution(model: nn.Module) -> AttributionModel:
    """Return the model, without what several processes wrap around it."""
    inner = getattr(model, "module", model)
    if not isinstance(inner, AttributionModel):
        raise RunError(
            f"{type(inner).__name__} attributes nothing; tasks.attribution builds one"
        )
    return inner
