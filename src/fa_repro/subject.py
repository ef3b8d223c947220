"""What a command looks at: a classifier, from a checkpoint or elsewhere, and the images it is asked about."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from fa_repro.checkpoint import Checkpoint, check_images, load_checkpoint, merge_data
from fa_repro.data import ImageSet, boxes, held_out, inputs_of, load_data
from fa_repro.errors import InputError
from fa_repro.files import digest
from fa_repro.models import Task, build_model
from fa_repro.models.external import build_external, factory_file, is_external, probe, refuse_external
from fa_repro.rundir import data_label, default_name
from fa_repro.training.recipe import recipe


class Training(NamedTuple):
    """One network of a classifier's: its seed, and what builds it, in eval mode."""

    seed: int
    build: Callable[[], nn.Module]

    def frozen(self) -> nn.Module:
        """Return the network, its weights without gradients."""
        return self.build().requires_grad_(False)


class Subject(NamedTuple):
    """A classifier and its images, both made on demand, on the CPU.

    Attributes:
        name: of the model.
        words: the model and where its weights come from.
        data: what to call the data set.
        run_name: what to call the run.
        inputs: digests of the files that the result depends on, for `fa_repro.rundir.RunDir`.
        task: what the model fits; mean and std are of its training set, of the images where that is unknown.
        classes: names.
        load: returns all images, of the split and with the truth that `open_subject` was asked for.
        trainings: one, or with several checkpoints as many, by seed.

    """

    name: str
    words: str
    data: str
    run_name: str
    inputs: dict[str, str]
    task: Task
    classes: tuple[str, ...]
    load: Callable[[], ImageSet]
    trainings: tuple[Training, ...]

    def frozen(self) -> nn.Module:
        """Return the network, its weights without gradients; of several trainings the first."""
        return self.trainings[0].frozen()


def open_subject(
    cfg: DictConfig, command: str, *, split: str | None = "test", truth: bool = False, own: bool = False
) -> Subject:
    """Open what ``cfg`` names: ``checkpoint=PATH`` or ``checkpoint=[PATH,…]``, or ``model=NAME`` and ``data=NAME``.

    Checkpoints are put into the order of their seeds, in ``cfg`` too, so that any order of words is the same run.

    Args:
        cfg: with checkpoint, data, model, name and seed.
        command: the subcommand, as typed.
        split: whose images are meant, ``train``, ``test`` or ``val``, the training images that a checkpoint's training
            held out; None: a checkpoint's are not wanted.
        truth: whether an image folder's boxes are wanted, on which the result then depends.
        own: whether it must be a network of ours.

    Raises:
        InputError: too much or too little is given, or a file or the data can't be used.

    """
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    if own:
        refuse_external(config["model"])
    return (_from_checkpoint if _names_checkpoint(cfg, command) else _from_model)(cfg, config, split, truth)


def _names_checkpoint(cfg: DictConfig, command: str) -> bool:
    """Return whether ``cfg`` names a checkpoint; if not, it names a model and a data set.

    Raises:
        InputError: it names too much or too little.

    """
    if cfg.checkpoint is not None:
        if cfg.model.name != "from_checkpoint":
            raise InputError(
                "checkpoint=… and model=… contradict each other: the checkpoint holds its model. Give one of them."
            )
        return True
    if "from_checkpoint" in (cfg.model.name, cfg.data.name):
        raise InputError(
            f"{command} needs checkpoint=PATH, or model=NAME and data=NAME for another classifier "
            f"(`fa-repro train` writes RESULTS/train/NAME/checkpoint.pt)."
        )
    return False


# Of a data set's config, where its files lie and not what they are; that much the task's statistics tell.
_WHEREABOUTS = ("root", "cache", "download")


def _check_seeds(paths: Sequence[str], checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse checkpoints that are anything but one model, trained alike on the same data with different seeds.

    Raises:
        InputError: names the first that is not.

    """
    first = checkpoints[0]
    way_out = "Several checkpoints must be one model, trained alike on the same data with different seeds."
    for path, other in zip(paths[1:], checkpoints[1:], strict=True):
        for what in ("model", "classes", "data", "task", "trainer"):
            mine, theirs = getattr(first, what), getattr(other, what)
            if what == "trainer":
                mine, theirs = recipe(mine), recipe(theirs)
            if what == "data":
                mine, theirs = ({k: v for k, v in d.items() if k not in _WHEREABOUTS} for d in (mine, theirs))
            if mine != theirs:
                key = what
                if isinstance(mine, dict):
                    odd = next(k for k in sorted({*mine, *theirs}) if mine.get(k) != theirs.get(k))
                    key = f"{what}.{odd}: {mine.get(odd)} and {theirs.get(odd)}"
                raise InputError(
                    f"checkpoint: {paths[0]} and {path} differ in more than their seeds ({key}). {way_out}"
                )
    by_seed: dict[int, str] = {}
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        if checkpoint.seed in by_seed:
            raise InputError(
                f"checkpoint: {by_seed[checkpoint.seed]} and {path} have the same seed {checkpoint.seed}. {way_out}"
            )
        by_seed[checkpoint.seed] = path


def _data_inputs(data: dict[str, Any], split: str | None, truth: bool) -> dict[str, str]:
    table = boxes.table_of(data) if truth else None
    files = "train" if split == "val" else split
    return ({} if files is None else inputs_of(data, files)) | ({} if table is None else {"boxes": digest(table)})


def _share_held_out(checkpoints: Sequence[Checkpoint], data: dict[str, Any]) -> float:
    """Return which share of its training images a checkpoint's training held out.

    Raises:
        InputError: none, other images for every network, or ``data`` is another set than the training's.

    """
    if len(checkpoints) > 1:
        raise InputError("split=val: every seed held out images of its own. Give one checkpoint, or split=test.")
    (checkpoint,) = checkpoints
    share = checkpoint.trainer.get("val_fraction", 0)
    if not share:
        raise InputError("split=val: the training held no images out (trainer.val_fraction=0). Give split=test.")
    if data["name"] != checkpoint.data["name"]:
        raise InputError(
            f"split=val: the checkpoint's images were read as data={checkpoint.data['name']}, and which were held out "
            f"hangs on their order. Give data={checkpoint.data['name']}, or split=test."
        )
    return share


def _from_checkpoint(cfg: DictConfig, config: dict[Any, Any], split: str | None, truth: bool) -> Subject:
    paths = [cfg.checkpoint] if isinstance(cfg.checkpoint, str) else list(cfg.checkpoint)
    checkpoints = [load_checkpoint(path) for path in paths]
    _check_seeds(paths, checkpoints)
    order = sorted(range(len(paths)), key=lambda i: checkpoints[i].seed)
    paths, checkpoints = [paths[i] for i in order], [checkpoints[i] for i in order]
    checkpoint, alone = checkpoints[0], len(paths) == 1
    cfg.checkpoint = paths[0] if alone else paths  # a path and a list of that one path are the same run
    data = merge_data(checkpoint, config["data"])
    name = checkpoint.model["name"]

    validated = _share_held_out(checkpoints, data) if split == "val" else None

    def load() -> ImageSet:
        images = load_data(data, split or "test" if validated is None else "train", truth)
        check_images(checkpoint, images)
        if validated is None:
            return images
        if list(images.statistics()[0]) != list(checkpoint.task["mean"]):
            raise InputError("split=val: these are not the training images of the checkpoint. Give split=test.")
        return images.select(held_out(images.labels, validated, checkpoint.seed))

    share = checkpoint.trainer["augment"]["removal"]
    augmented = f"{100 * share:.0f} % of the training images with removal" if share else "no removal"
    side = checkpoint.trainer["augment"].get("cutout", 0)
    cutout = f", cutout of {side} pixels" if side else ""
    weight = checkpoint.trainer.get("locality", 0)
    local = f", locality loss of weight {weight:g}" if weight else ""
    seeds = [str(one.seed) for one in checkpoints]
    each = "" if alone else f" with the seeds {', '.join(seeds[:-1])} and {seeds[-1]}"
    return Subject(
        name=name,
        words=f"{name} trained on {data_label(checkpoint.data)}{each} ({augmented} as augmentation{cutout}{local})",
        data=data_label(data),
        run_name=cfg.name or f"{data_label(data)}-{name}-seed{'s' * (not alone)}{'-'.join(seeds)}",
        inputs={f"checkpoint{'' if alone else f'[{i}]'}": digest(Path(path)) for i, path in enumerate(paths)}
        | _data_inputs(data, split, truth),
        task=Task(**checkpoint.task),
        classes=tuple(checkpoint.classes),
        load=load,
        trainings=tuple(Training(one.seed, one.build) for one in checkpoints),
    )


def _from_model(cfg: DictConfig, config: dict[Any, Any], split: str | None, truth: bool) -> Subject:
    if split == "val":
        raise InputError("split=val is what a checkpoint's training held out. Give checkpoint=PATH, or split=test.")
    split = split or "test"
    model, images = config["model"], load_data(config["data"], split, truth)
    # Of these images: the set that another's classifier was trained on is not at hand.
    task = Task(len(images.classes), images.images.shape[1], images.images.shape[2], *images.statistics())
    name, inputs = model["name"], _data_inputs(config["data"], split, truth)
    weights = model.get("weights")
    if weights is not None and Path(weights).is_file():
        inputs["weights"] = digest(Path(weights))
    if "factory" in model and (file := factory_file(model["factory"])):
        inputs["factory"] = digest(file)

    def build() -> nn.Module:
        if is_external(model):
            network = build_external(model, task.n_classes, cfg.seed)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.random.default_generator.manual_seed(cfg.seed)
                network = build_model(model, task).eval()
        probe(network, images.images[:1].float() / 255, task.n_classes, name)
        return network

    origin = f"with the weights of {Path(weights).name}" if weights is not None else "with random weights"
    if "factory" in model and weights is None:
        origin = f"as {model['factory']} returns it"
    return Subject(
        name=name,
        words=f"{name} {origin} (mean colour of the {split} images)",
        data=data_label(config["data"]),
        run_name=cfg.name or default_name(cfg),
        inputs=inputs,
        task=task,
        classes=images.classes,
        load=lambda: images,
        trainings=(Training(cfg.seed, build),),
    )
