"""The embedded data set ``shapes``: one object of ten classes over clutter, with the object's exact mask.

Every image is a colour scene with a textured background, a few distractors (short bars, dots, cut blobs), and
one object of a class in CLASSES, drawn last so that nothing covers it.  Position, scale, stretch, rotation,
colours and textures vary; only the outline tells the class.  Nothing is downloaded: a seed gives the scenes.

The same seed gives the same pixels on every machine.  That is why it only uses uniform draws of an explicit
bit generator, and on arrays only what IEEE 754 rounds exactly (+ - * / sqrt, comparisons, floor) and sums of
integers: vectorised sin, exp or pow, and float sums in any order, may differ between processors.
"""

from fa_repro.data.shapes.outlines import CLASSES
from fa_repro.data.shapes.scene import MIN_CONTRAST, SPLITS, VERSION, make_shapes, surround

__all__ = ["CLASSES", "MIN_CONTRAST", "SPLITS", "VERSION", "make_shapes", "surround"]
