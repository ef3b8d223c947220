"""Training throughput: the trainer's own epochs, their limit, and the loop that most people write."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from fa_repro.data import ImageSet
from fa_repro.data.augment import Removed, removal_mask
from fa_repro.device import bf16_is_native
from fa_repro.speed.timing import Comparison, Contender
from fa_repro.torchvision_library import torchvision_part
from fa_repro.training import Trainer
from fa_repro.training.compiled import choose_compile
from fa_repro.training.distributed import ALONE
from fa_repro.training.trainer import build_optimizer

TRAIN, STEP, EAGER, USUAL = "fa-repro train", "bare step", "bare step, not compiled", "usual loop"
# The limits: what is not the step itself may take a twentieth, and who has the usual loop should gain by this one.
COMPARISONS = (
    Comparison("end to end, of the bare step on one resident batch", TRAIN, STEP, ">=", 0.95),
    Comparison("end to end, of the usual loop", TRAIN, USUAL, ">=", 2.0),
    Comparison("compiled step, of the same not compiled", STEP, EAGER),
)


class _Single(Dataset[tuple[Tensor, int]]):
    """Images one at a time through torchvision's transforms, as the usual loop has them."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, border: int, mirror: bool) -> None:
        transforms = torchvision_part("transforms")
        self.images, self.labels = images, labels  # (N,H,W,C) uint8, (N,)
        steps: list[Any] = [transforms.ToPILImage()]
        if border:
            steps.append(transforms.RandomCrop(images.shape[1:3], padding=border, padding_mode="reflect"))
        if mirror:
            steps.append(transforms.RandomHorizontalFlip())
        self.transform = transforms.Compose([*steps, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def _usual_loop(model: nn.Module, train: ImageSet, recipe: Mapping[str, Any], workers: int) -> Contender:
    """Return DataLoader with workers, a transform per image, fp32, NCHW, the loss read at every step."""
    device = train.images.device
    model = model.to(memory_format=torch.contiguous_format).train()
    optimizer = build_optimizer(model, recipe)
    pixels = train.images.cpu().permute(0, 2, 3, 1).numpy()
    data = _Single(pixels, train.labels.cpu().numpy(), recipe["augment"]["crop"], recipe["augment"]["flip"])
    loader = DataLoader(
        data,
        batch_size=recipe["batch_size"],
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )

    def epoch() -> int:
        running = 0.0
        for images, labels in loader:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels, label_smoothing=recipe["label_smoothing"])
            loss.backward()
            optimizer.step()
            running += loss.item()
        return len(loader) * recipe["batch_size"]

    return Contender(USUAL, epoch, crowded=workers > 0)


def _bare_steps(name: str, trainer: Trainer, steps: int) -> Contender:
    """Return ``steps`` training steps on one synthetic batch that lies ready in the trainer's memory format."""
    generator = torch.Generator().manual_seed(0)
    shape = (trainer.batch_size, *trainer.train.images.shape[1:])
    images = torch.rand(shape, generator=generator).to(trainer.device).contiguous(memory_format=trainer.memory_format)
    labels = torch.randint(len(trainer.train.classes), (len(images),), generator=generator).to(trainer.device)
    removal = trainer.recipe["augment"]["removal"]
    drawn = removal_mask(len(images), (shape[2], shape[3]), removal, generator)
    removed = Removed(*(part.to(trainer.device) for part in drawn))

    def run() -> int:
        trainer.model.train()
        for _ in range(steps):
            trainer.step(images, labels, removed)
        return steps * len(images)

    return Contender(name, run)


def training_contenders(
    model: nn.Module, train: ImageSet, recipe: Mapping[str, Any], colour: Tensor, workers: int, whole: int | None = None
) -> tuple[list[Contender], list[str]]:
    """Return who trains, each a copy of ``model`` of its own, and notes on who doesn't.

    Args:
        model: fresh or trained, on the images' device.
        train: images of one epoch; all are used in each run.
        recipe: a resolved ``configs/trainer/*.yaml``.
        colour: (C,) in [0,1], what removal sets pixels to.
        workers: processes of the usual loop's DataLoader.
        whole: images of the training that these stand for, by which ``compile: auto`` chooses; None: these are all.

    Raises:
        InputError: fewer images than one batch, or ``compile: always`` where torch can't.

    """

    def trainer(**changed: str) -> Trainer:
        return Trainer(deepcopy(model), train, None, {**recipe, **changed}, colour, seed=0)

    device = train.images.device
    learned = whole - round(recipe["val_fraction"] * whole) if whole else len(train)
    passes = recipe["epochs"] * (learned // recipe["batch_size"] * recipe["batch_size"])
    compiled = choose_compile(recipe["compile"], deepcopy(model), train.images.shape, passes, device, ALONE)
    recipe = {**recipe, "compile": "always" if compiled else "never"}
    own = trainer()
    epochs = count(1)

    def train_epoch() -> int:
        own.epoch(next(epochs))
        return own.steps * own.batch_size

    contenders = [
        Contender(TRAIN, train_epoch),
        _bare_steps(STEP, trainer(), own.steps),
        _usual_loop(deepcopy(model), train, recipe, workers),
    ]
    notes = ["The trainer's steps are " + ("compiled, the last rows' not." if compiled else "not compiled.")]
    if compiled:
        contenders.append(_bare_steps(EAGER, trainer(compile="never"), own.steps))
    precisions = ["fp32"]
    if bf16_is_native(own.device):
        precisions.append("bf16")
    else:
        notes.append("bf16 was not measured: this processor has no instructions for it and emulates it.")
    for precision in precisions:
        for layout in ("contiguous", "channels_last"):
            one = trainer(precision=precision, memory_format=layout, compile="never")
            contenders.append(_bare_steps(f"bare step, {precision} {layout}", one, max(1, own.steps // 2)))
    return contenders, notes
