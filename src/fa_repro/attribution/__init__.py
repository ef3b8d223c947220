"""Attribution methods, one a file; all have the shape ``explain(model, images, targets, context) -> maps (N,H,W)``."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from fa_repro.attribution.context import Context
from fa_repro.attribution.controls import center, random
from fa_repro.attribution.depth_map import depth_map
from fa_repro.attribution.feature_map import feature_map
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.attribution.occlusion import occlusion
from fa_repro.attribution.permutation import permutation

Explain = Callable[[nn.Module, Tensor, Tensor, Context], Tensor]

METHODS: dict[str, Explain] = {
    "feature_map": feature_map,
    "depth_map": depth_map,
    "grad_cam": grad_cam,
    "permutation": permutation,
    "occlusion": occlusion,
    "random": random,
    "center": center,
}
CONTROLS = ("random", "center")
# What a model must have for a method beyond logits.
_NEEDS = {"feature_map": "class_maps", "depth_map": "depth_maps", "grad_cam": "last_feature_layer"}


def lacking(method: str, model: nn.Module) -> str | None:
    """Return what ``model`` lacks for ``method``, or None if it can do it."""
    need = _NEEDS.get(method)
    return need if need and not hasattr(model, need) else None


# Read the logits of several classes in the same forward passes.
_SHARE_PASSES = ("permutation", "occlusion")


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
    if method in _SHARE_PASSES:
        return METHODS[method](model, images, classes, context)
    each = enumerate(classes.unbind(1))
    return torch.stack(
        [METHODS[method](model, images, column, replace(context, seed=context.seed + t)) for t, column in each], dim=1
    )


__all__ = ["CONTROLS", "METHODS", "Context", "Explain", "explain_classes", "lacking"]
