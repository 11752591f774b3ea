"""Faces: flat pieces that make up every body above the ground."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from drivers.nuscenes.world.render.kernels import Look, Solids


@dataclass(frozen=True, kw_only=True, eq=False)
class Faces:
    """P parallelograms, seen from the side to which the cross product of u and v points.

    A point of a face is corner + s u + t v with s and t in 0..1 [m]. colour: RGB in 0..255,
    before lighting. look: a :class:`Look`. cells: windows along u and along v (WINDOWS), or the
    number of a crown (LEAVES). label: its class of nuScenes-lidarseg. owner: index of its box,
    -1 without a box.
    """

    corner: Float64[np.ndarray, "P 3"]
    u: Float64[np.ndarray, "P 3"]
    v: Float64[np.ndarray, "P 3"]
    colour: Float64[np.ndarray, "P 3"]
    look: Int64[np.ndarray, " P"]
    cells: Float64[np.ndarray, "P 2"]
    label: Int64[np.ndarray, " P"]
    owner: Int64[np.ndarray, " P"]

    def __len__(self) -> int:
        return len(self.corner)

    @property
    def normal(self) -> Float64[np.ndarray, "P 3"]:
        """Unit vector towards the visible side of each face."""
        across = np.cross(self.u, self.v)
        normal: Float64[np.ndarray, "P 3"] = across / np.linalg.norm(
            across, axis=1, keepdims=True
        )
        return normal

    @property
    def solids(self) -> Solids:
        """The arrays for compiled functions."""
        return Solids(self.corner, self.u, self.v, self.colour, self.look, self.cells)

    def pick(self, which: Bool[np.ndarray, " P"]) -> "Faces":
        """Return the faces of a mask."""
        return Faces(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


def make_faces(
    shape: Float64[np.ndarray, "P 3 3"],
    colour: Float64[np.ndarray, "P 3"],
    look: Int64[np.ndarray, " P"],
    label: Int64[np.ndarray, " P"],
) -> Faces:
    """Return faces without a box; shape: corner, u and v of each."""
    number = len(shape)
    return Faces(
        corner=shape[:, 0],
        u=shape[:, 1],
        v=shape[:, 2],
        colour=colour,
        look=look,
        cells=np.ones((number, 2)),
        label=label,
        owner=np.full(number, -1),
    )


def join_faces(parts: Sequence[Faces]) -> Faces:
    """Return the faces of all parts, in their order."""
    return Faces(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Faces)}
    )


def no_faces() -> Faces:
    """Return no faces."""
    none = np.zeros(0, np.int64)
    return make_faces(np.zeros((0, 3, 3)), np.zeros((0, 3)), none, none)


def make_sides(low: Sequence[float], high: Sequence[float]) -> Float64[np.ndarray, "6 3 3"]:
    """Return corner, u and v of front (+x), back, left (+y), right, top and bottom of a block.

    u of the four upright sides is level and v goes up.
    """
    (x0, y0, z0), (x1, y1, z1) = low, high
    dx, dy, dz = x1 - x0, y1 - y0, z1 - z0
    return np.array(
        [
            [[x1, y0, z0], [0, dy, 0], [0, 0, dz]],
            [[x0, y1, z0], [0, -dy, 0], [0, 0, dz]],
            [[x1, y1, z0], [-dx, 0, 0], [0, 0, dz]],
            [[x0, y0, z0], [dx, 0, 0], [0, 0, dz]],
            [[x0, y0, z1], [dx, 0, 0], [0, dy, 0]],
            [[x0, y1, z0], [dx, 0, 0], [0, -dy, 0]],
        ],
        dtype=np.float64,
    )


def light_faces(
    faces: Faces, sun: Float64[np.ndarray, "3"], ambient: float, direct: float
) -> Faces:
    """Return the faces with their colours in this light.

    sun: unit vector towards it. The colour of a face turned to the sun is multiplied by
    ambient + direct, of a face turned away by ambient. Glowing faces and shadows keep theirs.
    """
    shade = ambient + direct * np.clip(faces.normal @ sun, 0, None)
    shade[np.isin(faces.look, (Look.GLOW, Look.SHADOW))] = 1.0
    return replace(faces, colour=faces.colour * shade[:, None])
