"""Occlusion (Zeiler & Fergus 2014): the drop of the target's logit when a patch takes the removal value."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.baseline import baseline
from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.patches import patch_drops, spread
from fa_repro.attribution.upsampling import image_size


@torch.inference_mode()
def occlusion(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,) by occlusion, (N,H,W); for (N,T), (N,T,H,W)."""
    covered = baseline(images, context)
    drops = patch_drops(model, images, targets, context.patch, context.batch_size, [lambda rows: covered])
    return spread(drops, context.patch, image_size(images), context.upsampling)
