"""Captum's occlusion and permutation, on the patches that ours have."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fa_repro.attribution import Context
from fa_repro.attribution.baseline import baseline
from fa_repro.attribution.patches import patch_numbers

Work = Callable[[Tensor, Tensor], object]


def captum_on_patches(model: nn.Module, images: Tensor, context: Context) -> dict[str, Work]:
    """Return captum's occlusion and permutation of the same patches as ours.

    Args:
        model: in eval mode.
        images: (N,C,H,W); only their shape, type and device count.
        context: settings of our methods.

    """
    from captum.attr import FeaturePermutation, Occlusion

    channels, height, width = images.shape[1:]
    patch = context.patch
    number = patch_numbers((height, width), patch, images.device)
    occluding, permuting = Occlusion(model), FeaturePermutation(model)

    def at_once(part: Tensor) -> int:
        """As many patches a forward pass as fill a batch: captum at its best, within the same memory."""
        return max(1, context.batch_size // len(part))

    @torch.inference_mode()
    def occlude(part: Tensor, chosen: Tensor) -> object:
        return occluding.attribute(
            part,
            sliding_window_shapes=(channels, patch, patch),
            strides=(channels, patch, patch),
            baselines=baseline(part, context).expand_as(part),
            target=chosen,
            perturbations_per_eval=at_once(part),
        )

    @torch.inference_mode()
    def permute(part: Tensor, chosen: Tensor) -> object:
        for _ in range(context.repeats):  # captum has no repeats of its own
            maps = permuting.attribute(
                part, target=chosen, feature_mask=number[None, None], perturbations_per_eval=at_once(part)
            )
        return maps

    return {"captum Occlusion": occlude, "captum FeaturePermutation": permute}
