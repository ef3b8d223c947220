"""The class map of the target: what FA-CNN says its saliency map is (C2). One forward pass, no gradient."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.targets import of_class
from fa_repro.attribution.upsampling import image_size, upsample


@torch.inference_mode()
def feature_map(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,): the class map M_k, (N,H,W)."""
    maps = of_class(model.class_maps(images), targets)  # type: ignore[operator]
    return upsample(maps, image_size(images), context.upsampling)
