"""Occlusion and permutation of patches, beside captum's."""

import numpy as np
import torch
from torch import Tensor

from comparisons.material import SHARES, Material, Pair, Work, in_batches, relative
from fa_repro.attribution import Context
from fa_repro.attribution.occlusion import occlusion
from fa_repro.attribution.patches import patch_numbers
from fa_repro.attribution.permutation import derangement, permutation

PATCH = 4  # side of the squares of occlusion and permutation, in pixels


def works_and_pairs(it: Material) -> tuple[dict[str, Work], list[Pair]]:
    """Return the patchwise maps of all, and which are compared."""
    channels, height, width = it.images.shape[1:]
    colour = it.mean.view(1, -1, 1, 1)
    context = Context(
        colour=it.mean,
        pool=it.pool,
        upsampling="nearest",  # a value for each patch, as captum has it
        patch=PATCH,
        repeats=1,
        seed=it.seed,
        batch_size=it.batch_size,
    )
    donors = derangement(len(it.pool), torch.Generator().manual_seed(it.seed))

    @torch.inference_mode()
    def captum_occlusion(images: Tensor, targets: Tensor) -> Tensor:
        from captum.attr import Occlusion

        window = (channels, PATCH, PATCH)
        maps = Occlusion(it.model).attribute(
            images,
            sliding_window_shapes=window,
            strides=window,
            baselines=colour.expand_as(images),
            target=targets,
            perturbations_per_eval=max(1, it.batch_size // len(images)),
        )
        return maps[:, 0]

    @torch.inference_mode()
    def captum_permutation() -> np.ndarray:
        """All images at once: their patches are exchanged among them."""
        from captum.attr import FeaturePermutation

        method = FeaturePermutation(it.model, perm_func=lambda x, mask: torch.where(mask, x[donors], x))
        patches = patch_numbers((height, width), PATCH, it.images.device)[None, None]
        return method.attribute(it.images, target=it.targets, feature_mask=patches)[:, 0].numpy()

    works: dict[str, Work] = {
        "occlusion": lambda: occlusion(it.reader, it.images, it.targets, context).numpy(),
        "captum Occlusion": lambda: in_batches(it, captum_occlusion),
        "permutation": lambda: permutation(it.reader, it.images, it.targets, context).numpy(),
        "captum FeaturePermutation": captum_permutation,
    }
    squares = f"patches of {PATCH}x{PATCH} pixels"
    return works, [
        Pair(f"occlusion, {squares}", "occlusion", "captum Occlusion", "captum", relative, SHARES),
        Pair(
            f"permutation, {squares}, one donor",
            "permutation",
            "captum FeaturePermutation",
            "captum",
            relative,
            SHARES,
        ),
    ]
