"""The Feature-Align CNN (Farvardin & Chapman, arXiv:2603.25798), as read in ``docs/paper.md``, and its ablations.

Channels k*m ... k*m + m - 1 belong to class k at every depth: the stem tiles the raw pixels over them, dampened skips
carry them on, average pooling shrinks them one by one, and the head averages them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional as F

from fa_repro.models.branch import Branch
from fa_repro.models.gap_head import GAPHead, class_maps
from fa_repro.models.global_average import global_average
from fa_repro.models.skip_connection import Mixture, SkipBlock, mixture
from fa_repro.models.tile_stem import TileStem


class Layer(NamedTuple):
    """One block's work on one batch, as `FeatureAlignBackbone.trace` gives it."""

    name: str
    mix: Mixture
    before: Tensor  # A_l    (N,C,h,w)
    branch: Tensor  # F_l(A_l)
    after: Tensor  # A_{l+1}


def add_terms(terms: Sequence[Tensor], size: Sequence[int], upsampling: str) -> Tensor:
    """Add up a decomposition over depth at the input's resolution.

    Args:
        terms: as `FeatureAlignCNN.depth_terms` gives them, the pixels' first: (N,K,h_l,w_l) each, for any K classes.
        size: (H,W) in pixels.
        upsampling: ``nearest`` or ``bilinear``.

    Returns:
        (N,K,H,W), the pixels' term spread evenly.

    """
    pixels, *others = terms
    corners = {"align_corners": False} if upsampling == "bilinear" else {}
    # In float64, so that places equal by construction stay equal whatever the order of the sums.
    maps = pixels.double().mean((2, 3), keepdim=True).expand(-1, -1, *size).clone()
    for term in others:
        maps += F.interpolate(term.double(), size=tuple(size), mode=upsampling, **corners)
    return maps.to(pixels.dtype)


class FeatureAlignBackbone(nn.Module):
    """Stem and blocks, up to the last feature maps."""

    def __init__(
        self,
        *,
        n_classes: int,
        in_channels: int,
        maps_per_class: int,
        unshuffle: int,
        blocks: Sequence[int],
        pool: Sequence[int],
        squeeze: Sequence[int],
        hidden: Sequence[int],
        depth: Sequence[int],
        shrink: Sequence[int],
        skip: str,
        alpha: float,
    ) -> None:
        """Build; lists have an entry for each stage; ``configs/model/fa_cnn.yaml`` explains them."""
        super().__init__()
        self.n_classes = n_classes
        channels = n_classes * maps_per_class
        self.channels = channels
        self.stem = TileStem(in_channels, channels, unshuffle)
        self.pool = list(pool)
        sides = [unshuffle * math.prod(pool[: i + 1]) for i in range(len(pool))]
        # What the image's side must be a multiple of, for every pooling to come out even.
        self.down_sampling = math.lcm(*(side * inside for side, inside in zip(sides, shrink, strict=True)))
        mix = mixture(skip, alpha)
        self.stages = nn.ModuleList()
        for i, count in enumerate(blocks):
            stage = nn.ModuleList()
            for _ in range(count):
                branch = Branch(
                    channels,
                    squeeze=squeeze[i],
                    hidden=hidden[i],
                    depth=depth[i],
                    shrink=shrink[i],
                    pixels=(in_channels, unshuffle) if i == 0 and len(stage) == 0 else None,
                )
                stage.append(SkipBlock(branch, mix))
            self.stages.append(stage)

    @property
    def last_feature_layer(self) -> nn.Module:
        """The module whose output is the last feature maps: what Grad-CAM looks at."""
        return self.stages[-1][-1]  # type: ignore[index]

    def _blocks(self) -> Iterator[tuple[str, int, SkipBlock]]:
        """Every block in order: its name, the side of the average pooling before it (1: none), the block."""
        for i, stage in enumerate(self.stages):
            for j, block in enumerate(cast(Iterable[SkipBlock], stage)):
                yield f"stage{i + 1}.block{j + 1}", self.pool[i] if j == 0 else 1, block

    def _pooled_blocks(self) -> list[tuple[str, SkipBlock, int]]:
        """Every block in order: its name, the block, the side of the average pooling after it (1: none)."""
        blocks = list(self._blocks())
        after = [pool for _, pool, _ in blocks[1:]] + [1]  # nothing is pooled before the first
        return [(name, block, pool) for (name, _, block), pool in zip(blocks, after, strict=True)]

    def features(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to the last feature maps (N,C,h,w)."""
        maps = self.stem(images)
        for _, block, pool in self._pooled_blocks():
            maps = block(maps, pool)
        return maps

    def trace(self, images: Tensor) -> Iterator[Layer]:
        """Yield every block's input, branch and output on images (N,I,H,W) in [0,1]."""
        maps = self.stem(images)
        for name, pool, block in self._blocks():
            before = F.avg_pool2d(maps, pool) if pool > 1 else maps
            branch = block.branch(before)
            maps = block.combine(before, branch)
            yield Layer(name, block.mix, before, branch, maps)


class FeatureAlignCNN(FeatureAlignBackbone):
    """Backbone and GAP head: the last feature maps, averaged over each class's group, are the class maps."""

    def __init__(self, *, n_classes: int, scale: float, learn_scale: bool, **backbone: object) -> None:
        super().__init__(n_classes=n_classes, **backbone)  # type: ignore[arg-type]
        self.head = GAPHead(n_classes, scale, learn_scale)

    def classify(self, features: Tensor) -> Tensor:
        """Map the last feature maps (N,C,h,w) to logits (N,K)."""
        return self.head(features)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to logits (N,K)."""
        return self.classify(self.features(images))

    def class_maps(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to class maps M (N,K,h,w): Grad-CAM up to s/(h*w) (T1)."""
        return class_maps(self.features(images), self.n_classes)

    def depth_terms(self, images: Tensor) -> list[tuple[str, Tensor]]:
        """Split the logits over depth (T3): the pixels' term, then a term for each block.

        Returns:
            Pairs of a name and a term (N,K,h_l,w_l) at that depth's own resolution, in logit units: the means over
            positions of all terms add up to the logits, because pooling, skips and head all keep means.

        """
        maps = self.stem(images)
        means = [("pixels", class_maps(maps, self.n_classes))]
        for name, block, pool in self._pooled_blocks():
            # As in `features`: where the branch's maps are copies by nearest neighbour that the pooling would undo, its
            # few class maps are copied in place of its many channels.
            inside = pool if cast(Branch, block.branch).shrink % pool == 0 else 1
            branch = block.branch(maps, inside)
            term = class_maps(branch, self.n_classes)
            means.append((name, F.interpolate(term, scale_factor=float(inside)) if inside > 1 else term))
            maps = block.combine(F.avg_pool2d(maps, inside) if inside > 1 else maps, branch)
            maps = F.avg_pool2d(maps, pool) if pool > inside else maps
        shares = [
            self.head.scale
        ]  # of each term in the logits, from the last backwards; the skips that follow weigh it
        for _, block, _ in reversed(self._pooled_blocks()):
            last = shares.pop()
            shares += [last * block.mix.branch_weight, last * block.mix.skip_weight]
        return [(name, share * term) for (name, term), share in zip(means, reversed(shares), strict=True)]

    def depth_maps(self, images: Tensor, upsampling: str = "nearest") -> Tensor:
        """Map images (N,I,H,W) in [0,1] to depth maps (N,K,H,W): the decomposition summed at the input's resolution.

        With nearest-neighbour up-sampling the spatial mean of class k's depth map is exactly its logit. The pixels'
        term, equal for all classes when maps_per_class is a multiple of the pixel planes, is spread evenly.

        Args:
            images: (N,I,H,W) in [0,1].
            upsampling: ``nearest`` or ``bilinear``; both keep every term's mean where the image's side is a multiple.

        """
        return add_terms([term for _, term in self.depth_terms(images)], images.shape[2:], upsampling)


class LinearHeadCNN(FeatureAlignBackbone):
    """Ablation: the same backbone under GAP and a Linear layer; its channels belong to no class."""

    def __init__(self, *, n_classes: int, **backbone: object) -> None:
        super().__init__(n_classes=n_classes, **backbone)  # type: ignore[arg-type]
        self.head = nn.Linear(self.channels, n_classes)

    def classify(self, features: Tensor) -> Tensor:
        """Map the last feature maps (N,C,h,w) to logits (N,K)."""
        return self.head(global_average(features))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to logits (N,K)."""
        return self.classify(self.features(images))
