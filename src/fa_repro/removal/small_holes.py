"""Noisy linear imputation where no hole is large: Chebyshev's iteration with bounds that hold.

The system of `fa_repro.removal.noisy_linear`, D^-1 A x = D^-1 b, asks a removed pixel to be the mean of its neighbours.
A walker who steps to a neighbour at random, by their weights, leaves the removed pixels after w steps on average, where
D^-1 A w = 1. As D^-1 A is an M-matrix, any w > 0 with D^-1 A w >= c > 0 bounds its inverse: no row of it sums to more
than T = max w / c. So

- its eigenvalues are 1/T or more and, as no weight is below zero, 2 - 1/T or less; nor are they above the highest with
  all of the image's pixels removed (`HIGHEST`), as the matrix is a part of that one, symmetric in D's scalar product;
- the error at any pixel is at most T times the largest |D^-1 residual|, which is what iteration stops by.

Where pixels go here and there, walkers are out after a few steps, and some twenty iterations of seven passes over the
pixels do what takes multigrid several times as long. Where they are not, the caller has multigrid.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fa_repro.removal.smear import room_for, smear

# Eigenvalue of D^-1 A with all pixels removed, by the image's smaller side: of a line, of 2x2, of 3x3 and larger ones.
HIGHEST = {1: 2.0, 2: 1.6, 3: 1.53}
STEPS = 16  # that walkers are followed for
NEARLY_ALL = 0.9  # are out: no need to follow the others
LONGEST_WALK = 24.0  # mean steps of the worst pixel; above, float32 rounds by more than the bound may be
# Mean steps from which on float32, which rounds what is left by as much more as walks are longer, can't promise 1e-5 of
# an image's range; the error itself is a tenth of what is promised.
LONG_WALK = 7.0
STEPS_AT_ONCE = 4  # between two looks at what is left: a look makes a GPU wait
PATIENCE = 2  # iterations at most, as a multiple of those that the bounds promise at first
FAINT = 2.0**-10  # weight of the image's mean beside a pixel's known neighbours, for those that have none


def solve_small_holes(known: Tensor, hole: Tensor, means: Tensor, limit: Tensor) -> Tensor | None:
    """Solve for the removed pixels, if no hole is large.

    Args:
        known: (N,C,H,W), 0 where a pixel is removed.
        hole: (N,1,H,W), 1 where a pixel is removed, not everywhere; else 0.
        means: (N,C,1,1), where the iteration begins.
        limit: (N,1,1,1), of the error at any pixel, which it bounds; by as much more as walks exceed `LONG_WALK`.

    Returns:
        (N,C,H,W), whose known pixels mean nothing; None: it takes another method.

    """
    _, channels, height, width = known.shape
    mask = F.pad(hole, (0, 1, 0, 1))
    inside = F.pad(mask.new_ones(1, 1, height, width), (0, 1, 0, 1))
    # D is 1 or more where the image has two pixels, and mask is 0 else.
    step = mask / (smear(inside, room_for(inside, 1)) - 4).clamp_min(1)
    longest = _longest_walk(mask, step)
    if longest > LONGEST_WALK:
        return None
    limit = limit.clamp_min(torch.finfo(known.dtype).tiny) * max(1.0, longest / LONG_WALK)  # a black image has no range
    low = 1 / longest
    high = max(min(2 - low, HIGHEST[min(3, height, width)]), 1.001 * low)  # single pixels: all eigenvalues are 1
    centre, half = (high + low) / 2, (high - low) / 2
    root = math.sqrt(high / low)
    slowest = math.log((root + 1) / (root - 1))  # of the error, lost in an iteration

    room = room_for(mask, channels)
    x = F.pad(known, (0, 1, 0, 1))
    # The mean of the known neighbours, where there is one.
    near = smear(F.pad(1 - hole, (0, 1, 0, 1)), room_for(mask, 1)).add_(FAINT)
    x.addcmul_(smear(x, room).add_(means, alpha=FAINT).div_(near), mask)
    step = step.expand(-1, channels, -1, -1).contiguous()
    here = torch.add(mask, step, alpha=4)
    # The usual step, move = ratio * before * move + 2 * ratio / half * (step * smeared - here * x), in units of `unit`,
    # the product of all its first factors: one pass over the pixels less.
    move, unit, ratio = torch.zeros_like(x), 1.0, half / centre
    weight = 1 / centre
    k, look, last = 0, 0, math.inf
    while k <= last:
        smeared = smear(x, room)
        if k == look:
            off = torch.addcmul(smeared * step, x, here, value=-1).abs_().amax((1, 2, 3), keepdim=True)
            worst = float((longest * off / limit).amax())
            if worst <= 1:
                return x[..., :height, :width]
            if not math.isfinite(worst):
                return None
            look = k + max(1, math.ceil(math.log(worst) / slowest))
            last = min(last, PATIENCE * look)
        if k > 0:
            before, ratio = ratio, 1 / (2 * centre / half - ratio)
            unit, weight = unit * ratio * before, 2 * ratio / half
        move.addcmul_(smeared, step, value=weight / unit).addcmul_(x, here, value=-weight / unit)
        x.add_(move, alpha=unit)
        k += 1
    return None


def _longest_walk(mask: Tensor, step: Tensor) -> float:
    """Return T, 1 or more, for all images together.

    Walkers are followed for a few steps only: w is the mean number of steps among these, and D^-1 A w is 1 less the
    share of walkers that are still inside.
    """
    walk, longer, room = torch.zeros_like(mask), torch.empty_like(mask), room_for(mask, 1)
    for k in range(1, STEPS + 1):
        torch.addcmul(mask, step, smear(walk, room).sub_(walk, alpha=4), out=longer)
        if k % STEPS_AT_ONCE == 0:
            inside = float((longer - walk).amax())  # from the worst pixel
            if inside <= 1 - NEARLY_ALL or k == STEPS:
                break
        walk, longer = longer, walk
    return max(1.0, float(walk.amax()) / (1 - inside)) if inside < 1 else math.inf
