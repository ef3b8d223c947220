"""The class map of the target: what FA-CNN says its saliency map is (C2). One forward pass, no gradient."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.upsampling import image_size, upsample


@torch.inference_mode()
def feature_map(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,): the class map M_k, (N,H,W)."""
    maps = model.class_maps(images)  # type: ignore[operator]
    return upsample(maps[torch.arange(len(maps), device=maps.device), targets], image_size(images), context.upsampling)
