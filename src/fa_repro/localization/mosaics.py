"""Mosaics of images of distinct classes, for the grid pointing game: which images, and how they are laid out."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fa_repro.attribution import Context
from fa_repro.attribution.targets import predict
from fa_repro.data import ImageSet
from fa_repro.errors import InputError
from fa_repro.models.external import probe

LEAST = 2  # one has no interval, and permutation needs another's patches


class Mosaics(NamedTuple):
    """Mosaics on the images' device, and where their cells come from."""

    images: Tensor  # (M,C,H,W) uint8
    classes: Tensor  # (M,T)
    rows: Tensor  # (M,T) places in the data set, on the CPU


def make_mosaics(
    model: nn.Module,
    name: str,
    pool: ImageSet,
    grid: int,
    *,
    count: int,
    confidence: float,
    seed: int,
    batch_size: int,
) -> Mosaics:
    """Make mosaics of the images that the model classifies correctly and with confidence.

    Args:
        model: in eval mode, on the images' device.
        name: of the model.
        pool: images to choose from.
        grid: cells a side.
        count: mosaics wanted; there are fewer where images run out.
        confidence: the least probability of an image's class.
        seed: of every draw.
        batch_size: images a forward pass.

    Raises:
        InputError: there are too few such images, or the model takes no images of a mosaic's size.

    """
    probability, predicted = predict(model, pool.images, batch_size).softmax(1).max(1)
    usable = ((predicted == pool.labels) & (probability >= confidence)).nonzero()[:, 0]
    index = draw_mosaics(pool.labels[usable], grid, count, seed)
    if len(index) < LEAST:
        cells, classes = grid**2, len(pool.labels[usable].unique())
        raise InputError(
            f"grid={grid}: a mosaic needs one image each of {cells} classes, and {LEAST} mosaics are the "
            f"least; of {len(pool)} images, {len(usable)} in {classes} classes are classified correctly with "
            f"probability {confidence:g} or more. Give a smaller grid= or confidence=, or more n_images=."
        )
    index = usable.cpu()[index]
    mosaics = compose(pool.images, index, grid)
    try:
        probe(model, mosaics[:1].float() / 255, len(pool.classes), name)
    except InputError as error:
        raise InputError(f"grid={grid}: a mosaic is {grid} times as large as an image. {error}") from None
    return Mosaics(mosaics, pool.labels[index.to(pool.labels.device)], pool.rows[index])


def draw_mosaics(labels: Tensor, grid: int, count: int, seed: int) -> Tensor:
    """Draw mosaics of ``grid`` x ``grid`` images of distinct classes.

    Each image is used once at most, so that mosaics are independent; the classes with the most images left come first,
    which makes as many mosaics as there can be. Places in a mosaic are drawn too.

    Args:
        labels: (N,) of the images to choose from.
        grid: cells a side.
        count: mosaics wanted.
        seed: of every draw.

    Returns:
        (M, grid * grid) positions among ``labels``, cells row by row, on the CPU; M < ``count`` where images run out.

    """
    generator = np.random.default_rng(seed)
    values = labels.cpu().numpy()
    left = [generator.permutation(np.flatnonzero(values == label)).tolist() for label in np.unique(values)]
    mosaics: list[list[int]] = []
    while len(mosaics) < count:
        sizes = np.array([len(images) for images in left])
        if (sizes > 0).sum() < grid**2:
            break
        largest = np.lexsort((generator.random(len(sizes)), -sizes))[: grid**2]
        mosaics.append([left[label].pop() for label in generator.permutation(largest)])
    return torch.tensor(mosaics, dtype=torch.int64).view(-1, grid**2)


def compose(images: Tensor, mosaics: Tensor, grid: int) -> Tensor:
    """Lay out images (N,C,H,W) at positions ``mosaics`` (M, grid * grid): (M, C, grid * H, grid * W)."""
    n, (channels, height, width) = len(mosaics), images.shape[1:]
    cells = images[mosaics.to(images.device)].view(n, grid, grid, channels, height, width)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(n, channels, grid * height, grid * width)


def by_mosaics(context: Context, grid: int) -> Context:
    """Return ``context`` with a batch size that counts mosaics; one is as large as grid * grid images."""
    return replace(context, batch_size=max(1, context.batch_size // grid**2))
