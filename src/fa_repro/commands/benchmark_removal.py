"""``fa-repro benchmark-removal``: percent pixels removed for one trained model, every method beside the controls."""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from fa_repro.attribution import METHODS, Context, lacking
from fa_repro.checkpoint import check_classes, load_checkpoint, merge_data
from fa_repro.data import ImageSet, load_data, stratified
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError, did_you_mean
from fa_repro.models import Task
from fa_repro.plotting import png
from fa_repro.removal import Bootstrap, measure, per_image_table
from fa_repro.removal.benchmark import choose_targets
from fa_repro.removal.curves import removed_counts
from fa_repro.removal.figures import curves_figure, examples_figure
from fa_repro.removal.imputation import imputer
from fa_repro.removal.ranking import rank_squares, square_means, tie_break
from fa_repro.removal.summary import curves_table, difference_table, shift_table, summary_markdown, summary_table
from fa_repro.rundir import RunDir, data_label, digest

EXAMPLES = 4  # images in examples.png


def run(cfg: DictConfig) -> int:
    """Benchmark as ``cfg`` (``configs/benchmark_removal.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or data can't be used.

    """
    if cfg.checkpoint is None:
        raise InputError(
            "benchmark-removal needs checkpoint=PATH; `fa-repro train` writes RESULTS/train/NAME/checkpoint.pt."
        )
    device = choose_device(cfg.device)
    checkpoint = load_checkpoint(cfg.checkpoint)
    target = parse_target(cfg.target, checkpoint.classes)
    task = Task(**checkpoint.task)
    unit = cfg.patch if cfg.unit == "patch" else 1
    if task.image_size % unit:
        raise InputError(
            f"unit=patch, patch={cfg.patch}: squares of {cfg.patch} pixels don't fill images of {task.image_size}. "
            f"Give a patch that divides {task.image_size}."
        )
    imputations = [cfg.imputation] if isinstance(cfg.imputation, str) else list(dict.fromkeys(cfg.imputation))
    cfg.imputation = imputations  # a word and a list of that one word are the same run
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    data_config = merge_data(checkpoint, config["data"])
    name = cfg.name or f"{data_label(data_config)}-{checkpoint.model['name']}-seed{checkpoint.seed}"
    rundir = RunDir(cfg, "benchmark-removal", name, {"checkpoint": digest(Path(cfg.checkpoint))})
    if rundir.finished:
        return rundir.exit_code()

    model = checkpoint.build().requires_grad_(False).to(device)
    images = choose_images(load_data(data_config, "test"), task, checkpoint.classes, cfg.n_images, cfg.seed).to(device)
    left_out = [f"`{m}` is left out: the model has no {need}." for m in cfg.methods if (need := lacking(m, model))]
    methods = [m for m in dict.fromkeys(cfg.methods) if not lacking(m, model)]
    if not methods:
        raise InputError(f"methods={list(cfg.methods)}: model {checkpoint.model['name']} can do none of them.")
    if "permutation" in methods and len(images) < 2:
        raise InputError("methods: permutation needs n_images=2 or more, as a patch is replaced by another image's.")
    for line in left_out:
        print(line)

    orders = list(dict.fromkeys(cfg.orders))
    mean, std = torch.tensor(task.mean), torch.tensor(task.std)
    context = Context(
        upsampling=cfg.upsampling,
        patch=cfg.patch,
        repeats=cfg.repeats,
        seed=cfg.seed,
        batch_size=cfg.batch_size,
    )
    steps = len(removed_counts(cfg.fractions, task.image_size**2, unit**2)) - 2
    readings = 1 + len(imputations) * (1 + len(methods) * len(orders) * steps)
    with tqdm(total=len(images) * readings, desc="removing pixels", unit="img", delay=2, disable=None) as bar:
        measured = measure(
            model,
            images.images,
            images.labels,
            methods=methods,
            orders=orders,
            fractions=list(cfg.fractions),
            imputations=imputations,
            target=target,
            unit=unit,
            mean=mean,
            std=std,
            context=context,
            tick=bar.update,
        )

    bootstrap = Bootstrap(len(images), cfg.bootstrap, cfg.seed)
    curves = _joined([curves_table(one, bootstrap) for one in measured])
    summary = _joined([summary_table(one, bootstrap) for one in measured])
    differences = _joined([difference_table(one, bootstrap) for one in measured])
    shifts = _joined([shift_table(one, bootstrap) for one in measured])
    assert curves is not None and summary is not None
    top1 = float((measured[0].prediction[0, 0, 0] == measured[0].labels).mean())
    removal_share = checkpoint.trainer["augment"]["removal"]
    augmented = f"{100 * removal_share:.0f} % of the training images with removal" if removal_share else "no removal"
    conditions = (
        f"{checkpoint.model['name']} trained on {data_label(checkpoint.data)} ({augmented} as augmentation), "
        f"{len(images)} test images of {data_label(data_config)}, top-1 {100 * top1:.1f} %, "
        f"target: {target if isinstance(target, str) else checkpoint.classes[target]}, "
        f"removed pixels: {', '.join(imputations)}, a {cfg.unit} at a time, maps up-sampled: {cfg.upsampling}, "
        f"patches of {cfg.patch} pixels, seed {cfg.seed}."
    )
    rundir.write_text("curves.csv", curves.to_csv(index=False, float_format="%.6g"))
    rundir.write_text("summary.csv", summary.to_csv(index=False, float_format="%.6g"))
    if differences is not None:
        rundir.write_text("differences.csv", differences.to_csv(index=False, float_format="%.6g"))
    page = summary_markdown(f"Percent pixels removed: {name}", conditions, summary, differences, shifts, left_out)
    rundir.write_text("summary.md", page)
    tables = [per_image_table(one, images.rows.numpy()) for one in measured]
    rows = pd.concat(tables).to_csv(index=False).encode()
    # No time stamp inside: the same rows are the same file.
    rundir.write("per_image.csv.gz", lambda file: file.write(gzip.compress(rows, compresslevel=6, mtime=0)))
    rundir.write("curves.png", png(curves_figure(curves, conditions.split(", target")[0])))
    rundir.write(
        "examples.png",
        png(_examples(model, images, methods, imputations, target, unit, mean, std, context, checkpoint.classes)),
    )
    rundir.finish(describe(device))
    print(page)
    return 0


def _joined(tables: Sequence[pd.DataFrame | None]) -> pd.DataFrame | None:
    found = [table for table in tables if table is not None]
    return pd.concat(found, ignore_index=True) if found else None


def parse_target(word: str, classes: Sequence[str]) -> str | int:
    """Return ``predicted``, ``label``, or the number of the class that ``word`` names or numbers.

    Raises:
        InputError: no such class.

    """
    if word in ("predicted", "label"):
        return word
    if word in classes:
        return list(classes).index(word)
    if word.isdecimal() and int(word) < len(classes):
        return int(word)
    raise InputError(
        f"target={word}: must be predicted, label, or a class: {', '.join(classes)}, or 0 to {len(classes) - 1}."
        f"{did_you_mean(word, ['predicted', 'label', *classes])}"
    )


def choose_images(test: ImageSet, task: Task, classes: list[str], n: int, seed: int) -> ImageSet:
    """Choose ``n`` test images, stratified; all if there are fewer.

    Raises:
        InputError: the images or classes don't fit the model.

    """
    channels, size = test.images.shape[1], test.images.shape[2]
    if (channels, size) != (task.in_channels, task.image_size) or len(test.classes) != task.n_classes:
        raise InputError(
            f"the model takes {task.in_channels}x{task.image_size}x{task.image_size} images of {task.n_classes} "
            f"classes, the data set has {channels}x{size}x{size} and {len(test.classes)}. "
            f"Give the data set it was trained on."
        )
    check_classes(classes, test.classes)
    return test if n >= len(test) else test.select(stratified(test.labels, n, seed))


def _examples(
    model: torch.nn.Module,
    images: ImageSet,
    methods: list[str],
    imputations: list[str],
    target: str | int,
    unit: int,
    mean: torch.Tensor,
    std: torch.Tensor,
    context: Context,
    classes: list[str],
) -> Figure:
    """Draw the first images of different classes that the model gets right."""
    pool = images.images
    with torch.inference_mode():
        predicted = torch.cat([model(x.float() / 255).argmax(1) for x in pool.split(context.batch_size)])
    right = (predicted == images.labels).nonzero()[:, 0].tolist() or list(range(len(images)))
    firsts = list({int(images.labels[i]): i for i in reversed(right)}.values())
    chosen = torch.tensor(sorted(firsts)[:EXAMPLES])
    there = chosen.to(pool.device)
    batch = pool[there].float() / 255
    targets = choose_targets(model, batch, images.labels[there], target)
    placed = replace(context, colour=mean.to(pool.device), pool=pool, rows=chosen)
    maps = {method: square_means(METHODS[method](model, batch, targets, placed), unit) for method in methods}
    ties = tie_break(maps[methods[0]][0].numel(), context.seed)
    ranks = {method: rank_squares(values, "morf", ties, unit) for method, values in maps.items()}
    imputes = {kind: imputer(batch, kind, mean, std, chosen, len(pool), context.seed) for kind in imputations}
    return examples_figure(batch, imputes, maps, ranks, [classes[int(t)] for t in targets])
