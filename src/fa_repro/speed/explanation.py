"""What a map costs beside the prediction: our methods, and captum's and pytorch-grad-cam's where they are installed."""

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from fa_repro.attribution import Context, left_out
from fa_repro.attribution.grad_cam import explained_layer, grad_cam
from fa_repro.attribution.joint import predict_with_depth_map, predict_with_feature_map
from fa_repro.attribution.targets import predict
from fa_repro.device import arithmetic
from fa_repro.errors import first_line
from fa_repro.models import FeatureAlignCNN
from fa_repro.speed.timing import Comparison, Contender

PREDICTION, CAPTUM = "prediction", "captum LayerGradCam"
# The limits: a map that the forward pass holds already should cost next to nothing, one summed over depth little.
COMPARISONS = (
    Comparison("cost of prediction + feature_map", PREDICTION, "prediction + feature_map", "<=", 1.05),
    Comparison("cost of prediction + depth_map", PREDICTION, "prediction + depth_map", "<=", 1.15),
    Comparison("cost of grad_cam", PREDICTION, "grad_cam"),
    Comparison("cost of captum's LayerGradCam", PREDICTION, CAPTUM),
    Comparison("cost of pytorch-grad-cam's GradCAM", PREDICTION, "pytorch-grad-cam GradCAM"),
)


def explanation_contenders(model: nn.Module, images: Tensor, context: Context) -> tuple[list[Contender], list[str]]:
    """Return who explains, and notes on who is absent.

    Args:
        model: in eval mode, on the images' device.
        images: (N,C,H,W) in [0,1], ``context.batch_size`` a forward pass.
        context: settings of the methods.

    """
    targets = predict(model, images, context.batch_size).argmax(1)
    batches = list(zip(images.split(context.batch_size), targets.split(context.batch_size), strict=True))

    def every(name: str, work: Callable[[Tensor, Tensor], object]) -> Contender:
        def run() -> int:
            with arithmetic(images.device, torch.float32):  # as our methods have it
                for part, chosen in batches:
                    work(part, chosen)
            return len(images)

        return Contender(name, run)

    @torch.inference_mode()
    def prediction(part: Tensor, _: Tensor) -> object:
        return model(part).argmax(1)

    contenders = [every(PREDICTION, prediction)]
    notes = []
    if isinstance(model, FeatureAlignCNN):
        contenders += [
            every("prediction + feature_map", lambda part, _: predict_with_feature_map(model, part)),
            every("prediction + depth_map", lambda part, _: predict_with_depth_map(model, part)),
        ]
    if reason := left_out("grad_cam", model, images, context.layer):
        notes.append(reason)
    else:
        contenders.append(every("grad_cam", lambda part, chosen: grad_cam(model, part, chosen, context)))
        works, failed = _other_grad_cams(model, explained_layer(model, context.layer), images[:1], targets[:1])
        contenders += [every(name, work) for name, work in works.items()]
        notes += failed
        if CAPTUM in works:
            notes.append(
                f"{CAPTUM} asks for the images' gradient, so it holds the graph of the whole forward pass in memory; "
                f"prediction + feature_map holds none."
            )
    if not find_spec("captum"):
        notes.append("captum is not installed, so it was not measured (pip install 'fa-repro[captum]').")
    if not find_spec("pytorch_grad_cam"):
        notes.append("pytorch-grad-cam is not installed, so it was not measured (pip install 'fa-repro[peers]').")
    return contenders, notes


Work = Callable[[Tensor, Tensor], object]


def _other_grad_cams(
    model: nn.Module, layer: nn.Module, image: Tensor, target: Tensor
) -> tuple[dict[str, Work], list[str]]:
    """Return the installed libraries' Grad-CAM of ``layer``, and notes on those that can't do this network.

    Args:
        model: in eval mode.
        layer: whose output is explained.
        image: (1,C,H,W) in [0,1], which each has to explain.
        target: (1,).

    """
    works: dict[str, Work] = {}
    notes = []
    makers = {
        CAPTUM: ("captum", _captum_grad_cam),
        "pytorch-grad-cam GradCAM": ("pytorch_grad_cam", _pytorch_grad_cam),
    }
    for name, (package, make) in makers.items():
        if not find_spec(package):
            continue
        try:
            work = make(model, layer)
            work(image, target)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # their hooks can't do with all that ours can, a change in place for one
            notes.append(f"{name} was not measured: it fails on this network ({first_line(error)}).")
        else:
            works[name] = work
    return works, notes


def _captum_grad_cam(model: nn.Module, layer: nn.Module) -> Work:
    from captum.attr import LayerGradCam

    cam = LayerGradCam(model, layer)
    return lambda part, chosen: cam.attribute(part, target=chosen, relu_attributions=False)


def _pytorch_grad_cam(model: nn.Module, layer: nn.Module) -> Work:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def explain(part: Tensor, chosen: Tensor) -> object:
        targets = list(map(ClassifierOutputTarget, chosen.tolist()))
        with GradCAM(model=model, target_layers=[layer]) as cam:  # its hooks must not stay for the other contenders
            # It calls backward, which needs something with a gradient: the images, where the weights have none.
            return cam(input_tensor=part.clone().requires_grad_(), targets=targets)

    return explain
