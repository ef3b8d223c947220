"""Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365, section 3), by captum."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.baseline import baseline
from fa_repro.attribution.captum_library import captum_class
from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.upsampling import image_size, upsample


@torch.enable_grad()
def integrated_gradients(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,): integrated gradients of the logit, (N,H,W).

    The path runs straight from the removal value ``context.colour`` to the image, in ``context.n_steps`` steps. The map
    is signed and a pixel's channels are added, so that completeness holds for pixels as it does for values: a map's sum
    is the image's logit minus the baseline's, and a pixel against the class counts as such.

    Raises:
        InputError: captum is not installed.

    """
    method = captum_class("IntegratedGradients", "integrated_gradients")(model)
    maps = []
    # No more images at once than a forward pass may have: captum then divides the steps among its passes.
    for part, target in zip(images.split(context.batch_size), targets.split(context.batch_size), strict=True):
        attributions = method.attribute(
            part,
            baselines=baseline(part, context).expand_as(part),
            target=target,
            n_steps=context.n_steps,
            internal_batch_size=context.batch_size,
        )
        maps.append(attributions.detach().sum(1))
    return upsample(torch.cat(maps), image_size(images), context.upsampling)
