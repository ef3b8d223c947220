"""What lies behind an object: textures between two colours, and distractors that are no object's outline."""

import numpy as np

from fa_repro.data.shapes.exact import Array, between, rotation, wave

REFERENCE_SIZE = 32  # lengths are in pixels of a 32 x 32 image and grow with the image

# Background.
COARSE_CELLS = 4
FINE_CELLS = 11
TINT_CELLS = 6
TINT = 60.0  # peak-to-peak drift of each colour channel
PATTERN_PERIOD_RANGE = (4.0, 11.0)  # pixels
PIXEL_NOISE = 24.0  # peak-to-peak noise of single values

# Distractors: all well below an object's extent, and none an object's outline.
BARS, DOTS, BLOBS = 5, 4, 3
DISTRACTORS = BARS + DOTS + BLOBS
PRESENT = 0.75  # chance that a distractor is there
BAR_HALF_LENGTH = (1.5, 4.0)
BAR_HALF_WIDTH = (0.5, 1.1)
DOT_RADIUS = (0.7, 1.6)
BLOB_RADIUS = (2.2, 4.0)
BLOB_CUT = (-0.3, 0.3)  # where a blob is cut straight, in its radii from its centre: about half of it is left


def background(ends: Array, fine: Array, streams: dict[str, np.random.Generator], size: int) -> Array:
    """Textures (n, 3, size, size) float32 between two colours: noise, stripes or checks, and a slow tint."""
    n = len(ends)
    coarse = value_noise(streams["coarse"].random((n, COARSE_CELLS + 3, COARSE_CELLS + 3), dtype=np.float32), size)
    tint = streams["tint"].random((n, 3, TINT_CELLS + 3, TINT_CELLS + 3), dtype=np.float32)
    tint = value_noise(tint.reshape(3 * n, TINT_CELLS + 3, TINT_CELLS + 3), size).reshape(n, 3, size, size)
    draws = streams["pattern"].random((n, 8), dtype=np.float32)

    # Stripes: a triangle wave along a random direction; checks: the product of two at right angles.
    cos, sin = rotation(between(draws[:, :1], (-1.0, 1.0)))
    period = between(draws[:, 1:2], PATTERN_PERIOD_RANGE) * (size / REFERENCE_SIZE)
    along = (np.arange(size, dtype=np.float32) + 0.5) / period
    first = wave((along * cos)[:, None, :] + (along * sin + draws[:, 2:3])[:, :, None])
    second = wave((along * cos + draws[:, 3:4])[:, :, None] - (along * sin)[:, None, :])
    pattern = np.where((draws[:, 4] < 0.5)[:, None, None], first, first * second)

    weights = draws[:, 5:8]
    smooth, rough, drawn = (weights[:, k, None, None] for k in range(3))
    # Centred on 0; value noise bunches in the middle of its range, hence the gains.
    mix = (coarse - 0.5) * (smooth + 0.4) * 1.6 + (fine - 0.5) * (rough + 0.2) * 1.4 + pattern * drawn * 0.7
    mix = np.clip(mix + 0.5, 0.0, 1.0)[:, None]
    start, end = ends[:, 0, :, None, None], ends[:, 1, :, None, None]
    return start + (end - start) * mix + (tint - 0.5) * TINT


def add_distractors(scene: Array, paints: Array, stream: np.random.Generator) -> None:
    """Paint bars, cut blobs and dots over scene (n, 3, size, size), in place."""
    n, _, size, _ = scene.shape
    scale = size / REFERENCE_SIZE
    draws = stream.random((n, DISTRACTORS, 6), dtype=np.float32)
    middle = np.arange(size, dtype=np.float32) + 0.5
    cos, sin = rotation(draws[:, :, 2:3] * 2.0 - 1.0)
    x = middle - draws[:, :, :1] * size
    y = middle - draws[:, :, 1:2] * size
    for k in range(DISTRACTORS):
        first, second = (draws[:, k, column, None, None] for column in (3, 4))
        across = (x[:, k] * cos[:, k])[:, None, :] + (y[:, k] * sin[:, k])[:, :, None]
        if k < BARS:
            down = (y[:, k] * cos[:, k])[:, :, None] - (x[:, k] * sin[:, k])[:, None, :]
            distance = np.maximum(
                np.abs(across) - between(first, BAR_HALF_LENGTH) * scale,
                np.abs(down) - between(second, BAR_HALF_WIDTH) * scale,
            )
        else:
            from_centre = np.sqrt((x[:, k] * x[:, k])[:, None, :] + (y[:, k] * y[:, k])[:, :, None])
            if k < BARS + DOTS:
                distance = from_centre - between(first, DOT_RADIUS) * scale
            else:
                radius = between(first, BLOB_RADIUS) * scale
                distance = np.maximum(from_centre - radius, across - radius * between(second, BLOB_CUT))
        alpha = np.clip(0.5 - distance, 0.0, 1.0) * (draws[:, k, 5, None, None] < PRESENT)
        scene += (paints[:, k, :, None, None] - scene) * alpha[:, None]


def value_noise(lattice: Array, size: int) -> Array:
    """Smooth noise (n, size, size) in [0, 1) from lattices (n, cells + 3, cells + 3) of uniform draws.

    The last row of the lattice is not drawn: two of its values shift the grid, so that cells lie anywhere.
    """
    n, points = lattice.shape[:2]
    cells = points - 3
    pixel = (np.arange(size, dtype=np.float32) + 0.5) * (cells / size)
    which = np.arange(n)[:, None]
    field = lattice[:, :-1, :-1]
    for axis in range(2):
        place = pixel + lattice[:, -1, axis, None]
        index = np.floor(place).astype(np.int64)
        part = (place - index).astype(np.float32)
        part = (part * part * (3.0 - part * 2.0))[:, :, None]
        low, high = field[which, index], field[which, index + 1]
        # Swapping the axes lets the second pass copy whole rows too; noise has no up or down.
        field = np.ascontiguousarray((low + (high - low) * part).swapaxes(1, 2))
    return field
