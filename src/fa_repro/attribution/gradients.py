"""Whether any network's logits have a gradient in a layer's output, or in the pixels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fa_repro.attribution.grad_cam import last_activations
from fa_repro.errors import first_line


def layer_cut_off(model: nn.Module, layer: str, images: Tensor) -> str | None:
    """Return why an image's largest logit has no gradient in the output of ``layer``, or None if it has one.

    Args:
        model: maps images to logits.
        layer: dotted name.
        images: (1,C,H,W) in [0,1].

    """
    return _cut_off(lambda: last_activations(model, images, layer), "its output")


def pixels_cut_off(model: nn.Module, images: Tensor) -> str | None:
    """Return why the largest logit of ``images`` (1,C,H,W) has no gradient in the pixels, or None if it has one."""

    def forward() -> tuple[Tensor, Tensor]:
        pixels = images.clone().requires_grad_()
        return pixels, model(pixels)

    return _cut_off(forward, "an image")


@torch.enable_grad()
def _cut_off(forward: Callable[[], tuple[Tensor, Tensor]], what: str) -> str | None:
    try:
        values, logits = forward()
        score = logits[0].max()
        reached = score.requires_grad and torch.autograd.grad(score, values, allow_unused=True)[0] is not None
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever the user's own network raises where gradients are wanted
        return f"computing it fails ({first_line(error)})"
    return None if reached else f"there is none: {what} does not lead to the logits, or not by steps with gradients"
