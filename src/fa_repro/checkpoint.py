"""The file that holds a trained model: written by ``train``, read by every other command and by `load_model`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from fa_repro.data import ImageSet
from fa_repro.errors import InputError
from fa_repro.models import Task, build_model
from fa_repro.saved import read_saved

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a trained model needs to be used again; plain values and tensors alone.

    Attributes:
        model: the model's resolved config.
        task: the fields of `fa_repro.models.Task`.
        classes: names, label = position.
        state: the weights.
        data: the resolved config of the data set it was trained on.
        trainer: the resolved recipe.
        seed: of the training.

    """

    model: dict[str, Any]
    task: dict[str, Any]
    classes: list[str]
    state: dict[str, torch.Tensor]
    data: dict[str, Any]
    trainer: dict[str, Any]
    seed: int

    def save(self, file: IO[bytes]) -> None:
        """Write to an open binary file."""
        torch.save({"fa_repro_checkpoint": FORMAT, **asdict(self)}, file)

    def build(self) -> nn.Module:
        """Return the model with its weights, in eval mode, on the CPU."""
        model = build_model(self.model, Task(**self.task))
        model.load_state_dict(self.state)
        return model.eval()


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InputError: the file is missing, damaged, or no checkpoint of ``fa-repro train``.

    """
    path = Path(path)
    written = "`fa-repro train` writes RESULTS/train/NAME/checkpoint.pt."
    content = read_saved(path, "checkpoint", written, "is damaged or no checkpoint", "Train it anew.")
    if not isinstance(content, Mapping) or "fa_repro_checkpoint" not in content:
        raise InputError(f"checkpoint={path}: is no checkpoint of fa-repro train.")
    if content["fa_repro_checkpoint"] != FORMAT:
        raise InputError(
            f"checkpoint={path}: has format {content['fa_repro_checkpoint']}, this version reads {FORMAT}."
        )
    try:
        checkpoint = Checkpoint(**{k: v for k, v in content.items() if k != "fa_repro_checkpoint"})
        checkpoint.build()
    except (TypeError, KeyError, RuntimeError) as error:
        raise InputError(f"checkpoint={path}: does not fit this version ({str(error).splitlines()[0]}).") from None
    return checkpoint


def load_model(checkpoint: str | Path) -> nn.Module:
    """Return a trained model in eval mode.

    It maps images (N,C,H,W), float in [0,1], to logits (N,K). An FA-CNN also has ``features(x)`` -> (N,C,h,w),
    ``class_maps(x)`` -> (N,K,h,w) and ``depth_maps(x)`` -> (N,K,H,W).

    Args:
        checkpoint: path of a ``checkpoint.pt`` that ``fa-repro train`` wrote.

    Raises:
        InputError: the file is missing, damaged, or no checkpoint.

    """
    return load_checkpoint(checkpoint).build()


def merge_data(checkpoint: Checkpoint, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data config to use: the checkpoint's with every given key on top, or another set altogether.

    A null can't be told from a key that was not given, either: ``data.n_test=null`` leaves the checkpoint's.

    ``download=false`` and ``mirror=true``, the defaults, can't be told from keys that were not given: the checkpoint's
    stay. Nothing but a download that training allowed hangs on it: images are read the same whatever ``mirror`` says.
    """
    if given["name"] != "from_checkpoint":
        return dict(given)
    changed = {k: v for k, v in given.items() if k != "name" and v is not None}
    defaults = {"download": False, "mirror": True}  # keys without a null
    return checkpoint.data | {k: v for k, v in changed.items() if v != defaults.get(k, object())}


def _check_classes(trained: Sequence[str], found: Sequence[str]) -> None:
    """Refuse a data set whose classes are not the model's: its labels would be right or wrong by chance.

    Raises:
        InputError: names the first that differs.

    """
    for position, (mine, theirs) in enumerate(zip(trained, found, strict=False)):
        if mine != theirs:
            raise InputError(
                f"class {position} is {mine} for the model and {theirs} in the data set. "
                f"Give the data set it was trained on, its folders named alike."
            )


def check_images(checkpoint: Checkpoint, found: ImageSet) -> None:
    """Refuse images that don't fit the model, or of other classes.

    Raises:
        InputError: says what the model takes and what the data set has.

    """
    task = Task(**checkpoint.task)
    channels, size = found.images.shape[1], found.images.shape[2]
    if (channels, size) != (task.in_channels, task.image_size) or len(found.classes) != task.n_classes:
        raise InputError(
            f"the model takes {task.in_channels}x{task.image_size}x{task.image_size} images of {task.n_classes} "
            f"classes, the data set has {channels}x{size}x{size} and {len(found.classes)}. "
            f"Give the data set it was trained on."
        )
    _check_classes(checkpoint.classes, found.classes)
