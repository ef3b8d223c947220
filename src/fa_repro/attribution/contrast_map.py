"""The class map of the target less the mean of all classes': what the map says for this class and no other.

A field that is added to the class maps of all classes alike moves all logits alike, and no probability. Training does
not hold that field down, so the level of a class map means little; the contrast map is free of it. By T1 it is the
Grad-CAM map of the score z_k - mean of all z, a logit's contrast with the others. One forward pass, no gradient.
"""

import torch
from torch import Tensor, nn

from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.targets import of_class
from fa_repro.attribution.upsampling import image_size, upsample


@torch.inference_mode()
def contrast_map(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,): M_k less the mean of all M, (N,H,W)."""
    maps = model.class_maps(images)  # type: ignore[operator]
    return upsample(of_class(maps, targets) - maps.mean(1), image_size(images), context.upsampling)
