"""``fa-repro explain``: image files of the user's own: what the network predicts, and every method's map of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from fa_repro.attribution import METHODS, asked, check_captum
from fa_repro.attribution.batches import batches
from fa_repro.attribution.figures import explained_figure
from fa_repro.attribution.targets import parse_target, predict, targets_of
from fa_repro.data import ImageSet
from fa_repro.data.image_folder import image_files, load
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError
from fa_repro.files import digest
from fa_repro.plotting import png
from fa_repro.reader import reader_for
from fa_repro.ready import make_ready
from fa_repro.rundir import RunDir
from fa_repro.subject import Subject, open_subject

TOP = 5  # likeliest classes that are told of each image
ROWS = 8  # images in a figure
TITLE = 22  # letters of a file's name that fit over its image, the last ones


def run(cfg: DictConfig) -> int:
    """Explain as ``cfg`` (``configs/explain.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or images can't be used.

    """
    check_captum(cfg.methods)
    device = choose_device(cfg.device)
    if cfg.images is None:
        raise InputError("explain needs images=FILE, a folder of them, or images=[FILE,…].")
    cfg.images = [cfg.images] if isinstance(cfg.images, str) else list(cfg.images)
    subject = open_subject(cfg, "explain", split=None)
    target = parse_target(cfg.target, subject.classes, ("predicted",))
    files = image_files(cfg.images)
    name = cfg.name or f"{subject.run_name}-{Path(cfg.images[0]).resolve().stem}"
    rundir = RunDir(cfg, "explain", name, subject.inputs | {str(file): digest(file) for file in files})
    if rundir.finished:
        return rundir.report_finished()

    pixels = _pixels(files, cfg.image_size or subject.task.image_size, subject)
    given = ImageSet(pixels, torch.zeros(len(files), dtype=torch.int64), torch.arange(len(files)), subject.classes)
    images, model, methods, _, context, settled = make_ready(subject, given, cfg, device, controls=False)
    logits = predict(model, images.images, cfg.batch_size)
    targets = targets_of(logits.argmax(1), images.labels, target)

    reader = reader_for(methods, model, images.images, cfg.batch_size)

    def of_all(method: str) -> Tensor:
        explain, network = METHODS[method], asked(method, model, reader)
        parts = batches(images.images, context)
        return torch.cat([explain(network, part, targets[rows], settings).cpu() for rows, part, settings in parts])

    maps = {method: of_all(method) for method in methods}
    table = _predictions(files, logits.double().softmax(1).cpu(), targets.cpu(), subject.classes)
    rundir.write_text("predictions.csv", table.to_csv(index=False, float_format="%.6g"))
    arrays: dict[str, Any] = {"files": [str(file) for file in files]}
    arrays["targets"] = [subject.classes[k] for k in targets.tolist()]
    arrays |= {method: values.float().numpy() for method, values in maps.items()}
    rundir.write("maps.npz", lambda file: np.savez_compressed(file, **arrays))
    likeliest = table[table["rank"] == 1].reset_index(drop=True)
    titles = [f"{_short(line.file)}\n{line['class']} {line.probability:.2f}" for _, line in likeliest.iterrows()]
    words = f"{subject.words}, target: {cfg.target}, {settled}"
    for start in range(0, len(files), ROWS):
        part = np.s_[start : start + ROWS]
        shown = images.images[part].cpu().float() / 255
        sheet = explained_figure(shown, {method: values[part] for method, values in maps.items()}, titles[part], words)
        rundir.write(f"explained-{start // ROWS + 1}.png", png(sheet))
    rundir.finish(describe(device))
    for file, lines in table.groupby("file", sort=False):
        print(f"{file}: " + ", ".join(f"{line['class']} {line.probability:.3f}" for _, line in lines.iterrows()))
    print(f"{rundir.path}: {', '.join(methods)} of {len(files)} images.")
    return 0


def _pixels(files: list[Path], size: int, subject: Subject) -> Tensor:
    """Return the images (N,C,H,W) uint8, of the size and with the channels that the network takes."""
    pixels, _ = load([(str(file), 0) for file in files], size, upright=True)
    channels = subject.task.in_channels
    if pixels.shape[1] > channels:
        raise InputError(f"images: {subject.name} takes grey images, and not all of these are. Convert them first.")
    return pixels.expand(-1, channels, -1, -1).contiguous()  # grey spreads over three channels


def _short(file: str) -> str:
    name = Path(file).name
    return name if len(name) <= TITLE else f"…{name[1 - TITLE :]}"


def _predictions(files: list[Path], probability: Tensor, targets: Tensor, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return a line for each image's `TOP` likeliest classes, and for the explained one where it is none of them."""
    lines = []
    for file, row, target in zip(files, probability, targets.tolist(), strict=True):
        order = row.argsort(descending=True).tolist()
        for rank, k in enumerate(order, start=1):
            if rank <= TOP or k == target:
                lines.append((str(file), rank, classes[k], float(row[k]), k == target))
    return pd.DataFrame(lines, columns=["file", "rank", "class", "probability", "explained"])
