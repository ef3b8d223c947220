"""Grad-CAM maps, beside captum's, pytorch-grad-cam's and torch-cam's."""

import numpy as np
from torch import Tensor, nn

from comparisons.material import SHARES, Material, Pair, Work, in_batches, of_range
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.attribution.upsampling import upsample


def works_and_pairs(it: Material) -> tuple[dict[str, Work], list[Pair]]:
    """Return the Grad-CAM maps of all, and which are compared."""
    # Two of the libraries call backward: images with a gradient spare them those of all weights.
    layer, (height, width) = it.model.last_feature_layer, it.images.shape[2:]
    assert isinstance(layer, nn.Module)

    def captum(images: Tensor, targets: Tensor) -> Tensor:
        from captum.attr import LayerGradCam

        method = LayerGradCam(it.model, layer)
        maps = method.attribute(images, target=targets, relu_attributions=True)[:, 0].detach()
        return upsample(maps, (height, width), "bilinear")

    def pytorch_grad_cam(images: Tensor, targets: Tensor) -> np.ndarray:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        chosen = [ClassifierOutputTarget(target) for target in targets.tolist()]
        with GradCAM(model=it.model, target_layers=[layer]) as cam:
            return cam(input_tensor=images.clone().requires_grad_(), targets=chosen)

    def torch_cam(images: Tensor, targets: Tensor) -> Tensor:
        from torchcam.methods import GradCAM

        with GradCAM(it.model, layer) as cam:
            scores = it.model(images.clone().requires_grad_())
            return upsample(cam(targets.tolist(), scores)[0], (height, width), "bilinear")

    works = {
        "grad_cam": lambda: in_batches(it, lambda images, targets: grad_cam(it.model, images, targets)),
        "captum LayerGradCam": lambda: in_batches(it, captum),
        "pytorch-grad-cam GradCAM": lambda: in_batches(it, pytorch_grad_cam),
        "torch-cam GradCAM": lambda: in_batches(it, torch_cam),
    }
    what = "Grad-CAM maps, each scaled to 0 ... 1"
    return works, [
        Pair(what, "grad_cam", "captum LayerGradCam", "captum", of_range, SHARES),
        Pair(what, "grad_cam", "pytorch-grad-cam GradCAM", "pytorch_grad_cam", of_range, SHARES),
        Pair(what, "grad_cam", "torch-cam GradCAM", "torchcam", of_range, SHARES),
    ]
