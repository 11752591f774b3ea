"""The bird's-eye grid: square cells of the ground in the ego frame."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from neuro.base.bounds import Positive


@dataclass(frozen=True, kw_only=True)
class GroundGrid:
    """Square cells of the ground around the car.

    Axis 0 counts cells from x[0] (behind) forward, axis 1 from y[0] (right) leftward.

    Raises:
        ValueError: an extent is not positive, or not a whole number of cells.

    >>> grid = GroundGrid(x=(-24.0, 24.0), y=(-24.0, 24.0), step=1.0)
    >>> grid.shape, grid.cells(np.array([[0.5, -23.9]])).tolist()
    ((48, 48), [[24, 0]])
    """

    x: tuple[float, float]
    """First and last edge in the ego frame, forward [m]."""
    y: tuple[float, float]
    """First and last edge in the ego frame, to the left [m]."""
    step: Positive
    """Edge of a cell [m]."""

    def __post_init__(self) -> None:
        if not self.step > 0:
            raise ValueError(f"Grid: step must be positive, got {self.step} m")
        for name, (low, high) in (("x", self.x), ("y", self.y)):
            cells = (high - low) / self.step
            if not high > low or abs(cells - round(cells)) > 1e-6:
                raise ValueError(
                    f"Grid: {name} from {low} to {high} m is no whole number of cells of "
                    f"{self.step} m; change {name} or step"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of cells along x and along y."""
        (x0, x1), (y0, y1) = self.x, self.y
        return round((x1 - x0) / self.step), round((y1 - y0) / self.step)

    def cells(self, points: Float[np.ndarray, "*P xy"]) -> Int64[np.ndarray, "*P 2"]:
        """Return the cell of each point (x, y, ...) [m], out of range for points outside."""
        origin = np.array([self.x[0], self.y[0]])
        cells: Int64[np.ndarray, "*P 2"] = np.floor(
            (points[..., :2] - origin) / self.step
        ).astype(np.int64)
        return cells

    def centres(self) -> Float[np.ndarray, "X Y 2"]:
        """Return the middle of each cell in the ego frame [m]."""
        nx, ny = self.shape
        x = self.x[0] + self.step * (np.arange(nx) + 0.5)
        y = self.y[0] + self.step * (np.arange(ny) + 0.5)
        return np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
