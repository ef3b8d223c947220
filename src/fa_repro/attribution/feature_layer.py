"""Which layer of a network Grad-CAM looks at."""

from torch import Tensor, nn

from fa_repro.errors import InputError
from fa_repro.models.order import run_order

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def last_convolutional_stage(model: nn.Module, images: Tensor) -> str | None:
    """Return the dotted name of the layer whose output Grad-CAM explains where the network names none.

    The rule: of all modules that are or hold a convolution and give square maps (N,C,h,w) of more than one position,
    the one that ends last. That is ``layer4`` of a ResNet and ``features`` of a VGG or DenseNet, for instance. A
    transformer has but the convolution that cuts its patches: there, name a layer yourself, or leave Grad-CAM out.

    Args:
        model: maps images to logits.
        images: (1,C,H,W) in [0,1], square.

    Returns:
        The name, or None if there is no such module.

    """
    modules = dict(model.named_modules())
    found = None
    for name, shape in run_order(model, images).items():
        convolves = bool(name) and any(isinstance(inner, _CONVOLUTIONS) for inner in modules[name].modules())
        if convolves and shape is not None and len(shape) == 4 and shape[2] == shape[3] > 1:
            found = name
    return found


def check_layer(model: nn.Module, layer: str, images: Tensor) -> None:
    """Refuse a layer that has no feature maps.

    Raises:
        InputError: no module has the dotted name ``layer``, it doesn't run, or its output is no (N,C,h,w).

    """
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        near = [name for name, _ in model.named_children()]
        raise InputError(f"layer={layer}: the model has no such module. At its top: {', '.join(near)}.")
    shapes = run_order(model, images)
    shape = shapes.get(layer)
    if layer not in shapes:
        raise InputError(f"layer={layer}: does not run when the model classifies. Give another layer.")
    if shape is None or len(shape) != 4:
        raise InputError(f"layer={layer}: gives {shape or 'no tensor'}; Grad-CAM needs feature maps (N,C,h,w).")
