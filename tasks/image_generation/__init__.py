"""Image generation by a spiking variational autoencoder: FSVAE, and TAID decoders."""
