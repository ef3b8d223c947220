"""``fa-repro benchmark-speed``: images per second of training, explaining or removing pixels; limits and peers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from fa_repro.attribution import Context
from fa_repro.checkpoint import check_images, load_checkpoint, merge_data
from fa_repro.data import ImageSet, load_data, stratified
from fa_repro.device import choose_device, describe
from fa_repro.models import Task, build_model
from fa_repro.plotting import png
from fa_repro.rundir import RunDir, data_label, digest
from fa_repro.speed import Comparison, Contender, explanation, interleave, rate_table, ratio_table, removal, training
from fa_repro.speed.contention import Contention
from fa_repro.speed.figures import rates_figure
from fa_repro.speed.summary import summary_markdown
from fa_repro.subject import names_checkpoint


def run(cfg: DictConfig) -> int:
    """Measure as ``cfg`` (``configs/benchmark_speed.yaml``) says; return the exit code.

    Raises:
        InputError: config, checkpoint or data can't be used.

    """
    device = choose_device(cfg.device)
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    split = "train" if cfg.what == "training" else "test"
    model, label, data, rundir = _open(cfg, config, split)
    if rundir.finished:
        return rundir.exit_code()
    n_images = cfg.n_removed if cfg.what == "removal" else cfg.n_images
    images = data.select(stratified(data.labels, min(n_images, len(data)), cfg.seed)).to(device)
    mean, std = (torch.tensor(values, device=device) for values in data.statistics())
    model = model.to(device)
    contenders: Sequence[Contender]
    comparisons: Sequence[Comparison]
    if cfg.what == "training":
        comparisons = training.COMPARISONS
        contenders, notes = training.training_contenders(model, images, config["trainer"], mean, cfg.workers)
    else:
        context = Context(colour=mean, patch=cfg.patch, repeats=cfg.repeats, seed=cfg.seed, batch_size=cfg.batch_size)
        model = model.eval().requires_grad_(False)
        if cfg.what == "removal":
            comparisons = removal.COMPARISONS
            contenders, notes = removal.removal_contenders(
                model, images.images, images.labels, std, context, cfg.n_patched
            )
        else:
            comparisons = explanation.COMPARISONS
            contenders, notes = explanation.explanation_contenders(
                model, images.images.float() / 255, context, cfg.n_patched
            )
    rundir.start()
    runs = len(contenders) * (cfg.rounds + 1)
    with tqdm(total=runs, desc=f"{cfg.what}", unit="run", delay=2, disable=None, leave=False) as bar:

        def tick(name: str) -> None:
            bar.update()
            bar.set_postfix_str(name)

        contention = Contention()
        rates = interleave(contenders, cfg.rounds, device, tick, contention=contention)
    speeds, ratios = rate_table(rates), ratio_table(rates, comparisons)
    conditions = (
        f"{label}, {len(images)} images, {cfg.rounds} rounds in turns, {describe(device)}, torch {torch.__version__}."
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


def _open(cfg: DictConfig, config: dict[Any, Any], split: str) -> tuple[torch.nn.Module, str, ImageSet, RunDir]:
    """Return the model, what it is in words, the split's images and the run directory."""
    if names_checkpoint(cfg, "benchmark-speed"):
        checkpoint = load_checkpoint(cfg.checkpoint)
        data_config = merge_data(checkpoint, config["data"])
        name, inputs = checkpoint.model["name"], {"checkpoint": digest(Path(cfg.checkpoint))}
    else:
        checkpoint, data_config, name, inputs = None, config["data"], cfg.model.name, {}
    default = f"{cfg.what}-{data_label(data_config)}-{name}-seed{cfg.seed}"
    rundir = RunDir(cfg, "benchmark-speed", cfg.name or default, inputs)
    data = load_data(data_config, split)
    channels, size = data.images.shape[1], data.images.shape[2]
    if checkpoint is None:
        torch.manual_seed(cfg.seed)
        model = build_model(config["model"], Task(len(data.classes), channels, size, *data.statistics()))
    else:
        check_images(checkpoint, data)
        model = checkpoint.build()
    return model, f"{name} on {data_label(data_config)}", data, rundir
