"""Noisy linear imputation whatever the mask: conjugate gradients, preconditioned by a multigrid V-cycle.

The system is that of `fa_repro.removal.noisy_linear`. It takes some ten iterations, whatever the mask and the size. As
the V-cycle nearly inverts the system, what it makes of a residual is an estimate of the error itself; iteration stops
by that, for each image on its own.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fa_repro.removal.smear import room_for, smear

MAX_ITERATIONS = 100
# Of the Jacobi smoother, and for grids of one row or column, whose highest eigenvalue is 2 in place of 1.6 or less. At
# 224x224 with 90 % gone 1.0 takes three quarters of the iterations that 0.8 takes, and 1.2 a tenth more than 1.0.
DAMPING, DAMPING_OF_A_LINE = 1.0, 0.8
COARSEST = 16  # pixels of a grid that is solved directly
# The pull of known pixels weakens with distance like that of a point in a plane: by ln 2 / (2 pi sigma) each time the
# spacing doubles, with the stencil's conductance sigma = (4 * 2 + 4 * 1 * 2) / 4 = 4.
SPREADING = math.log(2) / (8 * math.pi)


class _Grid(NamedTuple):
    """One level; its fields (N,1,h+1,w+1) end in a row and a column of zeros, which keep flat shifts apart."""

    mask: Tensor  # 1 where there is an unknown
    full: Tensor  # diagonal of the system + 4
    step: Tensor  # damping / diagonal
    keep: Tensor  # 1 - step * full
    inverse: Tensor | None  # (N,hw,hw) of the coarsest level's system
    room: Tensor  # what `smear` works in, for all channels


def solve_by_multigrid(known: Tensor, hole: Tensor, means: Tensor, limit: Tensor) -> Tensor:
    """Solve for the removed pixels, whatever the mask.

    Args:
        known: (N,C,H,W), 0 where a pixel is removed.
        hole: (N,1,H,W), 1 where a pixel is removed, not everywhere; else 0.
        means: (N,C,1,1), where the iteration begins.
        limit: (N,1,1,1), of the error at any pixel, as the V-cycle estimates it.

    Returns:
        (N,C,H,W), whose known pixels mean nothing.

    Raises:
        RuntimeError: no solution after `MAX_ITERATIONS`, as with values that are no numbers.

    """
    height, width = known.shape[2:]
    known, inside = F.pad(known, (0, 1, 0, 1)), F.pad(known.new_ones(1, 1, height, width), (0, 1, 0, 1))
    grids = _grids(F.pad(hole, (0, 1, 0, 1)), inside, known.shape[1])
    mask, full, room = grids[0].mask, grids[0].full, grids[0].room
    x = mask * means
    # Both products are rounded alike: of what a fused difference leaves between them, the inverse would make a thousand
    # times as much.
    residual = mask * smear(known + x, room) - full * x
    direction, before = torch.zeros_like(x), torch.ones_like(limit)
    active = torch.ones_like(limit, dtype=torch.bool)
    for _ in range(MAX_ITERATIONS):
        z = _cycle(grids, 0, residual)
        active = active & ~(z.abs().amax((1, 2, 3), keepdim=True) <= limit)
        if not active.any():
            return x[..., :height, :width]
        now = _dot(residual, z)
        direction = z.addcmul_(torch.where(active, now / before, 0), direction)
        image = (full * direction).addcmul_(mask, smear(direction, room), value=-1)
        length = torch.where(active, now / _dot(direction, image), 0)
        x.addcmul_(length, direction)
        residual.addcmul_(length, image, value=-1)
        before = torch.where(active, now, 1)
    raise RuntimeError(f"noisy linear imputation did not converge in {MAX_ITERATIONS} iterations")


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1).view(-1, 1, 1, 1)


def _grids(mask: Tensor, inside: Tensor, channels: int) -> list[_Grid]:
    """Return all levels, finest first; each halves height and width.

    A coarse unknown stands where an unknown is within its reach. Between coarse unknowns the stencil is the fine one,
    as in two dimensions it does not depend on spacing; their pull to known pixels is gathered from the fine ones'.
    """
    pull = mask * smear(inside - mask, room_for(mask, 1))
    grids = []
    while True:
        room = room_for(mask, channels)
        full = mask * smear(mask, room) + pull
        height, width = mask.shape[2] - 1, mask.shape[3] - 1
        damping = DAMPING_OF_A_LINE if min(height, width) == 1 else DAMPING
        step = torch.where(mask > 0, damping / (full - 4), 0)
        last = height * width <= COARSEST
        grids.append(_Grid(mask, full, step, 1 - step * full, _inverse(mask, full) if last else None, room))
        if last:
            return grids
        pull = _restrict(pull)
        pull = pull / (1 + SPREADING * pull)
        mask = (_restrict(mask) > 0).to(mask.dtype)


def _inverse(mask: Tensor, full: Tensor) -> Tensor:
    height, width = mask.shape[2] - 1, mask.shape[3] - 1
    n = height * width
    units = F.pad(torch.eye(n, dtype=mask.dtype, device=mask.device).view(n, 1, height, width), (0, 1, 0, 1))
    stencil = smear(units, room_for(units, 1))[..., :height, :width].reshape(n, n)
    here, diagonal = (field[..., :height, :width].reshape(-1, n) for field in (mask, full))
    system = torch.diag_embed(diagonal + (here == 0)) - stencil * here[:, :, None] * here[:, None, :]
    return torch.linalg.inv(system)


def _cycle(grids: list[_Grid], level: int, residual: Tensor) -> Tensor:
    """Return about what the system's inverse gives for ``residual``: a V-cycle, symmetric, from a zero guess."""
    mask, _, step, keep, inverse, room = grids[level]
    if inverse is not None:
        height, width = residual.shape[2] - 1, residual.shape[3] - 1
        solved = residual[..., :height, :width].reshape(*residual.shape[:2], -1) @ inverse
        return F.pad(solved.view(*residual.shape[:2], height, width), (0, 1, 0, 1))
    z = residual * step
    rest = (residual * keep).addcmul_(mask, smear(z, room))  # of the residual, when z is taken off
    z.addcmul_(mask, _prolong(_cycle(grids, level + 1, _restrict(rest)), residual))
    return (z * keep).addcmul_(step, smear(z, room).add_(residual))


def _restrict(x: Tensor) -> Tensor:
    """Return the transpose of `_prolong` applied to x, twice that along a line."""
    gathered = _gather(_gather(x, 2), 3)
    # Along a line, twice the spacing is half the conductance: the coarse system is kept in units of the stencil.
    return 2 * gathered if 2 in x.shape[2:] else gathered


def _prolong(x: Tensor, like: Tensor) -> Tensor:
    """Interpolate linearly between the points of a coarse grid, which lie on the fine one's even rows and columns."""
    return _spread(_spread(x, 3, like.shape[3]), 2, like.shape[2])


def _gather(x: Tensor, dim: int) -> Tensor:
    size = x.shape[dim] - 1
    x = x.narrow(dim, 0, size)
    every_second = (slice(None),) * dim + (slice(1, None, 2),)
    odd = x[every_second]
    coarse, odds = (size + 1) // 2, odd.shape[dim]
    out = F.pad(x[(slice(None),) * dim + (slice(0, None, 2),)], (0, 1) if dim == 3 else (0, 0, 0, 1))
    out.narrow(dim, 0, odds).add_(odd, alpha=0.5)
    if odds == coarse:  # the last row has no coarse one beyond it and hangs on its only neighbour
        out.narrow(dim, 1, odds - 1).add_(odd.narrow(dim, 0, odds - 1), alpha=0.5)
        out.narrow(dim, odds - 1, 1).add_(odd.narrow(dim, odds - 1, 1), alpha=0.5)
    else:
        out.narrow(dim, 1, odds).add_(odd, alpha=0.5)
    return out


def _spread(x: Tensor, dim: int, padded: int) -> Tensor:
    size, coarse = padded - 1, x.shape[dim] - 1
    shape = list(x.shape)
    shape[dim] = padded
    out = x.new_empty(shape)
    out.narrow(dim, size, 1).zero_()
    x = x.narrow(dim, 0, coarse)
    inner = out.narrow(dim, 0, size)
    inner[(slice(None),) * dim + (slice(0, None, 2),)] = x
    odd = inner[(slice(None),) * dim + (slice(1, None, 2),)]
    odds = odd.shape[dim]
    between = coarse - 1
    odd.narrow(dim, 0, between).copy_((x.narrow(dim, 0, between) + x.narrow(dim, 1, between)) / 2)
    if odds == coarse:
        odd.narrow(dim, between, 1).copy_(x.narrow(dim, between, 1))
    return out
