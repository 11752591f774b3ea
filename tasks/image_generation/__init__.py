"""Image generation by a spiking variational autoencoder: FSVAE, and TAID's decoders."""

from tasks.image_generation.task import TASK

__all__ = ["TASK"]
