"""What the attribution methods need beside model, images and targets; the defaults are those of the benchmark."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Context:
    """Settings, and where a batch's images stand among all that are explained.

    Attributes:
        colour: (C,) in [0,1], the removal value: what occlusion and Shapley values show in place of a patch, and where
            integrated gradients start; None: black.
        pool: (M,C,H,W) uint8, all images that are explained; permutation takes its donors here. None: the batch.
        rows: (N,) positions of the batch's images in ``pool``; None: 0 ... N-1.
        upsampling: how every map comes to image size: ``bilinear`` or ``nearest``.
        layer: dotted name of the module whose output Grad-CAM looks at; None: the model's ``last_feature_layer``.
        patch: side of the squares that permutation, occlusion and Shapley values replace, in pixels.
        repeats: donors for each patch over which permutation averages.
        n_steps: points on the path of integrated gradients.
        n_samples: permutations of the patches over which Shapley values average.
        seed: of donors, noise and permutations; with ``rows``, results do not depend on how images are batched.
        batch_size: images a forward pass, of the methods that make many.

    """

    colour: Tensor | None = None
    pool: Tensor | None = None
    rows: Tensor | None = None
    upsampling: str = "bilinear"
    layer: str | None = None
    patch: int = 4
    repeats: int = 4
    n_steps: int = 50
    n_samples: int = 25
    seed: int = 0
    batch_size: int = 500


DEFAULT = Context()
