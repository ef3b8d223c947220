"""[1 2 1] x [1 2 1], the stencil of noisy linear imputation less its middle, by four flat additions.

Fields end in a row and a column of zeros, so that what is shifted out of a row meets a zero, not the next row.
"""

import torch
from torch import Tensor


def room_for(like: Tensor, channels: int) -> Tensor:
    """Return room for `smear` of fields of the shape of ``like`` (N,_,h+1,w+1) with so many channels."""
    return like.new_empty(2, like.numel() // like.shape[1] * channels + like.shape[-1])


def smear(x: Tensor, room: Tensor) -> Tensor:
    """Return [1 2 1] x [1 2 1] applied to x (...,h+1,w+1), contiguous, in ``room`` until that is used again.

    Of x the last row and column are zero, of what is returned they mean nothing.
    """
    row, flat = x.shape[-1], x.view(-1)
    one, other = room[:, : len(flat) + row]
    one[:row], one[len(flat) :] = flat[:row], flat[-row:]
    torch.add(flat[:-row], flat[row:], out=one[row : len(flat)])
    sums = torch.add(one[:-row], one[row:], out=other[: len(flat)])
    one = one[: len(flat) + 1]
    one[0], one[-1] = sums[0], sums[-1]
    torch.add(sums[:-1], sums[1:], out=one[1:-1])
    return torch.add(one[:-1], one[1:], out=sums).view(x.shape)
