"""The scenes of ``shapes``: an object at a random pose, in a colour that stands out, over its background."""

import numpy as np
from tqdm import tqdm

from fa_repro.data.shapes.clutter import (
    DISTRACTORS,
    FINE_CELLS,
    PIXEL_NOISE,
    REFERENCE_SIZE,
    add_distractors,
    background,
    value_noise,
)
from fa_repro.data.shapes.exact import Array, between, dot, to_bytes
from fa_repro.data.shapes.outlines import CLASSES, SUBSAMPLES, coverage

VERSION: int = 2  # bump whenever any pixel changes: caches are keyed by it
SPLITS: tuple[str, ...] = ("train", "test")

MIN_SIZE = 16
SIZE_STEP = 4

# Object.  A class's radius is a common draw times the class's factor.  The factors lie about half way between
# equal extents and equal areas, so that neither of the two gives the class away.
RADIUS_RANGE = (6.2, 9.0)
RADIUS_FACTORS = (0.86, 0.94, 0.99, 1.10, 0.98, 1.12, 0.97, 1.04, 1.09, 1.19)
HALF_TURN_TANGENT = 0.2  # |tan(angle / 2)| at most this: rotations up to 22.6 degrees either way
STRETCH_RANGE = (0.87, 1.0)  # one axis, drawn at random, is shortened by this factor
BORDER = 1.0  # pixels kept free between the object's circle and the image's edge
SHADE = 14.0  # most the object's brightness drifts from centre to rim along x, and along y, of 255
OBJECT_GRAIN = 24.0  # peak-to-peak texture on the object

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
    fine = value_noise(streams["fine"].random((n, FINE_CELLS + 3, FINE_CELLS + 3), dtype=np.float32), size)

    scene = background(ends, fine, streams, size)
    add_distractors(scene, paints, streams["distractors"])
    noise = streams["noise"].integers(0, 256, (n, 3, size, size), dtype=np.uint8).astype(np.float32)
    noise = noise * (PIXEL_NOISE / 255.0) - PIXEL_NOISE / 2.0
    scene += noise
    without = to_bytes(scene)

    pose = streams["pose"].random((n, 9), dtype=np.float32)
    covered, shade = _place(labels, pose, size)
    masks = covered * 2 >= SUBSAMPLES * SUBSAMPLES

    colour = _object_colour(candidates, _surround_mean(without, masks), ends, paints)
    alpha = (covered.astype(np.float32) / (SUBSAMPLES * SUBSAMPLES))[:, None]
    texture = (shade + (fine - 0.5) * OBJECT_GRAIN)[:, None]
    behind = without.astype(np.float32)
    return to_bytes(behind + (colour[:, :, None, None] + texture + noise - behind) * alpha), masks, without


def _place(labels: Array, pose: Array, size: int) -> tuple[Array, Array]:
    """Objects at random poses: how much of each pixel they cover, and the drift of their brightness."""
    scale = size / REFERENCE_SIZE
    factors = np.array(RADIUS_FACTORS, dtype=np.float32)[labels]
    radius = between(pose[:, 0], RADIUS_RANGE) * factors * scale
    room = radius + BORDER
    centre = room[:, None] + pose[:, 1:3] * (size - 2.0 * room)[:, None]
    half_tangent = between(pose[:, 3], (-HALF_TURN_TANGENT, HALF_TURN_TANGENT))
    shorter = between(pose[:, 4], STRETCH_RANGE)
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
    x = (middle - centre[:, :1]) / radius[:, None] * between(pose[:, 7:8], (-SHADE, SHADE))
    y = (middle - centre[:, 1:]) / radius[:, None] * between(pose[:, 8:9], (-SHADE, SHADE))
    return covered, x[:, None, :] + y[:, :, None]


def _object_colour(candidates: Array, around: Array, ends: Array, paints: Array) -> Array:
    """The first candidate (n, candidates, 3) that stands out, and if none does, a corner of the colour cube.

    around (n, 3) is the mean colour around the object, ends (n, 2, 3) the background's two colours, paints
    (n, distractors, 3) the distractors'.  The corner furthest from around is more than 220 away from it.
    """
    line = (ends[:, 1] - ends[:, 0])[:, None]
    offset = candidates - ends[:, :1]
    along = dot(offset, line) / np.maximum(dot(line, line), 1.0)
    offset = offset - line * np.clip(along, 0.0, 1.0)[..., None]
    from_around = candidates - around[:, None]
    from_paints = candidates[:, :, None] - paints[:, None]
    good = dot(from_around, from_around) >= FROM_SURROUND * FROM_SURROUND
    good &= dot(offset, offset) >= FROM_BACKGROUND * FROM_BACKGROUND
    good &= (dot(from_paints, from_paints) >= FROM_DISTRACTORS * FROM_DISTRACTORS).all(axis=2)
    chosen = candidates[np.arange(len(good)), good.argmax(axis=1)]
    corner = np.where(around < 127.5, np.float32(255.0), np.float32(0.0))
    return np.where(good.any(axis=1, keepdims=True), chosen, corner)


def _surround_mean(images: Array, masks: Array) -> Array:
    """Mean colour (n, 3) float32 around each object, from integer sums."""
    ring = surround(masks)
    total = (images * ring[:, None].astype(np.uint8)).sum(axis=(2, 3), dtype=np.int64)
    return (total / ring.sum(axis=(1, 2))[:, None]).astype(np.float32)


def _grown(flags: Array, axis: int, reach: int) -> Array:
    """flags, or-ed with themselves shifted by up to reach places along axis either way."""
    grown = flags.copy()
    out, src = np.moveaxis(grown, axis, 0), np.moveaxis(flags, axis, 0)
    for step in range(1, reach + 1):
        out[step:] |= src[:-step]
        out[:-step] |= src[step:]
    return grown
