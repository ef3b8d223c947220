"""The depth map of the target: its logit, spread over the pixels and summed over depth (T3). One forward pass."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.targets import of_class
from fa_repro.attribution.upsampling import image_size
from fa_repro.models.fa_cnn import add_terms


@torch.inference_mode()
def depth_map(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,): the depth map, (N,H,W)."""
    # One class of all K before up-sampling, which makes maps many times as large.
    terms = [of_class(term, targets)[:, None] for _, term in model.depth_terms(images)]  # type: ignore[operator]
    return add_terms(terms, image_size(images), context.upsampling)[:, 0]
