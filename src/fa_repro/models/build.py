"""From a model's config to the module."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from fa_repro.errors import InputError
from fa_repro.models.external import refuse_external
from fa_repro.models.fa_cnn import FeatureAlignCNN, LinearHeadCNN
from fa_repro.models.resnet18 import ResNet18
from fa_repro.models.resnet_small import ResNetSmall
from fa_repro.models.resnet_whitened import ResNetWhitened

_PER_STAGE = ("blocks", "pool", "squeeze", "hidden", "depth", "shrink")
_BACKBONE = (*_PER_STAGE, "maps_per_class", "unshuffle", "skip", "alpha")
# A model's name is one of these, or KIND_WORD; the other keys of its config.
_KEYS = {
    "fa_cnn": {*_BACKBONE, "head", "scale", "learn_scale"},
    "resnet_small": {"widths", "blocks"},
    "resnet_whitened": {"widths", "depth"},
    "resnet18": set[str](),
}
KINDS = tuple(_KEYS)


class Task(NamedTuple):
    """What a model has to fit: its input and its classes."""

    n_classes: int
    in_channels: int
    image_size: int  # side in pixels
    mean: list[float]  # of each input channel over the training set, in [0,1]
    std: list[float]


def build_model(config: Mapping[str, Any], task: Task) -> nn.Module:
    """Build the model that ``config`` (a resolved ``configs/model/*.yaml``) names, with fresh weights.

    Raises:
        InputError: the config contradicts itself, or the images don't fit.

    """
    if task.n_classes < 2:
        raise InputError(f"the data set has {task.n_classes} class; a classifier needs 2 or more.")
    name = config["name"]
    refuse_external(config)
    kind = next((known for known in KINDS if name == known or name.startswith(f"{known}_")), None)
    if kind is not None and config.keys() - {"name"} != _KEYS[kind]:
        odd = min((config.keys() - {"name"}) ^ _KEYS[kind])
        raise InputError(
            f"model.name={name}: model.{odd} is {'not given' if odd in _KEYS[kind] else 'no key of such a model'}. "
            f"Choose a model with its keys by model=NAME."
        )
    if kind == "fa_cnn":
        model = _feature_align(config, task)
    elif kind == "resnet_small":
        if len(config["widths"]) != len(config["blocks"]):
            raise InputError("model.widths and model.blocks must have one entry for each stage, the same number.")
        model = ResNetSmall(
            n_classes=task.n_classes,
            in_channels=task.in_channels,
            widths=config["widths"],
            blocks=config["blocks"],
            mean=task.mean,
            std=task.std,
        )
    elif kind == "resnet_whitened":
        model = ResNetWhitened(
            n_classes=task.n_classes, in_channels=task.in_channels, widths=config["widths"], depth=config["depth"]
        )
    elif kind == "resnet18":
        model = ResNet18(**task._asdict())
    else:
        raise InputError(
            f"model.name={name}: no such model. Choose with model=NAME (fa-repro train --help lists them); your own "
            f"begins with one of {', '.join(KINDS)} and an underscore."
        )
    check_size(model, task.image_size, f"model {name}", "data.image_size")
    return model


def check_size(model: nn.Module, image_size: int, name: str, key: str) -> None:
    """Refuse images that a model of ours can't divide into the places of its last feature maps.

    Args:
        model: one of ours tells ``down_sampling``; of any other nothing is known.
        image_size: side in pixels.
        name: of the model, in words.
        key: of the config, that gives the size.

    Raises:
        InputError: places would be left over at the border, in no map and in no logit.

    """
    shrinks = getattr(model, "down_sampling", 1)
    if isinstance(shrinks, int) and image_size % shrinks:
        raise InputError(
            f"{name} shrinks images {shrinks}-fold, and {image_size} pixels are no multiple of that. Give images of "
            f"another size ({key}), or a model that shrinks less."
        )


def _feature_align(config: Mapping[str, Any], task: Task) -> nn.Module:
    for key in _PER_STAGE[1:]:
        if len(config[key]) != len(config["blocks"]):
            raise InputError(f"model.blocks and model.{key} must have one entry for each stage, the same number.")
    if config["pool"][0] > 1:
        raise InputError("model.pool: the first entry must be 1, because the first branch reads every pixel.")
    planes, channels = task.in_channels * config["unshuffle"] ** 2, task.n_classes * config["maps_per_class"]
    if channels < planes:
        raise InputError(
            f"model.maps_per_class={config['maps_per_class']}: {channels} feature maps can't hold the {planes} planes "
            f"that model.unshuffle={config['unshuffle']} makes of an image. Give more maps, or a smaller unshuffle."
        )
    backbone = {key: config[key] for key in _BACKBONE}
    backbone |= {"n_classes": task.n_classes, "in_channels": task.in_channels}
    if config["head"] == "linear":
        return LinearHeadCNN(**backbone)
    return FeatureAlignCNN(**backbone, scale=config["scale"], learn_scale=config["learn_scale"])
