"""``fa-repro train``: train one model; resumes; writes checkpoint, history, metrics and curves."""

import json

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from fa_repro.checkpoint import Checkpoint
from fa_repro.data import ImageSet, held_out, inputs_of, load_data
from fa_repro.device import choose_device, describe
from fa_repro.errors import InputError
from fa_repro.models import Task, build_model, fit_whitening
from fa_repro.plotting import png
from fa_repro.rundir import RunDir, default_name
from fa_repro.training import HISTORY, PRECISIONS, VERSION, Resume, Trainer, World, count_macs, evaluate, joined
from fa_repro.training.figures import curves_figure


def run(cfg: DictConfig) -> int:
    """Train as ``cfg`` (``configs/train.yaml``) says; return the exit code.

    Raises:
        InputError: config or data can't be used.

    """
    device = choose_device(cfg.device)
    with joined(device) as world:
        return _train(cfg, device, world)


def _train(cfg: DictConfig, device: torch.device, world: World) -> int:
    for group in ("data", "model"):
        if cfg[group].name == "from_checkpoint":
            raise InputError(f"{group}=from_checkpoint: training starts from fresh weights. Give another {group}=.")
    inputs = {"trainer": VERSION} | inputs_of(cfg.data, "train", "test")
    rundir = RunDir(cfg, "train", cfg.name or default_name(cfg), inputs, writes=world.leads)
    if rundir.finished:
        return rundir.report_finished()
    world.wait()  # all have looked before one begins to write
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    recipe = config["trainer"]

    with world.leader_first():
        whole, test = load_data(config["data"], "train"), load_data(config["data"], "test").to(device)
    _check_alike(whole, test)
    mean, std = whole.statistics()
    task = Task(len(whole.classes), whole.images.shape[1], whole.images.shape[2], mean, std)
    torch.manual_seed(cfg.seed)
    model = build_model(config["model"], task).to(device)
    macs = count_macs(model.eval(), torch.zeros(1, task.in_channels, task.image_size, task.image_size, device=device))
    train, val = whole.to(device), None
    chosen = torch.zeros(len(whole), dtype=torch.bool)
    chosen[held_out(whole.labels, recipe["val_fraction"], cfg.seed)] = True
    if chosen.any():
        train, val = whole.select(~chosen).to(device), whole.select(chosen).to(device)

    trainer = Trainer(model, train, val, recipe, torch.tensor(mean), cfg.seed, world)
    fit_whitening(model, train.images)
    rundir.start()
    world.wait()  # the start of an overwriting run throws the old one's state away
    resume = Resume(rundir, trainer)
    if resume.take_over() and world.leads:
        print(f"{rundir.path}: going on after epoch {len(trainer.history)} of {recipe['epochs']}.")

    def after_epoch() -> None:
        resume.save()
        rundir.write_text("history.csv", _history(trainer).to_csv(index=False))

    trainer.fit(after_epoch)

    history = _history(trainer)
    score = evaluate(model, test, trainer.memory_format, world)
    if not world.leads:
        return 0
    seconds = float(history.seconds.sum())
    metrics = {
        "top1": score.top1,
        "loss": score.loss,
        "val_top1": trainer.history[-1]["val_top1"],
        "n_test": len(test),
        "n_train": len(train),
        "parameters": sum(p.numel() for p in model.parameters()),
        "macs": macs,
        "epochs": recipe["epochs"],
        "processes": world.size,
        "precision": PRECISIONS[trainer.precision],
        "compiled": trainer.compiled,
        "images_per_second": float(history.images_per_second.median()),
        "seconds": round(seconds, 1),
    }
    checkpoint = Checkpoint(
        model=config["model"],
        task=task._asdict(),
        classes=list(whole.classes),
        state={key: value.cpu().contiguous() for key, value in model.state_dict().items()},
        data=config["data"],
        trainer=recipe,
        seed=cfg.seed,
    )
    rundir.write("checkpoint.pt", checkpoint.save)
    rundir.write_text("history.csv", history.to_csv(index=False))
    rundir.write_text("metrics.json", json.dumps(metrics, indent=1) + "\n")
    rundir.write("curves.png", png(curves_figure(history, score.top1)))
    rundir.finish(describe(device), seconds=seconds)
    resume.clear()
    print(
        f"{rundir.path}: test top-1 {score.top1:.4f} on {len(test)} images "
        f"after {recipe['epochs']} epochs, {seconds:.0f} s."
    )
    return 0


def _check_alike(train: ImageSet, test: ImageSet) -> None:
    """Refuse images to learn from and to test on that are not of one shape.

    Raises:
        InputError: says both shapes.

    """
    if train.images.shape[1:] == test.images.shape[1:]:
        return
    seen, asked = (
        f"{h}x{w} pixels in {c} channel{'s' * (c != 1)}" for c, h, w in (train.images.shape[1:], test.images.shape[1:])
    )
    raise InputError(
        f"data: the training images have {seen}, the test images {asked}. Give data.image_size=N for the size; "
        f"for the channels, make both grey or both coloured."
    )


def _history(trainer: Trainer) -> pd.DataFrame:
    return pd.DataFrame(trainer.history, columns=list(HISTORY))
