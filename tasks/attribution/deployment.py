"""What a chip runs of attribution: nothing of an arm without spikes."""

from collections.abc import Iterator
from typing import NoReturn

from torch import nn

from neuro.io.run_folder import RunError
from tasks.attribution.config import AttributionConfig
from tasks.runs.task import Split, Stimulus


def explain_only_torch(config: AttributionConfig) -> str:
    """Return why only torch runs a model."""
    return f'arm "{config.arm}" sends no spikes, so only torch runs it'


def chip_part(config: AttributionConfig, model: nn.Module) -> NoReturn:  # noqa: ARG001
    """Raise a RunError: no arm has spikes."""
    raise RunError(explain_only_torch(config))


def stimuli(
    config: AttributionConfig,
    model: nn.Module,  # noqa: ARG001
    split: Split,  # noqa: ARG001
) -> Iterator[Stimulus]:
    """Raise a RunError: no arm has spikes."""
    raise RunError(explain_only_torch(config))
