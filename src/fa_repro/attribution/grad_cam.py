"""Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2), by hook and autograd: the reference."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.upsampling import image_size, upsample


def explained_layer(model: nn.Module, name: str | None = None) -> nn.Module:
    """Return the module whose output Grad-CAM explains: with the dotted ``name``, or ``last_feature_layer``."""
    return model.get_submodule(name) if name else model.last_feature_layer  # type: ignore[return-value]


@torch.enable_grad()
def last_activations(model: nn.Module, images: Tensor, name: str | None = None) -> tuple[Tensor, Tensor]:
    """Return the last feature maps (N,C,h,w), attached to the graph, and the logits (N,K) computed from them.

    They are the output of `explained_layer`; of a module that runs several times, that of its last.
    """
    caught: list[Tensor] = []

    def catch(_: nn.Module, __: object, output: Tensor) -> Tensor:
        # A leaf at this layer: no gradient is computed below it, where none is wanted.
        leaf = output.detach().requires_grad_()
        caught.append(leaf)
        with torch.enable_grad():  # also behind a backbone that runs without gradients, as frozen ones do
            return leaf.clone()  # what follows may work in place, as a ReLU does, and a leaf allows none of it

    handle = explained_layer(model, name).register_forward_hook(catch)
    try:
        logits = model(images)
    finally:
        handle.remove()
    return caught[-1], logits


def weighted_maps(activations: Tensor, score: Tensor) -> Tensor:
    """Return the signed class-activation map, before the ReLU.

    Args:
        activations: (N,C,h,w), the last feature maps.
        score: (N,), what is explained for each image, computed from ``activations``.

    Returns:
        (N,h,w): the channels' sum, each weighted by its gradient's mean over space.

    """
    (gradients,) = torch.autograd.grad(score.sum(), activations, retain_graph=True)
    weights = gradients.mean((2, 3), keepdim=True)
    return (weights * activations).sum(1).detach()


@torch.enable_grad()
def grad_cam(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,): Grad-CAM of the logit with its ReLU, (N,H,W)."""
    activations, logits = last_activations(model, images, context.layer)
    maps = weighted_maps(activations, logits.gather(1, targets[:, None])[:, 0]).relu()
    return upsample(maps, image_size(images), context.upsampling)
