"""What a network says of images, and which class each image's map is about."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    """Return the logits (N,K) of images (N,C,H,W), uint8 or in [0,1], ``batch_size`` of them a forward pass."""
    whole = images.dtype != torch.uint8
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
