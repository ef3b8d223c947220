"""What a command with attribution methods begins with: methods that the network can do, and their settings."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from torch import nn

from fa_repro.attribution import Context, choose_methods
from fa_repro.attribution.feature_layer import choose_layer
from fa_repro.attribution.patches import check_patch
from fa_repro.data import ImageSet
from fa_repro.models.build import check_size
from fa_repro.models.external import check_batch, probe
from fa_repro.subject import Subject


class Ready(NamedTuple):
    """Images, network, methods and settings, on the device.

    Attributes:
        images: those that are explained.
        model: the network, of several trainings the first.
        methods: those that it can do, and the controls.
        notes: a line for each method that it can't do, and for what was added.
        context: settings of the methods.
        settings: the same in words, for the conditions of a result.

    """

    images: ImageSet
    model: nn.Module
    methods: list[str]
    notes: list[str]
    context: Context
    settings: str


_PATCHED = ("permutation", "occlusion", "shapley")  # hide a patch at a time
# Over how much a method averages, and what stands for a patch that it hides.
_AVERAGES = {"permutation": "repeats", "integrated_gradients": "n_steps", "shapley": "n_samples"}
_BASED = ("occlusion", "integrated_gradients", "shapley")


def _settings(methods: Sequence[str], context: Context) -> str:
    words = [f"maps up-sampled: {context.upsampling}"]
    if context.layer and "grad_cam" in methods:
        words.append(f"Grad-CAM at {context.layer}")
    if based := [method for method in _BASED if method in methods]:
        words.append(f"baseline of {' and '.join(based)}: mean colour")
    words.append(f"patches of {context.patch} pixels")
    words += [f"{key}={getattr(context, key)}" for method, key in _AVERAGES.items() if method in methods]
    return ", ".join([*words, f"seed {context.seed}"])


def make_ready(
    subject: Subject, images: ImageSet, cfg: DictConfig, device: torch.device, *, controls: bool = True
) -> Ready:
    """Choose methods and settings as ``cfg`` (a `fa_repro.config.AttributionConfig`) says, and say what was chosen.

    Args:
        subject: of `fa_repro.subject.open_subject`.
        images: those of its test images that are explained.
        cfg: of the command.
        device: of the run.
        controls: whether the controls are added where they are not asked for.

    Raises:
        InputError: layer, methods or patch can't be used, or the model can't take the images, or reads those of a batch
            together.

    """
    images = images.to(device)
    model = subject.frozen().to(device)
    check_size(model, images.images.shape[2], f"model {subject.name}", "image_size")
    # Here, where it runs: a tensor that a network keeps to itself stays on the CPU when the network goes to a GPU.
    probe(model, images.images[:1].float() / 255, len(images.classes), subject.name)
    check_batch(model, images.images[:2].float() / 255, subject.name)
    layer = choose_layer(model, cfg.layer, images.images[:1].float() / 255)
    methods, notes = choose_methods(cfg.methods, model, subject.name, images.images, layer, controls)
    if set(methods) & set(_PATCHED):
        check_patch(cfg.patch, images.images)
    for line in notes:
        print(line)
    context = Context(
        colour=torch.tensor(subject.task.mean, device=device),
        layer=layer,
        upsampling=cfg.upsampling,
        patch=cfg.patch,
        repeats=cfg.repeats,
        n_steps=cfg.n_steps,
        n_samples=cfg.n_samples,
        seed=cfg.seed,
        batch_size=cfg.batch_size,
    )
    return Ready(images, model, methods, notes, context, _settings(methods, context))
