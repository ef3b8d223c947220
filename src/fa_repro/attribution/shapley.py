"""Shapley values of patches, by sampled permutations (Castro et al. 2009; Štrumbelj & Kononenko 2010), by captum."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.baseline import baseline
from fa_repro.attribution.captum_library import captum_class
from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.patches import patch_numbers, spread
from fa_repro.attribution.upsampling import image_size


@torch.no_grad()
def shapley(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,) by the Shapley values of patches, (N,H,W).

    The players are squares of ``context.patch`` pixels, one that doesn't take part shows the removal value
    ``context.colour``, and the gain is the target's logit, averaged over ``context.n_samples`` permutations of the
    players. These are the seed's, the same for every image. The map is signed: the values of an image add up to its
    logit minus that of the removal value, and a patch against the class counts as such.

    Raises:
        InputError: captum is not installed.

    """
    method = captum_class("ShapleyValueSampling", "shapley")(model)
    patch = context.patch
    players = patch_numbers(image_size(images), patch, images.device)[None, None]
    values = []
    for part, target in zip(images.split(context.batch_size), targets.split(context.batch_size), strict=True):
        # captum draws the permutations from torch's own generator, on the CPU.
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(context.seed)
            attributions = method.attribute(
                part,
                baselines=baseline(part, context),
                target=target,
                feature_mask=players,
                n_samples=context.n_samples,
                perturbations_per_eval=max(1, context.batch_size // len(part)),
            )
        values.append(attributions[:, 0, ::patch, ::patch])  # captum gives each pixel its patch's value
    return spread(torch.cat(values), patch, image_size(images), context.upsampling)
