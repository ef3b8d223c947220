"""Maps that speak for their own surroundings: what a map keeps is held against what the network says without the rest.

An image x comes twice, intact and with places S removed. Where S is gone, x's feature maps are set to zero, and the
head's answer to what is left is the **estimate** of what the network answers to the image without S:

    loss = KL( softmax(y(x without S)) || softmax(head(A(x) without S)) ),

the first taken as given. For a GAP head it asks that the class map, summed over any set of places, be what these places
alone are worth. Shapley values are the fair answer to that; Jethani et al. 2022 (FastSHAP, arXiv:2107.07436) train a
second network to give them. Here they are the class maps themselves, whose sum is the logit by construction.

Single pixels don't count: without a third of its pixels, here and there, an image is still the same to the network,
and no map could say so by a sum.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TwoViews(nn.Module):
    """A network on intact images and, where they come twice, the same ones with pixels removed, in one forward pass."""

    def __init__(self, model: nn.Module) -> None:
        """Wrap ``model``, which has ``features`` and ``classify``."""
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Answer to both views, and estimate the second answer from the first view's feature maps.

        Args:
            images: (2N,C,H,W) in [0,1], N intact ones and then the same with pixels removed; without ``kept`` one view.
            kept: (N,1,H,W), 1 where the second view kept its pixel, else 0.

        Returns:
            Logits (2N,K) and the estimate (N,K); of one view its logits and None.

        """
        if kept is None:
            return self.model(images), None
        features: Tensor = self.model.features(images)  # type: ignore[operator]
        share = F.adaptive_avg_pool2d(kept, (features.shape[2], features.shape[3]))
        left = features[: len(kept)] * share.to(features.dtype)
        return self.model.classify(features), self.model.classify(left)  # type: ignore[operator]


def divergence(estimate: Tensor, removed: Tensor, counts: Tensor, n: Tensor | None = None) -> Tensor:
    """Return the mean Kullback-Leibler divergence, in nat, of the estimate from the answer to the removed view.

    Args:
        estimate: (N,K) logits.
        removed: (N,K) logits; no gradient goes through them.
        counts: (N,) bool, the images that count; none of them gives 0.
        n: what the sum is divided by, in place of how many count here: a process has a share of a batch.

    """
    target = removed.detach().float().log_softmax(1)
    each = F.kl_div(estimate.float().log_softmax(1), target, reduction="none", log_target=True).sum(1)
    total = torch.where(counts, each, 0.0).sum()
    return total / counts.sum().clamp_min(1) if n is None else total / n
