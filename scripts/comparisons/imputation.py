"""Noisy linear imputation, beside pytorch-grad-cam's."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from comparisons.material import FILLED, Material, Pair, Work, largest
from fa_repro.data.image_set import resize
from fa_repro.removal import noisy_linear
from fa_repro.removal.ranking import rank_pixels, tie_break

GONE = (0.5, 0.9)  # shares of pixels that noisy linear imputation fills in
LARGE, FEW = 224, 6  # side of the enlarged images that are filled in, too, and how many of them


def works_and_pairs(it: Material) -> tuple[dict[str, Work], list[Pair]]:
    """Return who fills in images of either size, and which are compared."""
    works: dict[str, Work] = {}
    pairs = []
    few = (it.images[:FEW] * 255).round().byte()
    maps = functional.interpolate(it.maps[:FEW, None], LARGE, mode="bilinear")[:, 0]
    for images, values in ((it.images, it.maps), (resize(few, LARGE).float() / 255, maps)):
        for share in GONE:
            found, pair = _filled(images, values, share, it.seed)
            works |= found
            pairs.append(pair)
    return works, pairs


def _filled(images: Tensor, maps: Tensor, share: float, seed: int) -> tuple[dict[str, Work], Pair]:
    """Return who fills in the pixels of the largest map values."""
    ranks = rank_pixels(maps, "morf", tie_break(maps[0].numel(), seed))
    gone = ranks < round(share * maps[0].numel())

    def theirs() -> np.ndarray:
        from pytorch_grad_cam.metrics.road import NoisyLinearImputer

        fill = NoisyLinearImputer(noise=0)
        return torch.stack([fill(*pair) for pair in zip(images, (~gone).float(), strict=True)]).numpy()

    side = images.shape[-1]
    ours, peer = (f"{name}, {side}, {share:.0%}" for name in ("noisy_linear", "pytorch-grad-cam NoisyLinearImputer"))
    what = f"noisy linear imputation without noise, {side}x{side}, {share:.0%} of the pixels gone"
    works: dict[str, Work] = {ours: lambda: noisy_linear(images, gone, noise=0).numpy(), peer: theirs}
    return works, Pair(what, ours, peer, "pytorch_grad_cam", largest, FILLED, len(images))
