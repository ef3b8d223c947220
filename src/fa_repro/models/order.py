"""In which order a network's modules run, by hooks in one forward pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def run_order(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...] | None]:
    """Run ``model`` on ``images`` and return the modules that ran, in the order in which they ended.

    Args:
        model: maps images to logits.
        images: (N,C,H,W) in [0,1].

    Returns:
        By dotted name (the model's own is empty), the shape of the output; None: it is no tensor. A module that runs
        again counts from its last time.

    """
    ended: dict[str, tuple[int, ...] | None] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object, output: object) -> None:
            ended.pop(name, None)
            ended[name] = tuple(output.shape) if isinstance(output, Tensor) else None

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules()]
    try:
        with torch.inference_mode():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return ended
