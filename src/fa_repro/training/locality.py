"""Maps that speak for their own places: where pixels are gone, a map has nothing to say.

A last feature map's value sees most of the image, so that a network may well write the evidence of one place into
another. In images that lose pixels in training, the places S that are gone have no evidence of their own. There the
feature maps are set to zero, and the head's answer to what is left is held against its answer to all of them:

    loss = KL( softmax(y(x without S)) || softmax(head(A(x without S) without S)) ),

the first taken as given. It takes one forward pass, that of the training itself.

Single pixels don't count: a map's value stands for several, and when every third is gone there are no places that are.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Estimating(nn.Module):
    """A network that says what it would answer by the places that are there alone, in one forward pass."""

    def __init__(self, model: nn.Module) -> None:
        """Wrap ``model``, which has ``features`` and ``classify``."""
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Answer, and estimate the answer from the feature maps of what is kept.

        Args:
            images: (N,C,H,W) in [0,1], pixels removed.
            kept: (N,1,H,W), 0 where a pixel was removed, else 1.

        Returns:
            Logits (N,K) and the estimate (N,K).

        """
        features: Tensor = self.model.features(images)  # type: ignore[operator]
        share = F.adaptive_avg_pool2d(kept, (features.shape[2], features.shape[3]))
        left = features * share.to(features.dtype)
        return self.model.classify(features), self.model.classify(left)  # type: ignore[operator]


def divergence(estimate: Tensor, logits: Tensor, counts: Tensor, n: Tensor | None = None) -> Tensor:
    """Return the mean Kullback-Leibler divergence, in nat, of the estimate from the answer.

    Args:
        estimate: (N,K) logits.
        logits: (N,K), the answer; no gradient goes through them.
        counts: (N,) bool, the images that count; none of them gives 0.
        n: what the sum is divided by, in place of how many count here: a process has a share of a batch.

    """
    target = logits.detach().float().log_softmax(1)
    each = F.kl_div(estimate.float().log_softmax(1), target, reduction="none", log_target=True).sum(1)
    total = torch.where(counts, each, 0.0).sum()
    return total / counts.sum().clamp_min(1) if n is None else total / n
