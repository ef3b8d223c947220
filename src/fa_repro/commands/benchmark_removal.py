"""``fa-repro benchmark-removal``: percent pixels removed for one classifier, every method beside the controls."""

import json
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from tqdm import tqdm

from fa_repro.attribution import check_captum
from fa_repro.attribution.targets import parse_target
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError
from fa_repro.plotting import png
from fa_repro.progress import Progress
from fa_repro.reader import Reader
from fa_repro.ready import make_ready
from fa_repro.removal import Measured, measure, write_per_image
from fa_repro.removal.benchmark import images_read, readings_of_an_image
from fa_repro.removal.examples import draw_examples
from fa_repro.removal.figures import curves_figure
from fa_repro.removal.summary import precision_notes, summary_markdown, unread_notes
from fa_repro.removal.superpixels import Superpixels, check_superpixels
from fa_repro.removal.tables import tabulate
from fa_repro.removal.units import PIXELS, Squares, Units
from fa_repro.removal.warnings import warnings_by_imputation
from fa_repro.rundir import RunDir
from fa_repro.subject import open_subject


def run(cfg: DictConfig) -> int:
    """Benchmark as ``cfg`` (``configs/benchmark_removal.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or data can't be used.

    """
    check_captum(cfg.methods)
    device = choose_device(cfg.device)
    subject = open_subject(cfg, "benchmark-removal", split=cfg.split)
    target = parse_target(cfg.target, subject.classes)
    units = _units(cfg, subject.task.image_size)
    imputations = [cfg.imputation] if isinstance(cfg.imputation, str) else list(dict.fromkeys(cfg.imputation))
    cfg.imputation = imputations  # a word and a list of that one word are the same run
    rundir = RunDir(cfg, "benchmark-removal", subject.run_name, subject.inputs)
    if rundir.finished:
        return rundir.report_finished()

    sample = subject.load().sample(cfg.n_images, cfg.seed)
    images, model, methods, notes, context, settled = make_ready(subject, sample, cfg, device)

    orders = list(dict.fromkeys(cfg.orders))
    mean, std = torch.tensor(subject.task.mean), torch.tensor(subject.task.std)
    settings: dict[str, Any] = {"methods": methods, "imputations": imputations, "target": target, "units": units}
    settings |= {"mean": mean, "std": std, "context": context}
    readings = readings_of_an_image(
        subject.task.image_size**2,
        methods=len(methods),
        orders=len(orders),
        fractions=cfg.fractions,
        imputations=len(imputations),
        step=units.step,
    )
    rundir.start()
    total = len(subject.trainings) * len(images) * readings
    bar = tqdm(total=total, desc="removing pixels", unit="img", delay=2, disable=None)
    found: list[list[Measured]] = []  # by training and imputation
    with Progress(rundir, device, cfg.batch_size) as progress, bar:
        if progress.left_aside:
            print(f"{rundir.path}: {progress.left_aside} parts of another batch_size are measured again.")
        if progress.parts:
            print(f"{rundir.path}: going on, {len(progress.parts)} parts are measured.")
            bar.update(images_read(progress.parts.values()))
        for t, training in enumerate(subject.trainings):
            network = training.frozen().to(device) if t else model
            measured = measure(
                network,
                images.images,
                images.labels,
                orders=orders,
                fractions=list(cfg.fractions),
                tick=bar.update,
                reader=Reader(network, images.images[: cfg.batch_size].float() / 255, cfg.precision),
                keep=progress.within(f"seed {training.seed}"),
                **settings,
            )
            found.append(measured)

    seeds = [training.seed for training in subject.trainings]
    tables = tabulate(found, seeds, cfg.bootstrap, cfg.seed)
    top1 = [100 * float((one[0].prediction[0, 0, 0] == one[0].labels).mean()) for one in found]
    spread = f" (standard deviation over seeds {np.std(top1, ddof=1):.1f})" if len(seeds) > 1 else ""
    conditions = (
        f"{subject.words}, "
        f"{len(images)} {cfg.split} images of {subject.data}, top-1 {np.mean(top1):.1f} %{spread}, "
        f"target: {target if isinstance(target, str) else subject.classes[target]}, "
        f"removed pixels: {', '.join(imputations)}, {units} at a time, {settled}."
    )
    for file, table in tables.files():
        rundir.write_text(file, table.to_csv(index=False, float_format="%.6g"))
    title = f"Percent pixels removed: {subject.run_name}"
    page = summary_markdown(
        title,
        conditions,
        tables.summary,
        tables.differences,
        tables.shifts,
        notes + precision_notes(found) + unread_notes(found),
        tables.by_seed,
    )
    rundir.write_text("summary.md", page)
    warned = warnings_by_imputation(tables.summary, tables.differences)
    told = {"conditions": conditions, "top1": top1, "warnings": warned}
    rundir.write_text("metrics.json", json.dumps(told, indent=1) + "\n")
    each = [(seed, one) for seed, measured in zip(seeds, found, strict=True) for one in measured]
    first = [seed for seed, _ in each] if len(seeds) > 1 else None
    rows = images.rows.numpy()
    rundir.write("per_image.csv.gz", lambda file: write_per_image(file, [one for _, one in each], rows, first))
    rundir.write(
        "curves.png", png(curves_figure(tables.curves, conditions.split(", target")[0], tables.by_seed.get("curves")))
    )
    rundir.write("examples.png", png(draw_examples(model, images, **settings)))
    rundir.finish(describe(device), earlier=progress.seconds)
    progress.clear()
    print(page)
    return 0


def _units(cfg: DictConfig, image_size: int) -> Units:
    """Return what goes at a time, from images of ``image_size`` pixels a side.

    Raises:
        InputError: such units don't fit, or scikit-image is not installed.

    """
    if cfg.unit == "pixel":
        return PIXELS
    if cfg.unit == "superpixel":
        check_superpixels()
        if cfg.superpixels > image_size**2:
            raise InputError(f"superpixels={cfg.superpixels}: more than the images' {image_size**2} pixels.")
        return Superpixels(cfg.superpixels)
    key = "patch" if cfg.unit_side is None else "unit_side"
    side = cfg[key]
    if image_size % side:
        raise InputError(
            f"unit=patch, {key}={side}: squares of {side} pixels don't fill images of {image_size}. "
            f"Give a {key} that divides {image_size}."
        )
    return Squares(side)
