#!/usr/bin/env python
"""Our measurements beside other libraries': the same model, images and maps, in turns, in one run on the CPU.

    python scripts/compare_peers.py --data-root DIR        DIR/test/CLASS/*.png, of the checkpoint's classes

The libraries come with `pip install 'fa-repro[peers]'`; one that is absent is named and left out. Writes table.csv and
table.md (images per second of both, the ratio, and the largest difference of what they computed) and provenance.json.
Exit code 0: every difference is within its limit; 1: one is not; 2: checkpoint or data can't be used.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from fa_repro.attribution import Context, grad_cam, occlusion, permutation
from fa_repro.attribution.patches import patch_numbers
from fa_repro.attribution.permutation import derangement
from fa_repro.attribution.upsampling import upsample
from fa_repro.checkpoint import check_images, load_checkpoint, merge_data
from fa_repro.data import ImageSet, load_data
from fa_repro.data.image_set import resize
from fa_repro.device import describe
from fa_repro.errors import InputError
from fa_repro.removal import noisy_linear
from fa_repro.removal.curves import removal_readings
from fa_repro.removal.imputation import imputer
from fa_repro.removal.ranking import rank_pixels, tie_break
from fa_repro.removal.statistics import area
from fa_repro.rundir import data_label, digest, git_state, package_version, provenance, replacing
from fa_repro.speed import Comparison, Contender, interleave, rate_table, ratio_table
from fa_repro.tables import markdown_table

STEPS = 16  # of a removal curve; they divide the pixels of any image whose side is a multiple of 4
PATCH = 4  # side of the squares of occlusion and permutation, in pixels
GONE = (0.5, 0.9)  # shares of pixels that noisy linear imputation fills in
LARGE, FEW = 224, 6  # side of the enlarged images that are filled in, too, and how many of them
# Limits of the largest difference. Two float32 programs that do the same sums in another order differ by this much.
PROBABILITIES = 1e-5
SHARES = 1e-4  # of a map's range
FILLED = 5e-5  # our solver stops at an error of 2e-5 of the image's range
PEERS = {"torchcam": "torchcam", "quantus": "quantus", "pytorch_grad_cam": "grad-cam", "captum": "captum"}

Work = Callable[[], np.ndarray]


class Material(NamedTuple):
    """What all of them work on; on the CPU."""

    model: nn.Module  # in eval mode, its weights without gradients
    pool: Tensor  # (N,C,H,W) uint8
    images: Tensor  # (N,C,H,W) in [0,1]
    targets: Tensor  # (N,) predicted
    maps: Tensor  # (N,H,W) without two equal values: every library breaks ties in its own way
    mean: Tensor  # (C,) of the training set
    std: Tensor
    batch_size: int  # images a forward pass, for all
    seed: int


class Pair(NamedTuple):
    """One measurement of ours beside a library's."""

    what: str
    ours: str  # names of contenders
    theirs: str
    package: str
    difference: Callable[[np.ndarray, np.ndarray], float]
    limit: float
    images: int = 0  # that a run works on; 0: all


def _largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max())


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    return _largest(ours, theirs) / float(np.abs(theirs).max())


def _scaled(maps: np.ndarray) -> np.ndarray:
    maps = maps - maps.min(axis=(1, 2), keepdims=True)
    return maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-7)


def _of_range(ours: np.ndarray, theirs: np.ndarray) -> float:
    return _largest(_scaled(ours.astype(np.float64)), _scaled(theirs.astype(np.float64)))


# ----------------------------------------------------------------------------------------------- removal


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
        (read,) = removal_readings(it.model, batch, [blacken], it.targets[rows], ranks, counts)
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


def _removal(it: Material) -> tuple[dict[str, Work], list[Pair]]:
    fractions = np.linspace(0, 1, STEPS + 1)

    def mean_areas(ours: np.ndarray, theirs: np.ndarray) -> float:
        return _largest(area(ours.swapaxes(0, 1), fractions).mean(1), theirs)

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
            steps, one, "Quantus PixelFlipping", "quantus", lambda a, b: _largest(a[0, 1:].T, b), PROBABILITIES
        ),  # which has no reading of the intact image
    ]


# ------------------------------------------------------------------------------------------- explanations


def _batches(it: Material, work: Callable[[Tensor, Tensor], Tensor | np.ndarray]) -> np.ndarray:
    parts = zip(it.images.split(it.batch_size), it.targets.split(it.batch_size), strict=True)
    return np.concatenate([np.asarray(work(images, targets)) for images, targets in parts])


def _grad_cams(it: Material) -> tuple[dict[str, Work], list[Pair]]:
    # Two of the libraries call backward: images with a gradient spare them those of all weights.
    layer, size = it.model.last_feature_layer, tuple(it.images.shape[2:])
    assert isinstance(layer, nn.Module)

    def captum(images: Tensor, targets: Tensor) -> Tensor:
        from captum.attr import LayerGradCam

        method = LayerGradCam(it.model, layer)
        maps = method.attribute(images, target=targets, relu_attributions=True)[:, 0].detach()
        return upsample(maps, size, "bilinear")

    def pytorch_grad_cam(images: Tensor, targets: Tensor) -> np.ndarray:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        chosen = [ClassifierOutputTarget(target) for target in targets.tolist()]
        with GradCAM(model=it.model, target_layers=[layer]) as cam:
            return cam(input_tensor=images.clone().requires_grad_(), targets=chosen)

    def torch_cam(images: Tensor, targets: Tensor) -> Tensor:
        from torchcam.methods import GradCAM

        with GradCAM(it.model, layer) as cam:
            scores = it.model(images.clone().requires_grad_())
            return upsample(cam(targets.tolist(), scores)[0], size, "bilinear")

    works = {
        "grad_cam": lambda: _batches(it, lambda images, targets: grad_cam(it.model, images, targets)),
        "captum LayerGradCam": lambda: _batches(it, captum),
        "pytorch-grad-cam GradCAM": lambda: _batches(it, pytorch_grad_cam),
        "torch-cam GradCAM": lambda: _batches(it, torch_cam),
    }
    what = "Grad-CAM maps, each scaled to 0 ... 1"
    return works, [
        Pair(what, "grad_cam", "captum LayerGradCam", "captum", _of_range, SHARES),
        Pair(what, "grad_cam", "pytorch-grad-cam GradCAM", "pytorch_grad_cam", _of_range, SHARES),
        Pair(what, "grad_cam", "torch-cam GradCAM", "torchcam", _of_range, SHARES),
    ]


def _patches(it: Material) -> tuple[dict[str, Work], list[Pair]]:
    channels, height, width = it.images.shape[1:]
    colour = it.mean.view(1, -1, 1, 1)
    context = Context(
        colour=it.mean,
        pool=it.pool,
        upsampling="nearest",  # a value for each patch, as captum has it
        patch=PATCH,
        repeats=1,
        seed=it.seed,
        batch_size=it.batch_size,
    )
    donors = derangement(len(it.pool), torch.Generator().manual_seed(it.seed))

    @torch.inference_mode()
    def captum_occlusion(images: Tensor, targets: Tensor) -> Tensor:
        from captum.attr import Occlusion

        window = (channels, PATCH, PATCH)
        maps = Occlusion(it.model).attribute(
            images,
            sliding_window_shapes=window,
            strides=window,
            baselines=colour.expand_as(images),
            target=targets,
            perturbations_per_eval=max(1, it.batch_size // len(images)),
        )
        return maps[:, 0]

    @torch.inference_mode()
    def captum_permutation() -> np.ndarray:
        """All images at once: their patches are exchanged among them."""
        from captum.attr import FeaturePermutation

        method = FeaturePermutation(it.model, perm_func=lambda x, mask: torch.where(mask, x[donors], x))
        patches = patch_numbers((height, width), PATCH, it.images.device)[None, None]
        return method.attribute(it.images, target=it.targets, feature_mask=patches)[:, 0].numpy()

    works: dict[str, Work] = {
        "occlusion": lambda: occlusion(it.model, it.images, it.targets, context).numpy(),
        "captum Occlusion": lambda: _batches(it, captum_occlusion),
        "permutation": lambda: permutation(it.model, it.images, it.targets, context).numpy(),
        "captum FeaturePermutation": captum_permutation,
    }
    squares = f"patches of {PATCH}x{PATCH} pixels"
    return works, [
        Pair(f"occlusion, {squares}", "occlusion", "captum Occlusion", "captum", _relative, SHARES),
        Pair(
            f"permutation, {squares}, one donor",
            "permutation",
            "captum FeaturePermutation",
            "captum",
            _relative,
            SHARES,
        ),
    ]


# ---------------------------------------------------------------------------------------------- imputation


def _imputation(it: Material) -> tuple[dict[str, Work], list[Pair]]:
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
    return works, Pair(what, ours, peer, "pytorch_grad_cam", _largest, FILLED, len(images))


# -------------------------------------------------------------------------------------------------- a run


def compare(it: Material, rounds: int) -> tuple[pd.DataFrame, list[str]]:
    """Run all that is installed, in turns; return a line for each pair, and notes on who is absent.

    Columns: ``what,ours,theirs,version,images,ours_per_second,theirs_per_second,ratio,ratio_low,ratio_high,
    largest_difference,limit,agree``. Images per second are medians over the rounds, the ratio (ours / theirs) is the
    median of the rounds' own.
    """
    works: dict[str, Work] = {}
    pairs: list[Pair] = []
    for made, paired in (part(it) for part in (_removal, _grad_cams, _patches, _imputation)):
        works |= made
        pairs += paired
    absent = [package for package in PEERS if not find_spec(package)]
    notes = [f"{PEERS[p]} is not installed and left out (pip install 'fa-repro[peers]')." for p in absent]
    pairs = [pair for pair in pairs if pair.package not in absent]
    counts = {name: pair.images or len(it.images) for pair in pairs for name in (pair.ours, pair.theirs)}
    results: dict[str, np.ndarray] = {}

    def contender(name: str) -> Contender:
        def run() -> int:
            results[name] = works[name]()
            return counts[name]

        return Contender(name, run)

    rates = interleave([contender(name) for name in works if name in counts], rounds, it.images.device)
    speeds = rate_table(rates).set_index("contender").images_per_second
    ratios = ratio_table(rates, [Comparison(pair.theirs, pair.ours, pair.theirs) for pair in pairs])
    lines = []
    for pair, ratio in zip(pairs, ratios.itertuples(), strict=True):
        difference = pair.difference(results[pair.ours], results[pair.theirs])
        lines.append(
            {
                "what": pair.what,
                "ours": pair.ours,
                "theirs": pair.theirs,
                "version": package_version(PEERS[pair.package]),
                "images": counts[pair.ours],
                "ours_per_second": speeds[pair.ours],
                "theirs_per_second": speeds[pair.theirs],
                "ratio": ratio.ratio,
                "ratio_low": ratio.low,
                "ratio_high": ratio.high,
                "largest_difference": difference,
                "limit": pair.limit,
                "agree": difference <= pair.limit,  # false for a difference that is no number, too
            }
        )
    return pd.DataFrame(lines), notes


def page(conditions: str, table: pd.DataFrame, notes: Sequence[str]) -> str:
    """Return ``table.md``."""
    header = ["what", "beside", "ours, images/s", "theirs, images/s", "ours / theirs [range]"]
    header += ["largest difference", "limit", "agree"]
    rows = [
        [
            line.what,
            f"{line.theirs.split(', ')[0]} ({line.version})",
            _digits(line.ours_per_second),
            _digits(line.theirs_per_second),
            f"{line.ratio:.2f} [{line.ratio_low:.2f}, {line.ratio_high:.2f}]",
            f"{line.largest_difference:.1e}",
            f"{line.limit:.0e}",
            "yes" if line.agree else "NO",
        ]
        for _, line in table.iterrows()
    ]
    parts = ["# Beside other libraries", conditions]
    parts += ["\n".join(f"- {note}" for note in notes)] if notes else []
    parts += [markdown_table(header, rows)]
    parts += [
        "Everybody gets the same model, images, maps, classes and batch size. Images per second: medians of runs in "
        "turns; the ratio is taken within a round. Differences are of probabilities (areas, curves), of shares of a "
        "map's range (Grad-CAM) or of its largest value (occlusion, permutation), and of pixels in [0,1] (imputation)."
    ]
    return "\n\n".join(parts) + "\n"


def _digits(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def prepare(path: Path, root: str | None, n_images: int, batch_size: int, seed: int) -> tuple[Material, str]:
    """Return what is worked on, and what it is in words.

    Raises:
        InputError: the checkpoint or the data can't be used.

    """
    if n_images < 2:
        raise InputError(f"--n-images {n_images}: permutation needs two images or more.")
    checkpoint = load_checkpoint(path)
    data = merge_data(checkpoint, {"name": "from_checkpoint", "root": root})
    test: ImageSet = load_data(data, "test")
    check_images(checkpoint, test)
    height, width = test.images.shape[2:]
    if height * width % STEPS:
        raise InputError(f"images of {height}x{width} pixels don't go in {STEPS} equal steps; give others.")
    pool = test.sample(n_images, seed).images
    images = pool.float() / 255
    model = checkpoint.build().requires_grad_(False)
    with torch.inference_mode():
        targets = torch.cat([model(part).argmax(1) for part in images.split(batch_size)])
    targets = targets.clone()
    maps = [grad_cam(model, *part) for part in zip(images.split(batch_size), targets.split(batch_size), strict=True)]
    ranks = rank_pixels(torch.cat(maps), "morf", tie_break(height * width, seed))
    distinct = -ranks.float() / (height * width)
    mean, std = (torch.tensor(checkpoint.task[name]) for name in ("mean", "std"))
    words = f"{checkpoint.model['name']} on {len(pool)} test images of {data_label(data)}"
    return Material(model, pool, images, targets, distinct, mean, std, batch_size, seed), words


def write(out: Path, files: Mapping[str, str]) -> None:
    """Write each file whole or not at all.

    Raises:
        InputError: the folder can't be written.

    """
    try:
        for name, text in files.items():
            with replacing(out / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror or error}. Give another folder.") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Compare as the words ask; return the exit code."""
    parser = argparse.ArgumentParser(description="Our measurements beside other libraries', in one run.")
    default = Path("results/pretrained/fa_cnn_cifar10.pt")
    parser.add_argument("--checkpoint", type=Path, default=default, help="of fa-repro train (default: %(default)s)")
    parser.add_argument("--data-root", help="folder of its data set (default: the one that it was trained from)")
    parser.add_argument("--n-images", type=int, default=64, help="test images (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="measured runs of each, in turns (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="images a forward pass (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of images, ties and donors (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/peers"), help="folder (default: %(default)s)")
    args = parser.parse_args(argv)
    for name in ("rounds", "batch_size"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more")
    began, git = time.monotonic(), git_state()
    try:
        it, words = prepare(args.checkpoint, args.data_root, args.n_images, args.batch_size, args.seed)
        device = describe(it.images.device)
        table, notes = compare(it, args.rounds)
        if table.empty:
            raise InputError("none of the libraries is installed: pip install 'fa-repro[peers]'.")
        words = (
            f"{words}, {args.rounds} rounds in turns, {args.batch_size} images a forward pass, {device}, "
            f"torch {torch.__version__}."
        )
        text = page(words, table, notes)
        told: dict[str, Any] = provenance(
            ["python", "scripts/compare_peers.py", *(sys.argv[1:] if argv is None else argv)],
            device,
            time.monotonic() - began,
            {"checkpoint": digest(args.checkpoint)},
            git,
            list(PEERS.values()),
        )
        told |= {"seed": args.seed, "exit_code": 0 if table.agree.all() else 1}
        csv = table.to_csv(index=False, float_format="%.6g")
        write(args.out, {"table.csv": csv, "table.md": text, "provenance.json": json.dumps(told, indent=1) + "\n"})
    except InputError as error:
        print(f"compare_peers: {error}", file=sys.stderr)
        return 2
    print(text)
    return told["exit_code"]


if __name__ == "__main__":
    sys.exit(main())
