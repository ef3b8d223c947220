"""Every method by name, all of one shape: ``explain(model, images, targets, context) -> maps (N,H,W)``."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

import torch
from torch import Tensor, nn

from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.contrast_map import contrast_map
from fa_repro.attribution.controls import center, random
from fa_repro.attribution.depth_map import depth_map
from fa_repro.attribution.feature_map import feature_map
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.attribution.integrated_gradients import integrated_gradients
from fa_repro.attribution.occlusion import occlusion
from fa_repro.attribution.permutation import permutation
from fa_repro.attribution.saliency import saliency
from fa_repro.attribution.shapley import shapley
from fa_repro.device import arithmetic

Explain = Callable[..., Tensor]  # model, images (N,3,H,W), targets (N,), context=DEFAULT -> maps (N,H,W)


def _in_fp32(explain: Explain) -> Explain:
    """Return ``explain`` in fp32 that is no less, so that a map does not depend on the device beyond rounding."""

    @wraps(explain)
    def exactly(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
        with arithmetic(images.device, torch.float32):
            return explain(model, images, targets, context)

    return exactly


METHODS: dict[str, Explain] = {
    "feature_map": _in_fp32(feature_map),
    "depth_map": _in_fp32(depth_map),
    "contrast_map": _in_fp32(contrast_map),
    "grad_cam": _in_fp32(grad_cam),
    "permutation": _in_fp32(permutation),
    "occlusion": _in_fp32(occlusion),
    "integrated_gradients": _in_fp32(integrated_gradients),
    "saliency": _in_fp32(saliency),
    "shapley": _in_fp32(shapley),
    "random": random,
    "center": center,
}
CONTROLS = ("random", "center")  # know nothing of the image
# Ask a network for nothing but logits, a forward pass a patch, and read those of several classes in the same passes.
PATCHWISE = ("permutation", "occlusion")


def asked(method: str, model: nn.Module, reader: nn.Module) -> nn.Module:
    """Return what ``method`` explains: ``reader``, which gives the model's logits faster, if it needs no more."""
    return reader if method in PATCHWISE else model


def explain_classes(method: str, model: nn.Module, images: Tensor, classes: Tensor, context: Context) -> Tensor:
    """Explain each image for several classes.

    Args:
        method: a name of `METHODS`.
        model: in eval mode, on the images' device.
        images: (N,C,H,W) in [0,1].
        classes: (N,T), T for each image.
        context: settings; the noise of ``random`` is drawn anew for each of the T.

    Returns:
        (N,T,H,W) maps.

    """
    if method in PATCHWISE:
        return METHODS[method](model, images, classes, context)
    each = enumerate(classes.unbind(1))
    return torch.stack(
        [METHODS[method](model, images, column, replace(context, seed=context.seed + t)) for t, column in each], dim=1
    )
