"""Noisy linear imputation: Remove and Debias (ROAD; Rong et al., ICML 2022).

Every removed pixel is the weighted mean of its eight neighbours, 1/6 for those that share an edge and 1/12 for those
that share a corner, with weights renormalised at the image's borders; a little noise comes on top. In units of 1/12 the
neighbours' sum is ([1 2 1] x [1 2 1] - 4) x, and the removed pixels r, given the known ones k, solve

    (D - W_rr) x_r = W_rk x_k,    D = the sum of a pixel's weights that lie inside the image.

The system is symmetric, and positive definite where any pixel is known, as all pixels of an image hang together. It is
solved for a whole batch at once, where no hole is large by `fa_repro.removal.small_holes`, else by
`fa_repro.removal.multigrid`.
"""

import torch
from torch import Tensor

from fa_repro.removal.multigrid import solve_by_multigrid
from fa_repro.removal.small_holes import solve_small_holes

NOISE = 0.01  # standard deviation, for images in [0,1]; that of the paper
TOLERANCE = 1e-5  # of the error at any pixel, as a share of the range of the image's known values
CHUNK = {"cpu": 2**19, "cuda": 2**26}  # values solved at a time: what a cache holds, and what fills a GPU


def with_noise(filled: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
    """Add ``noise`` (N,C,H,W) to the removed pixels of images that `fill_linearly` filled; values are not clipped."""
    return torch.addcmul(filled, mask[:, None].to(filled.dtype), noise)


@torch.no_grad()
def fill_linearly(images: Tensor, mask: Tensor, colour: Tensor | None = None) -> Tensor:
    """Solve for the removed pixels of a batch, without noise.

    Args:
        images: (N,C,H,W), float; those of half precision are solved for in float32.
        mask: (N,H,W) bool, True where a pixel is removed.
        colour: (C,), for an image of which every pixel is removed: no neighbour is left, and the system singular.
            None: the image's own mean colour.

    Returns:
        (N,C,H,W); known pixels are untouched.

    Raises:
        RuntimeError: the solution did not converge, as with values that are no numbers.

    """
    if not len(images):
        return images.clone()
    at_once = max(1, CHUNK.get(images.device.type, CHUNK["cpu"]) // images[0].numel())
    values = (images.float() if images.dtype in (torch.float16, torch.bfloat16) else images).contiguous()
    parts = [_fill(x, m, colour) for x, m in zip(values.split(at_once), mask.split(at_once), strict=True)]
    return torch.cat(parts).to(images.dtype)


def _fill(images: Tensor, mask: Tensor, colour: Tensor | None) -> Tensor:
    # By products with the mask, which are exact: on a processor `where` takes some fifteen times as long as one.
    hole = mask[:, None].to(images.dtype)
    everything = mask.flatten(1).all(1).view(-1, 1, 1, 1)
    own = images.mean((2, 3), keepdim=True)
    instead = own if colour is None else colour.to(images).view(1, -1, 1, 1).expand_as(own)
    known = images * (1 - hole)
    far = torch.finfo(images.dtype).max / 4  # beyond any value
    low = torch.where(everything, instead, torch.add(known, hole, alpha=far).amin((2, 3), keepdim=True))
    high = torch.where(everything, instead, torch.add(known, hole, alpha=-far).amax((2, 3), keepdim=True))
    solved = _solve(known, torch.where(everything, 0, hole), low, high)
    # No mean lies outside the range of what it is a mean of; this takes rounding away, too.
    return torch.addcmul(known, hole, torch.minimum(torch.maximum(solved, low), high))


def _solve(known: Tensor, hole: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return x (N,C,H,W), whose removed pixels are the means of their neighbours; its known ones mean nothing."""
    span = ((high - low) * hole.amax((2, 3), keepdim=True)).amax(1, keepdim=True)
    rounding = 8 * torch.finfo(known.dtype).eps * known.abs().amax((1, 2, 3), keepdim=True)
    means = known.sum((2, 3), keepdim=True) / (1 - hole).sum((2, 3), keepdim=True)
    limit = TOLERANCE * span + rounding
    found = solve_small_holes(known, hole, means, limit)
    return solve_by_multigrid(known, hole, means, limit) if found is None else found
