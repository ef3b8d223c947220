"""The images that are explained, a batch at a time."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from fa_repro.attribution.context import Context


class Batch(NamedTuple):
    """A batch and what a method has to know of it."""

    rows: Tensor  # (B,) positions among all images, on the images' device
    images: Tensor  # (B,C,H,W) in [0,1]
    context: Context  # with the pool and the batch's rows


def take(images: Tensor, rows: Tensor, context: Context) -> Batch:
    """Return the batch at positions ``rows`` (B,), which are on the CPU, of images (N,C,H,W) uint8."""
    device_rows = rows.to(images.device)
    return Batch(device_rows, images[device_rows].float() / 255, replace(context, pool=images, rows=rows))


def batches(images: Tensor, context: Context) -> Iterator[Batch]:
    """Yield all images (N,C,H,W) uint8, ``context.batch_size`` at a time."""
    for rows in torch.arange(len(images)).split(context.batch_size):
        yield take(images, rows, context)
