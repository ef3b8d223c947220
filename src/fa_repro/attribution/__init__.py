"""Attribution methods, one a file; all have the shape ``explain(model, images, targets, context) -> maps (N,H,W)``."""

from fa_repro.attribution.captum_library import check_captum
from fa_repro.attribution.choose import choose_methods, left_out, reference_of
from fa_repro.attribution.context import Context
from fa_repro.attribution.methods import CONTROLS, METHODS, PATCHWISE, Explain, asked, explain_classes

__all__ = [
    "CONTROLS",
    "METHODS",
    "PATCHWISE",
    "Context",
    "Explain",
    "asked",
    "check_captum",
    "choose_methods",
    "explain_classes",
    "left_out",
    "reference_of",
]
