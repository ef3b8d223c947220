"""Saliency (Simonyan et al. 2014, arXiv:1312.6034, section 3.1): the logit's gradient in the pixels, by captum."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.captum_library import captum_class
from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.upsampling import image_size, upsample


@torch.enable_grad()
def saliency(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,) by the gradient of the logit, (N,H,W).

    The map is absolute, and a pixel has the largest value among its channels, as in the paper: a gradient says how
    strongly a pixel could move the logit, and its sign only whether by getting lighter or darker.

    Raises:
        InputError: captum is not installed.

    """
    method = captum_class("Saliency", "saliency")(model)
    maps = []
    for part, target in zip(images.split(context.batch_size), targets.split(context.batch_size), strict=True):
        gradients = method.attribute(part.clone().requires_grad_(), target=target, abs=True)
        maps.append(gradients.detach().amax(1))
    return upsample(torch.cat(maps), image_size(images), context.upsampling)
