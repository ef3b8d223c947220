"""Which layer of a network Grad-CAM looks at."""

from torch import Tensor, nn

from fa_repro.attribution.gradients import layer_cut_off
from fa_repro.errors import InputError
from fa_repro.models.order import run_order

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def last_convolutional_stage(model: nn.Module, images: Tensor) -> str | None:
    """Return the dotted name of the layer whose output Grad-CAM explains where the network names none.

    The rule: of all modules that are or hold a convolution and give square maps (N,C,h,w) of more than one position,
    the one that ends last and leads to the logits, which an auxiliary branch may not. That is ``layer4`` of a ResNet
    and ``features`` of a VGG or DenseNet, for instance. A transformer has but the convolution that cuts its patches:
    there, name a layer yourself, or leave Grad-CAM out.

    Args:
        model: maps images to logits.
        images: (1,C,H,W) in [0,1], square.

    Returns:
        The name, or None if there is no such module.

    """
    modules = dict(model.named_modules())
    for name, shape in reversed(run_order(model, images).items()):
        convolves = bool(name) and any(isinstance(inner, _CONVOLUTIONS) for inner in modules[name].modules())
        square = shape is not None and len(shape) == 4 and shape[2] == shape[3] > 1
        if convolves and square and layer_cut_off(model, name, images) is None:
            return name
    return None


def check_layer(model: nn.Module, layer: str, images: Tensor) -> None:
    """Refuse a layer that Grad-CAM can't look at.

    Args:
        model: maps images to logits.
        layer: dotted name.
        images: (1,C,H,W) in [0,1].

    Raises:
        InputError: no module has that name, it doesn't run, its output is no (N,C,h,w), or no logit can be
            differentiated with respect to it.

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
    if (reason := layer_cut_off(model, layer, images)) is not None:
        raise InputError(f"layer={layer}: Grad-CAM needs the logit's gradient there, and {reason}. Give another layer.")


def choose_layer(model: nn.Module, asked: str | None, images: Tensor) -> str | None:
    """Return the dotted name of the layer that Grad-CAM looks at, or None for the model's own ``last_feature_layer``.

    Args:
        model: maps images to logits.
        asked: the word of ``layer=``, or None; a torchvision network's own names may be given.
        images: (1,C,H,W) in [0,1], on the model's device.

    Raises:
        InputError: the layer that is asked for has no feature maps.

    """
    if asked is None:
        return None if hasattr(model, "last_feature_layer") else last_convolutional_stage(model, images)
    names = dict(model.named_modules())
    layer = asked if asked in names or f"net.{asked}" not in names else f"net.{asked}"
    check_layer(model, layer, images)
    return layer
