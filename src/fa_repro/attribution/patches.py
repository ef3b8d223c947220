"""Perturb one square patch at a time and measure the drop of the target's logit: occlusion and permutation share it."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from fa_repro.attribution.upsampling import upsample
from fa_repro.errors import InputError


def check_patch(patch: int, images: Tensor) -> None:
    """Refuse a patch larger than ``images`` (N,C,H,W): that is no part of them, and captum's window would not fit.

    Raises:
        InputError: says how large they are.

    """
    side = min(images.shape[-2:])
    if patch > side:
        raise InputError(
            f"patch={patch}: larger than the images, which are {side} pixels a side. Give a smaller patch=."
        )


def patch_numbers(size: tuple[int, int], patch: int, device: torch.device) -> Tensor:
    """Return the number of each pixel's patch (H,W), row by row; the last of a row or column may be smaller."""
    height, width = size
    cols = -(-width // patch)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    return (y // patch)[:, None] * cols + x // patch


def patch_drops(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    patch: int,
    batch_size: int,
    replacements: Iterable[Callable[[Tensor], Tensor]],
) -> Tensor:
    """Replace every patch of every image in turn, once by each of the ``replacements``.

    Args:
        model: maps images to logits.
        images: (N,C,H,W) in [0,1].
        targets: (N,) classes, or (N,T): several for each image, read in the same forward passes.
        patch: side in pixels; the last patches of a row or column are smaller if it doesn't divide the image.
        batch_size: images a forward pass.
        replacements: each from positions (B,) in the batch to images (B,C,H,W), of which the patch's pixels are taken.

    Returns:
        (N, ceil(H/patch), ceil(W/patch)), with T (N, T, ...): the intact image's target logit minus that without the
        patch, the mean over the replacements.

    """
    n, _, height, width = images.shape
    rows, cols = -(-height // patch), -(-width // patch)
    device = images.device
    number = patch_numbers((height, width), patch, device)  # one comparison makes a whole batch's masks
    chosen = targets.view(n, -1)
    intact = torch.cat([model(part) for part in images.split(batch_size)]).gather(1, chosen)
    jobs = torch.arange(n * rows * cols, device=device)
    runs = []
    for replacement in replacements:
        without = []
        for job in jobs.split(batch_size):
            image = job // (rows * cols)
            mask = number == (job % (rows * cols))[:, None, None]
            changed = torch.where(mask[:, None], replacement(image), images[image])
            without.append(model(changed).gather(1, chosen[image]))
        runs.append(torch.cat(without))
    without_patch = torch.stack(runs).mean(0).view(n, rows * cols, -1)
    return (intact[:, :, None] - without_patch.transpose(1, 2)).reshape(*targets.shape, rows, cols)


def spread(drops: Tensor, patch: int, size: tuple[int, int], mode: str) -> Tensor:
    """Bring one value a patch (...,rows,cols) to the image's ``size`` (H,W), each over its own pixels."""
    height, width = size
    rows, cols = drops.shape[-2:]
    whole = (rows * patch, cols * patch)  # the last patches may reach beyond the image
    return upsample(drops.reshape(-1, rows, cols), whole, mode)[:, :height, :width].unflatten(0, drops.shape[:-2])
