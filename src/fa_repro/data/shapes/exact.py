"""Arithmetic on arrays that every machine rounds alike: + - * / sqrt, comparisons and floor, which IEEE 754 fixes."""

import numpy as np

Array = np.ndarray


def rotation(half_tangent: Array) -> tuple[Array, Array]:
    """Cosine and sine from the tangent of half the angle, by exact arithmetic."""
    squared = half_tangent * half_tangent
    return (1.0 - squared) / (1.0 + squared), half_tangent * 2.0 / (1.0 + squared)


def wave(phase: Array) -> Array:
    """Triangle wave of period 1 between -1 and 1."""
    return np.abs((phase - np.floor(phase)) * 2.0 - 1.0) * 2.0 - 1.0


def between(draw: Array, ends: tuple[float, float]) -> Array:
    """Take uniform draws of 0 to 1 to between two ends."""
    return draw * (ends[1] - ends[0]) + ends[0]


def dot(a: Array, b: Array) -> Array:
    """Dot product over the last axis, of length 3, in a fixed order."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def to_bytes(values: Array) -> Array:
    """Round to the nearest of 0 to 255."""
    return np.floor(np.clip(values, 0.0, 255.0) + 0.5).astype(np.uint8)
