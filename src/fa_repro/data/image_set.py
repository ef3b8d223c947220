"""A data set held whole in memory: uint8 images, labels and where each image came from."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class ImageSet:
    """Images and labels, resident on one device.

    Attributes:
        images: (N,C,H,W) uint8.
        labels: (N,) int64.
        rows: (N,) int64, each image's position in the whole data set, on the CPU.
        classes: K names, label = position.
        masks: (N,H,W) bool, the object's pixels or its boxes' where they are known; nowhere true: this image's are not.

    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    classes: tuple[str, ...]
    masks: Tensor | None = None

    def __len__(self) -> int:
        """Return N."""
        return len(self.images)

    def select(self, index: Tensor) -> "ImageSet":
        """Return the images at positions ``index`` (M,)."""
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            rows=self.rows[index],
            masks=None if self.masks is None else self.masks[index],
        )

    def sample(self, n: int, seed: int) -> "ImageSet":
        """Return ``n`` images, drawn by the seed so that every class keeps its share; all if there are fewer."""
        return self if n >= len(self) else self.select(stratified(self.labels, n, seed))

    def to(self, device: torch.device) -> "ImageSet":
        """Return the set with images, labels and masks on ``device``."""
        masks = None if self.masks is None else self.masks.to(device)
        return replace(self, images=self.images.to(device), labels=self.labels.to(device), masks=masks)

    def statistics(self) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation of each channel over all pixels, in [0,1]."""
        counts = torch.stack(
            [torch.bincount(plane.flatten().int(), minlength=256) for plane in self.images.transpose(0, 1)]
        )
        share = counts.double() / counts.sum(1, keepdim=True)  # exact from the histogram, and quick
        levels = torch.arange(256, dtype=torch.float64, device=share.device) / 255
        mean = (share * levels).sum(1)
        std = ((share * levels**2).sum(1) - mean**2).clamp_min(0).sqrt()
        return mean.tolist(), std.tolist()


def resize(images: Tensor, size: int) -> Tensor:
    """Resize square images (N,C,H,W) uint8 to ``size`` pixels a side, bilinear with anti-aliasing."""
    parts = [F.interpolate(part.float(), (size, size), mode="bilinear", antialias=True) for part in images.split(1000)]
    return torch.cat([part.round().clamp(0, 255).byte() for part in parts])


def held_out(labels: Tensor, share: float, seed: int) -> Tensor:
    """Choose the training images that are held out for validation, (M,) positions: a ``share`` of each class."""
    n = round(share * len(labels))
    return stratified(labels, n, seed) if n else torch.zeros(0, dtype=torch.int64)


def stratified(labels: Tensor, n: int, seed: int) -> Tensor:
    """Choose ``n`` positions so that every class keeps its share, to within one image.

    Args:
        labels: (N,) int64.
        n: how many to choose, at most N.
        seed: of the choice.

    Returns:
        (n,) int64 positions in ascending order, on the CPU.

    """
    generator = np.random.default_rng(seed)
    values = labels.cpu().numpy()
    # Each image's place within its shuffled class, as a share of the class: the n smallest are spread evenly.
    order = generator.permutation(len(values))
    by_class = order[np.argsort(values[order], kind="stable")]
    sizes = np.bincount(values[by_class])
    sizes = sizes[sizes > 0]
    place = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    chosen = by_class[np.lexsort((generator.permutation(len(place)), place))[:n]]
    return torch.from_numpy(np.sort(chosen))
