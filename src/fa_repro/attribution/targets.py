"""Which class each image's map is about."""

import torch
from torch import Tensor, nn


def choose_targets(model: nn.Module, images: Tensor, labels: Tensor, target: str | int) -> Tensor:
    """Return the class (N,) that is explained for each image, on the images' device.

    Args:
        model: in eval mode.
        images: (N,C,H,W) in [0,1].
        labels: (N,), on the images' device.
        target: ``predicted`` (on these images), ``label``, or a class's number.

    """
    with torch.inference_mode():
        predicted = model(images).argmax(1) if target == "predicted" else labels
    return targets_of(predicted, labels, target)


def targets_of(predicted: Tensor, labels: Tensor, target: str | int) -> Tensor:
    """Return what `choose_targets` does, of classes (N,) that are predicted already."""
    if isinstance(target, int):
        return torch.full_like(labels, target)
    # A copy: an inference tensor can't take part in Grad-CAM's graph.
    return (predicted if target == "predicted" else labels).clone()
