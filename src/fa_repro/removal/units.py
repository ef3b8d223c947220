"""What goes at a time: a pixel, a square or a superpixel. How relevant a unit is, its map values' mean says."""

from typing import Protocol

from torch import Tensor

from fa_repro.removal.ranking import patch_means, rank_patches


class Partition(Protocol):
    """The units of some images."""

    def means(self, maps: Tensor) -> Tensor:
        """Return maps (N,H,W) with each unit's mean in place of its values, one or more values a unit."""
        ...

    def ranks(self, means: Tensor, order: str, ties: Tensor) -> Tensor:
        """Return (N,H,W) int64 from `means`: a pixel is gone when its rank is below the count of removed pixels.

        ``order`` and ``ties`` are those of `fa_repro.removal.ranking.rank_pixels`, ``ties`` over `Units.places`.
        """
        ...


class Units(Protocol):
    """A way to divide images into units."""

    @property
    def step(self) -> int:
        """How many pixels every unit has; 1 where units differ: then any number of pixels may be asked for."""
        ...

    def places(self, pixels: int) -> int:
        """Return among how many units ties are broken, in an image of so many pixels."""
        ...

    def of(self, images: Tensor) -> Partition:
        """Divide images (N,C,H,W) in [0,1]."""
        ...

    def __str__(self) -> str:
        """Return what goes at a time, in words."""
        ...


class Squares:
    """Squares, the same in every image; of one pixel, the pixels themselves."""

    def __init__(self, side: int = 1) -> None:
        """Build; ``side`` in pixels must divide height and width."""
        self.side = side

    @property
    def step(self) -> int:
        """How many pixels a square has."""
        return self.side**2

    def places(self, pixels: int) -> int:
        """Return how many squares so many pixels are."""
        return pixels // self.step

    def of(self, images: Tensor) -> "Squares":
        """Return these squares, whatever the images (N,C,H,W)."""
        return self

    def means(self, maps: Tensor) -> Tensor:
        """Return the mean of each square of maps (N,H,W): (N,h,w)."""
        return patch_means(maps, self.side)

    def ranks(self, means: Tensor, order: str, ties: Tensor) -> Tensor:
        """Return (N,H,W) int64: to each pixel how many pixels go before its square."""
        return rank_patches(means, order, ties, self.side)

    def __str__(self) -> str:
        return f"a square of {self.side}" if self.side > 1 else "a pixel"


PIXELS = Squares()
