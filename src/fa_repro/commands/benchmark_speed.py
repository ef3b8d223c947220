"""``fa-repro benchmark-speed``: images per second of training, explaining or removing pixels; limits and peers."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from fa_repro.attribution import Context
from fa_repro.attribution.feature_layer import choose_layer
from fa_repro.attribution.patches import check_patch
from fa_repro.data import ImageSet
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError
from fa_repro.models.external import probe
from fa_repro.plotting import png
from fa_repro.rundir import RunDir
from fa_repro.speed import Comparison, Contender, explanation, interleave, rate_table, ratio_table, removal, training
from fa_repro.speed.contention import Contention
from fa_repro.speed.figures import rates_figure
from fa_repro.speed.summary import summary_markdown
from fa_repro.subject import Subject, open_subject


def run(cfg: DictConfig) -> int:
    """Measure as ``cfg`` (``configs/benchmark_speed.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or data can't be used.

    """
    device = choose_device(cfg.device)
    trains = cfg.what == "training"
    subject = open_subject(cfg, "benchmark-speed", split="train" if trains else "test", own=trains)
    rundir = RunDir(cfg, "benchmark-speed", cfg.name or f"{cfg.what}-{subject.run_name}", subject.inputs)
    if rundir.finished:
        return rundir.report_finished()
    loaded = subject.load()
    images = loaded.sample(cfg.n_removed if cfg.what == "removal" else cfg.n_images, cfg.seed).to(device)
    if trains:
        contenders, comparisons, notes = _trainers(subject, images, cfg, device, len(loaded))
    else:
        contenders, comparisons, notes = _explainers(subject, images, cfg, device)
    rundir.start()
    runs = len(contenders) * (cfg.rounds + 1)
    with tqdm(total=runs, desc=f"{cfg.what}", unit="run", delay=2, disable=None, leave=False) as bar:

        def tick(name: str) -> None:
            bar.update()
            bar.set_postfix_str(name)

        contention = Contention()
        rates = interleave(contenders, cfg.rounds, device, tick, contention=contention)
    speeds, ratios = rate_table(rates), ratio_table(rates, comparisons).assign(waiting=contention.share)
    conditions = (
        f"{subject.name} on {subject.data}, {len(images)} images, {cfg.rounds} rounds in turns, {describe(device)}, "
        f"torch {torch.__version__}."
    )
    rundir.write_text("speed.csv", speeds.to_csv(index=False, float_format="%.6g"))
    rundir.write_text("rounds.csv", rates.to_csv(index=False, float_format="%.6g"))
    rundir.write_text("ratios.csv", ratios.to_csv(index=False, float_format="%.6g"))
    page = summary_markdown(f"Speed of {cfg.what}", conditions, speeds, ratios, notes, contention.share)
    rundir.write_text("summary.md", page)
    rundir.write("speed.png", png(rates_figure(speeds, f"{cfg.what}: {conditions.split(', torch')[0]}")))
    rundir.finish(describe(device))
    print(page)
    return 0


Contest = tuple[Sequence[Contender], Sequence[Comparison], list[str]]  # who runs, what is compared, who is absent


def _trainers(subject: Subject, images: ImageSet, cfg: DictConfig, device: torch.device, whole: int) -> Contest:
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    model, colour = subject.trainings[0].build().to(device), torch.tensor(subject.task.mean, device=device)
    contenders, notes = training.training_contenders(model, images, config["trainer"], colour, cfg.workers, whole)
    return contenders, training.COMPARISONS, notes


def _explainers(subject: Subject, images: ImageSet, cfg: DictConfig, device: torch.device) -> Contest:
    if cfg.what == "removal":
        check_patch(cfg.patch, images.images)
        if len(images) < 2:
            raise InputError(
                "n_removed: permutation needs two images or more, as a patch is replaced by another image's."
            )
    model = subject.frozen().to(device)
    probe(model, images.images[:1].float() / 255, len(images.classes), subject.name)
    mean, std = (torch.tensor(values, device=device) for values in (subject.task.mean, subject.task.std))
    settings = {"patch": cfg.patch, "repeats": cfg.repeats, "seed": cfg.seed, "batch_size": cfg.batch_size}
    context = Context(colour=mean, **settings)
    if cfg.what == "removal":
        contenders, notes = removal.removal_contenders(model, images.images, images.labels, std, context, cfg.n_patched)
        return contenders, removal.COMPARISONS, notes
    pixels = images.images.float() / 255
    context = replace(context, layer=choose_layer(model, cfg.layer, pixels[:1]))
    contenders, notes = explanation.explanation_contenders(model, pixels, context)
    return contenders, explanation.COMPARISONS, notes
