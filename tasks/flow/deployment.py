"""What a chip runs of a network, and why it runs none of those without spikes."""

from collections.abc import Iterator

from torch import nn

from neuro.io.run_folder import RunError
from tasks.flow.config import FlowConfig
from tasks.runs.task import Split, Stimulus


def explain_only_torch(config: FlowConfig) -> str:
    """Return why only torch runs a network; "" where all executors do."""
    return (
        f"this network stays on torch: its maps are float (arm {config.arm}), and only spikes "
        "run on events and chips"
    )


def chip_part(config: FlowConfig, model: nn.Module) -> nn.Module:  # noqa: ARG001
    """Refuse.

    Raises:
        RunError: only torch runs the model.
    """
    raise RunError(explain_only_torch(config))


def stimuli(
    config: FlowConfig,
    model: nn.Module,  # noqa: ARG001
    split: Split,  # noqa: ARG001
) -> Iterator[Stimulus]:
    """Refuse.

    Raises:
        RunError: only torch runs the model.
    """
    raise RunError(explain_only_torch(config))
