"""``fa-repro benchmark-removal``: percent pixels removed for one classifier, every method beside the controls."""

import gzip
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from tqdm import tqdm

from fa_repro.attribution import METHODS, Context, check_captum, choose_methods
from fa_repro.data import ImageSet
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError, did_you_mean
from fa_repro.plotting import png
from fa_repro.progress import Progress
from fa_repro.removal import measure, per_image_table
from fa_repro.removal.benchmark import choose_targets
from fa_repro.removal.curves import removed_counts
from fa_repro.removal.figures import curves_figure, examples_figure
from fa_repro.removal.imputation import imputer
from fa_repro.removal.ranking import rank_squares, square_means, tie_break
from fa_repro.removal.summary import curves_table, difference_table, shift_table, summary_markdown, summary_table
from fa_repro.rundir import RunDir
from fa_repro.statistics import Bootstrap
from fa_repro.subject import feature_layer, open_subject

EXAMPLES = 4  # images in examples.png


def run(cfg: DictConfig) -> int:
    """Benchmark as ``cfg`` (``configs/benchmark_removal.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or data can't be used.

    """
    check_captum(cfg.methods)
    device = choose_device(cfg.device)
    subject = open_subject(cfg, "benchmark-removal")
    target = parse_target(cfg.target, subject.classes)
    unit = cfg.patch if cfg.unit == "patch" else 1
    if subject.task.image_size % unit:
        raise InputError(
            f"unit=patch, patch={cfg.patch}: squares of {cfg.patch} pixels don't fill images of "
            f"{subject.task.image_size}. Give a patch that divides {subject.task.image_size}."
        )
    imputations = [cfg.imputation] if isinstance(cfg.imputation, str) else list(dict.fromkeys(cfg.imputation))
    cfg.imputation = imputations  # a word and a list of that one word are the same run
    rundir = RunDir(cfg, "benchmark-removal", subject.run_name, subject.inputs)
    if rundir.finished:
        return rundir.exit_code()

    images = subject.load().sample(cfg.n_images, cfg.seed).to(device)
    model = subject.build().to(device)
    layer = feature_layer(model, cfg.layer, images.images[:1].float() / 255)
    methods, left_out = choose_methods(cfg.methods, model, subject.name, len(images), layer)
    for line in left_out:
        print(line)

    orders = list(dict.fromkeys(cfg.orders))
    mean, std = torch.tensor(subject.task.mean), torch.tensor(subject.task.std)
    context = Context(
        layer=layer,
        upsampling=cfg.upsampling,
        patch=cfg.patch,
        repeats=cfg.repeats,
        n_steps=cfg.n_steps,
        n_samples=cfg.n_samples,
        seed=cfg.seed,
        batch_size=cfg.batch_size,
    )
    steps = len(removed_counts(cfg.fractions, subject.task.image_size**2, unit**2)) - 2
    readings = 1 + len(imputations) * (1 + len(methods) * len(orders) * steps)
    rundir.start()
    bar = tqdm(total=len(images) * readings, desc="removing pixels", unit="img", delay=2, disable=None)
    with Progress(rundir, device) as progress, bar:
        if progress.parts:
            print(f"{rundir.path}: going on, {len(progress.parts)} parts are measured.")
            bar.update(sum(part["probability"][:, :, 1:-1].numel() for part in progress.parts.values()))
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
            keep=progress.part,
        )

    bootstrap = Bootstrap(len(images), cfg.bootstrap, cfg.seed)
    curves = _joined([curves_table(one, bootstrap) for one in measured])
    summary = _joined([summary_table(one, bootstrap) for one in measured])
    differences = _joined([difference_table(one, bootstrap) for one in measured])
    shifts = _joined([shift_table(one, bootstrap) for one in measured])
    assert curves is not None and summary is not None
    top1 = float((measured[0].prediction[0, 0, 0] == measured[0].labels).mean())
    conditions = (
        f"{subject.words}, "
        f"{len(images)} test images of {subject.data}, top-1 {100 * top1:.1f} %, "
        f"target: {target if isinstance(target, str) else subject.classes[target]}, "
        f"removed pixels: {', '.join(imputations)}, a {cfg.unit} at a time, maps up-sampled: {cfg.upsampling}, "
        f"patches of {cfg.patch} pixels, seed {cfg.seed}."
    )
    rundir.write_text("curves.csv", curves.to_csv(index=False, float_format="%.6g"))
    rundir.write_text("summary.csv", summary.to_csv(index=False, float_format="%.6g"))
    if differences is not None:
        rundir.write_text("differences.csv", differences.to_csv(index=False, float_format="%.6g"))
    page = summary_markdown(
        f"Percent pixels removed: {subject.run_name}", conditions, summary, differences, shifts, left_out
    )
    rundir.write_text("summary.md", page)
    tables = [per_image_table(one, images.rows.numpy()) for one in measured]
    rows = pd.concat(tables).to_csv(index=False).encode()
    # No time stamp inside: the same rows are the same file.
    rundir.write("per_image.csv.gz", lambda file: file.write(gzip.compress(rows, compresslevel=6, mtime=0)))
    rundir.write("curves.png", png(curves_figure(curves, conditions.split(", target")[0])))
    rundir.write(
        "examples.png",
        png(_examples(model, images, methods, imputations, target, unit, mean, std, context, subject.classes)),
    )
    rundir.finish(describe(device), earlier=progress.seconds)
    progress.clear()
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
    classes: Sequence[str],
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
