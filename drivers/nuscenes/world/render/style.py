"""Random light and colours of a place: noon or evening, clear or overcast."""

from dataclasses import dataclass
from math import cos, sin

import numpy as np
from jaxtyping import Float64

Colour = Float64[np.ndarray, "3"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Style:
    """The light and colours of a place. Colours are RGB in 0..255.

    sun: unit vector towards it. ambient, direct: brightness in the shade, and the addition of
    the sun at a right angle. reach: of sight in haze [m].
    """

    sun: Float64[np.ndarray, "3"]
    ambient: float
    direct: float
    zenith: Colour
    horizon: Colour
    reach: float
    asphalt: Colour
    walkway: Colour
    soil: Colour
    leaves: Colour
    walls: Float64[np.ndarray, "K 3"]


def make_style(rng: np.random.Generator) -> Style:
    """Return a random style. The asphalt's brightness varies by a factor of 3."""
    azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(0.25, 1.2)
    evening, overcast = max(0.0, 0.6 - height), float(rng.random() < 0.35)
    warm = np.array([1.0, 1.0 - 0.3 * evening, 1.0 - 0.7 * evening])
    light = rng.uniform(0.85, 1.15) * (1 - evening) * warm
    blue, grey = np.array([92.0, 148.0, 220.0]), np.array([196.0, 202.0, 208.0])
    zenith = (grey if overcast else blue) * light
    horizon = (0.75 * zenith + 0.25 * np.array([255.0, 240.0, 225.0])) * (0.85 + 0.15 * warm)
    soils = np.array([[96.0, 116.0, 62.0], [128.0, 112.0, 84.0], [110.0, 122.0, 78.0]])
    grey_of_asphalt = rng.uniform(62, 112)
    return Style(
        sun=np.array([cos(azimuth) * cos(height), sin(azimuth) * cos(height), sin(height)]),
        ambient=0.75 if overcast else 0.5,
        direct=0.2 if overcast else 0.6,
        zenith=zenith,
        horizon=horizon,
        reach=float(rng.uniform(150, 500)),
        asphalt=(grey_of_asphalt + rng.uniform(-5, 5, 3)) * light,
        walkway=(rng.uniform(140, 178) + rng.uniform(-8, 8, 3)) * light,
        soil=(soils[rng.integers(3)] + rng.uniform(-12, 12, 3)) * light,
        leaves=(np.array([64.0, 104.0, 48.0]) + rng.uniform(-18, 18, 3)) * light,
        walls=(rng.uniform(90, 215, (6, 1)) + rng.uniform(-28, 28, (6, 3))) * light,
    )
