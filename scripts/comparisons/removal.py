"""Removal curves and their areas, beside torch-cam's and Quantus'."""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from comparisons.material import PROBABILITIES, Material, Pair, Work, largest
from fa_repro.removal.areas import area
from fa_repro.removal.curves import removal_readings
from fa_repro.removal.imputation import imputer
from fa_repro.removal.ranking import rank_pixels, tie_break

STEPS = 16  # of a removal curve; they divide the pixels of any image whose side is a multiple of 4


def works_and_pairs(it: Material) -> tuple[dict[str, Work], list[Pair]]:
    """Return the removal curves of all, and which are compared."""
    fractions = np.linspace(0, 1, STEPS + 1)

    def mean_areas(ours: np.ndarray, theirs: np.ndarray) -> float:
        return largest(area(ours.swapaxes(0, 1), fractions).mean(1), theirs)

    both, one = "removal, MoRF and LeRF", "removal, MoRF"
    works: dict[str, Work] = {
        both: lambda: _curves(it, ("morf", "lerf")),
        "torch-cam DeletionInsertionMetric": lambda: _torch_cam_metric(it),
        one: lambda: _curves(it, ("morf",)),
        "Quantus PixelFlipping": lambda: _pixel_flipping(it),
    }
    whole = f"areas of deletion and insertion, {STEPS} steps"
    steps = f"deletion curve, {STEPS} steps"
    return works, [
        Pair(whole, both, "torch-cam DeletionInsertionMetric", "torchcam", mean_areas, PROBABILITIES),
        Pair(
            steps, one, "Quantus PixelFlipping", "quantus", lambda a, b: largest(a[0, 1:].T, b), PROBABILITIES
        ),  # which has no reading of the intact image
    ]


def _curves(it: Material, orders: Sequence[str]) -> np.ndarray:
    """Return the target's probability (O,STEPS+1,N) with black in place of removed pixels."""
    positions = it.maps[0].numel()
    ties = tie_break(positions, it.seed)
    counts = [positions * step // STEPS for step in range(STEPS + 1)]
    found = []
    for rows in torch.arange(len(it.images)).split(it.batch_size):
        batch = it.images[rows]
        blacken = imputer(batch, "zero", it.mean, it.std, rows, len(it.images), it.seed)
        ranks = [rank_pixels(it.maps[rows], order, ties) for order in orders]
        (read,) = removal_readings(it.reader, batch, [blacken], it.targets[rows], ranks, counts)
        found.append(torch.stack([one.probability for one in read]))
    return torch.cat(found, 2).numpy()


class _Given:
    """What torch-cam's metric asks of an extractor, with maps that are given."""

    def __init__(self, model: nn.Module, maps: Tensor) -> None:
        self.model, self.maps = model, maps

    def __call__(self, *_: object, **__: object) -> list[Tensor]:
        return [self.maps]

    def fuse_cams(self, maps: list[Tensor]) -> Tensor:
        return maps[0]

    def _hooks_off(self) -> nullcontext[None]:
        return nullcontext()


def _torch_cam_metric(it: Material) -> np.ndarray:
    from torchcam.metrics import DeletionInsertionMetric

    metric = DeletionInsertionMetric(
        _Given(it.model, it.maps), lambda logits: logits.softmax(1), steps=STEPS, batch_size=it.batch_size
    )
    metric.update(it.images, it.targets.tolist())
    found = metric.summary()
    return np.array([found["deletion_auc"], found["insertion_auc"]])


class _Plane(nn.Module):
    """The model for channels that lie below one another as one plane (N,1,C*H,W)."""

    def __init__(self, model: nn.Module, shape: torch.Size) -> None:
        super().__init__()
        self.model, self.shape = model, shape

    def forward(self, plane: Tensor) -> Tensor:
        return self.model(plane.view(-1, *self.shape))


def _pixel_flipping(it: Material) -> np.ndarray:
    """Quantus flips scalars, not pixels: a pixel's channels tie and go together if a step holds whole pixels."""
    from quantus import PixelFlipping

    channels, height, width = it.images.shape[1:]
    metric = PixelFlipping(
        features_in_step=channels * height * width // STEPS,
        normalise=False,
        perturb_baseline=0.0,
        disable_warnings=True,
    )
    return np.array(
        metric(
            model=_Plane(it.model, it.images.shape[1:]).eval(),
            x_batch=it.images.reshape(-1, 1, channels * height, width).numpy(),
            y_batch=it.targets.numpy(),
            a_batch=it.maps.repeat(1, channels, 1)[:, None].numpy(),
            softmax=True,
            channel_first=True,
            device="cpu",
            batch_size=it.batch_size,
        )
    )
