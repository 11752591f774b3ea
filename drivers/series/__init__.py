"""Series of numbers over time, generated from equations; no data set is read."""

from drivers.series.lorenz import generate_lorenz
from drivers.series.mackey_glass import generate_mackey_glass

__all__ = ["generate_lorenz", "generate_mackey_glass"]
