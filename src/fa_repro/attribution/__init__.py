"""Attribution methods, one a file; all have the shape ``explain(model, images, targets, context) -> maps (N,H,W)``."""

from collections.abc import Callable

from torch import Tensor, nn

from fa_repro.attribution.captum_library import check_captum
from fa_repro.attribution.context import Context
from fa_repro.attribution.controls import center, random
from fa_repro.attribution.depth_map import depth_map
from fa_repro.attribution.feature_map import feature_map
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.attribution.integrated_gradients import integrated_gradients
from fa_repro.attribution.occlusion import occlusion
from fa_repro.attribution.permutation import permutation
from fa_repro.attribution.saliency import saliency
from fa_repro.attribution.shapley import shapley

Explain = Callable[[nn.Module, Tensor, Tensor, Context], Tensor]

METHODS: dict[str, Explain] = {
    "feature_map": feature_map,
    "depth_map": depth_map,
    "grad_cam": grad_cam,
    "permutation": permutation,
    "occlusion": occlusion,
    "integrated_gradients": integrated_gradients,
    "saliency": saliency,
    "shapley": shapley,
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


__all__ = ["CONTROLS", "METHODS", "Context", "Explain", "check_captum", "lacking"]
