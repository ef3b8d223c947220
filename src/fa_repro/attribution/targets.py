"""What a network says of images, and which class each image's map is about."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fa_repro.device import arithmetic
from fa_repro.errors import InputError, did_you_mean


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    """Return the logits (N,K) of images (N,C,H,W), uint8 or in [0,1], ``batch_size`` of them a forward pass in fp32."""
    whole = images.dtype != torch.uint8
    with arithmetic(images.device, torch.float32):
        return torch.cat([model(part if whole else part.float() / 255) for part in images.split(batch_size)])


def choose_targets(model: nn.Module, images: Tensor, labels: Tensor, target: str | int, batch_size: int) -> Tensor:
    """Return the class (N,) that is explained for each image, on the images' device.

    Args:
        model: in eval mode.
        images: (N,C,H,W), uint8 or in [0,1].
        labels: (N,), on the images' device.
        target: ``predicted`` (on these images), ``label``, or a class's number.
        batch_size: images a forward pass.

    """
    predicted = predict(model, images, batch_size).argmax(1) if target == "predicted" else labels
    return targets_of(predicted, labels, target)


def targets_of(predicted: Tensor, labels: Tensor, target: str | int) -> Tensor:
    """Return what `choose_targets` does, of classes (N,) that are predicted already."""
    if isinstance(target, int):
        return torch.full_like(labels, target)
    # A copy: an inference tensor can't take part in Grad-CAM's graph.
    return (predicted if target == "predicted" else labels).clone()


def of_class(maps: Tensor, targets: Tensor) -> Tensor:
    """Choose one class's map of each image: (N,K,h,w) and (N,) -> (N,h,w)."""
    return maps[torch.arange(len(maps), device=maps.device), targets]


def parse_target(word: str, classes: Sequence[str], words: Sequence[str] = ("predicted", "label")) -> str | int:
    """Return ``word`` if it is one of ``words``, else the number of the class that it names or numbers.

    Raises:
        InputError: no such class.

    """
    if word in words:
        return word
    if word in classes:
        return list(classes).index(word)
    if word.isdecimal() and int(word) < len(classes):
        return int(word)
    raise InputError(
        f"target={word}: must be {', '.join(words)}, or a class: {', '.join(classes)}, or 0 to {len(classes) - 1}."
        f"{did_you_mean(word, [*words, *classes])}"
    )
