"""What removing pixels costs: beside the plain forward pass on as many images, captum's methods, scipy's solver."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor, nn

from fa_repro.attribution import Context
from fa_repro.attribution.occlusion import occlusion
from fa_repro.attribution.permutation import permutation
from fa_repro.attribution.targets import predict
from fa_repro.data.image_set import resize
from fa_repro.device import arithmetic
from fa_repro.reader import Reader
from fa_repro.removal import measure
from fa_repro.removal.noisy_linear import fill_linearly
from fa_repro.speed.captum_on_patches import captum_on_patches
from fa_repro.speed.timing import Comparison, Contender

PLAIN = "plain forward pass"
IMPUTATIONS = ("mean", "blur", "noisy_linear")
ORDERS = ("morf", "lerf")
FRACTIONS = tuple(i / 20 for i in range(21))  # those of configs/benchmark_removal.yaml
SIDES = {32: (256, 16), 224: (6, 1)}  # pixels: images that ours solves for in a run, and scipy
REMOVED = (0.5, 0.9)  # share of the pixels that are solved for


def _fill(who: str, side: int, share: float) -> str:
    return f"noisy linear by {who}, {side}x{side}, {100 * share:.0f} % removed"


# The limits were set before this was written: a loop that masks, imputes and reads batch by batch reached 0.93 of the
# plain forward pass, and folding batch norms and sharing end points have to win back more than ranks and masks cost.
COMPARISONS = (
    Comparison("removal to the mean colour, of the plain forward pass", "removal, mean", PLAIN, ">=", 1.2),
    Comparison("removal to a blur, of the plain forward pass", "removal, blur", PLAIN, ">=", 0.8),
    Comparison("removal to noisy linear, of the plain forward pass", "removal, noisy_linear", PLAIN, ">=", 0.8),
    Comparison("permutation, of captum's on the same patches", "permutation", "captum FeaturePermutation", ">=", 1.5),
    Comparison("occlusion, of captum's on the same patches", "occlusion", "captum Occlusion", ">=", 1.5),
    *(
        Comparison(
            f"noisy linear, of scipy's sparse solve, {side}x{side}, {100 * share:.0f} % removed",
            _fill("us", side, share),
            _fill("scipy", side, share),
            ">=",
            limit,
        )
        for side, limit in ((32, 3.0), (224, 20.0))
        for share in REMOVED
    ),
)


def removal_contenders(
    model: nn.Module, images: Tensor, labels: Tensor, std: Tensor, context: Context, few: int
) -> tuple[list[Contender], list[str]]:
    """Return who removes pixels, or does what removal is made of, and notes on who is absent.

    The protocol runs as `fa-repro benchmark-removal` runs it, with both orders of maps that cost nothing (``random``).
    Its rate counts every image that it reports a reading of, the end points of each order included, and the plain
    forward pass is of as many images.

    Args:
        model: in eval mode, on the images' device.
        images: (N,C,H,W) uint8, from which pixels are removed.
        labels: (N,).
        std: (C,) of the images, in [0,1]; their mean colour is ``context.colour``.
        context: settings of the methods.
        few: images for the methods that make a forward pass for every patch.

    """
    assert context.colour is not None
    colour = context.colour
    whole = images.float() / 255
    reader = Reader(model, whole[: context.batch_size])
    readings = len(ORDERS) * len(FRACTIONS)

    @torch.inference_mode()
    def plain() -> int:
        with arithmetic(whole.device, torch.float32):  # as the protocol reads
            for _ in range(readings):
                for part in whole.split(context.batch_size):
                    model(part)
        return readings * len(whole)

    def protocol(imputation: str) -> Contender:
        def run() -> int:
            (measured,) = measure(
                model,
                images,
                labels,
                methods=["random"],
                orders=ORDERS,
                fractions=FRACTIONS,
                imputations=[imputation],
                target="predicted",
                mean=colour,
                std=std,
                context=context,
                reader=reader,
            )
            return measured.probability.size

        return Contender(f"removal, {imputation}", run)

    patched = whole[:few]
    targets = predict(model, patched, context.batch_size).argmax(1)

    def explain(name: str, work: Any, network: nn.Module) -> Contender:
        def run() -> int:
            with arithmetic(patched.device, torch.float32):
                work(network, patched, targets, context)
            return len(patched)

        return Contender(name, run)

    contenders = [Contender(PLAIN, plain), *(protocol(imputation) for imputation in IMPUTATIONS)]
    contenders += [explain("permutation", permutation, reader), explain("occlusion", occlusion, reader)]
    notes = []
    if find_spec("captum"):
        works = captum_on_patches(model, patched, context)
        contenders += [
            explain(name, lambda _, part, chosen, __, work=work: work(part, chosen), model)
            for name, work in works.items()
        ]
    else:
        notes.append("captum is not installed, so it was not measured (pip install 'fa-repro[captum]').")
    for side, (ours, theirs) in SIDES.items():
        for share in REMOVED:
            contenders += _solvers(images, side, share, ours, theirs, context.seed)
    return contenders, notes


def _solvers(images: Tensor, side: int, share: float, ours: int, theirs: int, seed: int) -> list[Contender]:
    """Return who solves for a random ``share`` of the pixels of images resized to ``side``: us, and scipy on some."""
    repeated = images[torch.arange(ours, device=images.device) % len(images)]
    resized = resize(repeated, side).float() / 255
    places = torch.rand(ours, side**2, generator=torch.Generator().manual_seed(seed)).argsort(1).argsort(1)
    mask = (places < round(share * side**2)).view(ours, side, side).to(images.device)

    def solve() -> int:
        fill_linearly(resized, mask)
        return ours

    their_images, their_mask = resized[:theirs].cpu().double().numpy(), mask[:theirs].cpu().numpy()

    def solve_sparse() -> int:
        for image, gone in zip(their_images, their_mask, strict=True):
            fill_sparsely(image, gone)
        return theirs

    return [Contender(_fill("us", side, share), solve), Contender(_fill("scipy", side, share), solve_sparse)]


NEIGHBOURS: Sequence[tuple[int, int, float]] = [
    (dy, dx, 1 / 12 if dy and dx else 1 / 6) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
]


def fill_sparsely(image: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Solve the system of `fa_repro.removal.noisy_linear` for one image by scipy's direct solver for sparse systems.

    Args:
        image: (C,H,W).
        gone: (H,W) bool, True where a pixel is removed; not everywhere.

    Returns:
        (C,H,W) float64.

    """
    height, width = gone.shape
    n = int(gone.sum())
    filled = image.astype(np.float64)
    if n == 0:
        return filled
    number = np.full((height + 2, width + 2), -1)  # of the unknown; framed, so that shifts stay inside
    number[1:-1, 1:-1][gone] = np.arange(n)
    inside = np.pad(np.ones_like(gone), 1)
    values = np.pad(filled * ~gone, ((0, 0), (1, 1), (1, 1)))
    y, x = (place + 1 for place in gone.nonzero())
    diagonal, known = np.zeros(n), np.zeros((n, len(image)))
    rows, columns, entries = [], [], []
    for dy, dx, weight in NEIGHBOURS:
        v, u = y + dy, x + dx
        diagonal += weight * inside[v, u]
        known += weight * values[:, v, u].T
        other = number[v, u]
        coupled = (other >= 0).nonzero()[0]
        rows.append(coupled)
        columns.append(other[coupled])
        entries.append(np.full(len(coupled), -weight))
    places = (np.concatenate([*rows, np.arange(n)]), np.concatenate([*columns, np.arange(n)]))
    matrix = sparse.csc_matrix((np.concatenate([*entries, diagonal]), places), shape=(n, n))
    filled[:, gone] = spsolve(matrix, known).reshape(n, -1).T
    return filled
