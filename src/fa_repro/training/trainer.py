"""The training loop: resident images, augmented and learned on the device, an epoch at a time, resumable."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from fa_repro.data import ImageSet
from fa_repro.data.augment import Removed, augment, mirrored
from fa_repro.device import autocast, choose_memory_format, choose_precision, true_fp32
from fa_repro.errors import InputError
from fa_repro.training.compiled import choose_compile, compiler_errors
from fa_repro.training.distributed import ALONE, World
from fa_repro.training.evaluate import evaluate
from fa_repro.training.locality import Estimating, divergence
from fa_repro.training.schedule import schedule

# Of what a recipe's keys do: another one as soon as the same config trains otherwise, so that an earlier version's run
# is neither gone on with nor taken for the same. 2: alternating flip.
VERSION = "2"
HISTORY = ("epoch", "lr", "train_loss", "val_loss", "val_top1", "images_per_second", "seconds")
PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16"}  # in words
Row = dict[str, float | None]
# Between the generators of two seeds: more epochs than any training has, so that no two of them draw alike.
_SEEDS_APART = 100_003


def build_optimizer(model: nn.Module, recipe: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Return the optimiser; convolution and linear weights decay, norms, biases and scalars don't."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe["weight_decay"]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe["optimizer"] == "sgd":
        momentum = recipe["momentum"]
        return torch.optim.SGD(groups, lr=recipe["lr"], momentum=momentum, nesterov=momentum > 0, fused=True)
    return torch.optim.AdamW(groups, lr=recipe["lr"], fused=True)


class Trainer:
    """Trains one model; every epoch draws from a generator of its own, so that a resumed run repeats it bit for bit."""

    def __init__(
        self,
        model: nn.Module,
        train: ImageSet,
        val: ImageSet | None,
        recipe: Mapping[str, Any],
        colour: Tensor,
        seed: int,
        world: World = ALONE,
    ) -> None:
        """Prepare.

        Args:
            model: on the device of the images.
            train: images to learn from.
            val: images held out for choices, or None.
            recipe: a resolved ``configs/trainer/*.yaml``.
            colour: (C,) in [0,1], what removal sets pixels to.
            seed: of the order of the images and of the augmentation.
            world: the processes that train together, each on its share of every batch.

        Raises:
            InputError: fewer training images than one batch, a batch that the processes can't share evenly, a crop out
                of a border that images of this size can't have, a cutout that may take a whole image, or a loss on what
                is removed where nothing is.

        """
        self.device = train.images.device
        self.recipe = recipe
        self.batch_size = recipe["batch_size"]
        self.steps = len(train) // self.batch_size  # the last, smaller batch is dropped; each epoch drops others
        if self.steps == 0:
            raise InputError(f"trainer.batch_size={self.batch_size}: more than the {len(train)} training images.")
        if self.batch_size % world.size:
            raise InputError(f"trainer.batch_size={self.batch_size}: no multiple of the {world.size} processes.")
        size = train.images.shape[-1]
        for key in ("crop", "cutout"):
            if recipe["augment"][key] >= size:
                told = f"trainer.augment.{key}={recipe['augment'][key]}"
                raise InputError(f"{told}: must be less than the images' {size} pixels.")
        self.world = world
        self.precision = choose_precision(recipe["precision"], self.device)
        self.memory_format = choose_memory_format(recipe["memory_format"])
        self.model = model.to(memory_format=self.memory_format)
        self.locality = recipe["locality"]
        if self.locality and not recipe["augment"]["removal"]:
            raise InputError("trainer.locality: nothing is removed for it to see. Give trainer.augment.removal, too.")
        passes = recipe["epochs"] * self.steps * self.batch_size
        self.compiled = choose_compile(recipe["compile"], model, train.images.shape, passes, self.device, world)
        # What is trained through; the weights are the model's own.
        self.network = world.wrap(Estimating(self.model) if self.locality else self.model)
        if self.compiled:
            # A sweep's trainings are many networks in one process, and at the ninth the compiler would give up.
            torch.compiler.reset()
            self.network = cast(nn.Module, torch.compile(self.network, dynamic=False))
        self.train, self.val, self.colour, self.seed = train, val, colour.to(self.device), seed
        self.optimizer = build_optimizer(self.model, recipe)
        factor = schedule(recipe["schedule"], recipe["epochs"] * self.steps, recipe["warmup"])
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)
        self.history: list[Row] = []

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on from here."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": {k: v for k, v in self.scheduler.state_dict().items() if k != "lr_lambdas"},
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict({**state["scheduler"], "lr_lambdas": [None] * len(self.optimizer.param_groups)})
        self.history = list(state["history"])

    def fit(self, after_epoch: Callable[[], None]) -> None:
        """Train the epochs that are left; ``after_epoch`` is called after each and may save `state`.

        Raises:
            InputError: the loss is not finite any more, or torch's compiler fails.

        """
        for epoch in range(len(self.history) + 1, self.recipe["epochs"] + 1):
            row = self.epoch(epoch)
            self.history.append(row)
            val = "" if row["val_top1"] is None else f", val top-1 {row['val_top1']:.4f}"
            if self.world.leads:
                print(
                    f"epoch {epoch}/{self.recipe['epochs']}: loss {row['train_loss']:.4f}{val}, "
                    f"{row['images_per_second']:.0f} images/s",
                    file=sys.stderr,
                    flush=True,
                )
            after_epoch()

    def step(self, images: Tensor, labels: Tensor, removed: Removed | None = None) -> Tensor:
        """Learn from one batch, or this process's share of it; return the loss, still on the device.

        Args:
            images: (N,C,H,W) float in [0,1], augmented.
            labels: (N,).
            removed: what they lost; the recipe's ``locality`` needs it.

        """
        with true_fp32(self.precision), compiler_errors():  # the backward pass, too
            return self._learn(images.contiguous(memory_format=self.memory_format), labels, removed)

    def _learn(self, images: Tensor, labels: Tensor, removed: Removed | None) -> Tensor:
        with autocast(self.device, self.precision):
            if self.locality and removed:
                logits, estimate = self.network(images, (~removed.mask)[:, None].to(images.dtype))
            else:
                logits = self.network(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.recipe["label_smoothing"])
        if self.locality and removed:
            # By the whole batch's count: the mean over the processes is then the loss of one that has it all.
            n = self.world.sum(removed.together.sum()).clamp_min(1) / self.world.size
            loss = loss + self.locality * divergence(estimate, logits, removed.together, n)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return loss.detach()

    def epoch(self, epoch: int) -> Row:
        """Train one epoch, the ``epoch``-th from 1, validate, and return its line of the history.

        Raises:
            InputError: the loss is not finite any more.

        """
        augmentation = self.recipe["augment"]
        generator = torch.Generator().manual_seed(self.seed * _SEEDS_APART + epoch)
        order = torch.randperm(len(self.train), generator=generator).to(self.device)
        mirror = None
        if augmentation["flip"]:
            first = torch.Generator().manual_seed(self.seed * _SEEDS_APART)
            mirror = mirrored(len(self.train), epoch, first).to(self.device)
        self.network.train()
        total = torch.zeros((), device=self.device)
        began = time.perf_counter()
        batches = order[: self.steps * self.batch_size].split(self.batch_size)
        title = f"epoch {epoch}/{self.recipe['epochs']}"
        quiet = None if self.world.leads else True  # None: quiet unless on a terminal
        for rows in tqdm(batches, title, unit="batch", delay=2, disable=quiet, leave=False):
            images, removed = augment(
                self.train.images[rows],
                border=augmentation["crop"],
                mirror=None if mirror is None else mirror[rows],
                cutout=augmentation["cutout"],
                removal=augmentation["removal"],
                colour=self.colour,
                generator=generator,
            )
            # Drawn for the whole batch in every process, so that any number of them sees the same images.
            share = self.world.share
            part = Removed(share(removed.mask), share(removed.together)) if removed else None
            total += self.step(share(images), share(self.train.labels[rows]), part)
        # The only wait for the device in an epoch's training.
        mean_loss = self.world.sum(total).item() / (self.steps * self.world.size)
        seconds = time.perf_counter() - began
        if not mean_loss < float("inf"):
            raise InputError(f"the training diverged in epoch {epoch} (loss {mean_loss}). Give a smaller trainer.lr.")
        self.world.pool(self.model)
        score = evaluate(self.model, self.val, self.memory_format, self.world) if self.val else None
        return {
            "epoch": epoch,
            "lr": float(self.scheduler.get_last_lr()[0]),
            "train_loss": mean_loss,
            "val_loss": score.loss if score else None,
            "val_top1": score.top1 if score else None,
            "images_per_second": self.steps * self.batch_size / seconds,
            "seconds": time.perf_counter() - began,
        }
