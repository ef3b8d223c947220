"""T2: feature maps morph slowly. A dampened skip changes them by at most alpha * (1 + |F(A)|/|A|), in relative norm.

From A' - A = alpha (F(A) - A) and the triangle inequality. For the ablations the same steps give |skip - 1| + branch *
|F(A)|/|A|, which without dampening is no longer small.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fa_repro.models.fa_cnn import FeatureAlignBackbone
from fa_repro.proofs.tolerance import tolerance

COLUMNS = ("layer", "alpha", "relative_change", "bound", "cosine_to_previous", "cosine_to_last", "holds")


@torch.no_grad()
def check_morphing(model: FeatureAlignBackbone, images: Tensor) -> list[dict[str, Any]]:
    """Measure every layer on images (N,C,H,W) in [0,1].

    Returns:
        A line a layer, with the fields of `COLUMNS`: means over images; ``holds`` is about every single image. Cosines
        are between whole feature maps; with the last ones after average pooling to their size.

    """
    layers = list(model.trace(images))
    last = layers[-1].after
    lines = []
    for layer in layers:
        before, branch, after = (t.flatten(1) for t in (layer.before, layer.branch, layer.after))
        size, change = before.norm(dim=1), (after - before).norm(dim=1)
        bound = abs(layer.mix.skip_weight - 1) * size + layer.mix.branch_weight * branch.norm(dim=1)
        seen = size > 0  # relative to a black image's maps, all zero, nothing can be said
        pooled = F.adaptive_avg_pool2d(layer.after, (last.shape[2], last.shape[3]))
        damped = layer.mix.skip_weight == 1 - layer.mix.branch_weight and layer.mix.skip_weight > 0
        lines.append(
            {
                "layer": layer.name,
                "alpha": layer.mix.branch_weight if damped else None,
                "relative_change": (change / size)[seen].mean().item(),
                "bound": (bound / size)[seen].mean().item(),
                "cosine_to_previous": F.cosine_similarity(after, before).mean().item(),
                "cosine_to_last": F.cosine_similarity(pooled.flatten(1), last.flatten(1)).mean().item(),
                "holds": bool((change <= bound * (1 + tolerance(images.dtype))).all()),
            }
        )
    return lines
