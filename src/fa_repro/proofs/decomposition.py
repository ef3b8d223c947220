"""T3: a logit is exactly the sum of what each depth adds, and the spatial mean of its depth map.

y_k = s [(1-alpha)^L mean(A_0) + sum_l w_l mean(F_l)] with w_l = alpha (1-alpha)^(L-1-l), means over class k's channels
and positions: skips, average pooling and the GAP head all keep means.
"""

from typing import Any

import torch
from torch import Tensor

from fa_repro.models import FeatureAlignCNN
from fa_repro.proofs.tolerance import errors, tolerance

COLUMNS = (
    "dtype",
    "part",
    "mean_over_classes",
    "share_of_logit",
    "max_abs_error",
    "max_rel_error",
    "tolerance",
    "holds",
)


@torch.no_grad()
def check_decomposition(model: FeatureAlignCNN, images: Tensor) -> list[dict[str, Any]]:
    """Split the logits of images (N,C,H,W) in [0,1] and add them up again.

    Returns:
        A line for each part of the logits (its mean over images and classes, its share of the logits' mean), then one
        for their sum and one for the depth maps' mean, both held against the logits; the fields of `COLUMNS`.

    """
    logits = model(images)
    means = [(name, term.mean((2, 3))) for name, term in model.depth_terms(images)]
    whole = logits.mean().item() or float("nan")  # black images have no share to give
    dtype = str(images.dtype).removeprefix("torch.")
    lines: list[dict[str, Any]] = [
        {
            "dtype": dtype,
            "part": name,
            "mean_over_classes": part.mean().item(),
            "share_of_logit": part.mean().item() / whole,
        }
        for name, part in means
    ]
    added = torch.stack([part for _, part in means]).sum(0)
    for name, found in (
        ("sum of parts", added),
        ("mean of depth map", model.depth_maps(images).mean((2, 3))),
    ):
        absolute, relative = errors(found, logits)
        lines.append(
            {
                "dtype": dtype,
                "part": name,
                "mean_over_classes": found.mean().item(),
                "share_of_logit": found.mean().item() / whole,
                "max_abs_error": absolute,
                "max_rel_error": relative,
                "tolerance": tolerance(images.dtype),
                "holds": relative <= tolerance(images.dtype),
            }
        )
    return lines
