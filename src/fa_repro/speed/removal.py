"""What removing pixels costs: beside the plain forward pass on as many images, captum's methods, ROAD's imputer."""

from importlib.util import find_spec
from typing import Any

import torch
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
PEER = "pytorch-grad-cam"
# Pixels: images that ours fills in a run, and the peer, whose time varies threefold between images of 224 pixels.
SIDES = {32: (256, 16), 224: (6, 6)}
REMOVED = (0.5, 0.9)  # share of the pixels that are filled in


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
            f"noisy linear, of {PEER}'s, {side}x{side}, {100 * share:.0f} % removed",
            _fill("us", side, share),
            _fill(PEER, side, share),
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
    peer = find_spec("pytorch_grad_cam") is not None
    if not peer:
        notes.append(f"{PEER} is not installed, so its imputer was not measured (pip install 'fa-repro[peers]').")
    for side, (ours, theirs) in SIDES.items():
        for share in REMOVED:
            contenders += _imputers(images, side, share, ours, theirs if peer else 0, context.seed)
    return contenders, notes


def _imputers(images: Tensor, side: int, share: float, ours: int, theirs: int, seed: int) -> list[Contender]:
    """Return who fills in a random ``share`` of the pixels of images resized to ``side``: us, and the peer some."""
    repeated = images[torch.arange(ours, device=images.device) % len(images)]
    resized = resize(repeated, side).float() / 255
    places = torch.rand(ours, side**2, generator=torch.Generator().manual_seed(seed)).argsort(1).argsort(1)
    mask = (places < round(share * side**2)).view(ours, side, side).to(images.device)

    def fill() -> int:
        fill_linearly(resized, mask)
        return ours

    found = [Contender(_fill("us", side, share), fill)]
    if theirs:
        from pytorch_grad_cam.metrics.road import NoisyLinearImputer

        imputer = NoisyLinearImputer(noise=0)
        pairs = list(zip(resized[:theirs].cpu(), (~mask[:theirs]).float().cpu(), strict=True))

        def fill_one_by_one() -> int:
            for image, kept in pairs:
                imputer(image, kept)
            return theirs

        found.append(Contender(_fill(PEER, side, share), fill_one_by_one))
    return found
