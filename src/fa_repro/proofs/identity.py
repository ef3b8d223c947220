"""T1: the class maps are the Grad-CAM maps, for every class, up to the one constant s/(h*w).

The gradient of logit k in the last feature maps is s/(m*h*w) on class k's m channels and 0 elsewhere, so Grad-CAM
(arXiv:1610.02391, gradients averaged over space) is s/(h*w) * ReLU(M_k). This is about logits: through a softmax every
class's maps enter every probability, and the identity fails.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fa_repro.attribution.grad_cam import last_activations, weighted_maps
from fa_repro.proofs.tolerance import errors, tolerance

COLUMNS = (
    "model", "target", "dtype", "reference", "images", "maps", "max_abs_error", "max_rel_error", "tolerance", "holds",
)  # fmt: skip


@torch.enable_grad()
def grad_cam_maps(model: nn.Module, images: Tensor, score: str) -> Tensor:
    """Return Grad-CAM (after the ReLU) of every class by our own hook and autograd: (N,K,h,w).

    Args:
        model: with a ``last_feature_layer``.
        images: (N,C,H,W) in [0,1].
        score: what is differentiated: ``logit`` or ``probability``.

    """
    activations, logits = last_activations(model, images)
    scores = logits.softmax(1) if score == "probability" else logits
    return torch.stack([weighted_maps(activations, scores[:, k]).relu() for k in range(scores.shape[1])], dim=1)


@torch.enable_grad()
def captum_maps(model: nn.Module, images: Tensor, score: str) -> Tensor:
    """Return the same by captum's ``LayerGradCam``: (N,K,h,w).

    Raises:
        ImportError: captum is not installed (extra ``captum``).

    """
    from captum.attr import LayerGradCam

    forward: Callable[[Tensor], Tensor] = (lambda x: model(x).softmax(1)) if score == "probability" else model
    layer: nn.Module = model.last_feature_layer  # type: ignore[assignment]
    cam = LayerGradCam(forward, layer)
    # captum differentiates with respect to the layer's output, which needs a graph to lie in.
    inputs = images.clone().requires_grad_()
    classes = range(model.n_classes)  # type: ignore[arg-type]
    maps = [cam.attribute(inputs, target=k, relu_attributions=True)[:, 0].detach() for k in classes]
    return torch.stack(maps, dim=1)


REFERENCES: dict[str, Callable[[nn.Module, Tensor, str], Tensor]] = {
    "autograd": grad_cam_maps,
    "captum": captum_maps,
}


@torch.no_grad()
def own_maps(model: nn.Module, images: Tensor) -> Tensor:
    """Return s/(h*w) * ReLU(M_k) of every class from one forward pass: (N,K,h,w)."""
    maps = model.class_maps(images)  # type: ignore[operator]
    return model.head.scale / (maps.shape[2] * maps.shape[3]) * maps.relu()  # type: ignore[union-attr]


@torch.no_grad()
def best_candidate(model: nn.Module, images: Tensor, reference: Tensor) -> Tensor:
    """Return, for a network without class maps, the feature map that comes nearest to each Grad-CAM map: (N,K,h,w).

    For each image and class: the channel whose correlation with the reference (N,K,h,w) is largest, times its
    least-squares factor. The correlation is about zero, not about the means, as the identity allows a factor and no
    offset: no channel leaves a smaller residual. If even that one is not Grad-CAM, no feature map is.
    """
    features = model.features(images).flatten(2)  # type: ignore[operator]
    wanted = reference.flatten(2)
    scale = features.norm(dim=2)[:, None] * wanted.norm(dim=2)[:, :, None]
    correlation = torch.einsum("ncp,nkp->nkc", features, wanted) / scale.clamp_min(torch.finfo(scale.dtype).tiny)
    index = correlation.argmax(2)
    chosen = features.gather(1, index[:, :, None].expand(-1, -1, features.shape[2]))
    factor = (chosen * wanted).sum(2) / (chosen**2).sum(2).clamp_min(torch.finfo(scale.dtype).tiny)
    return (factor[:, :, None] * chosen).view_as(reference)


def check_identity(
    model: nn.Module, images: Tensor, references: dict[str, Tensor], classes: tuple[str, ...], name: str
) -> list[dict[str, Any]]:
    """Compare the maps of ``model`` with references, class by class.

    Args:
        model: in eval mode, in the dtype of ``images``.
        images: (N,C,H,W) in [0,1].
        references: by name, (N,K,h,w).
        classes: K names.
        name: of the model.

    Returns:
        A line for each reference and class, with the fields of `COLUMNS`.

    """
    lines = []
    for reference, maps in references.items():
        own = own_maps(model, images) if hasattr(model, "class_maps") else best_candidate(model, images, maps)
        for k, target in enumerate(classes):
            absolute, relative = errors(own[:, k], maps[:, k])
            lines.append(
                {
                    "model": name,
                    "target": target,
                    "dtype": str(images.dtype).removeprefix("torch."),
                    "reference": reference,
                    "images": len(images),
                    "maps": "class map" if hasattr(model, "class_maps") else "best channel",
                    "max_abs_error": absolute,
                    "max_rel_error": relative,
                    "tolerance": tolerance(images.dtype),
                    "holds": relative <= tolerance(images.dtype),
                }
            )
    return lines
