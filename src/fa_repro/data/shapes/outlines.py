"""The outlines of the ten classes, and how much of each pixel an object covers.

An outline takes points (u right, v down) in units of the object's radius and says which are inside.  All fit the unit
circle, so that a circle inside the image is an object inside the image.
"""

import math
from collections.abc import Callable

import numpy as np

from fa_repro.data.shapes.exact import Array, rotation

CLASSES: tuple[str, ...] = (
    "disk", "ring", "square", "triangle", "cross", "star", "heart", "crescent", "arrow", "zigzag",
)  # fmt: skip
SUBSAMPLES = 3  # coverage is counted on a 3 x 3 grid of points in each pixel


def _disk(u: Array, v: Array) -> Array:
    return u * u + v * v <= 1.0


def _ring(u: Array, v: Array) -> Array:
    squared = u * u + v * v
    return (squared <= 1.0) & (squared >= 0.52 * 0.52)


SQUARE_HALF_SIDE = 0.7


def _square(u: Array, v: Array) -> Array:
    return np.maximum(np.abs(u), np.abs(v)) <= SQUARE_HALF_SIDE


def _triangle(u: Array, v: Array) -> Array:
    return (v <= 0.5) & (np.abs(u) * math.sqrt(3.0) <= v + 1.0)


def _cross(u: Array, v: Array) -> Array:
    across, along = np.abs(u), np.abs(v)
    return (np.minimum(across, along) <= 0.28) & (np.maximum(across, along) <= 0.95)


# Outward normals of a pentagram's five lines (a tip points up): cos and sin of 90, 18, -54, ... degrees.
_STAR_NORMALS = (
    (0.0, 1.0),
    (0.9510565162951535, 0.3090169943749474),
    (0.5877852522924731, -0.8090169943749475),
    (-0.5877852522924731, -0.8090169943749475),
    (-0.9510565162951535, 0.3090169943749474),
)
_STAR_LINE = 0.33  # a pentagram's lines lie 0.309 from its centre; a little further out gives sturdier tips


def _star(u: Array, v: Array) -> Array:
    # A point is in a pentagram when it is on the inner side of at least four of the five lines.
    outside = np.zeros(np.broadcast_shapes(u.shape, v.shape), dtype=np.uint8)
    for across, down in _STAR_NORMALS:
        outside += u * across + v * down > _STAR_LINE
    return (outside <= 1) & (u * u + v * v <= 1.0)


_LOBE_U, _LOBE_V, _LOBE_RADIUS, _TIP_V = 0.46, -0.26, 0.46, 0.97


def _heart_flank() -> tuple[float, float]:
    """Outward unit normal of the line from the tip that touches the right lobe."""
    du, dv = _LOBE_U, _LOBE_V - _TIP_V
    squared = du * du + dv * dv
    touch = math.sqrt(squared - _LOBE_RADIUS * _LOBE_RADIUS)
    return (-_LOBE_RADIUS * du - touch * dv) / squared, (-_LOBE_RADIUS * dv + touch * du) / squared


_FLANK_U, _FLANK_V = _heart_flank()


def _heart(u: Array, v: Array) -> Array:
    side = np.abs(u)
    du, dv = side - _LOBE_U, v - _LOBE_V
    lobe = du * du + dv * dv <= _LOBE_RADIUS * _LOBE_RADIUS
    below = (dv >= 0.0) & (dv * _FLANK_U >= du * _FLANK_V)  # tip side of the radius to the touching point
    return lobe | (below & (side * _FLANK_U + (v - _TIP_V) * _FLANK_V <= 0.0))


def _crescent(u: Array, v: Array) -> Array:
    bite = u - 0.5
    height = v * v
    return (u * u + height <= 1.0) & (bite * bite + height >= 0.8 * 0.8)


def _arrow(u: Array, v: Array) -> Array:
    side = np.abs(v)
    head = (u >= 0.05) & (side <= (1.0 - u) * 0.84)
    return head | ((side <= 0.25) & (np.abs(u + 0.43) <= 0.52))


def _zigzag(u: Array, v: Array) -> Array:
    wave = u / (3.2 / 3.0) + 0.75  # three strokes between u = -0.8 and 0.8
    wave = np.abs((wave - np.floor(wave)) * 2.0 - 1.0) * 2.0 - 1.0
    return (np.abs(u) <= 0.8) & (np.abs(v - wave * 0.31) <= 0.29)


OUTLINES: tuple[Callable[[Array, Array], Array], ...] = (
    _disk, _ring, _square, _triangle, _cross, _star, _heart, _crescent, _arrow, _zigzag,
)  # fmt: skip


def coverage(label: int, centre: Array, radius: Array, half_tangent: Array, stretch: Array, size: int) -> Array:
    """How much of each pixel objects of one class cover.

    centre (n, 2) is (x, y) and radius (n,), both in pixels, where the pixel in row i and column j is the
    square from (j, i) to (j + 1, i + 1).  half_tangent (n,) is the tangent of half the rotation angle
    (clockwise).  stretch (n, 2) holds the factors of the object's own two axes: from -1 to 1, so that the
    object stays in its circle, and a negative one mirrors.  Returns uint8 (n, size, size): how many of the
    pixel's SUBSAMPLES ** 2 points are inside.
    """
    count = len(radius)
    points = (np.arange(size * SUBSAMPLES, dtype=np.float32) + 0.5) / SUBSAMPLES
    x = (points - centre[:, :1]) / radius[:, None]
    y = (points - centre[:, 1:]) / radius[:, None]
    cos, sin = rotation(half_tangent[:, None])
    # Sub-pixel phases go first, so that the count below adds whole images.
    shape = (count, size, SUBSAMPLES)
    u_x, u_y = (x * cos / stretch[:, :1]).reshape(shape), (y * sin / stretch[:, :1]).reshape(shape)
    v_x, v_y = (x * sin / stretch[:, 1:]).reshape(shape), (y * cos / stretch[:, 1:]).reshape(shape)
    inside = np.zeros((count, size, size), dtype=np.uint8)
    for row in range(SUBSAMPLES):
        for column in range(SUBSAMPLES):
            u = u_x[:, None, :, column] + u_y[:, :, None, row]
            v = v_y[:, :, None, row] - v_x[:, None, :, column]
            inside += OUTLINES[label](u, v)
    return inside
