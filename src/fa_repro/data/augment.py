"""Training images, augmented on the device, a batch at a time: crop, flip and removal."""

import torch
from torch import Tensor
from torch.nn import functional as F

LARGEST_REMOVED_SHARE = 0.9
REMOVAL_PATCH = 4  # pixels


def crop(images: Tensor, border: int, generator: torch.Generator) -> Tensor:
    """Shift each image by up to ``border`` pixels in both directions; what comes in is the reflected border.

    Args:
        images: (N,C,H,W).
        border: pixels.
        generator: on the CPU; of the shifts.

    """
    if border == 0:
        return images
    n, _, height, width = images.shape
    padded = F.pad(images.float(), (border,) * 4, mode="reflect").to(images.dtype)
    dy, dx = torch.randint(0, 2 * border + 1, (2, n), generator=generator).to(images.device)
    rows = (dy[:, None] + torch.arange(height, device=images.device))[:, None, :, None]
    cols = (dx[:, None] + torch.arange(width, device=images.device))[:, None, None, :]
    return padded[
        torch.arange(n, device=images.device)[:, None, None, None],
        torch.arange(images.shape[1], device=images.device)[None, :, None, None],
        rows,
        cols,
    ]


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image (N,C,H,W) left to right with probability 1/2."""
    chosen = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def removal_mask(n: int, size: tuple[int, int], share: float, generator: torch.Generator) -> Tensor:
    """Choose pixels to remove from a random share of images.

    An affected image loses a share of its positions drawn evenly from 0 to 0.9: single pixels in half of the cases,
    whole 4x4 patches in the other half. Both kinds of hole are what percent-pixels-removed makes.

    Args:
        n: images.
        size: (H,W) in pixels.
        share: of the images that are affected.
        generator: on the CPU.

    Returns:
        (n,H,W) bool, on the CPU.

    """
    height, width = size
    affected = torch.rand(n, generator=generator) < share
    lost = torch.rand(n, generator=generator) * LARGEST_REMOVED_SHARE
    pixels = _lose(n, height, width, lost, generator)
    patches = _lose(n, -(-height // REMOVAL_PATCH), -(-width // REMOVAL_PATCH), lost, generator)
    patches = patches.repeat_interleave(REMOVAL_PATCH, 1).repeat_interleave(REMOVAL_PATCH, 2)[:, :height, :width]
    by_patch = torch.rand(n, generator=generator) < 0.5
    return torch.where(by_patch[:, None, None], patches, pixels) & affected[:, None, None]


def _lose(n: int, rows: int, cols: int, share: Tensor, generator: torch.Generator) -> Tensor:
    """Choose exactly floor(share * cells) of each grid's cells: share (n,) -> (n,rows,cols) bool."""
    rank = torch.rand(n, rows * cols, generator=generator).argsort(1).argsort(1)
    return (rank < (share * rows * cols).floor()[:, None]).view(n, rows, cols)


def augment(
    images: Tensor, *, border: int, mirror: bool, removal: float, colour: Tensor, generator: torch.Generator
) -> Tensor:
    """Augment a batch.

    Args:
        images: (N,C,H,W) uint8.
        border: pixels of reflected border that a crop is taken out of.
        mirror: whether to flip.
        removal: share of the images that lose pixels.
        colour: (C,), in [0,1], what a lost pixel is set to.
        generator: on the CPU, so that every device draws the same.

    Returns:
        (N,C,H,W) float32 in [0,1].

    """
    images = crop(images, border, generator)
    if mirror:
        images = flip(images, generator)
    values = images.float() / 255
    if removal > 0:
        mask = removal_mask(len(values), (values.shape[2], values.shape[3]), removal, generator).to(values.device)
        values = torch.where(mask[:, None], colour[:, None, None], values)
    return values
