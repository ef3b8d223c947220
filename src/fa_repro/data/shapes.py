"""The embedded data set ``shapes``: one object of ten classes over clutter, with the object's exact mask.

Every image is a colour scene with a textured background, a few distractors (short bars, dots, cut blobs), and
one object of a class in CLASSES, drawn last so that nothing covers it.  Position, scale, stretch, rotation,
colours and textures vary; only the outline tells the class.  Nothing is downloaded: a seed gives the scenes.

The same seed gives the same pixels on every machine.  That is why this file only uses uniform draws of an
explicit bit generator, and on arrays only what IEEE 754 rounds exactly (+ - * / sqrt, comparisons, floor) and
sums of integers: vectorised sin, exp or pow, and float sums in any order, may differ between processors.
"""

import math
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

CLASSES: tuple[str, ...] = (
    "disk", "ring", "square", "triangle", "cross", "star", "heart", "crescent", "arrow", "zigzag",
)  # fmt: skip
VERSION: int = 2  # bump whenever any pixel changes: caches are keyed by it
SPLITS: tuple[str, ...] = ("train", "test")

# Lengths are in pixels of a 32 x 32 image and grow with the image.
REFERENCE_SIZE = 32
MIN_SIZE = 16
SIZE_STEP = 4

# Object.  A class's radius is a common draw times the class's factor.  The factors lie about half way between
# equal extents and equal areas, so that neither of the two gives the class away.
RADIUS_RANGE = (6.2, 9.0)
RADIUS_FACTORS = (0.86, 0.94, 0.99, 1.10, 0.98, 1.12, 0.97, 1.04, 1.09, 1.19)
HALF_TURN_TANGENT = 0.2  # |tan(angle / 2)| at most this: rotations up to 22.6 degrees either way
STRETCH_RANGE = (0.87, 1.0)  # one axis, drawn at random, is shortened by this factor
BORDER = 1.0  # pixels kept free between the object's circle and the image's edge
SUBSAMPLES = 3  # coverage is counted on a 3 x 3 grid of points in each pixel
SHADE = 14.0  # most the object's brightness drifts from centre to rim along x, and along y, of 255
OBJECT_GRAIN = 24.0  # peak-to-peak texture on the object

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

# Contrast, as Euclidean distances of RGB values (0 to 255).  A candidate colour must keep all three distances
# to be the object's; edges, shade and noise take some of the first away, and MIN_CONTRAST is left at least.
COLOUR_CANDIDATES = 16
# Objects are lit and backgrounds lie in the shade, so that an outline always has its light side within: networks learn
# the task in minutes.  Distractors have any colour, so brightness alone finds no object.
BACKGROUND_BELOW = 140.0
OBJECT_ABOVE = 120.0
FROM_SURROUND = 110.0  # from the mean colour around the object
FROM_BACKGROUND = 85.0  # from every mixture of the two background colours
FROM_DISTRACTORS = 60.0  # from every distractor's colour
MIN_CONTRAST = 60.0  # promised: mean colour inside the mask to mean colour of surround(mask)
SURROUND_REACH = 4  # pixels the surround reaches beyond the mask's bounding box
EDGE = 1  # pixels next to the mask that are left out of its surround: anti-aliasing mixes colours there

CHUNK = 250  # images drawn at once; the pixels do not depend on it
_STREAMS = ("labels", "pose", "colours", "distractors", "pattern", "coarse", "fine", "tint", "noise")

Array = np.ndarray


# ------------------------------------------------------------------------------------------ the outlines
# Each takes points (u right, v down) in units of the object's radius and says which are inside.  All fit the
# unit circle, so that a circle inside the image is an object inside the image.


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


_OUTLINES: tuple[Callable[[Array, Array], Array], ...] = (
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
    cos, sin = _rotation(half_tangent[:, None])
    # Sub-pixel phases go first, so that the count below adds whole images.
    shape = (count, size, SUBSAMPLES)
    u_x, u_y = (x * cos / stretch[:, :1]).reshape(shape), (y * sin / stretch[:, :1]).reshape(shape)
    v_x, v_y = (x * sin / stretch[:, 1:]).reshape(shape), (y * cos / stretch[:, 1:]).reshape(shape)
    inside = np.zeros((count, size, size), dtype=np.uint8)
    for row in range(SUBSAMPLES):
        for column in range(SUBSAMPLES):
            u = u_x[:, None, :, column] + u_y[:, :, None, row]
            v = v_y[:, :, None, row] - v_x[:, None, :, column]
            inside += _OUTLINES[label](u, v)
    return inside


def surround(masks: Array) -> Array:
    """The pixels around each object: bool (n, size, size), from masks of the same shape.

    That is the mask's bounding box, grown by SURROUND_REACH pixels, without the mask grown by EDGE pixels.
    """
    near = masks.copy()
    for axis in (1, 2):
        near = _grown(near, axis, EDGE)
    rows = _grown(np.asarray(masks.any(axis=2)), 1, SURROUND_REACH)
    columns = _grown(np.asarray(masks.any(axis=1)), 1, SURROUND_REACH)
    # The box is that of the rows and columns that hold some of the object, which is in one piece.
    return rows[:, :, None] & columns[:, None, :] & ~near


# --------------------------------------------------------------------------------------------- the scene


def make_shapes(n: int, *, seed: int, split: str, size: int = 32, progress: bool = False) -> tuple[Array, Array, Array]:
    """Draw the first n scenes of a split.

    Returns images (n, 3, size, size) uint8, labels (n,) int64 (positions in CLASSES, whose counts differ by
    at most one) and masks (n, size, size) bool (pixels at least half covered by the object).  size is in
    pixels, and all lengths grow with it.  Image i depends on seed, split, size and i, not on n; the splits
    are independent.  progress shows a bar where stderr is a terminal.

    Raises ValueError on an unknown split, n < 1, seed < 0, or a size that is no multiple of 4 from 16 up.
    """
    if split not in SPLITS:
        raise ValueError(f"shapes: split must be one of {', '.join(SPLITS)}, not {split!r}")
    if n < 1:
        raise ValueError(f"shapes: n must be at least 1, not {n}")
    if seed < 0:
        raise ValueError(f"shapes: seed must not be negative, got {seed}")
    if size < MIN_SIZE or size % SIZE_STEP:
        raise ValueError(f"shapes: size must be a multiple of {SIZE_STEP} from {MIN_SIZE} up, not {size}")
    streams = _streams(seed, split)
    labels = _labels(n, streams["labels"])
    images = np.empty((n, 3, size, size), dtype=np.uint8)
    masks = np.empty((n, size, size), dtype=bool)
    starts = range(0, n, CHUNK)
    for start in tqdm(starts, desc=f"shapes {split}", disable=None if progress else True):
        part = slice(start, start + CHUNK)
        images[part], masks[part], _ = _draw_chunk(labels[part], streams, size)
    return images, labels, masks


def _streams(seed: int, split: str) -> dict[str, np.random.Generator]:
    """One generator for each kind of draw.

    Each chunk asks each of them once, for whole images: image i's draws depend on neither n nor CHUNK.
    """
    return {
        name: np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), place))))
        for place, name in enumerate(_STREAMS)
    }


def _labels(n: int, stream: np.random.Generator) -> Array:
    """Blocks of all classes, each in its own random order."""
    blocks = -(-n // len(CLASSES))
    order = np.argsort(stream.random((blocks, len(CLASSES))), axis=1, kind="stable")
    return order.reshape(-1)[:n].astype(np.int64)


def _draw_chunk(labels: Array, streams: dict[str, np.random.Generator], size: int) -> tuple[Array, Array, Array]:
    """The streams' next scenes: images and masks as in make_shapes, and the images without their objects."""
    n = len(labels)
    colours = streams["colours"].random((n, 2 + DISTRACTORS + COLOUR_CANDIDATES, 3), dtype=np.float32) * 255.0
    ends, paints, candidates = np.split(colours, (2, 2 + DISTRACTORS), axis=1)
    ends = ends * (BACKGROUND_BELOW / 255.0)
    candidates = OBJECT_ABOVE + candidates * ((255.0 - OBJECT_ABOVE) / 255.0)
    ends[:, 1] = ends[:, 0] + (ends[:, 1] - ends[:, 0]) * 0.6  # tames the background's own contrast
    fine = _value_noise(streams["fine"].random((n, FINE_CELLS + 3, FINE_CELLS + 3), dtype=np.float32), size)

    scene = _background(ends, fine, streams, size)
    _add_distractors(scene, paints, streams["distractors"])
    noise = streams["noise"].integers(0, 256, (n, 3, size, size), dtype=np.uint8).astype(np.float32)
    noise = noise * (PIXEL_NOISE / 255.0) - PIXEL_NOISE / 2.0
    scene += noise
    without = _to_bytes(scene)

    pose = streams["pose"].random((n, 9), dtype=np.float32)
    covered, shade = _place(labels, pose, size)
    masks = covered * 2 >= SUBSAMPLES * SUBSAMPLES

    colour = _object_colour(candidates, _surround_mean(without, masks), ends, paints)
    alpha = (covered.astype(np.float32) / (SUBSAMPLES * SUBSAMPLES))[:, None]
    texture = (shade + (fine - 0.5) * OBJECT_GRAIN)[:, None]
    behind = without.astype(np.float32)
    return _to_bytes(behind + (colour[:, :, None, None] + texture + noise - behind) * alpha), masks, without


def _place(labels: Array, pose: Array, size: int) -> tuple[Array, Array]:
    """Objects at random poses: how much of each pixel they cover, and the drift of their brightness."""
    scale = size / REFERENCE_SIZE
    factors = np.array(RADIUS_FACTORS, dtype=np.float32)[labels]
    radius = _between(pose[:, 0], RADIUS_RANGE) * factors * scale
    room = radius + BORDER
    centre = room[:, None] + pose[:, 1:3] * (size - 2.0 * room)[:, None]
    half_tangent = _between(pose[:, 3], (-HALF_TURN_TANGENT, HALF_TURN_TANGENT))
    shorter = _between(pose[:, 4], STRETCH_RANGE)
    wide = pose[:, 5] < 0.5
    one = np.ones_like(shorter)
    hand = np.where(pose[:, 6] < 0.5, -one, one)  # training may flip images, so both hands are one class
    stretch = np.stack([np.where(wide, one, shorter) * hand, np.where(wide, shorter, one)], axis=1)
    covered = np.empty((len(labels), size, size), dtype=np.uint8)
    for label in range(len(CLASSES)):
        mine = np.flatnonzero(labels == label)
        if len(mine):
            covered[mine] = coverage(label, centre[mine], radius[mine], half_tangent[mine], stretch[mine], size)
    middle = np.arange(size, dtype=np.float32) + 0.5
    x = (middle - centre[:, :1]) / radius[:, None] * _between(pose[:, 7:8], (-SHADE, SHADE))
    y = (middle - centre[:, 1:]) / radius[:, None] * _between(pose[:, 8:9], (-SHADE, SHADE))
    return covered, x[:, None, :] + y[:, :, None]


def _object_colour(candidates: Array, around: Array, ends: Array, paints: Array) -> Array:
    """The first candidate (n, candidates, 3) that stands out, and if none does, a corner of the colour cube.

    around (n, 3) is the mean colour around the object, ends (n, 2, 3) the background's two colours, paints
    (n, distractors, 3) the distractors'.  The corner furthest from around is more than 220 away from it.
    """
    line = (ends[:, 1] - ends[:, 0])[:, None]
    offset = candidates - ends[:, :1]
    along = _dot(offset, line) / np.maximum(_dot(line, line), 1.0)
    offset = offset - line * np.clip(along, 0.0, 1.0)[..., None]
    from_around = candidates - around[:, None]
    from_paints = candidates[:, :, None] - paints[:, None]
    good = _dot(from_around, from_around) >= FROM_SURROUND * FROM_SURROUND
    good &= _dot(offset, offset) >= FROM_BACKGROUND * FROM_BACKGROUND
    good &= (_dot(from_paints, from_paints) >= FROM_DISTRACTORS * FROM_DISTRACTORS).all(axis=2)
    chosen = candidates[np.arange(len(good)), good.argmax(axis=1)]
    corner = np.where(around < 127.5, np.float32(255.0), np.float32(0.0))
    return np.where(good.any(axis=1, keepdims=True), chosen, corner)


def _surround_mean(images: Array, masks: Array) -> Array:
    """Mean colour (n, 3) float32 around each object, from integer sums."""
    ring = surround(masks)
    total = (images * ring[:, None].astype(np.uint8)).sum(axis=(2, 3), dtype=np.int64)
    return (total / ring.sum(axis=(1, 2))[:, None]).astype(np.float32)


def _background(ends: Array, fine: Array, streams: dict[str, np.random.Generator], size: int) -> Array:
    """Textures (n, 3, size, size) float32 between two colours: noise, stripes or checks, and a slow tint."""
    n = len(ends)
    coarse = _value_noise(streams["coarse"].random((n, COARSE_CELLS + 3, COARSE_CELLS + 3), dtype=np.float32), size)
    tint = streams["tint"].random((n, 3, TINT_CELLS + 3, TINT_CELLS + 3), dtype=np.float32)
    tint = _value_noise(tint.reshape(3 * n, TINT_CELLS + 3, TINT_CELLS + 3), size).reshape(n, 3, size, size)
    draws = streams["pattern"].random((n, 8), dtype=np.float32)

    # Stripes: a triangle wave along a random direction; checks: the product of two at right angles.
    cos, sin = _rotation(_between(draws[:, :1], (-1.0, 1.0)))
    period = _between(draws[:, 1:2], PATTERN_PERIOD_RANGE) * (size / REFERENCE_SIZE)
    along = (np.arange(size, dtype=np.float32) + 0.5) / period
    first = _wave((along * cos)[:, None, :] + (along * sin + draws[:, 2:3])[:, :, None])
    second = _wave((along * cos + draws[:, 3:4])[:, :, None] - (along * sin)[:, None, :])
    pattern = np.where((draws[:, 4] < 0.5)[:, None, None], first, first * second)

    weights = draws[:, 5:8]
    smooth, rough, drawn = (weights[:, k, None, None] for k in range(3))
    # Centred on 0; value noise bunches in the middle of its range, hence the gains.
    mix = (coarse - 0.5) * (smooth + 0.4) * 1.6 + (fine - 0.5) * (rough + 0.2) * 1.4 + pattern * drawn * 0.7
    mix = np.clip(mix + 0.5, 0.0, 1.0)[:, None]
    start, end = ends[:, 0, :, None, None], ends[:, 1, :, None, None]
    return start + (end - start) * mix + (tint - 0.5) * TINT


def _add_distractors(scene: Array, paints: Array, stream: np.random.Generator) -> None:
    """Paint bars, cut blobs and dots over scene (n, 3, size, size), in place."""
    n, _, size, _ = scene.shape
    scale = size / REFERENCE_SIZE
    draws = stream.random((n, DISTRACTORS, 6), dtype=np.float32)
    middle = np.arange(size, dtype=np.float32) + 0.5
    cos, sin = _rotation(draws[:, :, 2:3] * 2.0 - 1.0)
    x = middle - draws[:, :, :1] * size
    y = middle - draws[:, :, 1:2] * size
    for k in range(DISTRACTORS):
        first, second = (draws[:, k, column, None, None] for column in (3, 4))
        across = (x[:, k] * cos[:, k])[:, None, :] + (y[:, k] * sin[:, k])[:, :, None]
        if k < BARS:
            down = (y[:, k] * cos[:, k])[:, :, None] - (x[:, k] * sin[:, k])[:, None, :]
            distance = np.maximum(
                np.abs(across) - _between(first, BAR_HALF_LENGTH) * scale,
                np.abs(down) - _between(second, BAR_HALF_WIDTH) * scale,
            )
        else:
            from_centre = np.sqrt((x[:, k] * x[:, k])[:, None, :] + (y[:, k] * y[:, k])[:, :, None])
            if k < BARS + DOTS:
                distance = from_centre - _between(first, DOT_RADIUS) * scale
            else:
                radius = _between(first, BLOB_RADIUS) * scale
                distance = np.maximum(from_centre - radius, across - radius * _between(second, BLOB_CUT))
        alpha = np.clip(0.5 - distance, 0.0, 1.0) * (draws[:, k, 5, None, None] < PRESENT)
        scene += (paints[:, k, :, None, None] - scene) * alpha[:, None]


def _value_noise(lattice: Array, size: int) -> Array:
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


def _rotation(half_tangent: Array) -> tuple[Array, Array]:
    """Cosine and sine from the tangent of half the angle, by exact arithmetic."""
    squared = half_tangent * half_tangent
    return (1.0 - squared) / (1.0 + squared), half_tangent * 2.0 / (1.0 + squared)


def _wave(phase: Array) -> Array:
    """Triangle wave of period 1 between -1 and 1."""
    return np.abs((phase - np.floor(phase)) * 2.0 - 1.0) * 2.0 - 1.0


def _between(draw: Array, ends: tuple[float, float]) -> Array:
    return draw * (ends[1] - ends[0]) + ends[0]


def _dot(a: Array, b: Array) -> Array:
    """Dot product over the last axis, of length 3, in a fixed order."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def _grown(flags: Array, axis: int, reach: int) -> Array:
    """flags, or-ed with themselves shifted by up to reach places along axis either way."""
    grown = flags.copy()
    out, src = np.moveaxis(grown, axis, 0), np.moveaxis(flags, axis, 0)
    for step in range(1, reach + 1):
        out[step:] |= src[:-step]
        out[:-step] |= src[step:]
    return grown


def _to_bytes(values: Array) -> Array:
    """Round to the nearest of 0 to 255."""
    return np.floor(np.clip(values, 0.0, 255.0) + 0.5).astype(np.uint8)
