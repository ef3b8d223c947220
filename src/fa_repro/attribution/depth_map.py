"""The depth map of the target: its logit, spread over the pixels and summed over depth (T3). One forward pass."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.context import DEFAULT, Context


@torch.inference_mode()
def depth_map(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,): the depth map, (N,H,W)."""
    maps = model.depth_maps(images, context.upsampling)  # type: ignore[operator]
    return maps[torch.arange(len(maps), device=maps.device), targets]
