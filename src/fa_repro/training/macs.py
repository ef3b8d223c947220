"""The cost of a forward pass."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(model: nn.Module, image: torch.Tensor) -> int:
    """Return the multiply-adds of convolutions and matrix products on ``image`` (1,C,H,W), as torch counts them."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return counter.get_total_flops() // 2
