"""Noisy linear imputation, beside pytorch-grad-cam's."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from comparisons.material import FILLED, Material, Pair, Work, largest
from fa_repro.data.image_set import resize
from fa_repro.removal.noisy_linear import fill_linearly
from fa_repro.removal.ranking import rank_pixels, tie_break

GONE = (0.5, 0.9)  # shares of pixels that noisy linear imputation fills in
LARGE, FEW = 224, 6  # side of the enlarged images that are filled in, too, and how many of them


def works_and_pairs(it: Material) -> tuple[dict[str, Work], list[Pair]]:
    """Return who fills in images of either size, and which are compared.

    Pixels go as a removal curve takes them, the largest map values first, which leaves large holes, or here and there.
    """
    works: dict[str, Work] = {}
    pairs = []
    few = (it.images[:FEW] * 255).round().byte()
    maps = functional.interpolate(it.maps[:FEW, None], LARGE, mode="bilinear")[:, 0]
    generator = torch.Generator().manual_seed(it.seed)
    for images, values in ((it.images, it.maps), (resize(few, LARGE).float() / 255, maps)):
        scattered = torch.rand(values.shape, generator=generator)
        for order, by in (("most relevant first", values), ("at random", scattered)):
            for share in GONE:
                found, pair = _filled(images, by, share, order, it.seed)
                works |= found
                pairs.append(pair)
    return works, pairs


def _filled(images: Tensor, values: Tensor, share: float, order: str, seed: int) -> tuple[dict[str, Work], Pair]:
    """Return who fills in the ``share`` of the pixels with the largest values."""
    ranks = rank_pixels(values, "morf", tie_break(values[0].numel(), seed))
    gone = ranks < round(share * values[0].numel())

    def theirs() -> np.ndarray:
        from pytorch_grad_cam.metrics.road import NoisyLinearImputer

        fill = NoisyLinearImputer(noise=0)
        return torch.stack([fill(*pair) for pair in zip(images, (~gone).float(), strict=True)]).numpy()

    side = images.shape[-1]
    which = f"{side}x{side}, {share:.0%} of the pixels gone, {order}"
    ours, peer = (f"{name}, {which}" for name in ("noisy_linear", "pytorch-grad-cam NoisyLinearImputer"))
    works: dict[str, Work] = {ours: lambda: fill_linearly(images, gone).numpy(), peer: theirs}
    what = f"noisy linear imputation without noise, {which}"
    return works, Pair(what, ours, peer, "pytorch_grad_cam", largest, FILLED, len(images))
