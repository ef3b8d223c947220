"""Training images, augmented on the device, a batch at a time: crop, flip, cutout and removal."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fa_repro.device import send

LARGEST_REMOVED_SHARE = 0.9  # of an image's pixels, so that some of it is left to learn from
REMOVAL_PATCH = 4  # pixels a side; that of configs/benchmark_removal.yaml
CPU = torch.device("cpu")
REGION_GRID = 6  # side of the noise that regions are drawn from: holes of about a fifth of the image's side


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
    dy, dx = send(torch.randint(0, 2 * border + 1, (2, n), generator=generator), images.device)
    rows = (dy[:, None] + torch.arange(height, device=images.device))[:, None, :, None]
    cols = (dx[:, None] + torch.arange(width, device=images.device))[:, None, None, :]
    return padded[
        torch.arange(n, device=images.device)[:, None, None, None],
        torch.arange(images.shape[1], device=images.device)[None, :, None, None],
        rows,
        cols,
    ]


def mirrored(n: int, epoch: int, generator: torch.Generator) -> Tensor:
    """Choose which of ``n`` images an epoch mirrors: half of them in the first, the others in the next, and so on.

    Alternating flip (Jordan 2024, arXiv:2404.00498, section 3.6): any two epochs in a row show each image both ways,
    where flips drawn anew show half of the images twice the same way.

    Args:
        n: training images.
        epoch: from 1.
        generator: on the CPU, in the same state in every epoch.

    Returns:
        (n,) bool, on the CPU.

    """
    return (torch.rand(n, generator=generator) < 0.5) ^ (epoch % 2 == 0)


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror the ``chosen`` (N,) of images (N,C,H,W) left to right."""
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def square_mask(n: int, size: tuple[int, int], side: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Choose a square of each image for cutout (DeVries & Taylor 2017, arXiv:1708.04552, section 3).

    Its centre is any pixel, so that some of it may lie outside, as the paper has it: some images lose little.

    Args:
        n: images.
        size: (H,W) in pixels.
        side: of the square, in pixels.
        generator: on the CPU, so that every device draws the same.
        device: where the masks lie.

    Returns:
        (n,H,W) bool.

    """
    inside = []
    for length in size:
        first = send(torch.randint(0, length, (n, 1), generator=generator), device) - side // 2
        position = torch.arange(length, device=device)
        inside.append((position >= first) & (position < first + side))
    rows, cols = inside
    return rows[:, :, None] & cols[:, None, :]


class Removed(NamedTuple):
    """Which pixels of which images are removed."""

    mask: Tensor  # (n,H,W) bool
    together: Tensor  # (n,) bool: whether neighbours went together, as patches or regions; else each by itself, or none


def removal_mask(
    n: int, size: tuple[int, int], share: float, generator: torch.Generator, device: torch.device = CPU
) -> Removed:
    """Choose pixels to remove from a random share of images.

    An affected image loses a share of its positions drawn evenly from 0 to 0.9. In a third of the cases these are
    single pixels, in a third 4x4 patches, in a third regions, the lowest parts of smooth noise: percent-pixels-removed
    makes all three kinds of hole, as controls scatter, occlusion's order takes patches and class maps are smooth.

    Args:
        n: images.
        size: (H,W) in pixels.
        share: of the images that are affected.
        generator: on the CPU, so that every device draws the same.
        device: where it is worked out, and the masks lie.

    """
    height, width = size

    def drawn(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    affected = send(drawn(n) < share, device)
    lost = send(drawn(n) * LARGEST_REMOVED_SHARE, device)
    pixels = _lowest(send(drawn(n, height, width), device), lost)
    patches = _lowest(send(drawn(n, -(-height // REMOVAL_PATCH), -(-width // REMOVAL_PATCH)), device), lost)
    patches = patches.repeat_interleave(REMOVAL_PATCH, 1).repeat_interleave(REMOVAL_PATCH, 2)[:, :height, :width]
    # Interpolated before it is sent: devices round differently, and ranks tell.
    smooth = F.interpolate(drawn(n, 1, REGION_GRID, REGION_GRID), size=size, mode="bilinear", align_corners=False)
    regions = _lowest(send(smooth[:, 0], device), lost)
    kind = send(torch.randint(3, (n,), generator=generator), device)
    mask = torch.stack([pixels, patches, regions])[kind, torch.arange(n, device=device)] & affected[:, None, None]
    return Removed(mask, (kind > 0) & mask.flatten(1).any(1))


def _lowest(values: Tensor, share: Tensor) -> Tensor:
    """Choose exactly floor(share * positions) positions of each map, the lowest: (n,h,w), (n,) -> (n,h,w) bool."""
    rank = values.flatten(1).argsort(dim=1, stable=True).argsort(1)  # stable: ties are the same on every device
    return (rank < (share * rank.shape[1]).floor()[:, None]).view(values.shape)


def augment(
    images: Tensor,
    *,
    border: int,
    mirror: Tensor | None,
    cutout: int,
    removal: float,
    colour: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Removed | None]:
    """Augment a batch.

    Args:
        images: (N,C,H,W) uint8.
        border: pixels of reflected border that a crop is taken out of.
        mirror: (N,) bool, the images to flip; None: none.
        cutout: side, in pixels, of the square that every image loses; 0: none.
        removal: share of the images that lose pixels.
        colour: (C,), in [0,1], what a lost pixel is set to.
        generator: on the CPU, so that every device draws the same.

    Returns:
        (N,C,H,W) float32 in [0,1], and what removal took, cutout's squares not counted; None if ``removal`` is 0.

    """
    images = crop(images, border, generator)
    if mirror is not None:
        images = flip(images, mirror)
    values = images.float() / 255
    n, size = len(values), (values.shape[2], values.shape[3])
    if cutout:
        values = remove(values, square_mask(n, size, cutout, generator, values.device), colour)
    if removal == 0:
        return values, None
    removed = removal_mask(n, size, removal, generator, values.device)
    return remove(values, removed.mask, colour), removed


def remove(images: Tensor, mask: Tensor, colour: Tensor) -> Tensor:
    """Set the pixels of ``mask`` (N,H,W) in images (N,C,H,W) to ``colour`` (C,)."""
    return torch.where(mask[:, None], colour[:, None, None], images)
