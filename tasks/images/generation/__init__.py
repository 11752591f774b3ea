"""Image generation by a spiking variational autoencoder: FSVAE, and TAID's decoders."""

from tasks.images.generation.task import TASK

__all__ = ["TASK"]
