"""Which methods are measured of those that were asked for: what a model can't do is left out, controls are added."""

from collections.abc import Sequence

from torch import Tensor, nn

from fa_repro.attribution.gradients import pixels_cut_off
from fa_repro.attribution.methods import CONTROLS
from fa_repro.errors import InputError

# What a model must have for a method beyond logits.
_NEEDS = {
    "feature_map": "class_maps",
    "depth_map": "depth_terms",
    "contrast_map": "class_maps",
    "grad_cam": "last_feature_layer",
}
# Backward to the pixels, through whatever the model does to them first.
_BY_PIXEL_GRADIENT = ("integrated_gradients", "saliency")
_WAYS_OUT = {"grad_cam": " Give layer=NAME, a module whose feature maps lead to the logits."}


def reference_of(methods: Sequence[str]) -> str:
    """Return the method that the others are compared with on the same images: the feature map, or else the first."""
    return "feature_map" if "feature_map" in methods else methods[0]


def left_out(method: str, model: nn.Module, images: Tensor, layer: str | None = None) -> str | None:
    """Return a line on why ``method`` is left out, or None if ``model`` can do it.

    With the name of a ``layer`` of its own, Grad-CAM needs no ``last_feature_layer``.
    """
    need = None if method == "grad_cam" and layer else _NEEDS.get(method)
    if need and not hasattr(model, need):
        return f"`{method}` is left out: the model has no {need}.{_WAYS_OUT.get(method, '')}"
    if method in _BY_PIXEL_GRADIENT and (reason := pixels_cut_off(model, images[:1])):
        return f"`{method}` is left out: it needs the logit's gradient in the pixels, and {reason}."
    return None


def choose_methods(
    asked: Sequence[str],
    model: nn.Module,
    name: str,
    images: Tensor,
    layer: str | None = None,
    controls: bool = True,
) -> tuple[list[str], list[str]]:
    """Return the methods to measure, each once, and a line on what was left out and what was added.

    Of those ``asked`` for, what ``model`` can't do is `left_out`. The controls come last where they are not asked for:
    without them no benchmark's figure says much.

    Args:
        asked: names of `METHODS`.
        model: in eval mode.
        name: of the model.
        images: (N,C,H,W) uint8, all that are explained; the first is tried.
        layer: that Grad-CAM looks at, where the model names none.
        controls: whether they are added.

    Raises:
        InputError: the model can do none, or the images are too few for one of them.

    """
    first = images[:1].float() / 255
    reasons = {method: left_out(method, model, first, layer) for method in asked}
    notes = [reason for reason in reasons.values() if reason]
    methods = [method for method, reason in reasons.items() if not reason]
    if not methods:
        raise InputError(f"methods={list(asked)}: model {name} can do none of them.")
    if "permutation" in methods and len(images) < 2:
        raise InputError(
            "methods: permutation needs two images or more, as a patch is replaced by another image's. "
            "Give two images or more, or leave it out."
        )
    missing = [control for control in CONTROLS if control not in methods] if controls else []
    if missing:
        names = ", ".join(f"`{control}`" for control in missing)
        notes.append(f"controls {names} are added." if len(missing) > 1 else f"control {names} is added.")
    return methods + missing, notes
