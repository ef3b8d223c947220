"""``fa-repro benchmark-removal``: percent pixels removed for one classifier, every method beside the controls."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from tqdm import tqdm

from fa_repro.attribution import METHODS, Context, check_captum
from fa_repro.attribution.examples import first_of_each_class
from fa_repro.attribution.targets import predict, targets_of
from fa_repro.data import ImageSet
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError, did_you_mean
from fa_repro.plotting import png
from fa_repro.progress import Progress
from fa_repro.removal import Measured, measure, write_per_image
from fa_repro.removal.curves import removed_counts
from fa_repro.removal.figures import curves_figure, examples_figure
from fa_repro.removal.imputation import imputer
from fa_repro.removal.ranking import rank_squares, square_means, tie_break
from fa_repro.removal.reader import Reader
from fa_repro.removal.summary import precision_notes, summary_markdown, tabulate
from fa_repro.rundir import RunDir
from fa_repro.subject import make_ready, open_subject

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

    images, model, methods, left_out, context = make_ready(subject, cfg, device)

    orders = list(dict.fromkeys(cfg.orders))
    mean, std = torch.tensor(subject.task.mean), torch.tensor(subject.task.std)
    steps = len(removed_counts(cfg.fractions, subject.task.image_size**2, unit**2)) - 2
    readings = 1 + len(imputations) * (1 + len(methods) * len(orders) * steps)
    rundir.start()
    readings *= len(subject.trainings)
    bar = tqdm(total=len(images) * readings, desc="removing pixels", unit="img", delay=2, disable=None)
    found: list[list[Measured]] = []  # by training and imputation
    with Progress(rundir, device) as progress, bar:
        if progress.parts:
            print(f"{rundir.path}: going on, {len(progress.parts)} parts are measured.")
            read = [part["probability"][:, :, 1:-1] for part in progress.parts.values() if "probability" in part]
            bar.update(sum(values.numel() for values in read))
        for t, training in enumerate(subject.trainings):
            network = training.build().to(device) if t else model
            measured = measure(
                network,
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
                reader=Reader(network, images.images[: cfg.batch_size].float() / 255, cfg.precision),
                keep=progress.within(f"seed {training.seed}"),
            )
            found.append(measured)

    seeds = [training.seed for training in subject.trainings]
    tables = tabulate(found, seeds, cfg.bootstrap, cfg.seed)
    top1 = [100 * float((one[0].prediction[0, 0, 0] == one[0].labels).mean()) for one in found]
    spread = f" (standard deviation over seeds {np.std(top1, ddof=1):.1f})" if len(seeds) > 1 else ""
    conditions = (
        f"{subject.words}, "
        f"{len(images)} test images of {subject.data}, top-1 {np.mean(top1):.1f} %{spread}, "
        f"target: {target if isinstance(target, str) else subject.classes[target]}, "
        f"removed pixels: {', '.join(imputations)}, a {cfg.unit} at a time, maps up-sampled: {cfg.upsampling}, "
        f"patches of {cfg.patch} pixels, seed {cfg.seed}."
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
        left_out + precision_notes(found[0]),
        tables.by_seed,
    )
    rundir.write_text("summary.md", page)
    each = [(seed, one) for seed, measured in zip(seeds, found, strict=True) for one in measured]
    told = [seed for seed, _ in each] if len(seeds) > 1 else None
    rows = images.rows.numpy()
    rundir.write("per_image.csv.gz", lambda file: write_per_image(file, [one for _, one in each], rows, told))
    rundir.write(
        "curves.png", png(curves_figure(tables.curves, conditions.split(", target")[0], tables.by_seed.get("curves")))
    )
    rundir.write(
        "examples.png",
        png(_examples(model, images, methods, imputations, target, unit, mean, std, context, subject.classes)),
    )
    rundir.finish(describe(device), earlier=progress.seconds)
    progress.clear()
    print(page)
    return 0


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
    predicted = predict(model, pool, context.batch_size).argmax(1)
    chosen = first_of_each_class(images.labels, predicted, EXAMPLES)
    there = chosen.to(pool.device)
    batch = pool[there].float() / 255
    targets = targets_of(predicted[there], images.labels[there], target)
    placed = replace(context, colour=mean.to(pool.device), pool=pool, rows=chosen)
    maps = {method: square_means(METHODS[method](model, batch, targets, placed), unit) for method in methods}
    ties = tie_break(maps[methods[0]][0].numel(), context.seed)
    ranks = {method: rank_squares(values, "morf", ties, unit) for method, values in maps.items()}
    imputes = {kind: imputer(batch, kind, mean, std, chosen, len(pool), context.seed) for kind in imputations}
    return examples_figure(batch, imputes, maps, ranks, [classes[int(t)] for t in targets])
