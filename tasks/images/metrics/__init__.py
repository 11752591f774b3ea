"""Metrics of generated images: distances of their codes from those of real ones; sheets."""
