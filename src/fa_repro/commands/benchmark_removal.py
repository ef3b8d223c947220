"""``fa-repro benchmark-removal``: percent pixels removed for one classifier, every method beside the controls."""

import gzip
from dataclasses import replace

import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from tqdm import tqdm

from fa_repro.attribution import METHODS, Context, check_captum, choose_methods
from fa_repro.data import ImageSet
from fa_repro.device import choose_device, describe
from fa_repro.plotting import png
from fa_repro.removal import measure, per_image_table
from fa_repro.removal.figures import curves_figure, examples_figure
from fa_repro.removal.imputation import stand_in
from fa_repro.removal.ranking import rank_pixels, tie_break
from fa_repro.removal.summary import curves_table, difference_table, summary_markdown, summary_table
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
    steps = len(images) * (len(methods) * len(orders) * (len(cfg.fractions) - 2) + 2)
    with tqdm(total=steps, desc="removing pixels", unit="img", delay=2, disable=None) as bar:
        measured = measure(
            model,
            images.images,
            images.labels,
            methods=methods,
            orders=orders,
            fractions=list(cfg.fractions),
            imputation=cfg.imputation,
            target=cfg.target,
            mean=mean,
            std=std,
            context=context,
            tick=bar.update,
        )

    bootstrap = Bootstrap(len(images), cfg.bootstrap, cfg.seed)
    curves = curves_table(measured, bootstrap, cfg.imputation)
    summary = summary_table(measured, bootstrap, cfg.imputation)
    differences = difference_table(measured, bootstrap)
    top1 = float((measured.prediction[0, 0, 0] == measured.labels).mean())
    conditions = (
        f"{subject.words}, "
        f"{len(images)} test images of {subject.data}, top-1 {100 * top1:.1f} %, target: {cfg.target}, "
        f"removed pixels: {cfg.imputation}, maps up-sampled: {cfg.upsampling}, patches of {cfg.patch} pixels, "
        f"seed {cfg.seed}."
    )
    rundir.write_text("curves.csv", curves.to_csv(index=False, float_format="%.6g"))
    rundir.write_text("summary.csv", summary.to_csv(index=False, float_format="%.6g"))
    if differences is not None:
        rundir.write_text("differences.csv", differences.to_csv(index=False, float_format="%.6g"))
    page = summary_markdown(f"Percent pixels removed: {subject.run_name}", conditions, summary, differences, left_out)
    rundir.write_text("summary.md", page)
    rows = per_image_table(measured, images.rows.numpy(), cfg.imputation).to_csv(index=False).encode()
    # No time stamp inside: the same rows are the same file.
    rundir.write("per_image.csv.gz", lambda file: file.write(gzip.compress(rows, compresslevel=6, mtime=0)))
    rundir.write("curves.png", png(curves_figure(curves, conditions.split(", target")[0])))
    rundir.write(
        "examples.png",
        png(_examples(model, images, methods, cfg.imputation, mean, std, context, list(subject.classes))),
    )
    rundir.finish(describe(device))
    print(page)
    return 0


def _examples(
    model: torch.nn.Module,
    images: ImageSet,
    methods: list[str],
    imputation: str,
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
    batch = pool[chosen.to(pool.device)].float() / 255
    targets = predicted[chosen.to(pool.device)].clone()
    there = replace(context, colour=mean.to(pool.device), pool=pool, rows=chosen)
    maps = {method: METHODS[method](model, batch, targets, there) for method in methods}
    ties = tie_break(batch[0, 0].numel(), context.seed)
    ranks = {method: rank_pixels(values, "morf", ties) for method, values in maps.items()}
    instead = stand_in(batch, imputation, mean, std, chosen, len(pool), context.seed)
    return examples_figure(batch, instead, maps, ranks, [classes[int(t)] for t in targets])
