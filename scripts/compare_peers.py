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
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from comparisons import grad_cams, imputation, patches, removal
from comparisons.material import Material, Pair, Work
from comparisons.removal import STEPS
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.checkpoint import check_images, load_checkpoint, merge_data
from fa_repro.data import ImageSet, load_data
from fa_repro.device import describe
from fa_repro.errors import InputError
from fa_repro.files import digest, replacing
from fa_repro.provenance import git_state, package_version, provenance
from fa_repro.reader import Reader
from fa_repro.removal.ranking import rank_pixels, tie_break
from fa_repro.rundir import data_label
from fa_repro.speed import Comparison, Contender, interleave, rate_table, ratio_table
from fa_repro.tables import markdown_table, rate

PEERS = {"torchcam": "torchcam", "quantus": "quantus", "pytorch_grad_cam": "grad-cam", "captum": "captum"}


def compare(it: Material, rounds: int) -> tuple[pd.DataFrame, list[str]]:
    """Run all that is installed, in turns; return a line for each pair, and notes on who is absent.

    Columns: ``what,ours,theirs,version,images,ours_per_second,theirs_per_second,ratio,ratio_low,ratio_high,
    largest_difference,limit,agree``. Images per second are medians over the rounds, the ratio (ours / theirs) is the
    median of the rounds' own.
    """
    works: dict[str, Work] = {}
    pairs: list[Pair] = []
    for made, paired in (part.works_and_pairs(it) for part in (removal, grad_cams, patches, imputation)):
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
            rate(line.ours_per_second),
            rate(line.theirs_per_second),
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
        "Everybody gets the same model, images, maps, classes and batch size; ours reads logits from the copy that our "
        "commands make of a network once, which is not timed. Images per second: medians of runs in turns; the ratio "
        "is taken within a round. Differences are of probabilities (areas, curves), of shares of a "
        "map's range (Grad-CAM) or of its largest value (occlusion, permutation), and of pixels in [0,1] (imputation)."
    ]
    return "\n\n".join(parts) + "\n"


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
    reader = Reader(model, images[:batch_size])
    return Material(model, reader, pool, images, targets, distinct, mean, std, batch_size, seed), words


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
    default = Path("results/pretrained/fa_cnn_fine_cifar10.pt")
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
    if args.seed < 0:
        parser.error("--seed must be 0 or more")
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
